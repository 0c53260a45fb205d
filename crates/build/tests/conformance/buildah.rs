//! What buildah makes of a case: run in a root file system that has it, with chroot isolation and the vfs driver, whose
//! layers are directories.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::fs::{lgetxattr, llistxattr};
use serde_json::Value;

use crate::base;
use crate::case::Case;
use crate::material::{items, lay_out};
use crate::outcome::{Built, Listing, Metadata, What, line};

/// A root file system with buildah, and in it the base image.
pub(crate) struct Buildah {
    root: PathBuf,
    base: Built,
    pub(crate) version: String,
}

/// Where everything of the recording is in the root file system.
const WORK: &str = "/conformance";

impl Buildah {
    pub(crate) fn new(root: &Path, busybox: &Path) -> Buildah {
        let version = said(
            &Command::new("chroot")
                .arg(root)
                .args(["buildah", "--version"])
                .output()
                .unwrap(),
        );
        let version = version
            .split_whitespace()
            .nth(2)
            .expect("`buildah --version` says one")
            .to_owned();
        let mut buildah = Buildah {
            root: root.to_owned(),
            base: Built {
                listing: Listing::new(),
                config: Value::Null,
            },
            version,
        };
        let _ = fs::remove_dir_all(buildah.path(""));
        let context = buildah.path("base/context");
        fs::create_dir_all(&context).unwrap();
        fs::write(context.join("rootfs.tar"), base::rootfs(busybox)).unwrap();
        fs::write(buildah.path("base/Containerfile"), base::CONTAINERFILE).unwrap();
        let output = buildah.build("base", &["-t", base::NAME]);
        assert!(output.status.success(), "{}", said(&output));
        buildah.base = buildah.examine("base");
        buildah
    }

    /// What is under a path of the work directory.
    fn path(&self, name: &str) -> PathBuf {
        self.root.join(&WORK[1..]).join(name)
    }

    /// The text of what is built; `Err` is all that buildah says.
    pub(crate) fn record(&self, case: &Case) -> Result<String, String> {
        let name = case.name.replace('/', "-");
        let work = self.path(&name);
        let context = work.join("context");
        fs::create_dir_all(&context).unwrap();
        let copied = Command::new("cp")
            .arg("-a")
            .arg(self.path("base/graph"))
            .arg(&work)
            .status();
        assert!(copied.unwrap().success());
        let (list, files) = case.context();
        lay_out(&context, &items(&list), &files);
        fs::write(work.join("Containerfile"), case.containerfile()).unwrap();
        let options = self.options(case, &context);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let output = self.build(&name, &options);
        let text = match output.status.success() {
            true => Ok(self.examine(&name).text(&self.base)),
            false => Err(said(&output)),
        };
        fs::remove_dir_all(&work).unwrap();
        text
    }

    /// osmith's options are podman's; some of them are others for buildah, and paths are those inside its root.
    fn options(&self, case: &Case, context: &Path) -> Vec<String> {
        let mut options = Vec::new();
        let mut words = case.options.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--squash" => options.push("--layers=false".to_owned()),
                "--squash-all" => options.extend(["--layers=false".to_owned(), "--squash".to_owned()]),
                "-f" | "--ignorefile" => {
                    let path = context.join(words.next().unwrap());
                    if word == "-f" {
                        fs::write(&path, case.containerfile()).unwrap();
                    }
                    let inside = Path::new("/").join(path.strip_prefix(&self.root).unwrap());
                    options.extend([word.clone(), inside.to_str().unwrap().to_owned()]);
                }
                "--volume" => {
                    let (here, there) = words.next().unwrap().split_once(':').unwrap();
                    let path = context.join(here).canonicalize().unwrap();
                    let inside = Path::new("/").join(path.strip_prefix(&self.root).unwrap());
                    options.extend([word.clone(), format!("{}:{there}", inside.display())]);
                }
                _ => options.push(word.clone()),
            }
        }
        options
    }

    fn build(&self, name: &str, options: &[&str]) -> Output {
        let inside = |part: &str| format!("{WORK}/{name}/{part}");
        let mut command = Command::new("chroot");
        command.arg(&self.root).arg("buildah");
        command.args([
            "--storage-driver",
            "vfs",
            "--root",
            &inside("graph"),
            "--runroot",
            &inside("run"),
        ]);
        command.args([
            "build",
            "--isolation",
            "chroot",
            "--pull=never",
            "--no-cache",
            "--layers",
        ]);
        command.args(["--identity-label=false", "--iidfile", &inside("id")]);
        command.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]);
        if !options.contains(&"-f") {
            command.args(["-f", &inside("Containerfile")]);
        }
        command.args(options).arg(inside("context"));
        command
            .env_clear()
            .env("PATH", "/usr/bin:/usr/sbin")
            .env("HOME", "/root");
        command.output().unwrap()
    }

    /// The image whose ID was written.
    fn examine(&self, name: &str) -> Built {
        let work = self.path(name);
        let id = fs::read_to_string(work.join("id")).unwrap();
        let id = id.trim().trim_start_matches("sha256:");
        let graph = work.join("graph");
        let images = json(&graph.join("vfs-images/images.json"));
        let image = images
            .as_array()
            .unwrap()
            .iter()
            .find(|image| image["id"] == id)
            .unwrap();
        let mut listing = Listing::new();
        if let Some(layer) = image["layer"].as_str().filter(|layer| !layer.is_empty()) {
            walk(&graph.join("vfs/dir").join(layer), &mut listing);
        }
        let documents = fs::read_dir(graph.join("vfs-images").join(id)).unwrap();
        let config = documents
            .filter_map(|entry| serde_json::from_slice::<Value>(&fs::read(entry.unwrap().path()).ok()?).ok())
            .find(|document| document.get("rootfs").is_some());
        Built {
            listing,
            config: config.unwrap(),
        }
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn walk(root: &Path, listing: &mut Listing) {
    let mut paths = Vec::new();
    collect(root, &mut paths);
    paths.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    let mut first_names: HashMap<u64, Vec<u8>> = HashMap::new();
    for path in paths {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        let kind = metadata.file_type();
        let first = first_names.entry(metadata.ino()).or_insert_with(|| name.clone());
        let what = match () {
            () if kind.is_dir() => What::Directory,
            () if *first != name => What::Link(first.clone()),
            () if kind.is_symlink() => {
                What::Symlink(fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec())
            }
            () if kind.is_file() => What::File(fs::read(&path).unwrap()),
            () => What::Special,
        };
        let metadata = Metadata {
            mode: metadata.mode(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime: metadata.mtime(),
            xattrs: xattrs(&path),
        };
        listing.insert(name.clone(), line(&name, &metadata, &what));
    }
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        paths.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), paths);
        }
    }
}

fn xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names = vec![0; 4096];
    let length = llistxattr(path, &mut names).unwrap_or(0);
    let names = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 4096];
        let length = lgetxattr(path, name, &mut value).unwrap();
        value[..length].to_vec()
    };
    names.map(|name| (name.to_vec(), value(name))).collect()
}
