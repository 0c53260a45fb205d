//! fs-verity: the kernel checks a read-only file against a hash tree whenever it reads from it.
//!
//! Source: Documentation/filesystems/fsverity.rst. Digests are SHA-512 over 4 KiB blocks without salt, as composefs
//! repositories use them.

#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

use crate::{OsError, Result};

/// Length of a SHA-512 digest.
pub const DIGEST_BYTES: usize = 64;

const HASH_ALGORITHM_SHA512: u32 = 2;
const BLOCK_BYTES: u32 = 4096;
// _IOW('f', 133, struct fsverity_enable_arg) and _IOWR('f', 134, struct fsverity_digest), the same on all
// architectures that use the generic encoding.
const FS_IOC_ENABLE_VERITY: u32 = 0x4080_6685;
const FS_IOC_MEASURE_VERITY: u32 = 0xc004_6686;

#[repr(C)]
struct EnableArgument {
    version: u32,
    hash_algorithm: u32,
    block_bytes: u32,
    salt_bytes: u32,
    salt: u64,
    signature_bytes: u32,
    reserved_1: u32,
    signature: u64,
    reserved_2: [u64; 11],
}

#[repr(C)]
struct DigestArgument {
    algorithm: u16,
    digest_bytes: u16,
    digest: [u8; DIGEST_BYTES],
}

/// The digest that the kernel enforces for an open file; `None` if it enforces none.
pub fn measure(file: impl AsFd) -> Result<Option<[u8; DIGEST_BYTES]>> {
    let mut argument = DigestArgument {
        algorithm: 0,
        digest_bytes: DIGEST_BYTES as u16,
        digest: [0; DIGEST_BYTES],
    };
    // SAFETY: the kernel writes at most `digest_bytes` bytes behind the two leading fields of the structure, which
    // lives until the call returns and has room for that many.
    let answer = unsafe {
        libc::ioctl(
            file.as_fd().as_raw_fd(),
            FS_IOC_MEASURE_VERITY as _,
            &raw mut argument,
        )
    };
    if answer == 0 {
        let wanted = u32::from(argument.algorithm) == HASH_ALGORITHM_SHA512;
        return Ok(wanted.then_some(argument.digest));
    }
    match last_errno() {
        // No verity on this file, on this file system, in this kernel, or one of another, longer algorithm.
        Errno::NODATA | Errno::OPNOTSUPP | Errno::NOTTY | Errno::OVERFLOW => Ok(None),
        errno => Err(OsError::new("measure", "a file with fs-verity", errno)),
    }
}

/// Makes the kernel enforce the contents of a file from now on. The file must be open read-only, here and everywhere.
/// Returns false where the file system or the kernel has no fs-verity; a file that has it already is fine.
pub fn enable(file: &File) -> Result<bool> {
    let argument = EnableArgument {
        version: 1,
        hash_algorithm: HASH_ALGORITHM_SHA512,
        block_bytes: BLOCK_BYTES,
        salt_bytes: 0,
        salt: 0,
        signature_bytes: 0,
        reserved_1: 0,
        signature: 0,
        reserved_2: [0; 11],
    };
    // SAFETY: the kernel only reads the structure, which has the layout of `struct fsverity_enable_arg` and lives
    // until the call returns; its pointers have length 0.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_ENABLE_VERITY as _, &raw const argument) };
    if answer == 0 {
        return Ok(true);
    }
    match last_errno() {
        Errno::EXIST => Ok(true),
        Errno::OPNOTSUPP | Errno::NOTTY => Ok(false),
        errno => Err(OsError::new("enable fs-verity on", "a file", errno)),
    }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_file_has_no_digest() {
        assert_eq!(measure(tempfile::tempfile().unwrap()).unwrap(), None);
    }

    #[test]
    fn structures_have_the_size_in_the_request() {
        assert_eq!(
            size_of::<EnableArgument>(),
            (FS_IOC_ENABLE_VERITY >> 16 & 0x3fff) as usize
        );
        assert_eq!(std::mem::offset_of!(DigestArgument, digest), 4);
    }
}
