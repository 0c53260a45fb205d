//! The flags of an inode.
//!
//! Source: ioctl_iflags(2).

use std::os::fd::AsFd;

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use rustix::io::Errno;

use crate::{OsError, Result};

/// Lets nobody change or delete an open file, or lets them again. Returns whether it was so before; where the file system
/// has no flags, no file is immutable, and nothing is done.
pub fn set_immutable(file: impl AsFd, immutable: bool) -> Result<bool> {
    let failed = |operation: &'static str| move |errno| OsError::new(operation, "an open file", errno);
    let mut flags = match ioctl_getflags(&file) {
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(false),
        answer => answer.map_err(failed("read the flags of"))?,
    };
    let before = flags.contains(IFlags::IMMUTABLE);
    if before != immutable {
        flags.set(IFlags::IMMUTABLE, immutable);
        ioctl_setflags(&file, flags).map_err(failed("change the flags of"))?;
    }
    Ok(before)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use osmith_testing::oracle;

    use super::*;

    #[test]
    fn a_file_becomes_mutable_again() {
        if !oracle::require_root("making a file immutable") {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "one").unwrap();
        let file = File::open(&path).unwrap();
        assert!(!set_immutable(&file, false).unwrap());
        // Some file systems have no flags.
        let _ = set_immutable(&file, true);
        let was_immutable = set_immutable(&file, true).unwrap();
        assert_eq!(fs::write(&path, "two").is_err(), was_immutable);
        assert_eq!(set_immutable(&file, false).unwrap(), was_immutable);
        fs::write(&path, "three").unwrap();
    }
}
