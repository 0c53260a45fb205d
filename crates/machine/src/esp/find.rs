//! Where the EFI system partition is; or, on a disk that has one, the partition for boot entries and kernels beside it
//! (XBOOTLDR of the Boot Loader Specification).
//!
//! systemd mounts the partition at `/boot` or `/efi` when somebody looks there. Where nothing is, and for changes, the
//! partition is found on the disk of the root file system, by what udev noted of its type, and mounted for this process
//! alone.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use osmith_sys::OsError;
use osmith_sys::file::{open_beneath, open_directory};
use osmith_sys::mount::{FileSystem, MountAttrFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{ENTRIES, EspAccess, EspError};

/// What udev notes of a partition that can hold boot entries, first of the one that is preferred.
const KINDS: [[&str; 2]; 2] = [
    [
        "ID_PART_ENTRY_TYPE=bc13c2ff-59e6-4262-a352-b275fd6f7172",
        "ID_FS_TYPE=vfat",
    ],
    [
        "ID_PART_ENTRY_TYPE=c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
        "ID_FS_TYPE=vfat",
    ],
];
/// Somebody who looks at the partition has it mounted read-only for a moment.
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// Opens the root directory of the partition.
pub(super) fn open(root: &Path, access: EspAccess) -> Result<OwnedFd, EspError> {
    match access {
        EspAccess::Read => match mounted(root) {
            Err(EspError::Missing) => mount(&partition(root)?, access),
            found => found,
        },
        // Not through a mount point, which may be read-only or an automount.
        EspAccess::Write => match partition(root) {
            Ok(device) => mount(&device, access),
            Err(EspError::Missing) => mounted(root),
            Err(error) => Err(error),
        },
    }
}

/// The partition where it is mounted.
fn mounted(root: &Path) -> Result<OwnedFd, EspError> {
    let mut refused = None;
    for place in ["boot", "efi", "boot/efi"] {
        let found = open_directory(root.join(place)).and_then(|esp| {
            open_beneath(&esp, ENTRIES, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
            Ok(esp)
        });
        match found {
            Ok(esp) => return Ok(esp),
            Err(error) if matches!(error.errno(), Errno::NOENT | Errno::NOTDIR) => {}
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(refused.map_or(EspError::Missing, EspError::System))
}

/// The device of the EFI system partition on the disk of the root file system.
fn partition(root: &Path) -> Result<PathBuf, EspError> {
    find_partition(root).ok_or(EspError::Missing)
}

fn find_partition(root: &Path) -> Option<PathBuf> {
    let link = std::fs::read_link(root.join("run/systemd/volatile-root")).ok()?;
    let number = link.file_name()?;
    let partition = std::fs::canonicalize(root.join("sys/dev/block").join(number)).ok()?;
    let siblings = std::fs::read_dir(partition.parent()?).ok()?;
    let partitions: Vec<(PathBuf, String)> = siblings
        .flatten()
        .filter_map(|sibling| {
            let folder = sibling.path();
            let notes = notes_of(root, &folder)?;
            Some((folder, notes))
        })
        .collect();
    let folder = preferred(&partitions)?;
    Some(root.join("dev").join(folder.file_name()?))
}

/// What udev noted of the block device with that folder in sysfs.
fn notes_of(root: &Path, folder: &Path) -> Option<String> {
    let number = std::fs::read_to_string(folder.join("dev")).ok()?;
    let notes = root.join("run/udev/data").join(format!("b{}", number.trim()));
    std::fs::read_to_string(notes).ok()
}

/// The partition of boot entries, or else the EFI system partition.
fn preferred(partitions: &[(PathBuf, String)]) -> Option<&Path> {
    let is = |notes: &str, kind: &[&str]| {
        let has = |wanted: &&str| notes.lines().any(|line| line.strip_prefix("E:") == Some(wanted));
        kind.iter().all(has)
    };
    KINDS.iter().find_map(|kind| {
        let found = partitions.iter().find(|(_, notes)| is(notes, kind));
        found.map(|(folder, _)| folder.as_path())
    })
}

/// Mounts the partition, where nobody sees it. All mounts of a device are writable or none is: what is only looked at
/// is mounted as the others are, and what is to be changed waits for those who look.
fn mount(device: &Path, access: EspAccess) -> Result<OwnedFd, EspError> {
    let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY;
    if access == EspAccess::Read {
        match mount_with(device, true, read_only) {
            Err(error) if error.errno() == Errno::BUSY => {}
            answer => return Ok(answer?),
        }
        return Ok(mount_with(device, false, read_only)?);
    }
    for _ in 0..BUSY_TRIES {
        match mount_with(device, false, MountAttrFlags::empty()) {
            Err(error) if error.errno() == Errno::BUSY => std::thread::sleep(BUSY_PAUSE),
            answer => return Ok(answer?),
        }
    }
    Ok(mount_with(device, false, MountAttrFlags::empty())?)
}

fn mount_with(device: &Path, read_only: bool, attributes: MountAttrFlags) -> Result<OwnedFd, OsError> {
    let file_system = FileSystem::open("vfat")?;
    file_system.set("source", &device.to_string_lossy())?;
    if read_only {
        file_system.set_flag("ro")?;
    }
    let mount = file_system.mount(attributes)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    open_beneath(mount.as_fd(), ".", flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_partition_that_is_said() {
        let root = tempfile::tempdir().unwrap();
        for access in [EspAccess::Read, EspAccess::Write] {
            assert!(matches!(open(root.path(), access), Err(EspError::Missing)));
        }
    }

    #[test]
    fn a_partition_for_boot_entries_is_preferred_if_it_is_fat() {
        let notes = |kind: &str, file_system: &str| {
            format!("S:disk/by-uuid/1\nE:ID_PART_ENTRY_TYPE={kind}\nE:ID_FS_TYPE={file_system}\n")
        };
        let esp = notes("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "vfat");
        let boot = |file_system| notes("bc13c2ff-59e6-4262-a352-b275fd6f7172", file_system);
        let root = notes("4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "ext4");
        let choose = |all: &[&String]| {
            let folders = all.iter().zip(1..);
            let partitions: Vec<(PathBuf, String)> = folders
                .map(|(notes, number)| (format!("vda{number}").into(), (*notes).clone()))
                .collect();
            preferred(&partitions).map(|folder| folder.display().to_string())
        };
        assert_eq!(choose(&[&root, &esp]).as_deref(), Some("vda2"));
        assert_eq!(choose(&[&esp, &boot("vfat"), &root]).as_deref(), Some("vda2"));
        assert_eq!(choose(&[&boot("ext4"), &esp]).as_deref(), Some("vda2"));
        assert_eq!(choose(&[&root]), None);
    }

    #[test]
    fn an_empty_mount_point_is_none() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("boot")).unwrap();
        std::fs::create_dir_all(root.path().join("efi/loader/entries")).unwrap();
        let found = open(root.path(), EspAccess::Write).unwrap();
        assert!(osmith_sys::file::open_beneath(&found, "loader", OFlags::PATH, Mode::empty()).is_ok());
    }
}
