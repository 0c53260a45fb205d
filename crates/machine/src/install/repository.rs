//! The composefs repository of a disk: `composefs/` below the root file system.
//!
//! ```text
//! meta.json                        what the repository is; with fs-verity: a machine may demand it of everything
//! objects/<2 digits>/<126 digits>  the files, named by their fs-verity digest
//! images/<128 digits>              -> ../objects/...: the composefs image
//! streams/oci-manifest-sha256:<64 digits>, oci-config-sha256:<64 digits>
//!                                  -> ../objects/...: the manifest and the configuration of the image
//! streams/refs/oci/<tag>           -> ../../oci-manifest-...: what clean-ups leave alone
//! ```
//!
//! Left out on purpose: the streams of the layers. They would bring every file that a later layer replaced or deleted;
//! a program that wants a layer fetches it.

use osmith_formats::composefs::repository::{
    BOOT_IMAGE_REF, META_JSON, config_ref, config_stream, escape_tag, manifest_stream,
};
use osmith_formats::splitstream::{ContentType, Writer};
use osmith_formats::tree::{Content, Inode, Node, Tree};
use osmith_formats::verity::Digest;

use super::InstallError;
use super::folders::Folders;
use osmith_image::Sha256Digest;

/// Makes an empty repository.
pub(super) fn create(root: &mut Folders) {
    root.folder_mode("composefs", 0o700);
    root.folder("composefs/objects");
    root.bytes("composefs/meta.json", META_JSON.into(), true);
}

/// Adds the objects of all files of an image, before any others. Of the image's tree no more is kept than is needed for
/// that.
pub(super) fn add_objects(root: &mut Folders, tree: Tree) {
    let object = |inode: Inode<Content>| match inode.node {
        Node::Regular(Content::Object { digest, size_bytes }) => Some((digest, size_bytes)),
        _ => None,
    };
    let mut objects: Vec<(Digest, u64)> = tree.into_inodes().filter_map(object).collect();
    objects.sort_unstable();
    objects.dedup();
    for of_folder in objects.chunk_by(|(a, _), (b, _)| a.as_bytes()[0] == b.as_bytes()[0]) {
        let folder = format!("composefs/objects/{:02x}", of_folder[0].0.as_bytes()[0]);
        root.objects(&folder, of_folder);
    }
}

/// Adds a composefs image and its name.
pub(super) fn add_image(root: &mut Folders, digest: &Digest, image: Vec<u8>) {
    add_object(root, digest, image);
    let target = format!("../objects/{}", digest.object_path());
    root.symlink(&format!("composefs/images/{digest}"), &target);
}

/// What an image says about itself.
pub(super) struct Documents<'a> {
    /// Its manifest.
    pub(super) manifest: &'a [u8],
    /// Its configuration.
    pub(super) config: &'a [u8],
}

/// Adds the manifest and the configuration of an image, which keep its composefs image, and a tag that keeps them.
pub(super) fn add_documents(
    root: &mut Folders,
    documents: &Documents,
    image: &Digest,
) -> Result<(), InstallError> {
    let manifest_digest = Sha256Digest::of(documents.manifest).to_string();
    let config_digest = Sha256Digest::of(documents.config).to_string();
    let config = Stream {
        name: &config_stream(&config_digest),
        content_type: ContentType::CONFIG,
        document: documents.config,
        keeps: (BOOT_IMAGE_REF, image),
    };
    let config = config.add(root)?;
    let manifest = Stream {
        name: &manifest_stream(&manifest_digest),
        content_type: ContentType::MANIFEST,
        document: documents.manifest,
        keeps: (&config_ref(&config_digest), &config),
    };
    manifest.add(root)?;
    let tag = escape_tag(&format!("localhost/bootc-{manifest_digest}"));
    root.symlink(
        &format!("composefs/streams/refs/oci/{tag}"),
        &format!("../../{}", manifest.name),
    );
    Ok(())
}

/// A split stream of one document.
struct Stream<'a> {
    name: &'a str,
    content_type: ContentType,
    document: &'a [u8],
    keeps: (&'a str, &'a Digest),
}

impl Stream<'_> {
    /// Adds the document, the stream and its name; returns the digest of the stream.
    fn add(&self, root: &mut Folders) -> Result<Digest, InstallError> {
        let bytes = self.bytes().map_err(InstallError::Stream)?;
        let digest = Digest::of(&bytes);
        let document = Digest::of(self.document);
        add_object(root, &document, self.document.to_vec());
        add_object(root, &digest, bytes);
        let target = format!("../objects/{}", digest.object_path());
        root.symlink(&format!("composefs/streams/{}", self.name), &target);
        Ok(digest)
    }

    fn bytes(&self) -> std::io::Result<Vec<u8>> {
        let mut writer = Writer::new(self.content_type)?;
        let (name, kept) = self.keeps;
        writer.named_ref(name, kept);
        writer.object(&Digest::of(self.document), self.document.len() as u64)?;
        writer.finish()
    }
}

fn add_object(root: &mut Folders, digest: &Digest, bytes: Vec<u8>) {
    root.bytes(
        &format!("composefs/objects/{}", digest.object_path()),
        bytes,
        true,
    );
}
