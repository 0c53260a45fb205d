//! Files of file systems on block devices.
//!
//! Which device has a label or an identity is what udev says (`dev/disk/by-*`, `run/udev/data`); which type a file
//! system has is found out by mounting it, udev's opinion first.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use osmith_sys::OsError;
use osmith_sys::mount::{DetachedMount, FileSystem, MountAttrFlags};
use rustix::io::Errno;

use super::{FetchError, open_regular, read_limited};
use crate::boot_options::DeviceName;

/// The types of file systems, those of media first. The kernel loads the modules itself.
const KINDS: [&str; 8] = ["iso9660", "vfat", "exfat", "ext4", "xfs", "btrfs", "udf", "erofs"];

/// A block device that has something on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDevice {
    /// Its name below `/dev`.
    pub name: String,
    /// How long it is.
    pub size_bytes: u64,
    /// The type of its file system.
    pub kind: Option<String>,
    /// The label of its file system.
    pub label: Option<String>,
}

impl fmt::Display for BlockDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        let label = self.label.as_ref().map(|label| format!("label {label}"));
        let known: Vec<String> = self.kind.clone().into_iter().chain(label).collect();
        match known.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", known.join(", ")),
        }
    }
}

/// The block devices of a machine whose root folder is `host`, by their names, without those that are empty or in
/// memory.
pub fn block_devices(host: &Path) -> Vec<BlockDevice> {
    let entries = fs::read_dir(host.join("sys/class/block"))
        .into_iter()
        .flatten()
        .flatten();
    let mut devices: Vec<BlockDevice> = entries
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
            let sectors: u64 = read("size").trim().parse().ok()?;
            let is_meant = !["loop", "ram", "zram", "nbd"]
                .iter()
                .any(|prefix| name.starts_with(prefix));
            (sectors > 0 && is_meant).then(|| {
                let number = read("dev");
                let data = host.join(format!("run/udev/data/b{}", number.trim()));
                let data = fs::read_to_string(data).unwrap_or_default();
                let property = |key: &str| {
                    let line = data
                        .lines()
                        .find_map(|line| line.strip_prefix("E:")?.strip_prefix(key));
                    line.map(osmith_report::printable)
                };
                BlockDevice {
                    size_bytes: sectors.saturating_mul(512),
                    kind: property("ID_FS_TYPE="),
                    label: property("ID_FS_LABEL="),
                    name,
                }
            })
        })
        .collect();
    devices.sort_by(|left, right| left.name.cmp(&right.name));
    devices
}

pub(super) struct Devices<'a> {
    pub(super) host: &'a Path,
}

impl Devices<'_> {
    /// The path of a device, if it is there.
    pub(super) fn find(&self, name: &DeviceName) -> Option<PathBuf> {
        let by = |folder: &str, name: &str| {
            let path = self.host.join("dev/disk").join(folder).join(encode(name));
            fs::canonicalize(path).ok()
        };
        match name {
            DeviceName::Path(path) => fs::canonicalize(self.host.join("dev").join(path)).ok(),
            DeviceName::Label(label) => by("by-label", label),
            DeviceName::Uuid(uuid) => by("by-uuid", uuid).or_else(|| by("by-uuid", &uuid.to_lowercase())),
            DeviceName::PartitionLabel(label) => by("by-partlabel", label),
            DeviceName::PartitionUuid(uuid) => {
                by("by-partuuid", uuid).or_else(|| by("by-partuuid", &uuid.to_lowercase()))
            }
        }
    }

    /// The drives for discs.
    pub(super) fn drives(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.host.join("sys/class/block"))
            .into_iter()
            .flatten()
            .flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name())
            .filter(|name| name.to_string_lossy().starts_with("sr"))
            .collect();
        names.sort();
        names
            .into_iter()
            .map(|name| self.host.join("dev").join(name))
            .collect()
    }

    /// A file of the file system on a device.
    pub(super) fn read(&self, device: &Path, path: &str) -> Result<Vec<u8>, FetchError> {
        let (mount, kind) = self.mount(device)?;
        let failed = |source| FetchError::OnDevice {
            device: device.display().to_string(),
            kind,
            path: path.to_owned(),
            source,
        };
        let file = open_regular(&mount, path).map_err(failed)?;
        read_limited(file, path)
    }

    fn mount(&self, device: &Path) -> Result<(DetachedMount, &'static str), FetchError> {
        let name = device.file_name().unwrap_or_default().to_string_lossy();
        let known = block_devices(self.host)
            .into_iter()
            .find(|known| known.name == name);
        let known = known.and_then(|known| known.kind);
        let mut kinds = KINDS.to_vec();
        // What udev takes it for comes first; sorting keeps the order of the rest.
        kinds.sort_by_key(|kind| known.as_deref() != Some(*kind));
        let mut tried = Vec::new();
        for kind in kinds {
            match mount_as(kind, device) {
                Ok(mount) => return Ok((mount, kind)),
                Err(error) => tried.push((kind, reason(&error))),
            }
        }
        Err(FetchError::Mount {
            device: device.display().to_string(),
            tried,
        })
    }
}

/// Read-only; a file system that is mounted elsewhere for writing can only be mounted so that nothing is written here.
fn mount_as(kind: &'static str, device: &Path) -> Result<DetachedMount, OsError> {
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = |is_read_only: bool| {
        let file_system = FileSystem::open(kind)?;
        file_system.set("source", &device.to_string_lossy())?;
        if is_read_only {
            file_system.set_flag("ro")?;
        }
        file_system.mount(attributes)
    };
    match mount(true) {
        Err(error) if error.errno() == Errno::BUSY => mount(false),
        answer => answer,
    }
}

fn reason(error: &OsError) -> String {
    match error.errno() {
        Errno::NODEV => "the kernel does not have it".to_owned(),
        Errno::INVAL => "it is none".to_owned(),
        _ => {
            let text = error.to_string();
            text.rsplit(": ").next().unwrap_or(&text).to_owned()
        }
    }
}

/// A label as udev makes it the name of a link: what is neither a letter of any kind nor a digit nor one of `#+-.:=@_`
/// becomes `\x20` and such.
fn encode(label: &str) -> String {
    let encoded = label.chars().map(|character| {
        let is_kept =
            character.is_ascii_alphanumeric() || !character.is_ascii() || "#+-.:=@_".contains(character);
        match is_kept {
            true => character.to_string(),
            false => format!("\\x{:02x}", u32::from(character)),
        }
    });
    encoded.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_as_udev_writes_them() {
        assert_eq!(encode("MY DISK/1"), "MY\\x20DISK\\x2f1");
        assert_eq!(encode("Größe-1.2"), "Größe-1.2");
        assert_eq!(encode("../x"), "..\\x2fx");
    }
}
