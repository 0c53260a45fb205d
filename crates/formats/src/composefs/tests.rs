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
