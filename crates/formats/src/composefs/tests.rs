use super::*;
use crate::tree::{Device, Inode, InodeId, Node};
use crate::verity::Digest;

pub(super) fn metadata(mode: u16) -> Metadata {
    Metadata {
        mode,
        ..Metadata::default()
    }
}

pub(super) fn add(tree: &mut Tree<Content>, path: &str, node: Node<Content>) -> InodeId {
    let mode = if matches!(node, Node::Directory(_)) {
        0o755
    } else {
        0o644
    };
    let id = tree.add(Inode {
        metadata: metadata(mode),
        node,
    });
    link(tree, path, id);
    id
}

fn link(tree: &mut Tree<Content>, path: &str, id: InodeId) {
    let (parent, name) = path.rsplit_once('/').unwrap();
    let parent = tree.lookup(parent.as_bytes()).unwrap();
    tree.link(parent, name.as_bytes(), id);
}

fn file(bytes: &[u8]) -> Node<Content> {
    Node::Regular(Content::Inline(bytes.into()))
}

#[test]
fn what_cannot_be_stored_is_refused_with_its_path() {
    let long = vec![b'x'; 70_000];
    let device = Device {
        major: 1 << 12,
        minor: 0,
    };
    let object = Content::Object {
        digest: Digest::of(b""),
        size_bytes: (1 << 43) + 1,
    };
    let refusals = [
        (file(&long), Reason::InlineLength(70_000)),
        (Node::Regular(object), Reason::FileSize((1 << 43) + 1)),
        (Node::Symlink((&b""[..]).into()), Reason::Target),
        (Node::Symlink(long[..4096].into()), Reason::Target),
        (
            Node::BlockDevice(device),
            Reason::Device {
                major: 1 << 12,
                minor: 0,
            },
        ),
    ];
    for (node, reason) in refusals {
        let mut tree = Tree::new(metadata(0o755));
        add(&mut tree, "/a", Node::Directory(Default::default()));
        add(&mut tree, "/a/b", node);
        let path = "a/b".to_owned();
        assert_eq!(image(&tree), Err(Error { path, reason }));
    }
}

#[test]
fn a_directory_with_two_names_is_refused() {
    let mut tree = Tree::new(metadata(0o755));
    let directory = add(&mut tree, "/a", Node::Directory(Default::default()));
    link(&mut tree, "/a/loop", directory);
    let error = image(&tree).unwrap_err();
    assert_eq!((error.path.as_str(), error.reason), ("a", Reason::DirectoryLinks));
    let mut tree = Tree::new(metadata(0o755));
    let root = tree.root();
    tree.link(root, b"self", root);
    assert_eq!(image(&tree).unwrap_err().reason, Reason::DirectoryLinks);
}

#[test]
fn names_that_are_no_file_names_are_refused() {
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0", &[b'n'; 256]] {
        let mut tree = Tree::new(metadata(0o755));
        let id = tree.add(Inode {
            metadata: metadata(0o644),
            node: file(b""),
        });
        tree.link(tree.root(), name, id);
        assert_eq!(image(&tree).unwrap_err().reason, Reason::Name, "{name:?}");
    }
}

#[test]
fn images_have_the_digests_of_upstream() {
    for golden in super::golden::goldens() {
        let digest = Digest::of(&image(&golden.tree).unwrap());
        assert_eq!(digest.to_string(), golden.digest, "{}", golden.name);
    }
}

/// A tree that a machine could boot from, with an SELinux policy of these lines.
fn labelled_tree(contexts: &str, more: &[(&str, &str)]) -> Tree<Content> {
    let mut tree = Tree::new(metadata(0));
    let directories = [
        "/usr",
        "/usr/bin",
        "/boot",
        "/sysroot",
        "/var",
        "/var/home",
        "/etc",
        "/etc/selinux",
        "/etc/selinux/test",
        "/etc/selinux/test/contexts",
        "/etc/selinux/test/contexts/files",
    ];
    for path in directories {
        add(&mut tree, path, Node::Directory(Default::default()));
    }
    add(
        &mut tree,
        "/etc/selinux/config",
        file(b"# SELINUXTYPE=no\nSELINUX=enforcing\nSELINUXTYPE = test \n"),
    );
    for (suffix, text) in [("", contexts)].iter().chain(more) {
        let path = format!("/etc/selinux/test/contexts/files/file_contexts{suffix}");
        let content = Content::Object {
            digest: Digest::of(text.as_bytes()),
            size_bytes: text.len() as u64,
        };
        add(&mut tree, &path, Node::Regular(content));
    }
    tree
}

fn boot(tree: &Tree<Content>, policy: &[&str]) -> Result<Tree<Content>, BootError> {
    bootable(tree.map(Clone::clone), &mut |digest| {
        let found = policy.iter().find(|text| Digest::of(text.as_bytes()) == *digest);
        found
            .map(|text| text.as_bytes().to_vec())
            .ok_or_else(|| std::io::ErrorKind::NotFound.into())
    })
}

fn label_of(tree: &Tree<Content>, path: &str) -> Option<String> {
    let inode = tree.inode(tree.lookup(path.as_bytes()).unwrap());
    let label = inode.metadata.xattrs.get(&b"security.selinux"[..]);
    label.map(|label| String::from_utf8(label.to_vec()).unwrap())
}

#[test]
fn labels_are_those_of_the_last_matching_line() {
    let contexts = "\
        # a comment\n\n/.*  all\n/  -d root\n/usr/bin(/.*)? bin\n/usr/bin/.* -l link\n\
        /home(/.*)? home\n/usr/bin/none -- <<none>>\n";
    let local = "/usr/bin/l[o]cal -- local\n";
    let aliases = "/var/home /home\n";
    let mut tree = labelled_tree(contexts, &[(".local", local), (".subs_dist", aliases)]);
    for name in ["a", "none", "local"] {
        add(&mut tree, &format!("/usr/bin/{name}"), file(name.as_bytes()));
    }
    add(&mut tree, "/usr/bin/link", Node::Symlink((&b"a"[..]).into()));
    let shared = add(&mut tree, "/var/home/shared", file(b"shared"));
    for path in ["/usr/bin/shared-1", "/usr/bin/shared-2", "/var/home/shared-too"] {
        link(&mut tree, path, shared);
    }
    let tree = boot(&tree, &[contexts, local, aliases]).unwrap();
    let labels = [
        ("/", Some("root")),
        ("/usr", Some("all")),
        ("/usr/bin/a", Some("bin")),
        ("/usr/bin/link", Some("link")),
        ("/usr/bin/none", None),
        ("/usr/bin/local", Some("local")),
        ("/var/home", Some("home")),
        ("/var/home/shared", Some("home")),
        ("/usr/bin/shared-1", Some("bin")),
    ];
    for (path, label) in labels {
        assert_eq!(label_of(&tree, path).as_deref(), label, "{path}");
    }
    let inode = |path: &str| tree.lookup(path.as_bytes()).unwrap();
    assert_eq!(inode("/usr/bin/shared-1"), inode("/usr/bin/shared-2"));
    assert_ne!(inode("/usr/bin/shared-1"), inode("/var/home/shared"));
}

#[test]
fn a_policy_that_cannot_be_applied_is_refused() {
    let refusals = [
        ("/a\n", "line 1"),
        ("\n/a -x label\n", "line 2"),
        ("/a -d\n", "line 1"),
        ("/a b c d\n", "line 1"),
        ("/a(?!b) label\n", "look-around"),
    ];
    for (contexts, expected) in refusals {
        let error = boot(&labelled_tree(contexts, &[]), &[contexts]).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let mut tree = labelled_tree("", &[]);
    assert!(matches!(boot(&tree, &[]), Err(BootError::Unreadable { .. })));
    let files = tree.lookup(b"etc/selinux/test/contexts/files").unwrap();
    tree.unlink(files, b"file_contexts");
    assert!(matches!(boot(&tree, &[]), Err(BootError::NoPolicyFile(_))));
}

#[test]
fn a_boot_tree_has_nothing_of_its_builder() {
    let mut tree = Tree::new(metadata(0o700));
    for path in [
        "/usr",
        "/run",
        "/run/lock",
        "/boot",
        "/boot/efi",
        "/sysroot",
        "/etc",
    ] {
        let id = add(&mut tree, path, Node::Directory(Default::default()));
        let metadata = &mut tree.inode_mut(id).metadata;
        metadata.mtime.seconds = 5;
        metadata.mtime.nanoseconds = 6;
        for name in ["user.a", "security.selinux", "security.capability"] {
            metadata.xattrs.insert(name.as_bytes().into(), (&b"x"[..]).into());
        }
    }
    let usr = tree.lookup(b"usr").unwrap();
    tree.inode_mut(usr).metadata.mtime.seconds = 7;
    tree.inode_mut(usr).metadata.mtime.nanoseconds = 8;
    let booted = boot(&tree, &[]).unwrap();
    let paths: Vec<_> = booted.walk().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, [&b""[..], b"boot", b"etc", b"run", b"sysroot", b"usr"]);
    let time = |path: &str| {
        booted
            .inode(booted.lookup(path.as_bytes()).unwrap())
            .metadata
            .mtime
    };
    let times =
        ["", "run", "boot", "sysroot", "etc"].map(|path| (time(path).seconds, time(path).nanoseconds));
    assert_eq!(times, [(7, 8), (7, 8), (7, 6), (7, 6), (5, 6)]);
    assert_eq!(booted.inode(booted.root()).metadata.mode, 0o755);
    for (_, id) in booted.walk() {
        let names: Vec<_> = booted
            .inode(id)
            .metadata
            .xattrs
            .iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, [b"security.capability"]);
    }
    let root = tree.root();
    tree.unlink(root, b"sysroot");
    assert!(matches!(boot(&tree, &[]), Err(BootError::NoDirectory("sysroot"))));
}
