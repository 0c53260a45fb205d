//! Our composefs images against upstream's, byte by byte.

use std::collections::BTreeSet;

use composefs_oracle::{trees, upstream};
use osmith_formats::composefs;
use osmith_formats::tree::{Content, Node, Tree};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

fn compare(tree: &Tree<Content>) -> Result<(), TestCaseError> {
    find_objects(tree)?;
    let ours = composefs::image(tree).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let theirs = upstream::image(tree);
    let different = ours.iter().zip(&theirs).position(|(a, b)| a != b);
    let lengths = (ours.len(), theirs.len());
    prop_assert!(
        ours == theirs,
        "first difference at {different:x?}, lengths {lengths:x?}"
    );
    Ok(())
}

/// In images of the format that upstream had before, too.
fn find_objects(tree: &Tree<Content>) -> Result<(), TestCaseError> {
    let named = tree.walk().into_iter();
    let named = named.filter_map(|(_, id)| match tree.inode(id).node {
        Node::Regular(Content::Object { digest, .. }) => Some(digest),
        _ => None,
    });
    let expected: BTreeSet<_> = named.collect();
    let found = composefs::objects(&upstream::legacy_image(tree));
    let found = found.map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert!(found == expected, "other objects are found in the legacy image");
    Ok(())
}

fn run(cases: u32, trees: impl Strategy<Value = Tree<Content>>) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&trees, |tree| compare(&tree))
        .unwrap();
}

#[test]
fn images_of_random_trees_are_upstreams() {
    run(300, trees::tree(60));
}

#[test]
fn images_with_large_directories_are_upstreams() {
    run(30, trees::wide_tree());
}

#[test]
#[ignore = "long"]
fn images_of_many_random_trees_are_upstreams() {
    run(5_000, trees::tree(120));
    run(200, trees::wide_tree());
}
