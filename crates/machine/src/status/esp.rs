//! The boot entries of a running machine, on its EFI system partition.
//!
//! systemd mounts the partition at `/boot` or `/efi` when somebody looks there. Where nothing is, the partition is
//! found on the disk of the root file system, by what udev noted of its type, and mounted for this process alone,
//! read-only.

use std::cmp::Reverse;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use osmith_sys::OsError;
use osmith_sys::file::{open_beneath, open_directory};
use osmith_sys::mount::{FileSystem, MountAttrFlags};
use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::entry::BootEntry;

/// The type of an EFI system partition, as udev writes it.
const ESP_TYPE: &str = "ID_PART_ENTRY_TYPE=c12a7328-f81f-11d2-ba4b-00a0c93ec93b";

/// Longer boot entries are none.
const ENTRY_MAX_BYTES: u64 = 64 << 10;

/// The boot entries of a machine.
#[derive(Debug, Default)]
pub(super) struct BootEntries {
    /// What the boot menu offers, first what it starts by itself.
    pub(super) current: Vec<BootEntry>,
    /// What it will offer after shutting down, if an update is staged.
    pub(super) staged: Vec<BootEntry>,
}

/// Why boot entries cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum EspError {
    /// There is no partition.
    #[error("no EFI system partition was found")]
    Missing,
    /// The kernel said no.
    #[error(transparent)]
    System(#[from] OsError),
}

/// Reads the boot entries.
pub(super) fn read(root: &Path) -> Result<BootEntries, EspError> {
    let mut refused = None;
    for place in ["boot", "efi", "boot/efi"] {
        match open_directory(root.join(place)).and_then(|esp| read_from(&esp)) {
            Ok(Some(entries)) => return Ok(entries),
            Ok(None) => {}
            Err(error) if matches!(error.errno(), Errno::NOENT | Errno::NOTDIR) => {}
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    if let Some(error) = refused {
        return Err(error.into());
    }
    let device = find_partition(root).ok_or(EspError::Missing)?;
    read_from(&mount(&device)?)?.ok_or(EspError::Missing)
}

/// The entries below `loader`; `None` if there is no such folder.
fn read_from(esp: &OwnedFd) -> Result<Option<BootEntries>, OsError> {
    let Some(current) = read_folder(esp, "loader/entries")? else {
        return Ok(None);
    };
    let staged = read_folder(esp, "loader/entries.staged")?.unwrap_or_default();
    Ok(Some(BootEntries { current, staged }))
}

/// The entries of a folder, in the order of the menu of systemd-boot.
fn read_folder(esp: &OwnedFd, path: &str) -> Result<Option<Vec<BootEntry>>, OsError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let folder = match open_beneath(esp, path, flags, Mode::empty()) {
        Ok(folder) => folder,
        Err(error) if error.errno() == Errno::NOENT => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut entries = Vec::new();
    for name in names(&folder).map_err(|errno| OsError::new("list", path, errno))? {
        let text = read_text(&folder, &name).map_err(|error| OsError::from_io("read", &name, &error))?;
        entries.push((name, BootEntry::parse(&text)));
    }
    // By sort key, those without one last; then the higher file name first.
    entries.sort_by_cached_key(|(name, entry)| {
        (
            entry.sort_key.is_none(),
            entry.sort_key.clone(),
            Reverse(name.clone()),
        )
    });
    Ok(Some(entries.into_iter().map(|(_, entry)| entry).collect()))
}

fn names(folder: &OwnedFd) -> rustix::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".conf") {
            names.push(name);
        }
    }
    Ok(names)
}

fn read_text(folder: &OwnedFd, name: &str) -> io::Result<String> {
    let file = open_beneath(folder, name, OFlags::RDONLY, Mode::empty())?;
    let mut bytes = Vec::new();
    File::from(file).take(ENTRY_MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The device of the EFI system partition on the disk of the root file system.
fn find_partition(root: &Path) -> Option<PathBuf> {
    let link = std::fs::read_link(root.join("run/systemd/volatile-root")).ok()?;
    let number = link.file_name()?;
    let partition = std::fs::canonicalize(root.join("sys/dev/block").join(number)).ok()?;
    let siblings = std::fs::read_dir(partition.parent()?).ok()?;
    let is_esp = |folder: &Path| {
        let number = std::fs::read_to_string(folder.join("dev")).ok()?;
        let notes = root.join("run/udev/data").join(format!("b{}", number.trim()));
        let notes = std::fs::read_to_string(notes).ok()?;
        notes
            .lines()
            .any(|line| line.strip_prefix("E:") == Some(ESP_TYPE))
            .then_some(())
    };
    let mut folders = siblings.flatten().map(|sibling| sibling.path());
    let folder = folders.find(|folder| is_esp(folder).is_some())?;
    Some(root.join("dev").join(folder.file_name()?))
}

fn mount(device: &Path) -> Result<OwnedFd, OsError> {
    let file_system = FileSystem::open("vfat")?;
    file_system.set("source", &device.to_string_lossy())?;
    file_system.set_flag("ro")?;
    let mount = file_system.mount(MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    open_beneath(
        mount.as_fd(),
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY,
        Mode::empty(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_in_the_order_of_the_menu() {
        let root = tempfile::tempdir().unwrap();
        let entries = root.path().join("efi/loader/entries");
        std::fs::create_dir_all(&entries).unwrap();
        std::fs::create_dir(root.path().join("boot")).unwrap();
        for (name, key) in [
            ("a-1.conf", "bootc-x-1"),
            ("b-1.conf", "bootc-x-0"),
            ("notes.txt", "bootc-0"),
        ] {
            let text = format!("title {name}\nversion 1\nsort-key {key}\n");
            std::fs::write(entries.join(name), text).unwrap();
        }
        let found = read(root.path()).unwrap();
        let titles: Vec<_> = found
            .current
            .iter()
            .filter_map(|entry| entry.title.as_deref())
            .collect();
        assert_eq!(titles, ["b-1.conf", "a-1.conf"]);
        assert!(found.staged.is_empty());
    }

    #[test]
    fn without_a_partition_that_is_said() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(read(root.path()), Err(EspError::Missing)));
    }
}
