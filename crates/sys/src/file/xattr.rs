//! Extended attributes of a path, never through a final symbolic link.
//!
//! The path may be any length below an open directory: `descriptor_path(directory).join(name)`.

use std::ffi::{CStr, CString};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::{OsError, Result};

/// An extended attribute: full name (`security.capability`) and value.
pub type Attribute = (Box<[u8]>, Box<[u8]>);

/// The most bytes a list of names or a value has (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const MAX_BYTES: usize = 65536;

/// The names of the attributes of `path`, as the file system gives them; none where it has no attributes.
pub fn list_attributes(path: impl AsRef<Path>) -> Result<Vec<CString>> {
    let path = path.as_ref();
    let failed = |errno| OsError::new("list the attributes of", path.display(), errno);
    let mut list: Vec<u8> = Vec::with_capacity(512);
    loop {
        match rustix::fs::llistxattr(path, spare_capacity(&mut list)) {
            Ok(_) => break,
            Err(Errno::RANGE) if list.capacity() < MAX_BYTES => {
                list.clear();
                list.reserve(MAX_BYTES);
            }
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(list
        .split_inclusive(|byte| *byte == 0)
        .filter_map(|name| CStr::from_bytes_with_nul(name).ok())
        .map(CStr::to_owned)
        .collect())
}

/// One attribute of `path`; `None` if it has no such attribute.
pub fn read_attribute(path: impl AsRef<Path>, name: &CStr) -> Result<Option<Vec<u8>>> {
    let path = path.as_ref();
    let mut value: Vec<u8> = Vec::with_capacity(256);
    loop {
        match rustix::fs::lgetxattr(path, name, spare_capacity(&mut value)) {
            Ok(_) => return Ok(Some(value)),
            Err(Errno::RANGE) if value.capacity() < MAX_BYTES => {
                value.clear();
                value.reserve(MAX_BYTES);
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
            Err(errno) => {
                return Err(OsError::new(
                    format!("read attribute {} of", name.to_string_lossy()),
                    path.display(),
                    errno,
                ));
            }
        }
    }
}

/// All attributes of `path` that this process may read, in the order of the file system.
pub fn read_attributes(path: impl AsRef<Path>) -> Result<Vec<Attribute>> {
    let path = path.as_ref();
    let mut attributes = Vec::new();
    for name in list_attributes(path)? {
        if let Some(value) = read_attribute(path, &name)? {
            attributes.push((name.to_bytes().into(), value.into_boxed_slice()));
        }
    }
    Ok(attributes)
}

/// Sets an attribute of `path`, new or not.
pub fn set_attribute(path: impl AsRef<Path>, name: &[u8], value: &[u8]) -> Result<()> {
    let path = path.as_ref();
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())
        .map_err(|errno| cannot_set(name, path, errno))
}

/// [`set_attribute`] of an open file; `path` is what it is called in an error.
pub fn set_file_attribute(file: impl AsFd, path: &Path, name: &[u8], value: &[u8]) -> Result<()> {
    rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())
        .map_err(|errno| cannot_set(name, path, errno))
}

fn cannot_set(name: &[u8], path: &Path, errno: Errno) -> OsError {
    let operation = format!("set attribute {} of", String::from_utf8_lossy(name));
    OsError::new(operation, path.display(), errno)
}

/// Takes an attribute away from `path`; there need be none.
pub fn remove_attribute(path: impl AsRef<Path>, name: &[u8]) -> Result<()> {
    let path = path.as_ref();
    match rustix::fs::lremovexattr(path, name) {
        Ok(()) | Err(Errno::NODATA) => Ok(()),
        Err(errno) => Err(OsError::new(
            format!("remove attribute {} of", String::from_utf8_lossy(name)),
            path.display(),
            errno,
        )),
    }
}

#[cfg(test)]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_set() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let long = vec![b'x'; 3000];
        match set_attribute(file.path(), b"user.long", &long) {
            Err(error) if error.errno() == Errno::OPNOTSUPP => {
                eprintln!("SKIPPED: no user attributes on {}", file.path().display());
                return;
            }
            answer => answer.unwrap(),
        }
        set_file_attribute(&file, file.path(), b"user.empty", b"").unwrap();
        let mut attributes = read_attributes(file.path()).unwrap();
        attributes.retain(|(name, _)| name.starts_with(b"user."));
        attributes.sort();
        assert_eq!(attributes[0], (Box::from(*b"user.empty"), Box::from(*b"")));
        assert_eq!(&*attributes[1].1, long);
        assert_eq!(read_attribute(file.path(), c"user.none").unwrap(), None);
        for _ in 0..2 {
            remove_attribute(file.path(), b"user.empty").unwrap();
            assert_eq!(read_attribute(file.path(), c"user.empty").unwrap(), None);
        }
    }
}
