//! What a container is, and the JSON files of its directory.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use osmith_image::{Reference, Sha256Digest};
use osmith_sys::OsError;
use osmith_sys::file::{NewFile, open_directory};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ContainerError;
use crate::specification::Specification;

const FORMAT: u32 = 1;
const FILE_MODE: u32 = 0o600;
const NAME_MAX_BYTES: usize = 128;
/// How much of the ID is in a name that nobody chose.
const NAME_ID_DIGITS: usize = 6;

/// What a container is. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which fields there are.
    format: u32,
    /// 32 random bytes.
    pub id: Sha256Digest,
    /// The name, unique in the store.
    pub name: String,
    /// When it was made, in nanoseconds since 1970-01-01 UTC.
    pub created_ns: u64,
    /// What it is made of.
    pub specification: Specification,
}

impl Record {
    pub(super) fn new(name: Option<&str>, specification: Specification) -> Result<Self, ContainerError> {
        let mut bytes = [0; 32];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
            .map_err(|errno| OsError::new("make", "a random number", errno))?;
        let id = Sha256Digest::new(bytes);
        let name = match name {
            Some(name) => require_name(name)?.to_owned(),
            None => derived_name(&specification.image.name, &id),
        };
        Ok(Record {
            format: FORMAT,
            id,
            name,
            created_ns: now_ns(),
            specification,
        })
    }
}

/// Nanoseconds since 1970-01-01 UTC.
pub(crate) fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_nanos().try_into().unwrap_or(u64::MAX)
}

/// The name, if containers and volumes may have it.
pub(crate) fn require_name(name: &str) -> Result<&str, ContainerError> {
    let is_first = |byte: u8| byte.is_ascii_alphanumeric();
    let is_other = |byte: u8| is_first(byte) || matches!(byte, b'_' | b'.' | b'-');
    let is_name = name.bytes().next().is_some_and(is_first)
        && name.bytes().all(is_other)
        && name.len() <= NAME_MAX_BYTES;
    match is_name {
        true => Ok(name),
        false => Err(ContainerError::Name(name.to_owned())),
    }
}

/// The image's last name and the beginning of the ID.
fn derived_name(image: &str, id: &Sha256Digest) -> String {
    let digits: String = id.hex().chars().take(NAME_ID_DIGITS).collect();
    let path = image.parse::<Reference>().map(|name| name.path().to_owned());
    let path = path.unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    match require_name(last) {
        Ok(last) => format!("{last}-{digits}"),
        Err(_) => format!("container-{digits}"),
    }
}

/// Reads a file; `None` if there is none.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ContainerError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|_| ContainerError::Damaged(path.to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OsError::from_io("read", path.display(), &error).into()),
    }
}

/// Writes a file so that it is there as a whole or not at all, also after a loss of power.
pub(super) fn write_json(directory: &Path, name: &str, value: &impl Serialize) -> Result<(), ContainerError> {
    let path = directory.join(name);
    let open = open_directory(directory)?;
    let write = || {
        let mut file = NewFile::create(open.try_clone()?, FILE_MODE)?;
        file.file().write_all(&serde_json::to_vec(value)?)?;
        file.file().sync_all()?;
        file.replace(&open, name)?;
        Ok(rustix::fs::fsync(&open)?)
    };
    write().map_err(|error: std::io::Error| OsError::from_io("write", path.display(), &error).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["web", "a.b-c_D", "0"] {
            assert!(require_name(name).is_ok(), "{name}");
        }
        for name in ["", "-a", ".", "a/b", "a b", "ä"] {
            assert!(require_name(name).is_err(), "{name}");
        }
        let id = Sha256Digest::new([0xab; 32]);
        assert_eq!(derived_name("localhost/shop/web:2", &id), "web-ababab");
        assert_eq!(derived_name("", &id), "container-ababab");
    }

    #[test]
    fn a_file_is_written_whole_or_known_to_be_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.json");
        assert_eq!(read_json::<u32>(&path).unwrap(), None);
        write_json(directory.path(), "x.json", &7).unwrap();
        assert_eq!(read_json::<u32>(&path).unwrap(), Some(7));
        fs::write(&path, "{").unwrap();
        assert!(matches!(read_json::<u32>(&path), Err(ContainerError::Damaged(_))));
    }
}
