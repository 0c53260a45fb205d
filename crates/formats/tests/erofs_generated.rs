//! EROFS images of generated trees, judged by `fsck.erofs` and by the kernel.

#![allow(clippy::print_stderr, reason = "a test says what it could not do")]

mod erofs_image;
mod ext4_image;

use std::path::Path;
use std::process::Command;

use erofs_image::{Mount, compare, write_image};
use ext4_image::trees::tree;
use osmith_formats::erofs::{File, Options, Storage};
use osmith_formats::tree::{Timestamp, Tree};
use osmith_formats::{erofs, ext4};
use osmith_testing::oracle;
use proptest::prelude::*;

/// The same tree with files of some megabytes at most, and no more attributes than an inode can have.
fn erofs_tree(tree: &Tree<ext4::File>) -> Tree<File> {
    let mut mapped = tree.map(|file| File {
        source: file.source,
        size_bytes: file.size_bytes % 3_000_000,
        storage: if file.verity {
            Storage::Plain
        } else {
            Storage::Compressed
        },
    });
    for inode in mapped.inodes_mut() {
        inode.metadata.xattrs.retain(|_, value| value.len() <= 6000);
    }
    mapped
}

/// Has `fsck.erofs` look at all of an image. Versions before 1.8 know no Zstandard.
fn check_image(image: &Path) {
    let Some(fsck) = oracle::require("fsck.erofs") else {
        return;
    };
    let version = Command::new(&fsck).arg("-V").output().unwrap();
    if !String::from_utf8_lossy(&version.stdout).contains("zstd") {
        eprintln!("SKIPPED: this fsck.erofs knows no Zstandard");
        return;
    }
    let output = Command::new(fsck).arg("--extract").arg(image).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn check(tree: &Tree<ext4::File>, options: &Options) {
    let tree = erofs_tree(tree);
    let image = write_image(&tree, options);
    check_image(image.path());
    let start = std::fs::read(image.path()).unwrap();
    assert_eq!(erofs::volume_uuid(&start), Some(options.uuid));
    if let Some(mount) = Mount::of(image.path()) {
        compare(&tree, mount.path());
    }
}

fn options() -> impl Strategy<Value = Options> {
    let cluster_blocks = prop_oneof![Just(1), Just(2), 1..240u32, Just(240)];
    (any::<[u8; 16]>(), 1..3000u32, cluster_blocks).prop_map(|(uuid, first_block, cluster_blocks)| Options {
        uuid,
        volume_name: "generated".to_owned(),
        build_time: Timestamp {
            seconds: 1_650_000_000,
            nanoseconds: 0,
        },
        first_block,
        cluster_bytes: cluster_blocks * 4096,
        ..Options::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn generated_trees_are_clean_and_what_the_kernel_sees(tree in tree(60), options in options()) {
        check(&tree, &options);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    #[ignore = "long"]
    fn many_generated_trees_are_clean_and_what_the_kernel_sees(tree in tree(200), options in options()) {
        check(&tree, &options);
    }
}
