//! Our composefs images against upstream's, byte by byte.

use composefs_oracle::{trees, upstream};
use osmith_formats::composefs;
use osmith_formats::tree::{Content, Tree};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

fn compare(tree: &Tree<Content>) -> Result<(), TestCaseError> {
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
