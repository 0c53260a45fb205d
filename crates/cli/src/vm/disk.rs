//! The disk a machine boots from: its file and its format.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use osmith_formats::gpt::{self, Guid};
use osmith_report::Class;

use super::architecture::ARCHITECTURES;
use super::arguments::VmArchitecture;
use super::start;
use crate::failure::CommandFailure;

/// The first bytes of a qcow2 file (QEMU docs/interop/qcow2.txt, header).
const QCOW2_MAGIC: [u8; 4] = *b"QFI\xfb";
/// LBA 1 of a disk with a GUID partition table begins with this (UEFI 2.10, 5.3.2).
const GPT_SIGNATURE: [u8; 8] = *b"EFI PART";
/// The first bytes of a VMDK with a header (VMware Virtual Disk Format 5.0).
const VMDK_MAGIC: [u8; 4] = *b"KDMV";
/// A streamOptimized one says so in the descriptor that follows its header.
const STREAM: &[u8] = b"createType=\"streamOptimized\"";
/// A footer of a VHD begins with this, and the copy at the beginning of a dynamic one.
const VHD_COOKIE: [u8; 8] = *b"conectix";
const SECTOR_BYTES: usize = 512;
/// The last bytes of a master boot record (UEFI 2.10, 5.2.1).
const MBR_SIGNATURE: [u8; 2] = [0x55, 0xaa];
const MBR_SIGNATURE_OFFSET: usize = 510;
/// Where an image says what it is.
const HEAD_BYTES: usize = 4 * SECTOR_BYTES;

/// The format of a disk image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskFormat {
    Raw,
    Qcow2,
    /// Any VMDK but a stream.
    Vmdk,
    /// Compressed and written once: QEMU only reads it.
    VmdkStream,
    Vhd,
}

impl DiskFormat {
    /// QEMU's name of the format.
    pub(crate) fn name(self) -> &'static str {
        match self {
            DiskFormat::Raw => "raw",
            DiskFormat::Qcow2 => "qcow2",
            DiskFormat::Vmdk | DiskFormat::VmdkStream => "vmdk",
            DiskFormat::Vhd => "vpc",
        }
    }
}

/// A disk image and what happens to writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) path: PathBuf,
    pub(crate) format: DiskFormat,
    /// Whether the file stays as it is.
    pub(crate) snapshot: bool,
}

impl Disk {
    /// The processor whose programs its root partition has, if the format gives that away.
    pub(crate) fn architecture(&self) -> Option<VmArchitecture> {
        let mut file = File::open(&self.path).ok()?;
        let start = match self.format {
            DiskFormat::Raw | DiskFormat::Vhd => start::of_raw(&mut file),
            DiskFormat::Qcow2 => start::of_qcow2(&mut file),
            DiskFormat::Vmdk | DiskFormat::VmdkStream => return None,
        };
        let types = gpt::partition_types(&start.ok()?);
        ARCHITECTURES.into_iter().find(|architecture| {
            Guid::root_of(architecture.image_name()).is_some_and(|root| types.contains(&root))
        })
    }
}

/// Opens the file as the machine would and looks at its first sectors.
///
/// The format is never left to QEMU's guess: a guest could write a qcow2 header into its raw disk and have the next
/// start follow the backing file it names.
pub(crate) fn probe(path: &Path, snapshot: bool) -> Result<Disk, CommandFailure> {
    let found = recognize(path, snapshot, false)?;
    found.ok_or_else(|| {
        CommandFailure::new(
            Class::Input,
            format!(
                "{} is no disk image: neither qcow2, VMDK or VHD, nor raw with a partition table",
                path.display()
            ),
        )
        .hint("make one with osmith disk --type qcow2 IMAGE")
    })
}

/// The same of a disk that is to be installed on: it may be blank, or divided in the way of old PCs.
pub(crate) fn probe_target(path: &Path, snapshot: bool) -> Result<Disk, CommandFailure> {
    let found = recognize(path, snapshot, true)?;
    found.ok_or_else(|| {
        let text = format!(
            "{} is no disk: neither qcow2, VMDK or VHD, nor raw and blank or with a partition table",
            path.display()
        );
        let failure = CommandFailure::new(Class::Input, text);
        failure.hint("'truncate -s 20G FILE' makes a blank disk")
    })
}

fn recognize(path: &Path, snapshot: bool, may_be_blank: bool) -> Result<Option<Disk>, CommandFailure> {
    let mut file = open(path, snapshot)?;
    let (head, end) = ends(&mut file).map_err(|error| cannot_open(path, snapshot, error))?;
    let raw = (may_be_blank && is_blank_or_has_mbr(&head)).then_some(DiskFormat::Raw);
    let Some(format) = format_of(&head, &end, is_named_vhd(path)).or(raw) else {
        return Ok(None);
    };
    if format == DiskFormat::VmdkStream && !snapshot {
        return Err(CommandFailure::new(
            Class::Usage,
            format!(
                "{} is a streamOptimized VMDK, to which no machine can write",
                path.display()
            ),
        )
        .hint("boot it without writing to it: osmith vm run --snapshot"));
    }
    Ok(Some(Disk {
        path: path.to_owned(),
        format,
        snapshot,
    }))
}

/// A disk that is not booted from and may be empty: its name says the format.
pub(crate) fn attached(path: &Path, snapshot: bool) -> Result<Disk, CommandFailure> {
    open(path, snapshot)?;
    let format = match path.extension().is_some_and(|extension| extension == "qcow2") {
        true => DiskFormat::Qcow2,
        false => DiskFormat::Raw,
    };
    Ok(Disk {
        path: path.to_owned(),
        format,
        snapshot,
    })
}

fn open(path: &Path, snapshot: bool) -> Result<File, CommandFailure> {
    let opened = File::options().read(true).write(!snapshot).open(path);
    opened.map_err(|error| cannot_open(path, snapshot, error))
}

/// The first bytes of a file, and its last sector.
fn ends(file: &mut File) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    file.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(SECTOR_BYTES as u64)))?;
    let mut end = Vec::with_capacity(SECTOR_BYTES);
    file.by_ref().take(SECTOR_BYTES as u64).read_to_end(&mut end)?;
    Ok((head, end))
}

/// A raw disk can end like a fixed VHD, so the name has a say.
fn is_named_vhd(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| ["vhd", "vpc"].iter().any(|known| extension == *known))
}

fn format_of(head: &[u8], end: &[u8], is_named_vhd: bool) -> Option<DiskFormat> {
    if head.starts_with(&QCOW2_MAGIC) {
        return Some(DiskFormat::Qcow2);
    }
    if head.starts_with(&VMDK_MAGIC) {
        let is_stream = head.windows(STREAM.len()).any(|window| window == STREAM);
        return Some(match is_stream {
            true => DiskFormat::VmdkStream,
            false => DiskFormat::Vmdk,
        });
    }
    if head.starts_with(&VHD_COOKIE) || is_named_vhd && end.starts_with(&VHD_COOKIE) {
        return Some(DiskFormat::Vhd);
    }
    head.get(SECTOR_BYTES..)?
        .starts_with(&GPT_SIGNATURE)
        .then_some(DiskFormat::Raw)
}

/// A file of something else must not be taken for a disk that may be written to.
fn is_blank_or_has_mbr(head: &[u8]) -> bool {
    let is_blank = !head.is_empty() && head.iter().all(|byte| *byte == 0);
    is_blank || head.get(MBR_SIGNATURE_OFFSET..SECTOR_BYTES) == Some(&MBR_SIGNATURE)
}

fn cannot_open(path: &Path, snapshot: bool, error: std::io::Error) -> CommandFailure {
    let class = match error.kind() {
        ErrorKind::NotFound => Class::NotFound,
        ErrorKind::PermissionDenied => Class::Environment,
        _ => Class::Input,
    };
    let failure = CommandFailure::new(class, format!("cannot open the disk {}", path.display()));
    let failure = match error.kind() {
        ErrorKind::NotFound => failure.hint("make a disk with osmith disk --type qcow2 IMAGE"),
        ErrorKind::PermissionDenied if !snapshot => {
            failure.hint("boot it without writing to it: osmith vm run --snapshot")
        }
        _ => failure,
    };
    failure.because(error)
}

#[cfg(test)]
mod tests {
    use osmith_report::Failure as _;

    use super::*;

    #[test]
    fn formats_are_told_apart_by_content() {
        let mut raw = vec![0; HEAD_BYTES];
        raw[SECTOR_BYTES..SECTOR_BYTES + 8].copy_from_slice(&GPT_SIGNATURE);
        let found = |head: &[u8]| format_of(head, &[0; SECTOR_BYTES], false);
        assert_eq!(found(&raw), Some(DiskFormat::Raw));
        assert_eq!(format_of(&raw, &VHD_COOKIE, false), Some(DiskFormat::Raw));
        assert_eq!(format_of(&raw, &VHD_COOKIE, true), Some(DiskFormat::Vhd));
        assert_eq!(found(&VHD_COOKIE), Some(DiskFormat::Vhd));
        raw[..4].copy_from_slice(&VMDK_MAGIC);
        assert_eq!(found(&raw), Some(DiskFormat::Vmdk));
        raw[600..600 + STREAM.len()].copy_from_slice(STREAM);
        assert_eq!(found(&raw), Some(DiskFormat::VmdkStream));
        raw[..4].copy_from_slice(&QCOW2_MAGIC);
        assert_eq!(found(&raw), Some(DiskFormat::Qcow2));
        assert_eq!(found(b"#!/bin/sh\n"), None);
        assert_eq!(found(&[0; 2 * SECTOR_BYTES]), None);
        assert_eq!(found(b""), None);
    }

    #[test]
    fn a_stream_is_only_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("disk.vmdk");
        std::fs::write(&path, [VMDK_MAGIC.as_slice(), STREAM].concat()).expect("a file");
        let failure = probe(&path, false).expect_err("refused");
        assert!(failure.hints()[0].contains("--snapshot"), "{:?}", failure.hints());
        assert_eq!(probe(&path, true).expect("a disk").format.name(), "vmdk");
    }

    #[test]
    fn a_file_that_is_no_disk_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "not a disk").expect("a file");
        let failure = probe(&path, false).expect_err("refused");
        assert_eq!(failure.class(), Class::Input);
        assert!(
            failure.to_string().contains("notes.txt is no disk image"),
            "{failure}"
        );
        let failure = probe(&folder.path().join("gone.qcow2"), false).expect_err("missing");
        assert_eq!(failure.class(), Class::NotFound);
        assert!(!failure.hints().is_empty());
    }

    #[test]
    fn an_installer_takes_a_blank_disk_and_no_other_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("disk");
        let mut with_mbr = vec![b'x'; HEAD_BYTES];
        with_mbr[MBR_SIGNATURE_OFFSET..SECTOR_BYTES].copy_from_slice(&MBR_SIGNATURE);
        for (content, is_taken) in [
            (vec![0; HEAD_BYTES], true),
            (with_mbr, true),
            (vec![b'x'; HEAD_BYTES], false),
            (Vec::new(), false),
        ] {
            std::fs::write(&path, &content).expect("a file");
            probe(&path, false).expect_err("not to be booted from");
            let found = probe_target(&path, false).map(|disk| disk.format);
            assert_eq!(found.ok(), is_taken.then_some(DiskFormat::Raw));
        }
        std::fs::write(&path, QCOW2_MAGIC).expect("a file");
        let found = probe_target(&path, false).expect("a disk");
        assert_eq!(found.format, DiskFormat::Qcow2);
    }

    #[test]
    fn the_name_of_an_attached_disk_says_its_format() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, format) in [("a.qcow2", DiskFormat::Qcow2), ("a.raw", DiskFormat::Raw)] {
            let path = folder.path().join(name);
            attached(&path, false).expect_err("missing");
            std::fs::write(&path, QCOW2_MAGIC).expect("a file");
            assert_eq!(attached(&path, false).expect("a disk").format, format, "{name}");
        }
    }
}
