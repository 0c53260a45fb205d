//! The trees our machines boot from against upstream's.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use composefs::generic_tree::OciTransformOptions;
use composefs_boot::BootOps;
use composefs_oracle::{trees, upstream};
use osmith_formats::composefs as ours;
use osmith_formats::tree::{Content, Inode, Metadata, Node, Tree};
use osmith_formats::verity::Digest;
use proptest::collection::vec;
use proptest::prelude::*;

const CONFIG: &str = "etc/selinux/config";
const CONTEXTS: &str = "etc/selinux/test/contexts/files/file_contexts";

/// The boot image as upstream makes it, with the policy in a directory.
fn upstream_image(tree: &Tree<Content>, policy: &Path) -> Vec<u8> {
    let mut file_system = upstream::file_system(tree);
    file_system
        .transform_for_oci(&OciTransformOptions::default())
        .unwrap();
    file_system
        .transform_for_boot_from_dir(fs::File::open(policy).unwrap())
        .unwrap();
    upstream::image_of(file_system)
}

/// Files of a policy by path: patterns that overlap on the names of random trees, and aliases.
fn policy() -> impl Strategy<Value = BTreeMap<String, String>> {
    let patterns = [
        "/",
        "/.*",
        "/[a-m]+(/.*)?",
        "/[^/]*",
        "/usr(/.*)?",
        "/.*/[0-9a-f]{2}",
        "/.*[n-z]",
        "/(usr|boot|run)/?",
        "/.*\\+.*",
        "/etc/selinux(/.*)?",
        "(/.*)?/[a-f][^/]*",
    ];
    let kinds = ["", "", "", " -d", " --", " -l", " -c", " -b", " -p", " -s"];
    let labels = ["a", "b", "c", "<<none>>"];
    let line = (
        proptest::sample::select(patterns.to_vec()),
        proptest::sample::select(kinds.to_vec()),
        proptest::sample::select(labels.to_vec()),
    );
    let lines = vec(
        line.prop_map(|(pattern, kind, label)| format!("{pattern}{kind} {label}\n")),
        0..8,
    );
    let lines = lines.prop_map(|lines| lines.concat());
    let alias = ("/[a-f]", "/(usr|[a-f])");
    let aliases = vec(alias.prop_map(|(path, other)| format!("{path} {other}\n")), 0..4);
    (lines.clone(), lines, aliases).prop_map(|(contexts, local, aliases)| {
        let file = |path: &str, text: String| (path.to_owned(), text);
        [
            file(CONFIG, "SELINUXTYPE=test\n".to_owned()),
            file(CONTEXTS, contexts),
            file(&format!("{CONTEXTS}.local"), local),
            file(&format!("{CONTEXTS}.subs"), aliases.concat()),
        ]
        .into()
    })
}

/// Puts the files into the tree.
fn add_policy(tree: &mut Tree<Content>, policy: &BTreeMap<String, String>) {
    for (path, text) in policy {
        let mut directory = tree.root();
        let (parents, name) = path.rsplit_once('/').unwrap();
        for parent in parents.split('/') {
            directory = tree.child(directory, parent.as_bytes()).unwrap_or_else(|| {
                let metadata = Metadata::default();
                let node = Node::Directory(BTreeMap::new());
                let id = tree.add(Inode { metadata, node });
                tree.link(directory, parent.as_bytes(), id);
                id
            });
        }
        let id = tree.add(Inode {
            metadata: Metadata::default(),
            node: Node::Regular(Content::Object {
                digest: Digest::of(text.as_bytes()),
                size_bytes: text.len() as u64,
            }),
        });
        tree.link(directory, name.as_bytes(), id);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn boot_images_without_policy_are_upstreams(tree in trees::boot_tree()) {
        let no_policy = tempfile::tempdir().unwrap();
        let bootable = ours::bootable(tree.clone(), &mut |digest| panic!("{digest} is read")).unwrap();
        prop_assert!(ours::image(&bootable).unwrap() == upstream_image(&tree, no_policy.path()));
    }

    #[test]
    fn boot_images_with_policy_are_upstreams(mut tree in trees::boot_tree(), policy in policy()) {
        prop_assume!(tree.lookup(b"etc").is_none());
        add_policy(&mut tree, &policy);
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in &policy {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let bootable = ours::bootable(tree.clone(), &mut |digest| {
            let text = policy.values().find(|text| Digest::of(text.as_bytes()) == *digest);
            Ok(text.unwrap().as_bytes().to_vec())
        });
        let bootable = bootable.unwrap();
        prop_assert!(ours::image(&bootable).unwrap() == upstream_image(&tree, directory.path()));
    }
}
