//! The trees our machines boot from against upstream's.

use composefs::generic_tree::OciTransformOptions;
use composefs_boot::BootOps;
use composefs_oracle::{trees, upstream};
use osmith_formats::composefs as ours;
use osmith_formats::tree::{Content, Tree};
use proptest::prelude::*;

/// The boot image as upstream makes it, with the policy in a directory.
fn upstream_image(tree: &Tree<Content>, policy: &std::path::Path) -> Vec<u8> {
    let mut file_system = upstream::file_system(tree);
    file_system
        .transform_for_oci(&OciTransformOptions::default())
        .unwrap();
    file_system
        .transform_for_boot_from_dir(std::fs::File::open(policy).unwrap())
        .unwrap();
    upstream::image_of(file_system)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn boot_images_without_policy_are_upstreams(tree in trees::boot_tree()) {
        let no_policy = tempfile::tempdir().unwrap();
        let bootable = ours::bootable(&tree, &mut |digest| panic!("{digest} is read")).unwrap();
        prop_assert!(ours::image(&bootable).unwrap() == upstream_image(&tree, no_policy.path()));
    }
}
