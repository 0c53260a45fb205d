//! The variables of UEFI firmware, as files.
//!
//! Source: Documentation/filesystems/efivarfs.rst. A file is called `NAME-VENDORGUID` and has four bytes of attributes, then
//! the data; all of it must come in one write. Variables that a machine may not start without are immutable, until somebody
//! says otherwise.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use osmith_formats::efi_boot::{BOOT_ORDER, GLOBAL_VARIABLE, LoadOption, entry_number, parse_numbers};
use osmith_sys::OsError;
use osmith_sys::file::{open_directory, set_immutable};
use osmith_sys::mount::{FileSystem, MountAttrFlags};

use super::FirmwareError;
use super::changes::BootVariables;

/// Where the kernel has them, from the root directory on.
const PLACE: &str = "sys/firmware/efi/efivars";
/// Kept without power, known before the system starts and while it runs (UEFI specification 2.10, 3.3).
const ATTRIBUTES: [u8; ATTRIBUTES_BYTES] = 7_u32.to_le_bytes();
const ATTRIBUTES_BYTES: usize = 4;

/// The variables of a machine.
#[derive(Debug)]
pub(super) struct Variables {
    folder: PathBuf,
}

impl Variables {
    /// Looks for them, and mounts them if need be. `None` if the machine has none.
    pub(super) fn open(host: &Path) -> Result<Option<Self>, FirmwareError> {
        let folder = host.join(PLACE);
        let mut names = match fs::read_dir(&folder) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &folder, &error)),
        };
        // No firmware is without variables.
        if names.next().is_none() {
            // The kernel loads its module for that.
            let mounted = FileSystem::open("efivarfs")?.mount(
                MountAttrFlags::MOUNT_ATTR_NOSUID
                    | MountAttrFlags::MOUNT_ATTR_NODEV
                    | MountAttrFlags::MOUNT_ATTR_NOEXEC,
            )?;
            mounted.attach(open_directory(&folder)?, "")?;
        }
        Ok(Some(Variables { folder }))
    }

    /// Reads the boot entries and their order.
    pub(super) fn read_boot(&self) -> Result<BootVariables, FirmwareError> {
        let names = fs::read_dir(&self.folder).map_err(|error| failed("read", &self.folder, &error))?;
        let mut found = BootVariables::default();
        for name in names {
            let name = name.map_err(|error| failed("read", &self.folder, &error))?;
            let name = name.file_name();
            let own = name.to_str().and_then(|name| name.strip_suffix(GLOBAL_VARIABLE));
            let Some(number) = own.and_then(|name| entry_number(name.strip_suffix('-')?)) else {
                continue;
            };
            // One that cannot be read is somebody's all the same.
            let data = self.read(&osmith_formats::efi_boot::entry_name(number));
            let option = data.ok().flatten().and_then(|data| LoadOption::parse(&data));
            found.entries.insert(number, option);
        }
        found.order = parse_numbers(&self.read(BOOT_ORDER)?.unwrap_or_default());
        Ok(found)
    }

    /// The data of a variable, if it exists.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FirmwareError> {
        let path = self.path(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(bytes.get(ATTRIBUTES_BYTES..).map(<[u8]>::to_vec)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path, &error)),
        }
    }

    /// Gives a variable its data. Where it has them already, the memory of the firmware is spared.
    pub(super) fn write(&self, name: &str, data: &[u8]) -> Result<(), FirmwareError> {
        if self.read(name)?.as_deref() == Some(data) {
            return Ok(());
        }
        let path = self.path(name);
        let mut is_immutable = false;
        if let Some(file) = open(&path)? {
            is_immutable = set_immutable(&file, false)?;
        }
        let bytes = [&ATTRIBUTES, data].concat();
        let written = write_at_once(&path, &bytes).map_err(|error| failed("write", &path, &error));
        if is_immutable && let Some(file) = open(&path)? {
            set_immutable(&file, true)?;
        }
        written
    }

    /// Removes a variable.
    pub(super) fn remove(&self, name: &str) -> Result<(), FirmwareError> {
        let path = self.path(name);
        let Some(file) = open(&path)? else {
            return Ok(());
        };
        set_immutable(&file, false)?;
        drop(file);
        fs::remove_file(&path).map_err(|error| failed("remove", &path, &error))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}-{GLOBAL_VARIABLE}"))
    }
}

/// The file, if it exists.
fn open(path: &Path) -> Result<Option<File>, FirmwareError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("open", path, &error)),
    }
}

/// Truncated first, the variable would be gone for a moment. What ordinary files keep behind a shorter write is cut off
/// after it; a variable has no more than what was written.
fn write_at_once(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let written_bytes = file.write(bytes)?;
    if written_bytes != bytes.len() {
        return Err(io::Error::from(io::ErrorKind::WriteZero));
    }
    let length_bytes = bytes.len() as u64;
    match file.metadata()?.len() > length_bytes {
        true => file.set_len(length_bytes),
        false => Ok(()),
    }
}

fn failed(operation: &'static str, path: &Path, error: &io::Error) -> FirmwareError {
    OsError::from_io(operation, path.display(), error).into()
}
