//! The composefs repository of a disk: `composefs/` below the root file system.
//!
//! ```text
//! meta.json                        what the repository is; with fs-verity: a machine may demand it of everything
//! objects/<2 digits>/<126 digits>  the files, named by their fs-verity digest
//! images/<128 digits>              -> ../objects/...: the composefs images
//! ```

use std::collections::BTreeMap;

use osmith_formats::tree::{Content, Node, Tree};
use osmith_formats::verity::Digest;

use super::folders::Folders;
use super::{FileData, InstallFile};

/// What bootc writes for a new repository, byte for byte.
const META_JSON: &str = r#"{
  "version": 1,
  "algorithm": "fsverity-sha512-12",
  "features": {
    "compatible": [],
    "read-only-compatible": [
      "v1_erofs"
    ],
    "incompatible": []
  },
  "erofs_formats": {
    "default": 1
  }
}
"#;

/// Makes an empty repository.
pub(super) fn create(root: &mut Folders) {
    root.folder_mode("composefs", 0o700);
    root.folder("composefs/objects");
    root.folder("composefs/streams/refs");
    root.file("composefs/meta.json", verified(FileData::Bytes(META_JSON.into())));
}

/// Adds the objects of all files of an image.
pub(super) fn add_objects(root: &mut Folders, tree: &Tree) {
    let mut objects = BTreeMap::new();
    for (_, id) in tree.walk() {
        if let Node::Regular(Content::Object { digest, size_bytes }) = tree.inode(id).node {
            objects.insert(digest, size_bytes);
        }
    }
    for (digest, size_bytes) in objects {
        add_object(root, &digest, FileData::Object { digest, size_bytes });
    }
}

/// Adds a composefs image and its name.
pub(super) fn add_image(root: &mut Folders, digest: &Digest, image: Vec<u8>) {
    add_object(root, digest, FileData::Bytes(image));
    let target = format!("../objects/{}", digest.object_path());
    root.symlink(&format!("composefs/images/{digest}"), &target);
}

fn add_object(root: &mut Folders, digest: &Digest, data: FileData) {
    root.file(
        &format!("composefs/objects/{}", digest.object_path()),
        verified(data),
    );
}

fn verified(data: FileData) -> InstallFile {
    InstallFile { data, verity: true }
}
