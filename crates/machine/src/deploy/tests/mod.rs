mod crash;
mod modes;
mod repair;
mod unified;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use osmith_formats::tree::{Content, Metadata, Tree};
use osmith_image::layer::{LayerBuilder, LayerNode, LayerPath};
use osmith_image::store::{Access, Image, ImageParts, LayerSource, Store};
use osmith_image::{ImageConfig, host_architecture};
use osmith_report::Silent;
use osmith_sys::file::open_directory;
use tempfile::TempDir;

use super::write::TreeWriter;
use super::*;
use crate::boot_menu::MenuEntry;
use crate::install::{Architecture, FileData, InstallFile, InstallImage, InstallOptions, deployment};
use crate::machine::Views;
use crate::origin::ImageSource;
use crate::status::status;

/// A machine in a folder: its root directory with `sysroot`, the ESP at `boot`, and what the kernel says.
struct Sample {
    root: Folder,
}

/// Where a sample is.
enum Folder {
    /// In a folder of its own.
    Own(TempDir),
    /// In `root` of a folder of its own.
    Copy(TempDir),
    /// In a folder of another process.
    Borrowed(PathBuf),
}

impl Folder {
    fn path(&self) -> PathBuf {
        match self {
            Folder::Own(folder) => folder.path().to_owned(),
            Folder::Copy(folder) => folder.path().join("root"),
            Folder::Borrowed(path) => path.clone(),
        }
    }
}

/// The files of an image, by path.
type Files = BTreeMap<&'static str, Vec<u8>>;

fn files(version: &str) -> Files {
    let text = |text: &str| text.as_bytes().to_vec();
    [
        ("usr/lib/modules/6.12.1/vmlinuz", vec![1; 5000]),
        ("usr/lib/modules/6.12.1/initramfs.img", vec![2; 9000]),
        ("usr/lib/systemd/boot/efi/systemd-bootx64.efi", vec![3; 200]),
        ("usr/lib/systemd/boot/efi/systemd-bootaa64.efi", vec![3; 200]),
        ("usr/lib/systemd/system/osmith-health.service", text("[Unit]\n")),
        (
            "usr/lib/os-release",
            format!("ID=example\nVERSION_ID={version}\n").into_bytes(),
        ),
        ("usr/lib/bootc/kargs.d/10.toml", text("kargs = [\"quiet\"]\n")),
        ("usr/share/version", version.repeat(100).into_bytes()),
        ("etc/hosts", text("127.0.0.1 localhost\n")),
        ("etc/issue", version.as_bytes().to_vec()),
        ("var/lib/seed", vec![7; 65]),
        ("boot/.keep", Vec::new()),
        ("sysroot/.keep", Vec::new()),
        ("run/.keep", Vec::new()),
    ]
    .into()
}

/// Commits an image of one layer.
fn commit(store: &Store, files: &Files) -> Image {
    let mut layer = LayerBuilder::new();
    for (path, bytes) in files {
        let folder = Metadata {
            mode: 0o755,
            ..Metadata::default()
        };
        let file = Metadata {
            mode: 0o644,
            ..Metadata::default()
        };
        let path = LayerPath::parse(path.as_bytes()).unwrap();
        let mut parents: Vec<_> = path.ancestors().filter(|parent| !parent.is_root()).collect();
        parents.sort();
        for parent in parents {
            layer
                .add(parent, folder.clone(), LayerNode::Directory { opaque: false })
                .unwrap();
        }
        let content = store.put_bytes(bytes).unwrap();
        layer.add(path, file, LayerNode::Regular(content)).unwrap();
    }
    let parts = ImageParts {
        config: ImageConfig::new(host_architecture(), "linux"),
        layers: vec![LayerSource::Own(store.put_layer(&layer.finish()).unwrap())],
        annotations: BTreeMap::new(),
        format: osmith_image::ManifestFormat::Oci,
    };
    store.commit_image(parts, &[], &Silent).unwrap()
}

fn write(tree: &Tree<InstallFile>, sources: &[FileData], store: &Store, directory: &std::path::Path) {
    fs::create_dir_all(directory).unwrap();
    let writer = TreeWriter {
        tree,
        sources,
        store,
        observer: &Silent,
    };
    writer.write(directory).unwrap();
}

impl Sample {
    /// A machine that runs version 1, installed from another store.
    fn new() -> Self {
        Sample::of(&files("1"), vec!["mine=1".to_owned()])
    }

    /// A machine that runs an image of these files.
    fn of(files: &Files, kernel_arguments: Vec<String>) -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Access::ReadWrite).unwrap();
        let image = commit(&store, files);
        let install = InstallImage {
            tree: image.tree(&store).unwrap(),
            architecture: Architecture::of_image(host_architecture()).unwrap(),
            manifest: &store.blob_bytes(&image.manifest_digest).unwrap(),
            config: &store.blob_bytes(&image.id()).unwrap(),
            records: store
                .records(&image, image_name(&image.manifest_digest).as_ref())
                .unwrap(),
        };
        let options = InstallOptions {
            root: "UUID=1".to_owned(),
            kernel_arguments,
            source: ImageSource::registry("registry.example.org/os:1"),
            missing_verity_allowed: true,
            local: None,
        };
        let mut read = |digest: &Digest| {
            let mut bytes = Vec::new();
            let mut object = store.read_object(digest).map_err(io::Error::other)?;
            io::Read::read_to_end(&mut object, &mut bytes)?;
            Ok(bytes)
        };
        let deployed = deployment(install, &options, &mut read).unwrap();
        write(
            &deployed.root,
            &deployed.sources,
            &store,
            &root.path().join("sysroot"),
        );
        write(
            &deployed.esp,
            &deployed.sources,
            &store,
            &root.path().join("boot"),
        );
        let sample = Sample {
            root: Folder::Own(root),
        };
        sample.boot(&deployed.digest);
        sample
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// Starts a deployment: the kernel says so, `/etc` is the deployment's, `/run` is empty.
    fn boot(&self, digest: &Digest) {
        let command_line = format!("composefs=?{digest}\n");
        let mountinfo = format!(
            "30 1 0:27 / / ro - overlay composefs:{digest} ro\n\
             31 30 254:2 /state/deploy/{digest}/etc /etc rw - ext4 /dev/vda2 rw\n\
             32 30 254:2 /state/os/default/var /var rw - ext4 /dev/vda2 rw\n"
        );
        for (path, text) in [("proc/cmdline", command_line), ("proc/self/mountinfo", mountinfo)] {
            fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
            fs::write(self.path(path), text).unwrap();
        }
        let _ = fs::remove_file(self.path("etc"));
        std::os::unix::fs::symlink(format!("sysroot/state/deploy/{digest}/etc"), self.path("etc")).unwrap();
        let _ = fs::remove_dir_all(self.path("run"));
        self.show_image(digest);
    }

    /// Starts what the boot loader would.
    fn reboot(&self) -> Digest {
        let first = self.esp().menu().unwrap().deployments()[0];
        self.require_bootable(&first);
        self.boot(&first);
        first
    }

    /// The same, and the deployment is found healthy.
    fn reboot_healthy(&self) -> Digest {
        let first = self.reboot();
        for entry in self.esp().menu().unwrap().entries {
            let healthy = MenuEntry {
                counter: None,
                ..entry.clone()
            };
            self.esp()
                .rename_entry(&entry.file_name(), &healthy.file_name())
                .unwrap();
        }
        first
    }

    fn esp(&self) -> Esp {
        Esp::open(&self.root.path(), crate::esp::EspAccess::Write).unwrap()
    }

    fn machine(&self) -> Machine {
        let views = Views {
            image: open_directory(self.path("image")).unwrap(),
            etc: open_directory(self.path("etc")).unwrap(),
        };
        Machine::open(&self.root.path(), views, "test", &Silent).unwrap()
    }

    /// Shows the root directory of the image of a deployment at `image`.
    fn show_image(&self, digest: &Digest) {
        let image = fs::read(self.path(&format!("sysroot/composefs/images/{digest}"))).unwrap();
        let tree = osmith_formats::composefs::read(&image).unwrap();
        let mut sources = Vec::new();
        let tree = tree.map(|content| {
            sources.push(match content {
                Content::Inline(bytes) => FileData::Bytes(bytes.to_vec()),
                Content::Object { digest, .. } => FileData::Object(*digest),
            });
            InstallFile {
                source: (sources.len() - 1) as u32,
                size_bytes: content.size_bytes(),
                verity: false,
            }
        });
        let _ = fs::remove_dir_all(self.path("image"));
        let store = self.path("sysroot/state/osmith/store");
        let store = Store::open_in_repository(&store, "../../../composefs/objects".as_ref()).unwrap();
        write(&tree, &sources, &store, &self.path("image"));
    }

    /// Every file that the deployment needs is there and is what its digest says.
    fn require_bootable(&self, deployment: &Digest) {
        let object = |digest: &Digest| {
            let path = self.path("sysroot/composefs/objects").join(digest.object_path());
            let bytes = fs::read(&path).unwrap();
            assert_eq!(Digest::of(&bytes), *digest);
            bytes
        };
        let image = fs::read(self.path(&format!("sysroot/composefs/images/{deployment}"))).unwrap();
        assert_eq!(Digest::of(&image), *deployment);
        for digest in osmith_formats::composefs::objects(&image).unwrap() {
            object(&digest);
        }
        let state = self.path(&format!("sysroot/state/deploy/{deployment}"));
        assert!(state.join("etc/hosts").is_file());
        assert!(state.join("var/lib/seed").is_file());
        let origin = fs::read_to_string(state.join(format!("{deployment}.origin"))).unwrap();
        crate::origin::Origin::parse(&origin).unwrap();
        let menu = self.esp().menu().unwrap();
        let entry = &menu.of(deployment).unwrap().entry;
        if let Some(path) = &entry.uki {
            let found = self.esp().read_uki(path).unwrap();
            assert_eq!(found.command_line, unified::command_line(deployment));
            return;
        }
        for (path, expected) in [
            (entry.linux.as_ref(), vec![1; 5000]),
            (entry.initrd.first(), vec![2; 9000]),
        ] {
            let path = path.unwrap().trim_start_matches('/');
            assert_eq!(fs::read(self.path("boot").join(path)).unwrap(), expected);
        }
    }

    fn stage(&self, files: &Files) -> Staging {
        self.stage_with(files, false).unwrap()
    }

    fn stage_with(&self, files: &Files, download_only: bool) -> Result<Staging> {
        let machine = self.machine();
        let store = machine.open_store().unwrap();
        let image = commit(&store, files);
        let request = StageRequest {
            image: &image,
            source: ImageSource::registry("registry.example.org/os:2"),
            download_only,
        };
        stage(&machine, &store, &request, &Silent)
    }

    fn staged(&self, files: &Files) -> Digest {
        deployment_of(self.stage(files))
    }

    fn collect(&self) -> Collected {
        let machine = self.machine();
        let store = machine.open_store().unwrap();
        collect(&machine, &store, &Silent).unwrap()
    }
}

fn deployment_of(staging: Staging) -> Digest {
    match staging {
        Staging::Staged { deployment, .. } => deployment,
        other => panic!("{other:?}"),
    }
}

fn done(deployment: Digest) -> Finalized {
    Finalized::Done {
        deployment,
        shadowed: Vec::new(),
    }
}

#[test]
fn an_update_starts_after_the_shutdown_and_can_be_taken_back() {
    let sample = Sample::new();
    let first = sample.machine().booted();
    let second = sample.staged(&files("2"));
    assert_ne!(first, second);
    assert_eq!(sample.esp().menu().unwrap().deployments(), [first]);
    let shown = status(&sample.root.path()).unwrap().host.status;
    assert_eq!(
        shown.staged.unwrap().composefs.unwrap().verity,
        second.to_string()
    );
    let machine = sample.machine();
    assert_eq!(finalize(&machine).unwrap(), done(second));
    assert_eq!(finalize(&machine).unwrap(), Finalized::Nothing);
    drop(machine);
    assert_eq!(sample.reboot(), second);
    let menu = sample.esp().menu().unwrap();
    assert_eq!(menu.deployments(), [second, first]);
    let names: Vec<_> = menu.entries.iter().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["bootc_example-2-1+3.conf", "bootc_example-1-0.conf"]);
    let options = format!("root=UUID=1 rw mine=1 composefs=?{second} quiet");
    assert_eq!(menu.entries[0].entry.options, options);
    // Both start with the same kernel.
    assert_eq!(fs::read_dir(sample.path("boot/EFI/Linux")).unwrap().count(), 1);
    let back = rollback(&sample.machine()).unwrap();
    assert_eq!(back, RolledBack::Queued(first));
    assert_eq!(rollback(&sample.machine()).unwrap(), RolledBack::Queued(second));
    rollback(&sample.machine()).unwrap();
    assert_eq!(sample.reboot(), first);
}

#[test]
fn what_is_downloaded_waits() {
    let sample = Sample::new();
    let first = sample.machine().booted();
    let second = deployment_of(sample.stage_with(&files("2"), true).unwrap());
    assert_eq!(finalize(&sample.machine()).unwrap(), Finalized::Locked(second));
    assert_eq!(unlock(&sample.machine()).unwrap(), second);
    assert_eq!(finalize(&sample.machine()).unwrap(), done(second));
    assert_eq!(sample.reboot(), second);
    assert!(matches!(
        unlock(&sample.machine()),
        Err(DeployError::NothingStaged)
    ));
    assert!(sample.esp().menu().unwrap().of(&first).is_some());
}

#[test]
fn a_rollback_drops_what_is_staged() {
    let sample = Sample::new();
    let first = sample.machine().booted();
    assert!(matches!(
        rollback(&sample.machine()),
        Err(DeployError::NothingToRollBackTo)
    ));
    let second = sample.staged(&files("2"));
    assert_eq!(rollback(&sample.machine()).unwrap(), RolledBack::Dropped(second));
    assert_eq!(finalize(&sample.machine()).unwrap(), Finalized::Nothing);
    assert_eq!(sample.reboot(), first);
    assert!(!sample.path(&format!("sysroot/state/deploy/{second}")).exists());
}

#[test]
fn what_no_deployment_needs_goes() {
    let sample = Sample::new();
    let first = sample.machine().booted();
    let second = sample.staged(&files("2"));
    assert_eq!(sample.collect().deployments, 0);
    finalize(&sample.machine()).unwrap();
    sample.reboot_healthy();
    let third = sample.staged(&files("3"));
    finalize(&sample.machine()).unwrap();
    assert_eq!(sample.reboot_healthy(), third);
    let collected = sample.collect();
    assert_eq!(collected.deployments, 1);
    assert!(collected.objects > 0);
    sample.require_bootable(&second);
    sample.require_bootable(&third);
    assert!(!sample.path(&format!("sysroot/composefs/images/{first}")).exists());
    assert_eq!(sample.collect(), Collected::default());
    let store = sample.machine().open_store().unwrap();
    assert!(
        store
            .verify(&Silent, osmith_report::StepId(0))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn an_update_from_a_deployment_on_trial_keeps_the_one_that_is_not() {
    let sample = Sample::new();
    let first = sample.machine().booted();
    for version in ["2", "3"] {
        sample.staged(&files(version));
        finalize(&sample.machine()).unwrap();
        sample.reboot();
        sample.collect();
    }
    let menu = sample.esp().menu().unwrap();
    assert_eq!(menu.entries.len(), 3);
    assert_eq!(menu.deployments()[2], first);
    sample.reboot_healthy();
    let fourth = sample.staged(&files("4"));
    finalize(&sample.machine()).unwrap();
    let menu = sample.esp().menu().unwrap();
    assert_eq!(menu.deployments(), [fourth, sample.machine().booted()]);
}

#[test]
fn contents_that_only_a_layer_has_are_found_and_those_of_other_folders_are_not_needed() {
    let sample = Sample::new();
    let machine = sample.machine();
    let store = machine.open_store().unwrap();
    let mut files = files("2");
    files.insert("boot/leftover", vec![8; 100]);
    let image = commit(&store, &files);
    let object = |bytes: &[u8]| store.object_file(&Digest::of(bytes));
    fs::remove_file(object(&[8; 100])).unwrap();
    assert!(incomplete_layers(&store, &image).unwrap().is_empty());
    fs::remove_file(object(&files["usr/share/version"])).unwrap();
    let incomplete: Vec<_> = incomplete_layers(&store, &image).unwrap().into_iter().collect();
    assert_eq!(incomplete, image.config.rootfs.diff_ids);
    let request = StageRequest {
        image: &image,
        source: ImageSource::registry("registry.example.org/os:2"),
        download_only: false,
    };
    let error = stage(&machine, &store, &request, &Silent).unwrap_err();
    assert!(
        matches!(error, DeployError::MissingObjects { count: 1, .. }),
        "{error}"
    );
}

#[test]
fn pinned_deployments_stay() {
    let sample = Sample::new();
    let first = sample.machine().booted();
    assert!(set_pinned(&sample.machine(), &first, true).unwrap());
    assert!(!set_pinned(&sample.machine(), &first, true).unwrap());
    for version in ["2", "3", "4"] {
        sample.staged(&files(version));
        finalize(&sample.machine()).unwrap();
        sample.reboot_healthy();
        sample.collect();
    }
    let menu = sample.esp().menu().unwrap();
    assert_eq!(menu.entries.len(), 3);
    assert_eq!(menu.deployments()[2], first);
    sample.require_bootable(&first);
    let shown = status(&sample.root.path()).unwrap().host.status;
    assert!(shown.other_deployments[0].pinned);
    let machine = sample.machine();
    let digits = first.to_string();
    assert_eq!(find_deployment(&machine, Some(&digits[..8])).unwrap(), first);
    assert_eq!(
        find_deployment(&machine, Some("booted")).unwrap(),
        machine.booted()
    );
    assert!(find_deployment(&machine, Some("0")).is_err());
}

#[test]
fn the_deployment_before_can_be_staged_again() {
    let sample = Sample::new();
    let first = sample.machine().booted();
    sample.staged(&files("2"));
    finalize(&sample.machine()).unwrap();
    let second = sample.reboot();
    assert_eq!(sample.staged(&files("1")), first);
    let origin = sample.machine().origin(&first).unwrap();
    assert_eq!(origin.source.image, "registry.example.org/os:1");
    assert_eq!(finalize(&sample.machine()).unwrap(), done(first));
    assert_eq!(sample.reboot(), first);
    assert_eq!(sample.esp().menu().unwrap().deployments(), [first, second]);
    let origin = sample.machine().origin(&first).unwrap();
    assert_eq!(origin.source.image, "registry.example.org/os:2");
    assert!(
        !sample
            .path(&format!("sysroot/state/deploy/{first}/etc.staged"))
            .exists()
    );
}

#[test]
fn the_same_files_under_another_name_are_only_noted() {
    let sample = Sample::new();
    let first = sample.machine().booted();
    assert_eq!(sample.stage(&files("1")), Staging::Running(first));
    assert_eq!(finalize(&sample.machine()).unwrap(), Finalized::Nothing);
    let origin = sample.machine().origin(&first).unwrap();
    assert_eq!(origin.source.image, "registry.example.org/os:2");
    assert_eq!(sample.reboot(), first);
}

#[test]
fn kernel_arguments_of_the_next_start_change() {
    let sample = Sample::new();
    let change = |append: &str| KargsChange {
        append: vec![append.to_owned()],
        ..KargsChange::default()
    };
    change_kargs(&sample.machine(), &change("a=1")).unwrap();
    assert!(kargs(&sample.machine()).unwrap().contains(&"a=1".to_owned()));
    let second = sample.staged(&files("2"));
    change_kargs(&sample.machine(), &change("b=2")).unwrap();
    let current = sample.esp().menu().unwrap();
    assert!(!current.entries[0].entry.options.contains("b=2"));
    finalize(&sample.machine()).unwrap();
    assert_eq!(sample.reboot(), second);
    let options = kargs(&sample.machine()).unwrap();
    assert!(
        options.ends_with(&["a=1".to_owned(), "b=2".to_owned()]),
        "{options:?}"
    );
    assert!(options.contains(&"a=1".to_owned()));
}

#[test]
fn images_that_cannot_run_here_are_refused() {
    let sample = Sample::new();
    let first = sample.machine().booted();
    let mut without_kernel = files("2");
    without_kernel.remove("usr/lib/modules/6.12.1/vmlinuz");
    let error = sample.stage_with(&without_kernel, false).unwrap_err();
    assert!(error.to_string().contains("no kernel"), "{error}");
    let machine = sample.machine();
    let store = machine.open_store().unwrap();
    let mut image = commit(&store, &files("2"));
    image.config.architecture = "mips".to_owned();
    let request = StageRequest {
        image: &image,
        source: ImageSource::registry("registry.example.org/os:2"),
        download_only: false,
    };
    let error = stage(&machine, &store, &request, &Silent).unwrap_err();
    assert!(matches!(error, DeployError::Architecture { .. }), "{error}");
    drop(machine);
    assert_eq!(finalize(&sample.machine()).unwrap(), Finalized::Nothing);
    assert_eq!(sample.reboot(), first);
}

#[test]
fn changes_of_etc_come_along() {
    let sample = Sample::new();
    let first = sample.machine().booted();
    for (path, text) in [("etc/issue", "mine"), ("etc/new.d/own", "own")] {
        fs::create_dir_all(sample.path(path).parent().unwrap()).unwrap();
        fs::write(sample.path(path), text).unwrap();
    }
    let mut changed = files("2");
    changed.insert("etc/motd", b"welcome".to_vec());
    let Staging::Staged {
        deployment,
        shadowed,
        left,
    } = sample.stage(&changed)
    else {
        panic!("nothing is staged");
    };
    assert_eq!(shadowed, [PathBuf::from("issue")]);
    assert_eq!(left, []);
    // What is changed after staging comes along as well.
    fs::write(sample.path("etc/late"), "late").unwrap();
    fs::remove_file(sample.path("etc/hosts")).unwrap();
    fs::write(sample.path("etc/hosts"), "127.0.0.1 other\n").unwrap();
    let finalized = finalize(&sample.machine()).unwrap();
    assert_eq!(finalized, Finalized::Done { deployment, shadowed });
    sample.reboot();
    let read = |path: &str| fs::read_to_string(sample.path(path)).unwrap();
    let found = ["etc/issue", "etc/new.d/own", "etc/motd", "etc/late", "etc/hosts"].map(read);
    assert_eq!(found, ["mine", "own", "welcome", "late", "127.0.0.1 other\n"]);
    rollback(&sample.machine()).unwrap();
    assert_eq!(sample.reboot(), first);
    assert_eq!(read("etc/issue"), "mine");
    assert!(!sample.path("etc/motd").exists());
}

#[test]
fn a_file_that_is_a_folder_in_the_image_is_told_before_anything_is_staged() {
    let sample = Sample::new();
    let first = sample.machine().booted();
    fs::write(sample.path("etc/app"), "mine").unwrap();
    let mut changed = files("2");
    changed.insert("etc/app/settings", b"x".to_vec());
    let error = sample.stage_with(&changed, false).unwrap_err();
    assert!(error.to_string().contains("/etc/app is no folder"), "{error}");
    assert_eq!(finalize(&sample.machine()).unwrap(), Finalized::Nothing);
    assert_eq!(sample.collect().deployments, 1);
    assert_eq!(sample.reboot(), first);
}
