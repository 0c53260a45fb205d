//! What the mount table says about the deployment that is running.
//!
//! Source: proc_pid_mountinfo(5). A line: id, parent, device, root, mount point, options, optional fields, `-`, type,
//! source, options of the file system; blanks are written as `\040`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use osmith_formats::verity::Digest;

use super::host::{AccessMode, Persistence, UsrOverlay};
use crate::root_setup::{FolderKind, TRANSIENT};

/// A line of the table, as far as it matters.
pub(crate) struct Mount<'a> {
    point: &'a str,
    options: &'a str,
    /// The type of the file system.
    pub(crate) kind: &'a str,
    source: &'a str,
}

impl Mount<'_> {
    /// The device, where there is one.
    pub(crate) fn source(&self) -> PathBuf {
        unescape(self.source)
    }
}

/// What is mounted at a path, which has no links in it; a later mount covers an earlier one.
pub(crate) fn at<'a>(mountinfo: &'a str, path: &Path) -> Option<Mount<'a>> {
    let mut mounts = mountinfo.lines().filter_map(parse);
    mounts.rfind(|mount| unescape(mount.point) == path)
}

/// Replaces `\040` and its like by what they stand for.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let digits = others.get(..3).filter(|_| *first == b'\\');
        let octal = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|octal| u8::from_str_radix(octal, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = others.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

fn parse(line: &str) -> Option<Mount<'_>> {
    let (front, back) = line.split_once(" - ")?;
    let mut front = front.split(' ').skip(4);
    let mut back = back.split(' ');
    Some(Mount {
        point: front.next()?,
        options: front.next()?,
        kind: back.next()?,
        source: back.next()?,
    })
}

/// The deployment whose composefs is the root; a later mount covers an earlier one.
pub(crate) fn deployment(mountinfo: &str) -> Option<Digest> {
    let root = mountinfo
        .lines()
        .filter_map(parse)
        .rfind(|mount| mount.point == "/")?;
    let source = root.source;
    let digest = source.strip_prefix("composefs:");
    digest
        .or_else(|| source.strip_prefix("transient:composefs="))?
        .parse()
        .ok()
}

/// How a folder of the root was made writable.
pub(crate) fn folder_kind(mountinfo: &str, folder: &str) -> FolderKind {
    match at(mountinfo, Path::new(folder)) {
        None => FolderKind::None,
        Some(mount) if mount.kind == "tmpfs" => FolderKind::Transient,
        Some(mount) if mount.kind != "overlay" => FolderKind::Bind,
        Some(mount) if mount.source == TRANSIENT => FolderKind::Transient,
        Some(_) => FolderKind::Overlay,
    }
}

/// The layer over `/usr`.
pub(crate) fn usr_overlay(mountinfo: &str) -> Option<UsrOverlay> {
    let usr = mountinfo
        .lines()
        .filter_map(parse)
        .rfind(|mount| mount.point == "/usr")?;
    let is_writable = usr.options.split(',').any(|option| option == "rw");
    (usr.kind == "overlay").then_some(UsrOverlay {
        access_mode: if is_writable {
            AccessMode::ReadWrite
        } else {
            AccessMode::ReadOnly
        },
        persistence: Persistence::Transient,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_names_the_deployment() {
        let digest = Digest::of(b"image");
        let table = format!(
            "22 1 254:2 / / rw - ext4 /dev/vda2 rw\n30 22 0:27 / / ro,relatime - overlay composefs:{digest} ro,metacopy=on\n\
             31 30 254:2 /etc /etc rw shared:1 - ext4 /dev/vda2 rw\n"
        );
        assert_eq!(deployment(&table), Some(digest));
        assert_eq!(usr_overlay(&table), None);
        let transient = table.replace("composefs:", "transient:composefs=");
        assert_eq!(deployment(&transient), Some(digest));
        assert_eq!(
            deployment("22 1 254:2 / / rw - ext4 /dev/vda2 rw\nnonsense\n"),
            None
        );
    }

    #[test]
    fn a_mount_is_found_by_its_path() {
        let table = "22 1 254:2 / /mnt rw - ext4 /dev/vda2 rw\n\
                     23 22 254:3 / /mnt/a\\040b rw shared:1 - vfat /dev/disk/by-label/x\\134y rw\n\
                     24 22 0:31 /@ /mnt rw - btrfs /dev/vdb rw\n";
        assert_eq!(at(table, Path::new("/mnt")).unwrap().kind, "btrfs");
        let found = at(table, Path::new("/mnt/a b")).unwrap();
        assert_eq!(found.source(), Path::new("/dev/disk/by-label/x\\y"));
        assert!(at(table, Path::new("/mnt/a")).is_none());
    }

    #[test]
    fn how_a_folder_is_writable_is_seen() {
        let table = "30 22 0:27 / / ro,relatime - overlay composefs:x ro\n";
        assert_eq!(folder_kind(table, "/etc"), FolderKind::None);
        for (mount, kind) in [
            (
                "254:2 /state/deploy/x/etc /etc rw shared:1 - ext4 /dev/vda2 rw",
                FolderKind::Bind,
            ),
            (
                "0:31 / /etc rw shared:1 - overlay overlay rw,lowerdir=x",
                FolderKind::Overlay,
            ),
            (
                "0:31 / /etc rw shared:1 - overlay transient rw,lowerdir=x",
                FolderKind::Transient,
            ),
            ("0:31 / /etc rw shared:1 - tmpfs tmpfs rw", FolderKind::Transient),
        ] {
            assert_eq!(
                folder_kind(&format!("{table}31 30 {mount}\n"), "/etc"),
                kind,
                "{mount}"
            );
        }
    }

    #[test]
    fn a_layer_over_usr_is_seen() {
        let line = "40 30 0:40 / /usr rw,relatime shared:9 - overlay overlay rw,lowerdir=usr\n";
        let overlay = usr_overlay(line).unwrap();
        assert_eq!(overlay.access_mode, AccessMode::ReadWrite);
        assert_eq!(usr_overlay(&line.replace(" overlay ", " ext4 ")), None);
    }
}
