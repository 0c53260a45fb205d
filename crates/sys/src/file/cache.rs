//! Writing through the kernel's page cache, or past it.
//!
//! Source: open(2), `O_DIRECT`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

/// The most that is written at once. The kernel caches a write in stretches as large as the write, and large ones are
/// dear: on a virtual machine, writes of 1 MiB took three times the processor time of these.
const WRITE_BYTES: usize = 128 << 10;

/// Writes bytes at a place in a file, through the page cache.
pub fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut pieces = bytes.chunks(WRITE_BYTES).zip((offset..).step_by(WRITE_BYTES));
    pieces.try_for_each(|(piece, offset)| file.write_all_at(piece, offset))
}

/// Lets the kernel begin to write what it caches of a stretch of a file, and does not wait for that: a flush at the end then
/// has less to do. Only a hint: kernels and file systems that cannot do it leave all to the flush.
pub fn start_writeback(file: impl AsFd, offset: u64, len_bytes: u64) {
    let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(len_bytes)) else {
        return;
    };
    // SAFETY: takes a descriptor, which is open as long as it is borrowed, and numbers.
    #[allow(unsafe_code, reason = "rustix does not have this call")]
    unsafe {
        libc::sync_file_range(
            file.as_fd().as_raw_fd(),
            offset,
            length,
            libc::SYNC_FILE_RANGE_WRITE,
        );
    }
}

/// Lets writes go from the caller's memory to the device, or through the page cache again. False if the file system
/// cannot do it.
///
/// Past the cache, the place in the file, the length and the address in memory must be multiples of the file system's
/// block size, or the write fails with `EINVAL`.
pub fn bypass_page_cache(file: impl AsFd, bypass: bool) -> bool {
    let set = |file| {
        let mut flags = fcntl_getfl(file)?;
        flags.set(OFlags::DIRECT, bypass);
        fcntl_setfl(file, flags)
    };
    let result: Result<(), Errno> = set(file.as_fd());
    result.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_early_is_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        let file = std::fs::File::create_new(&path).unwrap();
        write_all_at(&file, b"early", 1).unwrap();
        start_writeback(&file, 0, 6);
        start_writeback(&file, u64::MAX, 1);
        write_all_at(&file, b"late", 6).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"\0earlylate");
    }

    #[test]
    fn only_whole_blocks_go_past_the_cache() {
        let directory = tempfile::tempdir().unwrap();
        let file = std::fs::File::create_new(directory.path().join("f")).unwrap();
        file.write_all_at(b"x", 1).unwrap();
        if bypass_page_cache(&file, true) {
            let error = file.write_all_at(b"x", 1).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        }
        assert!(bypass_page_cache(&file, false));
        file.write_all_at(b"x", 1).unwrap();
    }
}
