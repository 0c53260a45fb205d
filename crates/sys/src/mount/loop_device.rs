//! A file, or a stretch of one, as a block device: for kernels that mount EROFS from block devices only, and for partitions
//! that no partition table lists yet.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::{OsError, Result};

/// Source: linux/loop.h, stable since Linux 5.8.
const LOOP_CONFIGURE: u32 = 0x4c0a;
const LOOP_CTL_GET_FREE: u32 = 0x4c82;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    real_device: u64,
    offset_bytes: u64,
    limit_bytes: u64,
    number: u32,
    encryption: u32,
    encryption_key_bytes: u32,
    flags: u32,
    file_name: [u8; 64],
    encryption_name: [u8; 64],
    encryption_key: [u8; 32],
    init: [u64; 2],
}

#[repr(C)]
struct LoopConfiguration {
    file: u32,
    block_bytes: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// A loop device; the kernel frees it when it is neither open nor mounted.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    _device: File,
}

/// What a loop device shows of a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stretch {
    /// Where it begins.
    pub offset_bytes: u64,
    /// How long it is; 0 is up to the end.
    pub len_bytes: u64,
    /// Whether what is written to the device goes into the file.
    pub writable: bool,
}

impl LoopDevice {
    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Attaches a stretch of a file or block device to a free loop device.
pub fn attach(image: BorrowedFd<'_>, stretch: Stretch) -> Result<LoopDevice> {
    let control = open("/dev/loop-control".into())?;
    loop {
        // SAFETY: this request takes no argument and returns a number.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
        if number < 0 {
            let error = std::io::Error::last_os_error();
            return Err(OsError::from_io("find", "a free loop device", &error));
        }
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = open(path.clone())?;
        match configure(device.as_fd(), image, stretch) {
            Ok(()) => {
                return Ok(LoopDevice {
                    path,
                    _device: device,
                });
            }
            // Another process was faster.
            Err(Errno::BUSY) => {}
            Err(errno) => return Err(OsError::new("set up", path.display(), errno)),
        }
    }
}

fn open(path: PathBuf) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .map_err(|error| OsError::from_io("open", path.display(), &error))
}

fn configure(device: BorrowedFd<'_>, image: BorrowedFd<'_>, stretch: Stretch) -> rustix::io::Result<()> {
    let access = if stretch.writable { 0 } else { LO_FLAGS_READ_ONLY };
    let configuration = LoopConfiguration {
        file: image.as_raw_fd().cast_unsigned(),
        block_bytes: 0,
        info: LoopInfo {
            device: 0,
            inode: 0,
            real_device: 0,
            offset_bytes: stretch.offset_bytes,
            limit_bytes: stretch.len_bytes,
            number: 0,
            encryption: 0,
            encryption_key_bytes: 0,
            flags: access | LO_FLAGS_AUTOCLEAR,
            file_name: [0; 64],
            encryption_name: [0; 64],
            encryption_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: the kernel only reads the structure, which has the layout of `struct loop_config` and lives until the
    // call returns.
    let answer = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, &raw const configuration) };
    match answer {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_kernels_size() {
        assert_eq!(size_of::<LoopInfo>(), 232);
        assert_eq!(size_of::<LoopConfiguration>(), 304);
    }
}
