use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use osmith_formats::composefs::repository::{BOOT_IMAGE_REF, config_ref};
use osmith_formats::splitstream::{ContentType, Writer};
use osmith_formats::tree::{Inode, Metadata, Tree};
use osmith_image::Sha256Digest;
use osmith_report::Silent;
use osmith_sys::file::open_directory;

use super::*;

const CHEAP: CheckOptions = CheckOptions {
    verity_required: false,
    deep: false,
};
const DEEP: CheckOptions = CheckOptions { deep: true, ..CHEAP };

/// The root of a disk with deployments.
pub(crate) struct Disk {
    directory: tempfile::TempDir,
}

impl Disk {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for folder in ["composefs/images", "composefs/streams", "state/deploy"] {
            fs::create_dir_all(directory.path().join(folder)).unwrap();
        }
        Disk { directory }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    fn open(&self) -> OwnedFd {
        open_directory(self.path()).unwrap()
    }

    pub(crate) fn object(&self, digest: &Digest) -> PathBuf {
        self.path().join("composefs/objects").join(digest.object_path())
    }

    fn add(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let path = self.object(&digest);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        digest
    }

    fn name(&self, path: &str, digest: &Digest) {
        let target = format!("../objects/{}", digest.object_path());
        symlink(target, self.path().join("composefs").join(path)).unwrap();
    }

    /// A deployment whose image has these files; with the streams of its manifest.
    pub(crate) fn deploy(&self, files: &[&str]) -> Deployment {
        let mut tree = Tree::new(Metadata::default());
        for text in files {
            let digest = self.add(text.as_bytes());
            let size_bytes = text.len() as u64;
            let id = tree.add(Inode {
                metadata: Metadata::default(),
                node: Node::Regular(Content::Object { digest, size_bytes }),
            });
            tree.link(tree.root(), &text.as_bytes()[..10], id);
        }
        let image = self.add(&composefs::image(&tree).unwrap());
        self.name(&format!("images/{image}"), &image);
        let stream = |texts: &[&str], name: &str, reference: &Digest| {
            let mut writer = Writer::new(ContentType(*b"ocimanif")).unwrap();
            texts.iter().for_each(|text| writer.inline(text.as_bytes()));
            writer.named_ref(name, reference);
            self.add(&writer.finish().unwrap())
        };
        let number = image.to_string();
        let config = stream(&["config", &number], BOOT_IMAGE_REF, &image);
        let manifest = stream(&["manifest", &number], &config_ref("sha256:0"), &config);
        let sha256 = Sha256Digest::of(number.as_bytes());
        self.name(
            &format!("streams/{}", manifest_stream(&sha256.to_string())),
            &manifest,
        );
        let state = self.path().join(format!("state/deploy/{image}"));
        fs::create_dir(&state).unwrap();
        let origin = format!(
            "[origin]\ncontainer-image-reference = ostree-unverified-image:docker://x\n\n\
             [boot]\nboot_type = bls\n\n[image]\nmanifest_digest = {sha256}\n"
        );
        fs::write(state.join(format!("{image}.origin")), origin).unwrap();
        Deployment {
            image,
            config,
            manifest,
        }
    }

    fn check(&self, options: CheckOptions) -> Checked {
        let disk = self.open();
        let all = deployments(disk.as_fd()).unwrap();
        check(disk.as_fd(), &all, options, &Silent, StepId(0)).unwrap()
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Deployment {
    pub(crate) image: Digest,
    config: Digest,
    manifest: Digest,
}

fn text(start: &str) -> String {
    format!("{start:x<10}{}", "text".repeat(100))
}

/// Two deployments with a file that both have, and one that each has alone.
fn two() -> (Disk, [Deployment; 2], [Digest; 3]) {
    let disk = Disk::new();
    let [both, first, second] = ["both", "first", "second"].map(text);
    let mut found = [[&both, &first], [&both, &second]].map(|texts| disk.deploy(&texts.map(String::as_str)));
    found.sort_by_key(|deployment| deployment.image);
    let digests = [&both, &first, &second].map(|text| Digest::of(text.as_bytes()));
    (disk, found, digests)
}

#[test]
fn a_whole_repository_has_no_damage() {
    let (disk, ..) = two();
    for options in [CHEAP, DEEP] {
        let expected = Checked {
            object_count: 3 + 2 * 3,
            damages: Vec::new(),
        };
        assert_eq!(disk.check(options), expected);
    }
}

#[test]
fn damage_is_found_with_the_deployments_that_need_the_object() {
    type Break = fn(&Path);
    let cases: [(Break, &str, bool); 5] = [
        (|path| fs::remove_file(path).unwrap(), "is missing", true),
        (
            |path| fs::write(path, "short").unwrap(),
            "has 5 bytes instead of 410",
            true,
        ),
        (
            |path| {
                let mut bytes = fs::read(path).unwrap();
                bytes[300] ^= 1;
                fs::write(path, bytes).unwrap();
            },
            "was changed; its digest is",
            false,
        ),
        (
            |path| {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            },
            "cannot be read: it is no regular file",
            true,
        ),
        (
            |path| {
                fs::remove_file(path).unwrap();
                symlink("elsewhere", path).unwrap();
            },
            "cannot be read: cannot open",
            true,
        ),
    ];
    for (damage, words, is_cheap) in cases {
        let (disk, [one, other], [both, ..]) = two();
        damage(&disk.object(&both));
        let found = disk.check(DEEP).damages;
        let [damage] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!(
            (damage.digest, &*damage.deployments),
            (both, &[one.image, other.image][..])
        );
        assert!(damage.reason.to_string().starts_with(words), "{damage}");
        let needed = format!(
            "; needed by deployment {}, {}; its file /{}",
            one.image,
            other.image,
            &text("both")[..10]
        );
        assert!(damage.to_string().ends_with(&needed), "{damage}");
        assert_eq!(disk.check(CHEAP).damages.len(), usize::from(is_cheap), "{words}");
    }
}

#[test]
fn damaged_images_and_streams_are_found_and_the_rest_is_checked_all_the_same() {
    let (disk, [one, other], _) = two();
    let documents = [one.image, one.config, one.manifest];
    for document in documents {
        let path = disk.object(&document);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, [&bytes[..bytes.len() - 1], b"!"].concat()).unwrap();
    }
    fs::remove_file(disk.path().join(format!("composefs/images/{}", other.image))).unwrap();
    let damages = disk.check(CHEAP).damages;
    let named = |digest: &Digest| damages.iter().find(|damage| damage.digest == *digest);
    for document in [one.image, one.manifest] {
        let damage = named(&document).unwrap();
        assert!(matches!(damage.reason, DamageReason::Digest(_)), "{damage}");
        assert_eq!(damage.deployments, [one.image]);
    }
    // What only a damaged stream names is not known.
    assert!(named(&one.config).is_none());
    assert_eq!(named(&other.image).unwrap().reason, DamageReason::Missing);
}

#[test]
fn what_is_no_image_and_what_has_no_verity_is_found() {
    let disk = Disk::new();
    let garbage = disk.add(b"no image");
    disk.name(&format!("images/{garbage}"), &garbage);
    fs::create_dir(disk.path().join(format!("state/deploy/{garbage}"))).unwrap();
    let found = disk.check(CHEAP).damages;
    assert!(
        matches!(
            &*found,
            [Damage {
                reason: DamageReason::Malformed(_),
                ..
            }]
        ),
        "{found:?}"
    );
    let (disk, ..) = two();
    let required = CheckOptions {
        verity_required: true,
        ..CHEAP
    };
    let found = disk.check(required).damages;
    assert_eq!(found.len(), 9);
    assert!(found.iter().all(|damage| damage.reason == DamageReason::NoVerity));
}

#[test]
fn a_disk_without_a_repository_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let disk = open_directory(directory.path()).unwrap();
    assert_eq!(deployments(disk.as_fd()).unwrap(), []);
    let error = check(disk.as_fd(), &[], CHEAP, &Silent, StepId(0)).unwrap_err();
    assert!(matches!(error, CheckError::System(_)), "{error}");
}
