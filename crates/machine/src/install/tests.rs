use std::collections::{BTreeMap, HashMap};
use std::io;

use osmith_formats::tree::{Content, Inode, InodeId, Metadata, Node, Timestamp};

use osmith_image::store::RecordContents;

use super::*;

/// An image in memory.
struct Sample {
    tree: Tree,
    objects: HashMap<Digest, Vec<u8>>,
}

impl Sample {
    fn new() -> Self {
        let mtime = Timestamp {
            seconds: 1_700_000_000,
            nanoseconds: 0,
        };
        let mut sample = Sample {
            tree: Tree::new(Metadata {
                mode: 0o755,
                mtime,
                ..Metadata::default()
            }),
            objects: HashMap::new(),
        };
        for folder in [
            "boot",
            "sysroot",
            "run",
            "var/lib",
            "etc",
            "usr/lib/modules/6.12.1/kernel",
        ] {
            sample.folder(folder);
        }
        sample.file("usr/lib/modules/6.12.1/vmlinuz", &[1; 5000]);
        sample.file("usr/lib/modules/6.12.1/initramfs.img", &[2; 9000]);
        sample.file("usr/lib/systemd/boot/efi/systemd-bootx64.efi", &[3; 200]);
        sample.file(
            "usr/lib/os-release",
            b"ID=example-os\nVERSION_ID=12.3\nPRETTY_NAME=\"Example OS 12\"\n",
        );
        sample.file("etc/hosts", b"127.0.0.1 localhost\n");
        sample.file("etc/long", &[b'x'; 100]);
        sample.file("etc/.updated", b"");
        sample.file("var/lib/seed", &[7; 65]);
        sample.file(
            "usr/lib/bootc/kargs.d/20-b.toml",
            b"kargs = [\"quiet\", \"x=1\"]\n",
        );
        let console = b"kargs = [\"console=ttyS0\"]\nmatch-architectures = [\"x86_64\"]\n";
        sample.file("usr/lib/bootc/kargs.d/10-a.toml", console);
        sample.file("usr/lib/bootc/kargs.d/README", b"not for machines");
        sample
    }

    fn folder(&mut self, path: &str) -> InodeId {
        path.split('/').fold(self.tree.root(), |parent, name| {
            self.tree.child(parent, name.as_bytes()).unwrap_or_else(|| {
                let metadata = self.tree.inode(parent).metadata.clone();
                let node = Node::Directory(BTreeMap::new());
                let id = self.tree.add(Inode { metadata, node });
                self.tree.link(parent, name.as_bytes(), id);
                id
            })
        })
    }

    fn file(&mut self, path: &str, data: &[u8]) {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let content = if data.len() <= osmith_formats::tree::INLINE_MAX_BYTES {
            Content::Inline(data.into())
        } else {
            let digest = Digest::of(data);
            self.objects.insert(digest, data.to_vec());
            Content::Object {
                digest,
                size_bytes: data.len() as u64,
            }
        };
        let parent = self.folder(parent);
        let id = self.tree.add(Inode {
            metadata: Metadata {
                mode: 0o600,
                ..self.tree.inode(parent).metadata.clone()
            },
            node: Node::Regular(content),
        });
        self.tree.link(parent, name.as_bytes(), id);
    }

    fn remove(&mut self, path: &str) {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = self.tree.lookup(parent.as_bytes()).unwrap();
        self.tree.unlink(parent, name.as_bytes()).unwrap();
    }

    fn deploy(&self) -> Result<Deployment, InstallError> {
        self.deploy_with(None)
    }

    fn deploy_with(&self, local: Option<Tree>) -> Result<Deployment, InstallError> {
        let arguments = ["x=1", "a b=c", "d=e f"].map(str::to_owned);
        self.deploy_as(InstallOptions {
            root: "UUID=11111111-2222-3333-4444-555555555555".to_owned(),
            kernel_arguments: arguments.to_vec(),
            source: ImageSource::registry("registry.example.org/os:1"),
            missing_verity_allowed: false,
            local,
        })
    }

    fn deploy_as(&self, options: InstallOptions) -> Result<Deployment, InstallError> {
        let image = InstallImage {
            tree: self.tree.clone(),
            architecture: Architecture::X86_64,
            manifest: b"manifest",
            config: b"config",
            records: vec![
                Record {
                    path: "names/os".to_owned(),
                    contents: RecordContents::Bytes(b"digest".to_vec()),
                },
                Record {
                    path: "layers/1".to_owned(),
                    contents: RecordContents::Stored { size_bytes: 7 },
                },
            ],
        };
        deployment(image, &options, &mut |digest| {
            let object = self.objects.get(digest).cloned();
            object.ok_or_else(|| io::Error::other("no such object"))
        })
    }
}

fn bytes_at<'a>(deployed: &'a Deployment, tree: &Tree<InstallFile>, path: &str) -> &'a [u8] {
    match data_at(deployed, tree, path) {
        FileData::Bytes(bytes) => bytes,
        other => panic!("{path} is {other:?}"),
    }
}

fn data_at<'a>(deployed: &'a Deployment, tree: &Tree<InstallFile>, path: &str) -> &'a FileData {
    &deployed.sources[file_at(tree, path).source as usize]
}

fn file_at<'a>(tree: &'a Tree<InstallFile>, path: &str) -> &'a InstallFile {
    let id = tree
        .lookup(path.as_bytes())
        .unwrap_or_else(|| panic!("{path} is missing"));
    match &tree.inode(id).node {
        Node::Regular(file) => file,
        other => panic!("{path} is {other:?}"),
    }
}

fn link_at(tree: &Tree<InstallFile>, path: &str) -> String {
    match &tree.inode(tree.lookup(path.as_bytes()).unwrap()).node {
        Node::Symlink(target) => String::from_utf8(target.to_vec()).unwrap(),
        other => panic!("{path} is {other:?}"),
    }
}

#[test]
fn the_boot_entry_is_that_of_bootc() {
    let deployed = Sample::new().deploy().unwrap();
    let id = deployed.digest;
    let text = bytes_at(
        &deployed,
        &deployed.esp,
        "loader/entries/bootc_example_os-12.3-1.conf",
    );
    let expected = format!(
        "title Example OS 12\nversion 12.3\nlinux /EFI/Linux/bootc_composefs-{id}/vmlinuz\n\
         initrd /EFI/Linux/bootc_composefs-{id}/initrd\n\
         options root=UUID=11111111-2222-3333-4444-555555555555 rw x=1 \"a b=c\" d=\"e f\" composefs={id} \
         console=ttyS0 quiet\nsort-key bootc-example-os-0\n"
    );
    assert_eq!(String::from_utf8_lossy(text), expected);
    let kernel = file_at(&deployed.esp, &format!("EFI/Linux/bootc_composefs-{id}/vmlinuz"));
    assert_eq!(kernel.size_bytes, 5000);
    let loader = data_at(&deployed, &deployed.esp, "EFI/BOOT/BOOTX64.EFI");
    assert_eq!(*loader, FileData::Object(Digest::of(&[3; 200])));
    assert_eq!(deployed.kernel_version, "6.12.1");
    assert_eq!(deployed.title, "Example OS 12");
}

#[test]
fn an_image_with_a_unified_kernel_image_starts_by_that() {
    let mut sample = Sample::new();
    let id = sample.deploy().unwrap().digest;
    let strict = format!("rw composefs={id}");
    let program = crate::uki::tests::sample(&[
        (".cmdline", strict.as_bytes()),
        (".uname", b"6.12.1"),
        (".linux", &[1; 5000]),
        (".initrd", &[2; 9000]),
    ]);
    sample.file("boot/EFI/Linux/6.12.1.efi", &program);
    let options = |kernel_arguments: &[&str], missing_verity_allowed| InstallOptions {
        root: "UUID=1".to_owned(),
        kernel_arguments: kernel_arguments
            .iter()
            .map(|argument| (*argument).to_owned())
            .collect(),
        source: ImageSource::registry("registry.example.org/os:1"),
        missing_verity_allowed,
        local: None,
    };
    let deployed = sample.deploy_as(options(&[], false)).unwrap();
    assert_eq!(deployed.digest, id);
    assert_eq!(deployed.kernel_arguments.join(" "), strict);
    assert_eq!(deployed.kernel_version, "6.12.1");
    let text = bytes_at(
        &deployed,
        &deployed.esp,
        "loader/entries/bootc_example_os-12.3-1.conf",
    );
    let expected = format!(
        "title Example OS 12\nversion 12.3\nefi /EFI/Linux/bootc/bootc_composefs-{id}.efi\nsort-key bootc-example-os-0\n"
    );
    assert_eq!(String::from_utf8_lossy(text), expected);
    let path = format!("EFI/Linux/bootc/bootc_composefs-{id}.efi");
    let installed = data_at(&deployed, &deployed.esp, &path);
    assert_eq!(*installed, FileData::Object(Digest::of(&program)));

    let error = sample.deploy_as(options(&["x=1", "quiet"], false)).unwrap_err();
    assert!(
        error.to_string().ends_with("sealed: 'x=1 quiet' cannot be added"),
        "{error}"
    );
    let error = sample.deploy_as(options(&[], true)).unwrap_err();
    assert!(matches!(error, InstallError::SealedVerity), "{error}");
}

#[test]
fn the_repository_names_every_object_by_its_contents() {
    let sample = Sample::new();
    let deployed = sample.deploy().unwrap();
    let root = &deployed.root;
    assert_eq!(bytes_at(&deployed, root, "composefs/meta.json").len(), 219);
    assert_eq!(
        root.inode(root.lookup(b"composefs").unwrap()).metadata.mode,
        0o700
    );
    let image_link = link_at(root, &format!("composefs/images/{}", deployed.digest));
    let image = bytes_at(
        &deployed,
        root,
        &format!("composefs/{}", image_link.trim_start_matches("../")),
    );
    assert_eq!(Digest::of(image), deployed.digest);
    for digest in sample.objects.keys() {
        let object = file_at(root, &format!("composefs/objects/{}", digest.object_path()));
        assert!(object.verity, "{digest}");
    }
}

#[test]
fn the_manifest_keeps_the_configuration_and_that_the_image() {
    use osmith_formats::splitstream::read;

    let deployed = Sample::new().deploy().unwrap();
    let root = &deployed.root;
    let object = |link: &str| {
        bytes_at(
            &deployed,
            root,
            &format!("composefs/{}", link.trim_start_matches("../")),
        )
    };
    let [manifest, config] = [b"manifest".as_slice(), b"config"].map(Sha256Digest::of);
    let tag = format!("composefs/streams/refs/oci/localhost%2Fbootc-{manifest}");
    assert_eq!(link_at(root, &tag), format!("../../oci-manifest-{manifest}"));
    let config_link = link_at(root, &format!("composefs/streams/oci-config-{config}"));
    let config_stream = read(object(&config_link)).unwrap();
    assert_eq!(config_stream.names["composefs.image.boot.v1"], deployed.digest);
    let manifest_link = link_at(root, &format!("composefs/streams/oci-manifest-{manifest}"));
    let manifest_stream = read(object(&manifest_link)).unwrap();
    assert_eq!(
        manifest_stream.names[&format!("config:{config}")],
        Digest::of(object(&config_link))
    );
    assert_eq!(manifest_stream.objects, [Digest::of(b"manifest")]);
    let document = file_at(
        root,
        &format!("composefs/objects/{}", Digest::of(b"config").object_path()),
    );
    assert!(document.verity);
}

#[test]
fn etc_and_var_are_copies_without_verity() {
    let deployed = Sample::new().deploy().unwrap();
    let root = &deployed.root;
    let deploy = format!("state/deploy/{}", deployed.digest);
    assert_eq!(
        bytes_at(&deployed, root, &format!("{deploy}/etc/hosts")),
        b"127.0.0.1 localhost\n"
    );
    let long = format!("{deploy}/etc/long");
    assert!(matches!(data_at(&deployed, root, &long), FileData::Object(_)));
    assert!(!file_at(root, &long).verity);
    assert!(root.lookup(format!("{deploy}/etc/.updated").as_bytes()).is_none());
    assert_eq!(link_at(root, &format!("{deploy}/var")), "../../os/default/var");
    assert_eq!(file_at(root, "state/os/default/var/lib/seed").size_bytes, 65);
    assert_eq!(link_at(root, "ostree/bootc"), "../composefs/bootc");
    let origin = bytes_at(&deployed, root, &format!("{deploy}/{}.origin", deployed.digest));
    let origin = Origin::parse(std::str::from_utf8(origin).unwrap()).unwrap();
    assert_eq!(origin.manifest_digest, Some(Sha256Digest::of(b"manifest")));
    let kernel_and_initramfs = [[1; 5000].as_slice(), &[2; 9000]].concat();
    let digest = Sha256Digest::of(&kernel_and_initramfs).to_string();
    assert_eq!(origin.boot_digest.as_deref(), digest.strip_prefix("sha256:"));
}

#[test]
fn a_machine_may_start_with_an_etc_of_its_own() {
    let sample = Sample::new();
    let mut local = Sample::new();
    local.file("etc/hostname", b"machine\n");
    local.file("var/lib/mine", b"x");
    local.remove("etc/hosts");
    local.file("usr/lib/os-release", b"ID=other\n");
    let deployed = sample.deploy_with(Some(local.tree)).unwrap();
    assert_eq!(deployed.digest, sample.deploy().unwrap().digest);
    let etc = format!("state/deploy/{}/etc", deployed.digest);
    assert_eq!(
        bytes_at(&deployed, &deployed.root, &format!("{etc}/hostname")),
        b"machine\n"
    );
    assert!(deployed.root.lookup(format!("{etc}/hosts").as_bytes()).is_none());
    assert_eq!(
        bytes_at(&deployed, &deployed.root, "state/os/default/var/lib/mine"),
        b"x"
    );
    assert_eq!(deployed.title, "Example OS 12");
}

#[test]
fn the_same_image_gives_the_same_disk() {
    let [one, two] = [Sample::new(), Sample::new()].map(|sample| sample.deploy().unwrap());
    assert_eq!(one.digest, two.digest);
    assert_eq!(one.root.walk().len(), two.root.walk().len());
    for (path, id) in one.root.walk() {
        let other = two.root.lookup(&path).unwrap();
        assert_eq!(one.root.inode(id).metadata, two.root.inode(other).metadata);
    }
}

#[test]
fn an_image_that_cannot_boot_says_why() {
    type Change = fn(&mut Sample);
    let cases: [(Change, &str); 8] = [
        (|s| s.remove("usr/lib/modules/6.12.1/vmlinuz"), "has no kernel"),
        (|s| s.remove("usr/lib/modules"), "has no kernel"),
        (
            |s| s.file("usr/lib/modules/6.1/vmlinuz", b"k"),
            "several kernels below /usr/lib/modules: 6.1, 6.12.1",
        ),
        (
            |s| s.remove("usr/lib/modules/6.12.1/initramfs.img"),
            "6.12.1/initramfs.img is missing",
        ),
        (
            |s| s.remove("usr/lib/systemd/boot"),
            "no systemd-boot: /usr/lib/systemd/boot/efi/systemd-bootx64.efi",
        ),
        (|s| s.remove("usr/lib/os-release"), "os-release is missing"),
        (
            |s| s.file("usr/lib/bootc/kargs.d/30-c.toml", b"karg = []"),
            "/usr/lib/bootc/kargs.d/30-c.toml",
        ),
        (
            |s| s.objects.clear(),
            "cannot read /usr/lib/modules/6.12.1/vmlinuz",
        ),
    ];
    for (change, expected) in cases {
        let mut sample = Sample::new();
        change(&mut sample);
        let error = sample.deploy().unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
}

#[test]
fn an_image_without_sysroot_is_no_bootable_image() {
    let mut sample = Sample::new();
    let root = sample.tree.root();
    sample.tree.unlink(root, b"sysroot");
    let error = sample.deploy().unwrap_err();
    assert!(matches!(error, InstallError::Boot(_)), "{error}");
    let hints = osmith_report::Failure::hints(&error);
    assert_eq!(hints.len(), 1);
}

#[test]
fn the_machine_knows_the_layers_of_its_image() {
    let deployed = Sample::new().deploy().unwrap();
    let root = &deployed.root;
    assert_eq!(
        bytes_at(&deployed, root, "state/osmith/store/names/os"),
        b"digest"
    );
    let record = data_at(&deployed, root, "state/osmith/store/layers/1");
    assert_eq!(*record, FileData::Record("layers/1".to_owned()));
    let folder = root.lookup(b"state/osmith/store").unwrap();
    assert_eq!(root.inode(folder).metadata.mode, 0o700);
}
