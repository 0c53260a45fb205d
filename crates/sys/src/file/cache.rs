//! Whether what is written stays in the kernel's page cache.
//!
//! Source: open(2), `O_DIRECT`.

use std::os::fd::AsFd;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

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
    use std::os::unix::fs::FileExt;

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
