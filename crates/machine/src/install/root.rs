//! The root file system of a fresh disk.

use osmith_formats::tree::Tree;
use osmith_formats::verity::Digest;
use osmith_image::store::{Record, RecordContents};

use super::folders::Folders;
use super::{DeploymentState, FileData, InstallError, PreparedImage, repository};
use crate::origin::Origin;

/// The store of a machine: see [`crate::machine`].
const STORE: &str = "state/osmith/store";

/// What all deployments share of `/var`, from the physical root on.
pub const STATE_VAR: &str = "state/os/default/var";

/// The folders of the root file system of a fresh disk; their sources follow `sources`.
pub(super) fn of_fresh_disk(
    image: PreparedImage,
    state: &DeploymentState,
    records: Vec<Record>,
    sources: Vec<FileData>,
) -> Result<Folders, InstallError> {
    let mtime = image.tree.inode(image.tree.root()).metadata.mtime;
    let mut root = Folders::new(mtime, sources);
    add_state(&mut root, &image, state);
    copy_folder(&mut root, STATE_VAR, local(&image), "var");
    add_repository(&mut root, image, records)?;
    root.symlink("ostree/bootc", "../composefs/bootc");
    root.folder("boot");
    Ok(root)
}

/// The folders of an installation medium: without `/etc` and `/var` of its own, as changes are in memory.
pub(super) fn of_medium(
    image: PreparedImage,
    origin: &Origin,
    records: Vec<Record>,
    sources: Vec<FileData>,
) -> Result<Folders, InstallError> {
    let mtime = image.tree.inode(image.tree.root()).metadata.mtime;
    let mut root = Folders::new(mtime, sources);
    let digest = image.digest;
    root.text(
        &format!("state/deploy/{digest}/{digest}.origin"),
        &origin.to_text(),
    );
    add_repository(&mut root, image, records)?;
    Ok(root)
}

/// What a deployment adds to a root file system that has others, and the image's objects.
pub(super) fn of_addition(
    image: PreparedImage,
    state: Option<&DeploymentState>,
) -> Result<Folders, InstallError> {
    let mtime = image.tree.inode(image.tree.root()).metadata.mtime;
    let mut root = Folders::new(mtime, Vec::new());
    if let Some(state) = state {
        add_state(&mut root, &image, state);
    }
    add_image(
        &mut root,
        &image.digest,
        image.boot_image,
        (image.manifest, image.config),
    )?;
    Ok(root)
}

/// Adds a repository with the image, and what the store knows of it.
fn add_repository(
    root: &mut Folders,
    image: PreparedImage,
    records: Vec<Record>,
) -> Result<(), InstallError> {
    add_records(root, records);
    repository::create(root);
    repository::add_objects(root, image.tree);
    let documents = (image.manifest, image.config);
    add_image(root, &image.digest, image.boot_image, documents)
}

/// Adds what the machine's own store knows of the image. The rest of the store is made when it is first opened.
fn add_records(root: &mut Folders, records: Vec<Record>) {
    root.folder_mode(STORE, 0o700);
    for record in records {
        let path = format!("{STORE}/{}", record.path);
        match record.contents {
            RecordContents::Bytes(bytes) => root.bytes(&path, bytes, false),
            RecordContents::Stored { size_bytes } => root.record(&path, size_bytes, record.path),
        }
    }
}

fn add_image(
    root: &mut Folders,
    digest: &Digest,
    boot_image: Vec<u8>,
    (manifest, config): (&[u8], &[u8]),
) -> Result<(), InstallError> {
    repository::add_image(root, digest, boot_image);
    let documents = repository::Documents { manifest, config };
    repository::add_documents(root, &documents, digest)
}

/// Adds what belongs to the deployment and the machine may change.
fn add_state(root: &mut Folders, image: &PreparedImage, state: &DeploymentState) {
    let (digest, suffix) = (image.digest, state.suffix);
    let deploy = format!("state/deploy/{digest}");
    let etc = format!("{deploy}/etc{suffix}");
    copy_folder(root, &etc, local(image), "etc");
    root.remove(&etc, ".updated");
    root.symlink(&format!("{deploy}/var"), "../../os/default/var");
    root.text(
        &format!("{deploy}/{digest}.origin{suffix}"),
        &state.origin.to_text(),
    );
}

/// The tree with the machine's own part.
fn local<'a>(image: &'a PreparedImage) -> &'a Tree {
    image.local.as_ref().unwrap_or(&image.tree)
}

/// Copies a folder of the image, or makes an empty one if the image has none.
fn copy_folder(root: &mut Folders, path: &str, tree: &Tree, folder: &str) {
    root.folder(path);
    if let Some(id) = tree.lookup(folder.as_bytes()) {
        root.copy(path, tree, id);
    }
}
