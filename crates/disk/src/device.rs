//! A block device, or a file in place of one, that a disk is written onto.
//!
//! Everything that speaks against it is looked for before anything is written: somebody uses the device, or there is
//! something on it.
//!
//! Left out: devices with sectors of 4096 bytes, whose partition table has other numbers.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use osmith_formats::gpt::SECTOR_BYTES;
use osmith_report::{Class, Failure};
use rustix::fs::{FallocateFlags, OFlags, major, minor};
use rustix::io::Errno;

use crate::error::WriteError;
use crate::output::Target;

/// What is looked at, at either end.
const END_BYTES: u64 = 1 << 20;
/// So much is erased from one report to the next.
const ERASED_BYTES: u64 = 256 << 20;

/// Where a disk is written onto, open and free to be written to.
#[derive(Debug)]
pub struct Device {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    /// Its length, whole sectors.
    size_bytes: u64,
    is_block_device: bool,
}

/// Why a device is not written to. Nothing on it was changed.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The system said no.
    #[error("cannot {operation} '{}'", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a folder, a terminal ...
    #[error("'{}' is no block device and no regular file", .0.display())]
    Kind(PathBuf),
    /// It is a part of a disk.
    #[error("'{}' is a partition, not a disk", .0.display())]
    Partition(PathBuf),
    /// Its sectors have another length.
    #[error("'{}' has sectors of {sector_bytes} bytes; disks are written for sectors of 512 bytes", path.display())]
    Sectors {
        /// The device.
        path: PathBuf,
        /// Their length.
        sector_bytes: u64,
    },
    /// Somebody uses it.
    #[error("'{}' is in use{}", path.display(), user.as_ref().map(|user| format!(": {user}")).unwrap_or_default())]
    InUse {
        /// The device.
        path: PathBuf,
        /// Who, if that is known.
        user: Option<String>,
    },
    /// There is something on it.
    #[error("'{}' is not empty: it has {found}", path.display())]
    NotEmpty {
        /// The device.
        path: PathBuf,
        /// What.
        found: &'static str,
    },
}

impl Failure for DeviceError {
    fn class(&self) -> Class {
        match self {
            DeviceError::File { source, .. } if source.kind() == io::ErrorKind::NotFound => Class::NotFound,
            DeviceError::File { .. } | DeviceError::Sectors { .. } => Class::Environment,
            DeviceError::Kind(_) | DeviceError::Partition(_) => Class::Usage,
            DeviceError::InUse { .. } | DeviceError::NotEmpty { .. } => Class::Conflict,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            DeviceError::File { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "'lsblk' lists the disks; 'truncate -s 20G FILE' makes a file in place of one"
            }
            DeviceError::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run the command as root"
            }
            DeviceError::Partition(_) => "'lsblk' shows the disk that it is on",
            DeviceError::InUse { .. } => "'lsblk' shows what is mounted; unmount it, or choose another disk",
            DeviceError::NotEmpty { .. } => "--wipe erases all that is on it",
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

type Result<T, E = DeviceError> = std::result::Result<T, E>;

impl Device {
    /// Opens a device that nobody uses, on a machine whose root directory is `host`. With `wipe` there may be something
    /// on it.
    pub fn open(path: &Path, host: &Path, wipe: bool) -> Result<Self> {
        let failed = |operation| move |source| file_error(operation, path, source);
        let path = fs::canonicalize(path).map_err(failed("open"))?;
        let found = fs::metadata(&path).map_err(failed("open"))?;
        let is_block_device = found.file_type().is_block_device();
        if is_block_device {
            require_free_disk(&path, found.rdev(), host)?;
        } else if found.is_file() {
            require_no_loop(&path, host)?;
        } else {
            return Err(DeviceError::Kind(path));
        }
        // The kernel lets nobody have a device for himself that is mounted, or a part of something.
        let exclusive = if is_block_device {
            OFlags::EXCL
        } else {
            OFlags::empty()
        };
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(exclusive.bits() as i32)
            .open(&path);
        let file = opened.map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::BUSY) => in_use(&path, None),
            _ => file_error("open", &path, error),
        })?;
        let size_bytes = length_bytes(&file).map_err(failed("read the size of"))?;
        let device = Device {
            file,
            size_bytes: size_bytes / SECTOR_BYTES * SECTOR_BYTES,
            is_block_device,
            path,
        };
        if !wipe {
            device.require_empty()?;
        }
        Ok(device)
    }

    /// Its length in bytes, whole sectors.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(crate) fn target(&self) -> Target<'_> {
        Target {
            file: &self.file,
            path: &self.path,
        }
    }

    /// The open device.
    pub fn file(&self) -> &File {
        &self.file
    }

    fn require_empty(&self) -> Result<()> {
        let read = |offset| {
            let mut bytes = vec![0; END_BYTES.min(self.size_bytes) as usize];
            self.file.read_exact_at(&mut bytes, offset).map(|()| bytes)
        };
        let ends = read(0).and_then(|first| Ok((first, read(self.size_bytes.saturating_sub(END_BYTES))?)));
        let (first, last) = ends.map_err(|error| file_error("read", &self.path, error))?;
        match find_contents(&first, &last) {
            Some(found) => Err(DeviceError::NotEmpty {
                path: self.path.clone(),
                found,
            }),
            None => Ok(()),
        }
    }

    /// Makes all bytes zeros; `advance` is told how many are.
    pub(crate) fn erase(
        &self,
        mut advance: impl FnMut(u64) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let failed = |error: io::Error| WriteError::device("erase", &self.path, error);
        if !self.is_block_device {
            let length_bytes = self.file.metadata().map_err(failed)?.len();
            self.file.set_len(0).map_err(failed)?;
            self.file.set_len(length_bytes).map_err(failed)?;
            return advance(self.size_bytes);
        }
        // First what costs nothing; where the device cannot do that, the kernel writes zeros.
        let mut flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let mut done = 0;
        while done < self.size_bytes {
            let length = ERASED_BYTES.min(self.size_bytes - done);
            match rustix::fs::fallocate(&self.file, flags, done, length) {
                Err(Errno::OPNOTSUPP) if flags.contains(FallocateFlags::PUNCH_HOLE) => {
                    flags = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
                    continue;
                }
                Err(Errno::INTR) => continue,
                erased => erased.map_err(|errno| failed(errno.into()))?,
            }
            done += length;
            advance(done)?;
        }
        Ok(())
    }
}

fn file_error(operation: &'static str, path: &Path, source: io::Error) -> DeviceError {
    DeviceError::File {
        operation,
        path: path.to_owned(),
        source,
    }
}

fn in_use(path: &Path, user: Option<String>) -> DeviceError {
    DeviceError::InUse {
        path: path.to_owned(),
        user,
    }
}

/// A device has no length in its metadata.
fn length_bytes(mut file: &File) -> io::Result<u64> {
    io::Seek::seek(&mut file, io::SeekFrom::End(0))
}

/// A whole disk, with sectors of the right length, of which nothing is mounted. Source: sysfs-block of the kernel.
fn require_free_disk(path: &Path, device: u64, host: &Path) -> Result<()> {
    let number = format!("{}:{}", major(device), minor(device));
    let folder = host.join("sys/dev/block").join(&number);
    if folder.join("partition").exists() {
        return Err(DeviceError::Partition(path.to_owned()));
    }
    let sector_bytes = fs::read_to_string(folder.join("queue/logical_block_size")).ok();
    let sector_bytes = sector_bytes.and_then(|text| text.trim().parse().ok());
    if let Some(sector_bytes) = sector_bytes.filter(|found| *found != SECTOR_BYTES) {
        return Err(DeviceError::Sectors {
            path: path.to_owned(),
            sector_bytes,
        });
    }
    let mut numbers = vec![number];
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        let partition = entry.path();
        if partition.join("partition").exists()
            && let Ok(number) = fs::read_to_string(partition.join("dev"))
        {
            numbers.push(number.trim().to_owned());
        }
    }
    let table = fs::read_to_string(host.join("proc/self/mountinfo")).unwrap_or_default();
    match find_mount(&table, &numbers) {
        Some(point) => Err(in_use(path, Some(format!("mounted at '{point}'")))),
        None => Ok(()),
    }
}

/// Where one of these devices is mounted. Source: proc_pid_mountinfo(5).
fn find_mount<'a>(mountinfo: &'a str, numbers: &[String]) -> Option<&'a str> {
    mountinfo.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(2);
        let number = fields.next()?;
        numbers
            .iter()
            .any(|wanted| wanted == number)
            .then(|| fields.nth(1))?
    })
}

/// A file that a loop device shows as a disk.
fn require_no_loop(path: &Path, host: &Path) -> Result<()> {
    for entry in fs::read_dir(host.join("sys/block"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let backing = fs::read_to_string(entry.path().join("loop/backing_file"));
        if backing.is_ok_and(|backing| Path::new(backing.trim_end_matches('\n')) == path) {
            let user = format!("/dev/{} shows it", entry.file_name().to_string_lossy());
            return Err(in_use(path, Some(user)));
        }
    }
    Ok(())
}

/// What the first and the last bytes of a disk say that is on it. Source of the places: the `blkid` program's.
pub fn find_contents(first: &[u8], last: &[u8]) -> Option<&'static str> {
    const SIGNATURES: [(usize, &[u8], &str); 8] = [
        (512, b"EFI PART", "a partition table"),
        (1080, b"\x53\xef", "an ext4 file system"),
        (0, b"XFSB", "an XFS file system"),
        (65600, b"_BHRfS_M", "a btrfs file system"),
        (0, b"LUKS\xba\xbe", "an encrypted volume"),
        (512, b"LABELONE", "an LVM volume"),
        (4086, b"SWAPSPACE2", "swap space"),
        (510, b"\x55\xaa", "a partition table or a FAT file system"),
    ];
    let has = |at: usize, magic: &[u8]| first.get(at..).is_some_and(|bytes| bytes.starts_with(magic));
    let found = SIGNATURES.iter().find(|(at, magic, _)| has(*at, magic));
    let is_empty = || first.iter().chain(last).all(|byte| *byte == 0);
    match found {
        Some((_, _, name)) => Some(name),
        None if is_empty() => None,
        None => Some("data"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_a_disk_is_named() {
        let empty = vec![0; 1 << 20];
        assert_eq!(find_contents(&empty, &empty), None);
        let with = |at: usize, bytes: &[u8]| {
            let mut disk = empty.clone();
            disk[at..at + bytes.len()].copy_from_slice(bytes);
            disk
        };
        for (at, magic, expected) in [
            (512, &b"EFI PART"[..], "a partition table"),
            (1080, b"\x53\xef", "an ext4 file system"),
            (65600, b"_BHRfS_M", "a btrfs file system"),
            (700_000, b"x", "data"),
        ] {
            assert_eq!(find_contents(&with(at, magic), &empty), Some(expected));
        }
        assert_eq!(find_contents(&empty, &with(700_000, b"x")), Some("data"));
        assert_eq!(find_contents(b"", b""), None);
    }

    #[test]
    fn a_partition_that_is_mounted_is_found() {
        let table =
            "22 1 254:2 / /mnt/x rw - ext4 /dev/vda2 rw\n30 22 0:27 / / ro - overlay x ro\nnonsense\n";
        let numbers = ["254:0", "254:2"].map(str::to_owned);
        assert_eq!(find_mount(table, &numbers), Some("/mnt/x"));
        assert_eq!(find_mount(table, &numbers[..1]), None);
    }

    #[test]
    fn disks_in_use_and_parts_of_disks_are_refused() {
        let host = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = host.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let device = rustix::fs::makedev(8, 0);
        let check = || require_free_disk(Path::new("disk"), device, host.path());
        assert!(check().is_ok());
        write("sys/dev/block/8:0/queue/logical_block_size", "512\n");
        write("sys/dev/block/8:0/sda2/partition", "2\n");
        write("sys/dev/block/8:0/sda2/dev", "8:2\n");
        assert!(check().is_ok());
        write("proc/self/mountinfo", "22 1 8:2 / /home rw - ext4 /dev/sda2 rw\n");
        let error = check().unwrap_err();
        assert_eq!(error.to_string(), "'disk' is in use: mounted at '/home'");
        write("sys/dev/block/8:0/queue/logical_block_size", "4096\n");
        assert!(matches!(
            check(),
            Err(DeviceError::Sectors {
                sector_bytes: 4096,
                ..
            })
        ));
        write("sys/dev/block/8:0/partition", "1\n");
        assert!(matches!(check(), Err(DeviceError::Partition(_))));
        let file = host.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(require_no_loop(&file, host.path()).is_ok());
        write(
            "sys/block/loop0/loop/backing_file",
            &format!("{}\n", file.display()),
        );
        let error = Device::open(&file, host.path(), true).unwrap_err();
        assert!(
            error.to_string().ends_with("is in use: /dev/loop0 shows it"),
            "{error}"
        );
    }

    #[test]
    fn only_an_empty_file_is_taken_without_wiping() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        assert_eq!(
            Device::open(&path, folder.path(), false).unwrap_err().class(),
            Class::NotFound
        );
        assert!(matches!(
            Device::open(folder.path(), folder.path(), false),
            Err(DeviceError::Kind(_))
        ));
        fs::write(&path, vec![0; 3_000_000]).unwrap();
        let device = Device::open(&path, folder.path(), false).unwrap();
        assert_eq!(device.size_bytes(), 3_000_000 / 512 * 512);
        device.file.write_all_at(b"x", 2_999_800).unwrap();
        let error = Device::open(&path, folder.path(), false).unwrap_err();
        assert!(
            error.to_string().ends_with("is not empty: it has data"),
            "{error}"
        );
        let device = Device::open(&path, folder.path(), true).unwrap();
        let mut told = 0;
        device
            .erase(|done| {
                told = done;
                Ok(())
            })
            .unwrap();
        assert_eq!(told, device.size_bytes());
        assert_eq!(fs::read(&path).unwrap(), vec![0; 3_000_000]);
    }
}
