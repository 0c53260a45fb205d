//! What osmith makes of a case.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use osmith_build::plan::ImageFormat;
use osmith_build::{BuildError, BuiltImage, ExtraContext, Request, Squash, Times};
use osmith_formats::tree::Node;
use osmith_report::Silent;
use osmith_sys::sandbox::{Mount, Source};

use crate::base;
use crate::case::Case;
use crate::material::{items, lay_out};
use crate::outcome::{Built, Listing, Metadata, What, line};
use crate::site::{Site, build, told};

/// A store with the base image.
pub(crate) struct Osmith {
    site: Site,
    pub(crate) base: Built,
}

impl Osmith {
    pub(crate) fn new(busybox: &Path) -> Osmith {
        let site = Site::new(&[]);
        std::fs::write(site.context.join("rootfs.tar"), base::rootfs(busybox)).unwrap();
        let mut request = site.request(base::CONTAINERFILE);
        request.tags = vec![base::NAME.parse().unwrap()];
        let built = build(&site.store, &request, &Silent);
        let built = built.unwrap_or_else(|error| panic!("the base image: {}", told(&error)));
        let base = examine(&site, &built);
        Osmith { site, base }
    }

    /// The text of what is built, or what is said.
    pub(crate) fn build(&self, case: &Case) -> Result<String, String> {
        let context = tempfile::tempdir().unwrap();
        let (list, files) = case.context();
        lay_out(context.path(), &items(&list), &files);
        let mut request = self.site.request(case.containerfile());
        request.context = context.path().to_owned();
        request.tags = Vec::new();
        request.no_cache = true;
        for option in pairs(&case.options) {
            apply(&mut request, option)?;
        }
        match build(&self.site.store, &request, &Silent) {
            Ok(built) => Ok(examine(&self.site, &built).text(&self.base)),
            Err(error) => Err(explained(&error, context.path())),
        }
    }
}

/// The words of the options as names with their values.
fn pairs(words: &[String]) -> Vec<(&str, &str)> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for word in words {
        match (word.starts_with('-'), pairs.last_mut()) {
            (true, _) => pairs.push((word, "")),
            (false, Some((_, value))) => *value = word,
            (false, None) => panic!("'{word}' is no option"),
        }
    }
    pairs
}

fn apply(request: &mut Request, (name, value): (&str, &str)) -> Result<(), String> {
    match name {
        "--build-arg" => {
            let (name, value) = value.split_once('=').unwrap_or((value, ""));
            request.build_args.insert(name.to_owned(), value.to_owned());
        }
        "--target" => request.target = Some(value.to_owned()),
        "--squash" => request.squash = Squash::New,
        "--squash-all" => request.squash = Squash::All,
        "--timestamp" => request.times = Times::All(value.parse().unwrap()),
        "--format" => request.format = format(value),
        "--ignorefile" => request.ignore_file = Some(request.context.join(value)),
        "--build-context" => {
            let (name, directory) = value.split_once('=').unwrap();
            let directory = request.context.join(directory);
            request
                .contexts
                .insert(name.to_owned(), ExtraContext::Directory(directory));
        }
        "--label" => {
            let (name, value) = value.split_once('=').unwrap_or((value, ""));
            request.labels.insert(name.to_owned(), value.to_owned());
        }
        "--volume" => {
            let (here, there) = value.split_once(':').unwrap();
            let here = request.context.join(here).canonicalize().unwrap();
            request.run.volumes.push(Mount::new(there, Source::Machine(here)));
        }
        "-f" => {
            let path = request.context.join(value);
            std::fs::write(&path, &request.containerfile.bytes).unwrap();
            request.containerfile.path = Some(path);
        }
        _ => return Err(format!("the test does not know the option {name}")),
    }
    Ok(())
}

fn format(name: &str) -> ImageFormat {
    match name {
        "docker" => ImageFormat::Docker,
        _ => ImageFormat::Oci,
    }
}

/// What is said, without the place of the context.
fn explained(error: &BuildError, context: &Path) -> String {
    told(error).replace(context.to_str().unwrap(), "CONTEXT")
}

fn examine(site: &Site, built: &BuiltImage) -> Built {
    let tree = site.tree(built);
    let mut listing = Listing::new();
    let mut first_names: HashMap<_, Vec<u8>> = HashMap::new();
    let mut paths: Vec<_> = tree.walk().into_iter().skip(1).collect();
    paths.sort();
    for (path, id) in paths {
        let inode = tree.inode(id);
        let what = match &inode.node {
            Node::Directory(_) => What::Directory,
            _ if first_names.contains_key(&id) => What::Link(first_names[&id].clone()),
            Node::Symlink(target) => What::Symlink(target.to_vec()),
            Node::Regular(content) => {
                let mut bytes = Vec::new();
                let mut contents = site.store.read_content(content).unwrap();
                contents.read_to_end(&mut bytes).unwrap();
                What::File(bytes)
            }
            _ => What::Special,
        };
        first_names.entry(id).or_insert_with(|| path.clone());
        let metadata = Metadata {
            mode: inode.metadata.mode.into(),
            uid: inode.metadata.uid,
            gid: inode.metadata.gid,
            mtime: inode.metadata.mtime.seconds,
            xattrs: inode
                .metadata
                .xattrs
                .iter()
                .map(|(name, value)| (name.to_vec(), value.to_vec()))
                .collect(),
        };
        listing.insert(path.clone(), line(&path, &metadata, &what));
    }
    Built {
        listing,
        config: serde_json::to_value(&built.image.config).unwrap(),
    }
}
