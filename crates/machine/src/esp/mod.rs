//! The EFI system partition of a machine: the menu that is shown, the one that an update leaves for the shutdown, and
//! the kernels.
//!
//! ```text
//! loader/entries/           the boot menu
//! loader/entries.staged/    the next one, exchanged with the first in one step
//! loader/tries.env         what GRUB counted, on disks that start on BIOS machines
//! EFI/Linux/<folder>/       vmlinuz, initrd: of one deployment or of several that start with the same
//! EFI/Linux/bootc/          unified kernel images, a file for each deployment
//! ```
//!
//! FAT has no journal: everything is written under names that nothing refers to, and is on the medium before something
//! does.

mod find;
mod tries;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use osmith_report::{Class, Failure};
use osmith_sys::OsError;
use osmith_sys::file::descriptor_path;
use rustix::fs::RenameFlags;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::boot_menu::BootMenu;
use crate::entry::{KERNEL_PREFIX, UKI_SUFFIX};
use crate::grub::{self, GrubObstacle};
use crate::uki::Uki;

pub use tries::{TRIES_FILE, empty_tries_block};

/// The name of a kernel in its folder.
pub const KERNEL: &str = "vmlinuz";
/// The name of an initramfs in its folder.
pub const INITRAMFS: &str = "initrd";
/// The menu that the boot loader shows.
const ENTRIES: &str = "loader/entries";
/// The menu that an update left.
const STAGED: &str = "loader/entries.staged";
/// Where the folders of kernels are.
const KERNELS: &str = "EFI/Linux";
/// Where unified kernel images are: below, so that the boot loader does not list them by itself.
const UKIS: &str = "EFI/Linux/bootc";
/// Longer boot entries are none.
const ENTRY_MAX_BYTES: u64 = 64 << 10;
const COPY_BYTES: usize = 1 << 20;

/// What a partition is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EspAccess {
    /// Looking.
    Read,
    /// Changing.
    Write,
}

/// The partition, open.
#[derive(Debug)]
pub struct Esp {
    directory: OwnedFd,
    path: PathBuf,
}

/// A folder with kernel and initramfs on the partition, or a unified kernel image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledKernel {
    /// The name of the folder or of the file.
    pub name: String,
    /// SHA-256 of kernel and initramfs in one, 64 hexadecimal digits; none if one of them is missing, and of a unified
    /// one, which serves one deployment only.
    pub boot_digest: Option<String>,
    /// What it takes.
    pub size_bytes: u64,
}

/// Why the partition cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum EspError {
    /// There is no partition.
    #[error("no EFI system partition was found")]
    Missing,
    /// The kernel said no.
    #[error(transparent)]
    System(#[from] OsError),
    /// A file cannot be read or written.
    #[error("cannot {operation} '{path}' on the EFI system partition")]
    File {
        /// What was tried.
        operation: &'static str,
        /// The path from the root of the partition.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The machine may be started by GRUB, which would start something else than the entry says.
    #[error("the boot entry is not for this machine, which starts by GRUB too")]
    Grub(#[from] GrubObstacle),
}

impl Failure for EspError {
    fn class(&self) -> Class {
        match self {
            EspError::Grub(obstacle) => obstacle.class(),
            EspError::Missing | EspError::System(_) | EspError::File { .. } => Class::Environment,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            EspError::Missing => {
                vec!["'lsblk -o NAME,PARTTYPENAME,MOUNTPOINTS' lists the partitions".to_owned()]
            }
            EspError::System(error) if matches!(error.errno(), Errno::PERM | Errno::ACCESS) => {
                vec!["run the command as root".to_owned()]
            }
            EspError::Grub(obstacle) => obstacle.hints(),
            _ => Vec::new(),
        }
    }
}

type Result<T, E = EspError> = std::result::Result<T, E>;

fn failed(operation: &'static str, path: &str) -> impl FnOnce(io::Error) -> EspError {
    let path = path.to_owned();
    move |source| EspError::File {
        operation,
        path,
        source,
    }
}

impl Esp {
    /// Finds and opens the partition of the machine whose root directory is `root`.
    pub fn open(root: &Path, access: EspAccess) -> Result<Self> {
        let directory = find::open(root, access)?;
        let path = descriptor_path(&directory);
        Ok(Esp { directory, path })
    }

    /// The menu that is shown.
    pub fn menu(&self) -> Result<BootMenu> {
        Ok(self.read_menu(ENTRIES)?.unwrap_or_default())
    }

    /// The menu that an update left for the shutdown.
    pub fn staged_menu(&self) -> Result<Option<BootMenu>> {
        self.read_menu(STAGED)
    }

    fn read_menu(&self, folder: &str) -> Result<Option<BootMenu>> {
        let Some(names) = self.names(folder)? else {
            return Ok(None);
        };
        let mut files = Vec::new();
        for name in names.into_iter().filter(|name| name.ends_with(".conf")) {
            let path = format!("{folder}/{name}");
            let mut bytes = Vec::new();
            File::open(self.path.join(&path))
                .and_then(|file| file.take(ENTRY_MAX_BYTES).read_to_end(&mut bytes))
                .map_err(failed("read", &path))?;
            files.push((name, String::from_utf8_lossy(&bytes).into_owned()));
        }
        Ok(Some(BootMenu::new(files)))
    }

    /// Writes the menu for the shutdown, in the place of one that is there, and waits until it is on the medium.
    pub fn write_staged_menu(&self, menu: &BootMenu) -> Result<()> {
        if self.path.join(TRIES_FILE).exists() {
            let deployed = menu.entries.iter().filter(|entry| entry.deployment().is_some());
            deployed
                .map(|entry| &entry.entry)
                .try_for_each(grub::require_readable)?;
        }
        self.remove_staged_menu()?;
        fs::create_dir_all(self.path.join(STAGED)).map_err(failed("create", STAGED))?;
        for entry in &menu.entries {
            let path = format!("{STAGED}/{}", entry.file_name());
            self.write(&path, entry.entry.to_text().as_bytes())?;
        }
        self.sync()
    }

    /// Removes the menu for the shutdown, if there is one.
    pub fn remove_staged_menu(&self) -> Result<()> {
        self.remove(STAGED)
    }

    /// Makes the menu for the shutdown the one that is shown, in one step where the kernel can, and removes the old one.
    pub fn exchange_menus(&self) -> Result<()> {
        let exchange = || {
            let flags = RenameFlags::EXCHANGE;
            rustix::fs::renameat_with(&self.directory, STAGED, &self.directory, ENTRIES, flags)
        };
        match exchange() {
            Ok(()) => {
                self.sync()?;
                self.remove(STAGED)?;
            }
            Err(Errno::INVAL | Errno::NOENT) => self.replace_entries_one_by_one()?,
            Err(errno) => return Err(failed("exchange", ENTRIES)(errno.into())),
        }
        self.sync()
    }

    /// For kernels that exchange nothing on FAT: new entries come before old ones go, so that there is always a menu.
    fn replace_entries_one_by_one(&self) -> Result<()> {
        let new = self.names(STAGED)?.unwrap_or_default();
        let old = self.names(ENTRIES)?.unwrap_or_default();
        fs::create_dir_all(self.path.join(ENTRIES)).map_err(failed("create", ENTRIES))?;
        for name in &new {
            let (from, to) = (format!("{STAGED}/{name}"), format!("{ENTRIES}/{name}"));
            fs::rename(self.path.join(&from), self.path.join(&to)).map_err(failed("rename", &from))?;
        }
        self.sync()?;
        for name in old.iter().filter(|name| !new.contains(name)) {
            self.remove(&format!("{ENTRIES}/{name}"))?;
        }
        self.remove(STAGED)
    }

    /// Renames an entry of the menu that is shown.
    pub fn rename_entry(&self, from: &str, to: &str) -> Result<()> {
        let path = |name: &str| self.path.join(ENTRIES).join(name);
        fs::rename(path(from), path(to)).map_err(failed("rename", &format!("{ENTRIES}/{from}")))?;
        self.sync()
    }

    /// The kernels of bootc and osmith. Reads those that are not unified.
    pub fn kernels(&self) -> Result<Vec<InstalledKernel>> {
        let names = self.kernel_names()?.into_iter();
        Ok(names
            .map(|name| installed_kernel(&self.path.join(kernel_place(&name)), name))
            .collect())
    }

    /// Their names.
    pub fn kernel_names(&self) -> Result<Vec<String>> {
        let mut folders = self.names(KERNELS)?.unwrap_or_default();
        folders.retain(|name| self.path.join(KERNELS).join(name).is_dir());
        let mut names = self.names(UKIS)?.unwrap_or_default();
        names.retain(|name| name.ends_with(UKI_SUFFIX));
        names.append(&mut folders);
        names.retain(|name| name.starts_with(KERNEL_PREFIX));
        Ok(names)
    }

    /// The path of a file in a kernel folder, as a boot entry names it.
    pub fn kernel_path(folder: &str, file: &str) -> String {
        format!("/{KERNELS}/{folder}/{file}")
    }

    /// The path of a unified kernel image, likewise.
    pub fn uki_path(name: &str) -> String {
        format!("/{UKIS}/{name}")
    }

    /// Writes a file of a kernel, by its path on the partition; its folder is made if it is missing.
    pub fn write_kernel_file(&self, path: &str, mut contents: impl Read) -> Result<()> {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        fs::create_dir_all(self.path.join(folder)).map_err(failed("create", folder))?;
        let mut buffer = vec![0; COPY_BYTES];
        let written = File::create(self.path.join(path)).and_then(|mut target| {
            loop {
                match contents.read(&mut buffer)? {
                    0 => return target.sync_all(),
                    count => target.write_all(buffer.get(..count).unwrap_or_default())?,
                }
            }
        });
        written.map_err(failed("write", path))
    }

    /// The unified kernel image of a boot entry, by the path that the entry gives.
    pub fn read_uki(&self, path: &str) -> Result<Uki> {
        let path = path.trim_start_matches('/');
        let bytes = fs::read(self.path.join(path)).map_err(failed("read", path))?;
        Uki::read(&bytes).map_err(|error| failed("read", path)(io::Error::other(error)))
    }

    /// Removes a kernel: its folder, or its file.
    pub fn remove_kernel(&self, name: &str) -> Result<()> {
        self.remove(&kernel_place(name))
    }

    /// What can still be written, in bytes.
    pub fn free_bytes(&self) -> Result<u64> {
        let found = rustix::fs::fstatvfs(&self.directory)
            .map_err(|errno| OsError::new("look at", "the EFI system partition", errno))?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Waits until everything is on the medium.
    pub fn sync(&self) -> Result<()> {
        rustix::fs::syncfs(&self.directory)
            .map_err(|errno| OsError::new("write to the disk", "the EFI system partition", errno).into())
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let written = File::create(self.path.join(path)).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.map_err(failed("write", path))
    }

    /// Removes a file, or a folder with all in it; there need be none.
    fn remove(&self, path: &str) -> Result<()> {
        let target = self.path.join(path);
        let removed = match target.symlink_metadata() {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&target),
            Ok(_) => fs::remove_file(&target),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(failed("remove", path)),
        }
    }

    /// The names in a folder, if there is one.
    fn names(&self, folder: &str) -> Result<Option<Vec<String>>> {
        let read = match fs::read_dir(self.path.join(folder)) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("list", folder)(error)),
        };
        let names = read.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names = names
            .collect::<io::Result<Vec<_>>>()
            .map_err(failed("list", folder))?;
        names.sort();
        Ok(Some(names))
    }
}

impl AsFd for Esp {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

fn kernel_place(name: &str) -> String {
    match name.ends_with(UKI_SUFFIX) {
        true => format!("{UKIS}/{name}"),
        false => format!("{KERNELS}/{name}"),
    }
}

fn installed_kernel(path: &Path, name: String) -> InstalledKernel {
    if name.ends_with(UKI_SUFFIX) {
        return InstalledKernel {
            name,
            boot_digest: None,
            size_bytes: path.metadata().map_or(0, |found| found.len()),
        };
    }
    let mut hasher = Sha256::new();
    let mut size_bytes = 0;
    let hashed = [KERNEL, INITRAMFS].iter().try_for_each(|file| {
        let bytes = fs::read(path.join(file))?;
        size_bytes += bytes.len() as u64;
        hasher.update(&bytes);
        io::Result::Ok(())
    });
    InstalledKernel {
        name,
        boot_digest: hashed.ok().map(|()| hex::encode(hasher.finalize())),
        size_bytes,
    }
}

#[cfg(test)]
mod tests;
