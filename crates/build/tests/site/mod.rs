//! A store and a build context in a temporary directory.

// Every test program uses a part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;

use osmith_build::plan::{ImageFormat, Platforms};
use osmith_build::{
    BuildError, BuiltImage, ContainerfileText, NameService, Outside, OutsideError, Request, Squash, Times,
};
use osmith_formats::tree::{Content, Node, Tree};
use osmith_image::registry::{DownloadError, Downloaded, PullPolicy, Validators};
use osmith_image::store::{Access, Image, Store};
use osmith_image::{Platform, Reference};
use osmith_report::{Failure, Observer, Silent, StepId};
use osmith_testing::oracle;
use serde_json::Map;

/// Other machines are not there.
pub(crate) struct Nobody;

impl Outside for Nobody {
    fn pull(
        &self,
        name: &Reference,
        _: &Platform,
        _: &Store,
        _: &dyn Observer,
    ) -> Result<Image, OutsideError> {
        panic!("{name} is to be fetched");
    }

    fn download(
        &self,
        url: &str,
        _: &Validators,
        _: &Store,
        _: &dyn Observer,
        _: StepId,
    ) -> Result<Option<Downloaded>, DownloadError> {
        Err(DownloadError::Status {
            url: url.to_owned(),
            status: 404,
        })
    }
}

/// Builds several images without other machines.
#[allow(clippy::result_large_err)]
pub(crate) fn build_all(
    store: &Store,
    requests: &[Request],
    observer: &dyn Observer,
) -> Result<Vec<BuiltImage>, BuildError> {
    osmith_build::build(store, requests, &Nobody, observer)
}

/// Builds without other machines.
#[allow(clippy::result_large_err)]
pub(crate) fn build(
    store: &Store,
    request: &Request,
    observer: &dyn Observer,
) -> Result<BuiltImage, BuildError> {
    let built = build_all(store, std::slice::from_ref(request), observer)?;
    Ok(built.into_iter().next().unwrap())
}

pub(crate) struct Site {
    _directory: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) context: std::path::PathBuf,
}

fn platform() -> Platform {
    Platform {
        architecture: "amd64".to_owned(),
        os: "linux".to_owned(),
        variant: None,
        extra: Map::new(),
    }
}

impl Site {
    pub(crate) fn new(files: &[(&str, &str)]) -> Site {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store"), Access::ReadWrite).unwrap();
        let context = directory.path().join("context");
        std::fs::create_dir(&context).unwrap();
        let site = Site {
            _directory: directory,
            store,
            context,
        };
        for (name, text) in files {
            site.write(name, text);
        }
        site
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.context.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn request(&self, containerfile: &str) -> Request {
        Request {
            context: self.context.clone(),
            ignore_file: None,
            containerfile: ContainerfileText {
                name: "Containerfile".to_owned(),
                bytes: containerfile.as_bytes().to_vec(),
                path: None,
            },
            tags: vec!["localhost/test".parse().unwrap()],
            build_args: BTreeMap::new(),
            target: None,
            first_base: None,
            squash: Squash::Nothing,
            pull: PullPolicy::Never,
            contexts: BTreeMap::new(),
            secrets: BTreeMap::new(),
            agents: BTreeMap::new(),
            format: ImageFormat::Oci,
            no_cache: false,
            jobs: 2,
            platforms: Platforms {
                target: platform(),
                build: platform(),
            },
            is_platform_given: false,
            created: 1_700_000_000,
            times: Times::Own,
            annotations: BTreeMap::new(),
            inherits_annotations: true,
            unset_annotations: Vec::new(),
            labels: BTreeMap::new(),
            unset_labels: Vec::new(),
            omits_history: false,
            name_service: NameService::default(),
            run: osmith_build::RunSettings::default(),
            env: BTreeMap::new(),
            unset_env: Vec::new(),
        }
    }

    pub(crate) fn build(&self, containerfile: &str) -> BuiltImage {
        match build(&self.store, &self.request(containerfile), &Silent) {
            Ok(built) => built,
            Err(error) => panic!("{}", told(&error)),
        }
    }

    pub(crate) fn fails(&self, containerfile: &str) -> String {
        told(&build(&self.store, &self.request(containerfile), &Silent).unwrap_err())
    }

    pub(crate) fn tree(&self, built: &BuiltImage) -> Tree<Content> {
        built.image.tree(&self.store).unwrap()
    }

    /// `MODE UID:GID PATH` and what is there.
    pub(crate) fn listing(&self, built: &BuiltImage) -> String {
        let tree = self.tree(built);
        let mut text = String::new();
        for (path, id) in tree.walk().into_iter().skip(1) {
            let inode = tree.inode(id);
            let what = match &inode.node {
                Node::Directory(_) => "/".to_owned(),
                Node::Regular(content) => {
                    let mut bytes = Vec::new();
                    std::io::Read::read_to_end(&mut self.store.read_content(content).unwrap(), &mut bytes)
                        .unwrap();
                    format!(" {:?}", String::from_utf8_lossy(&bytes))
                }
                Node::Symlink(target) => format!(" -> {}", String::from_utf8_lossy(target)),
                _ => " special".to_owned(),
            };
            let metadata = &inode.metadata;
            let path = String::from_utf8_lossy(&path);
            text += &format!(
                "{:04o} {}:{} {path}{what}\n",
                metadata.mode, metadata.uid, metadata.gid
            );
        }
        text
    }
}

const BASE: &str = "FROM scratch
COPY --chmod=0755 busybox /bin/
COPY passwd group /etc/
COPY <<init /tmp/
init
";

/// A site whose image `localhost/base` has busybox; `None`, visibly, where RUN cannot be tried.
pub(crate) fn busybox_site() -> Option<Site> {
    let busybox: std::path::PathBuf = oracle::require("busybox")?;
    if !oracle::require_root("RUN") {
        return None;
    }
    let site = Site::new(&[
        ("passwd", "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n"),
        ("group", "root:x:0:\nweb:x:33:\nlogs:x:50:web\n"),
    ]);
    std::fs::copy(busybox, site.context.join("busybox")).unwrap();
    let applets = "[\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]";
    let mut request = site.request(&format!("{BASE}RUN {applets}\n"));
    request.tags = vec!["localhost/base".parse().unwrap()];
    if let Err(error) = build(&site.store, &request, &Silent) {
        panic!("{}", told(&error));
    }
    Some(site)
}

pub(crate) fn told(error: &BuildError) -> String {
    let mut text = format!("{:?}: {error}\n", error.class());
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!("because: {error}\n");
        cause = error.source();
    }
    text += &error.excerpt().unwrap_or_default();
    for hint in error.hints() {
        text += &format!("\nhint: {hint}");
    }
    text
}
