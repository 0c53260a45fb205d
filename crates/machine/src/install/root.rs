//! The root file system of a fresh disk.

use osmith_formats::tree::Tree;
use osmith_formats::verity::Digest;

use super::folders::Folders;
use super::{FileData, InstallError, repository};

/// What the root file system is made of.
pub(super) struct Parts<'a> {
    /// The tree the machine boots from.
    pub(super) bootable: Tree,
    /// The composefs image of `bootable`.
    pub(super) boot_image: Vec<u8>,
    /// Its digest.
    pub(super) digest: Digest,
    /// The manifest of the image.
    pub(super) manifest: &'a [u8],
    /// The configuration of the image.
    pub(super) config: &'a [u8],
    /// The text of the origin file.
    pub(super) origin: String,
}

/// The folders of the root file system; their sources follow `sources`.
pub(super) fn tree(parts: Parts, sources: Vec<FileData>) -> Result<Folders, InstallError> {
    let mtime = parts.bootable.inode(parts.bootable.root()).metadata.mtime;
    let mut root = Folders::new(mtime, sources);
    add_state(&mut root, &parts.bootable, &parts.digest, &parts.origin);
    repository::create(&mut root);
    repository::add_objects(&mut root, parts.bootable);
    repository::add_image(&mut root, &parts.digest, parts.boot_image);
    let documents = repository::Documents {
        manifest: parts.manifest,
        config: parts.config,
    };
    repository::add_documents(&mut root, &documents, &parts.digest)?;
    root.symlink("ostree/bootc", "../composefs/bootc");
    root.folder("boot");
    Ok(root)
}

/// Adds what the machine may change: `/etc` of the deployment, and `/var`.
fn add_state(root: &mut Folders, bootable: &Tree, digest: &Digest, origin: &str) {
    let deploy = format!("state/deploy/{digest}");
    copy_folder(root, &format!("{deploy}/etc"), bootable, "etc");
    copy_folder(root, "state/os/default/var", bootable, "var");
    root.remove(&format!("{deploy}/etc"), ".updated");
    root.symlink(&format!("{deploy}/var"), "../../os/default/var");
    root.text(&format!("{deploy}/{digest}.origin"), origin);
}

/// Copies a folder of the image, or makes an empty one if the image has none.
fn copy_folder(root: &mut Folders, path: &str, tree: &Tree, folder: &str) {
    root.folder(path);
    if let Some(id) = tree.lookup(folder.as_bytes()) {
        root.copy(path, tree, id);
    }
}
