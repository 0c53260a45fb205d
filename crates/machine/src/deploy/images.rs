//! Images in a machine's store, whose objects are those of the repository.

use std::collections::{BTreeSet, HashSet};
use std::io::{self, Read};

use osmith_formats::composefs;
use osmith_formats::tree::{Content, Node, Tree};
use osmith_formats::verity::Digest;
use osmith_image::store::{Image, Store};
use osmith_image::{Reference, Sha256Digest};

use super::Result;
use crate::install::unified_kernel;

/// The name by which the store keeps an image, until its deployment is collected.
pub fn image_name(manifest: &Sha256Digest) -> Option<Reference> {
    format!("localhost/deployment:sha256-{}", manifest.hex())
        .parse()
        .ok()
}

/// The diff IDs of layers with contents that the image needs and the repository does not have: a later layer of a
/// deployment that was collected hid them, or the disk lost them.
pub fn incomplete_layers(store: &Store, image: &Image) -> Result<BTreeSet<Sha256Digest>> {
    let tree = image.tree(store)?;
    let mut missing: HashSet<_> = missing_contents(store, &needed(store, &tree))?
        .into_iter()
        .collect();
    // It goes onto the EFI system partition, and is in a folder that is left out.
    if let Some(content) = unified_kernel(&tree)?
        && !store.contains_object(content)?
    {
        missing.insert(content.clone());
    }
    let mut incomplete = BTreeSet::new();
    if missing.is_empty() {
        return Ok(incomplete);
    }
    for (diff_id, layer) in image.config.rootfs.diff_ids.iter().zip(image.layers(store)?) {
        if store
            .layer(&layer)?
            .contents()
            .any(|content| missing.contains(content))
        {
            incomplete.insert(*diff_id);
        }
    }
    Ok(incomplete)
}

/// The tree that a machine boots from, which leaves out some folders; all of it if what decides that is missing.
fn needed(store: &Store, tree: &Tree) -> Tree {
    let bootable = composefs::bootable(tree.clone(), &mut |digest| read_object(store, digest));
    bootable.unwrap_or_else(|_| tree.clone())
}

/// The bytes of an object.
pub(super) fn read_object(store: &Store, digest: &Digest) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    store
        .read_object(digest)
        .map_err(io::Error::other)?
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The contents of files of a tree that are not in the store.
pub(super) fn missing_contents(store: &Store, tree: &Tree) -> Result<Vec<Content>> {
    let mut missing = Vec::new();
    for inode in tree.inodes() {
        if let Node::Regular(content @ Content::Object { .. }) = &inode.node
            && !store.contains_object(content)?
        {
            missing.push(content.clone());
        }
    }
    Ok(missing)
}
