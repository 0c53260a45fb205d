//! The composefs image: an EROFS of metadata alone, whose files are objects of a store.
//!
//! Mounted as the lower layer of an overlay with the store's `objects/` as a data-only layer, it is the root of a
//! machine; its fs-verity digest is the machine's identity. So the bytes must be those of every other composefs
//! program: format version 1, as C `mkcomposefs --min-version=1` and composefs-rs (V1) write it, with SHA-512 digests.
//!
//! ```text
//!    0 composefs header [32]: magic · 1 · flags (bit 0: access control lists) · composefs version 1 · 0 [16]
//! 1024 EROFS superblock; its build time is the smallest modification time of all inodes
//! 1152 inodes, breadth first · shared attributes · blocks of large directories and very long link targets
//! ```
//!
//! * Files up to [`crate::tree::INLINE_MAX_BYTES`] are stored behind their inode. All others are one chunk that is a
//!   hole, with `trusted.overlay.metacopy` (the digest) and `trusted.overlay.redirect` (the object's path).
//! * The root has 256 character devices 0:0 named `00` to `ff`, which hide the directories of `objects/`, and
//!   `trusted.overlay.opaque`.
//! * An attribute of the tree named `trusted.overlay.…` is stored as `trusted.overlay.overlay.…`, a character device
//!   0:0 of the tree as an empty file with attributes that an overlay on top of the composefs takes for a whiteout.
//! * A hard-linked inode is numbered where a depth-first walk finds it first.
//!
//! Refused, though EROFS could store it: file contents over 8 TiB (more than one chunk) and hard-linked whiteouts.

mod boot;
mod inodes;
mod layout;
mod read;
pub mod repository;
mod selinux;

pub use boot::{BootError, bootable};
pub use read::{ReadDefect, ReadError, objects, read};

pub use crate::erofs::Defect;

use crate::erofs;
use crate::tree::{Content, Metadata, Tree};

/// A tree that no composefs image can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("composefs image: '/{path}' {reason}")]
pub struct Error {
    /// The path of the inode, without a leading `/`; bytes that are no UTF-8 are replaced.
    pub path: String,
    /// Why it cannot be stored.
    pub reason: Reason,
}

/// Why an inode cannot be stored in a composefs image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A name is empty, `.`, `..`, longer than 255 bytes, or contains `/` or NUL.
    #[error("has a name that is no file name")]
    Name,
    /// A directory has several names, or contains itself.
    #[error("is a directory with several names")]
    DirectoryLinks,
    /// A character device 0:0 has several names.
    #[error("is a whiteout with several names")]
    WhiteoutLinks,
    /// Contents in the tree are longer than [`crate::tree::INLINE_MAX_BYTES`].
    #[error("has {0} bytes in the tree, which belong into an object")]
    InlineLength(usize),
    /// An object is too large.
    #[error("has {0} bytes, more than the 8 TiB of a composefs file")]
    FileSize(u64),
    /// A link target is empty, longer than 4,095 bytes, or contains NUL.
    #[error("is a symbolic link whose target is empty, longer than 4095 bytes or contains NUL")]
    Target,
    /// A device number is too large.
    #[error("has device number {major}:{minor}; 4095:1048575 is the largest")]
    Device {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// An attribute has a name longer than 255 bytes or a value longer than 65,535.
    #[error("has extended attribute '{0}', whose name or value is too long")]
    AttributeLength(String),
    /// The attributes of one inode do not fit: 255 shared ones or 256 KiB.
    #[error("has too many extended attributes")]
    AttributeCount,
    /// The image has no room for more: 2³² inodes, blocks or words of attributes.
    #[error("is too large a tree")]
    TreeSize,
}

/// The composefs image of a tree; its identity is [`crate::verity::Digest::of`] the bytes.
///
/// The tree is stored as it is; for the image a machine boots from, see [`bootable`].
pub fn image(tree: &Tree<Content>) -> Result<Vec<u8>, Error> {
    let whiteout = whiteout_metadata(&tree.inode(tree.root()).metadata);
    let collected = inodes::collect(tree, &whiteout)?;
    let attributes = || collected.inodes.iter().flat_map(inodes::Inode::attributes);
    let has_acl = attributes().any(|attribute| attribute.is_acl());
    let times = collected.inodes.iter().map(|inode| inode.metadata.mtime);
    // Negative seconds sort as very large ones, as the field is unsigned on disk.
    let build_time = times.min_by_key(|time| (time.seconds as u64, time.nanoseconds));
    layout::Image {
        collected: &collected,
        shared: erofs::Shared::of(attributes),
        build_time: build_time.unwrap_or_default(),
        has_acl,
    }
    .to_bytes()
}

/// The metadata of the 256 character devices in the root.
fn whiteout_metadata(root: &Metadata) -> Metadata {
    const LABEL: &[u8] = b"security.selinux";
    let label = root.xattrs.get(LABEL);
    Metadata {
        mode: 0o644,
        uid: root.uid,
        gid: root.gid,
        mtime: root.mtime,
        xattrs: label.map(|value| (LABEL, value)).into_iter().collect(),
    }
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
