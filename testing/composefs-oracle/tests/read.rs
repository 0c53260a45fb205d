//! Composefs images are read as the trees they were made of.

use std::collections::{BTreeMap, HashMap};

use composefs_oracle::trees;
use osmith_formats::composefs;
use osmith_formats::tree::{Content, Device, Metadata, Node, Tree};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// A path, the first path of the same inode, and what is there.
type Named = (Vec<u8>, Vec<u8>, Metadata, Node<Content>);

fn names(tree: &Tree<Content>) -> Vec<Named> {
    let mut first = HashMap::new();
    let walk = tree.walk().into_iter();
    walk.map(|(path, id)| {
        let inode = tree.inode(id).clone();
        let node = match inode.node {
            Node::Directory(_) => Node::Directory(BTreeMap::new()),
            node => node,
        };
        let home = first.entry(id).or_insert_with(|| path.clone()).clone();
        (path, home, inode.metadata, node)
    })
    .collect()
}

/// What the tree has in the place of the root's own whiteouts, of which an image cannot tell it apart.
fn is_like_one_of_the_root(root: &Metadata, path: &[u8], metadata: &Metadata, node: &Node<Content>) -> bool {
    let label = root.xattrs.get(b"security.selinux");
    let own = Metadata {
        mode: 0o644,
        xattrs: label
            .map(|label| (&b"security.selinux"[..], label))
            .into_iter()
            .collect(),
        ..root.clone()
    };
    let is_whiteout = *node == Node::CharacterDevice(Device { major: 0, minor: 0 });
    let is_place = path.len() == 2 && path.iter().all(|byte| b"0123456789abcdef".contains(byte));
    is_whiteout && is_place && *metadata == own
}

fn check(tree: &Tree<Content>) -> Result<(), TestCaseError> {
    let fail = |error: &dyn std::fmt::Display| TestCaseError::fail(error.to_string());
    let bytes = composefs::image(tree).map_err(|error| fail(&error))?;
    let read = composefs::read(&bytes).map_err(|error| fail(&error))?;
    let root = &tree.inode(tree.root()).metadata;
    let mut expected = names(tree);
    expected.retain(|(path, _, metadata, node)| !is_like_one_of_the_root(root, path, metadata, node));
    prop_assert!(names(&read) == expected, "the tree is another one");
    prop_assert!(
        composefs::image(&read).as_deref() == Ok(&bytes),
        "the image is another one"
    );
    let objects = expected.iter().filter_map(|(_, _, _, node)| match node {
        Node::Regular(Content::Object { digest, .. }) => Some(*digest),
        _ => None,
    });
    let objects = objects.collect();
    prop_assert!(
        composefs::objects(&bytes) == Ok(objects),
        "the objects are others"
    );
    Ok(())
}

fn run(cases: u32, trees: impl Strategy<Value = Tree<Content>>) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config).run(&trees, |tree| check(&tree)).unwrap();
}

#[test]
fn random_trees_come_back() {
    run(300, trees::tree(60));
}

#[test]
fn large_directories_come_back() {
    run(20, trees::wide_tree());
}

#[test]
#[ignore = "long"]
fn many_random_trees_come_back() {
    run(5_000, trees::tree(120));
    run(200, trees::wide_tree());
}
