//! ext4 file systems of generated trees, judged by `e2fsck` and by the kernel.

mod ext4_image;

use ext4_image::mounted::{Mount, compare};
use ext4_image::trees::tree;
use ext4_image::{MIB, check_image, options, write_image};
use osmith_formats::ext4::{File, minimum_size_bytes};
use osmith_formats::tree::Tree;
use proptest::prelude::*;

fn check(tree: &Tree<File>, free_bytes: u64) {
    let size_bytes = minimum_size_bytes(tree, &options(0), free_bytes).unwrap();
    let image = write_image(tree, &options(size_bytes));
    check_image(image.path());
    if let Some(mount) = Mount::of(image.path(), "ro") {
        compare(tree, mount.path());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn generated_trees_are_clean_and_what_the_kernel_sees(
        tree in tree(60),
        free_bytes in prop_oneof![Just(0), 0..600 * MIB],
    ) {
        check(&tree, free_bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    #[ignore = "long"]
    fn many_generated_trees_are_clean_and_what_the_kernel_sees(
        tree in tree(200),
        free_bytes in prop_oneof![Just(0), 0..9000 * MIB],
    ) {
        check(&tree, free_bytes);
    }
}
