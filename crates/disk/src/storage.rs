//! Partitions as a configuration wants them, in one form.
//!
//! What is asked for by mount points and what is asked for as partitions of a disk is the same: partitions with a purpose,
//! a least size, and what they are called.

use osmith_config::{Disk, Mount, Partition, PartitionContents, Storage};
use osmith_formats::gpt::{Guid, PRIMARY_SECTORS, SECTOR_BYTES};

use crate::bytes::GRAIN_BYTES;
use crate::customize::MountSettings;
use crate::identity::Identity;

const ESP: &str = "/boot/efi";
const BOOT: &str = "/boot";
const ROOT: &str = "/";

/// What is wanted of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Of the two partitions that every disk has, and beside them.
    pub(crate) partitions: Vec<PartitionSpec>,
    /// The least size of the disk.
    pub(crate) min_disk_bytes: u64,
    /// Where the first partition begins: whole grains.
    pub(crate) first_offset_bytes: u64,
}

/// A partition that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionSpec {
    /// What it is for.
    pub(crate) purpose: Purpose,
    /// The least size, of which whole MiB are made.
    pub(crate) min_bytes: u64,
    /// How it is mounted, if not by default.
    pub(crate) mount_options: Option<String>,
    /// The label of its file system or swap area.
    pub(crate) label: Option<String>,
    /// Its name in the partition table.
    pub(crate) name: Option<String>,
    /// What it says it is for.
    pub(crate) type_guid: Option<Guid>,
    /// Which one it is.
    pub(crate) guid: Option<Guid>,
}

/// What a partition is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The EFI system partition.
    Esp,
    /// The root file system.
    Root,
    /// A file system of its own at an absolute path. `/boot` takes boot entries and kernels and is FAT32.
    Mount {
        /// The path.
        path: String,
        /// What kind.
        file_system: FileSystem,
    },
    /// A swap area.
    Swap,
    /// Nothing yet: it is left empty.
    Empty,
}

/// A file system that osmith writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileSystem {
    /// For everything.
    Ext4,
    /// For what firmware and other systems read: no owners, no permissions.
    Fat32,
}

impl Wanted {
    pub(crate) fn of(storage: &Storage) -> Self {
        match storage {
            Storage::Default => Wanted::partitions(Vec::new()),
            Storage::Mounts(mounts) => Wanted::partitions(mounts.iter().map(of_mount).collect()),
            Storage::Disk(disk) => of_disk(disk),
        }
    }

    fn partitions(partitions: Vec<PartitionSpec>) -> Self {
        Wanted {
            partitions,
            min_disk_bytes: 0,
            first_offset_bytes: GRAIN_BYTES,
        }
    }
}

impl Wanted {
    /// What the machine must be told of the partitions.
    pub(crate) fn mount_settings(&self, identity: &Identity<'_>) -> MountSettings {
        let partitions = self.partitions.iter().enumerate();
        let lines = partitions.filter_map(|(number, spec)| spec.fstab_line(&spec.role(number), identity));
        MountSettings {
            fstab: lines.collect(),
            has_boot: self.partitions.iter().any(PartitionSpec::is_boot),
        }
    }
}

impl PartitionSpec {
    /// What its identifiers are derived from; those of the wanted partitions all have another role.
    pub(crate) fn role(&self, number: usize) -> String {
        match &self.purpose {
            Purpose::Esp => "esp".to_owned(),
            Purpose::Root => "root".to_owned(),
            Purpose::Mount { path, .. } if path == BOOT => "boot".to_owned(),
            Purpose::Mount { path, .. } => format!("mount {path}"),
            Purpose::Swap => format!("swap {number}"),
            Purpose::Empty => format!("partition {number}"),
        }
    }

    pub(crate) fn is_boot(&self) -> bool {
        matches!(&self.purpose, Purpose::Mount { path, .. } if path == BOOT)
    }

    fn fstab_line(&self, role: &str, identity: &Identity<'_>) -> Option<String> {
        match &self.purpose {
            Purpose::Swap => Some(format!("UUID={} none swap defaults 0 0\n", identity.guid(role))),
            Purpose::Mount { path, file_system } if !self.is_boot() => {
                let (uuid, kind) = match file_system {
                    FileSystem::Ext4 => (identity.guid(role).to_string(), "ext4"),
                    FileSystem::Fat32 => (identity.volume_uuid(role), "vfat"),
                };
                let path = escape(path);
                let options = escape(self.mount_options.as_deref().unwrap_or("defaults"));
                Some(format!("UUID={uuid} {path} {kind} {options} 0 2\n"))
            }
            Purpose::Mount { .. } | Purpose::Esp | Purpose::Root | Purpose::Empty => None,
        }
    }
}

/// A field of fstab: what would end it is written in octal.
fn escape(path: &str) -> String {
    path.chars().fold(String::new(), |mut field, letter| {
        match letter {
            ' ' | '\t' | '\n' | '\\' => field.push_str(&format!("\\{:03o}", u32::from(letter))),
            _ => field.push(letter),
        }
        field
    })
}

fn of_mount(mount: &Mount) -> PartitionSpec {
    let file_system = match mount.mountpoint.as_str() {
        BOOT => FileSystem::Fat32,
        _ => FileSystem::Ext4,
    };
    PartitionSpec {
        purpose: purpose(&mount.mountpoint, file_system),
        min_bytes: mount.min_bytes,
        mount_options: None,
        label: None,
        name: None,
        type_guid: None,
        guid: None,
    }
}

fn of_disk(disk: &Disk) -> Wanted {
    let after_table = PRIMARY_SECTORS * SECTOR_BYTES;
    let first = disk
        .start_offset_bytes
        .unwrap_or_default()
        .saturating_add(after_table);
    Wanted {
        partitions: disk.partitions.iter().map(of_partition).collect(),
        min_disk_bytes: disk.min_bytes.unwrap_or_default(),
        first_offset_bytes: first.checked_next_multiple_of(GRAIN_BYTES).unwrap_or(first),
    }
}

fn of_partition(partition: &Partition) -> PartitionSpec {
    let path = partition.mountpoint.as_deref().unwrap_or_default();
    let guid = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<Guid>().ok());
    let label = partition.label.as_ref().map(|label| match partition.contents {
        PartitionContents::Vfat => label.to_uppercase(),
        _ => label.clone(),
    });
    PartitionSpec {
        purpose: match partition.contents {
            PartitionContents::Ext4 => purpose(path, FileSystem::Ext4),
            PartitionContents::Vfat => purpose(path, FileSystem::Fat32),
            PartitionContents::Swap => Purpose::Swap,
            PartitionContents::Empty => Purpose::Empty,
        },
        min_bytes: partition.min_bytes,
        mount_options: partition.mount_options.clone(),
        label,
        name: partition.name.clone(),
        type_guid: guid(&partition.type_guid),
        guid: guid(&partition.guid),
    }
}

fn purpose(path: &str, file_system: FileSystem) -> Purpose {
    match path {
        ROOT => Purpose::Root,
        ESP => Purpose::Esp,
        _ => Purpose::Mount {
            path: path.to_owned(),
            file_system,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_partitions() {
        let mount = |mountpoint: &str, min_bytes| Mount {
            key: String::new(),
            mountpoint: mountpoint.to_owned(),
            min_bytes,
        };
        let wanted = Wanted::of(&Storage::Mounts(vec![
            mount("/", 1),
            mount("/boot", 2),
            mount("/var/log", 3),
        ]));
        let purposes: Vec<_> = wanted
            .partitions
            .iter()
            .map(|spec| spec.purpose.clone())
            .collect();
        let mounted = |path: &str, file_system| Purpose::Mount {
            path: path.to_owned(),
            file_system,
        };
        assert_eq!(
            purposes,
            [
                Purpose::Root,
                mounted("/boot", FileSystem::Fat32),
                mounted("/var/log", FileSystem::Ext4)
            ]
        );
    }

    #[test]
    fn what_ends_a_field_of_fstab_is_written_in_octal() {
        assert_eq!(escape("/var/a b\\c"), "/var/a\\040b\\134c");
    }

    #[test]
    fn the_first_partition_begins_behind_the_table_and_what_is_left_free() {
        let first = |start_offset_bytes| {
            let disk = Disk {
                start_offset_bytes,
                ..Disk::default()
            };
            Wanted::of(&Storage::Disk(disk)).first_offset_bytes
        };
        assert_eq!(first(None), 1 << 20);
        assert_eq!(first(Some(0)), 1 << 20);
        assert_eq!(first(Some(1 << 20)), 2 << 20);
        assert_eq!(first(Some(u64::MAX)), u64::MAX);
    }
}
