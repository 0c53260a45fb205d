//! Swap areas (swapon(2)).

#![allow(unsafe_code)]

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;

use crate::{OsError, Result};

/// Source: linux/swap.h.
const SWAP_FLAG_PREFER: i32 = 0x8000;

/// Uses a device with a swap area, before others that were added without a priority.
pub fn add(device: &Path) -> Result<()> {
    const PRIORITY: i32 = 100;
    let failed = |errno: Errno| OsError::new("swap to", device.display(), errno);
    let path = CString::new(device.as_os_str().as_bytes()).map_err(|_| failed(Errno::INVAL))?;
    // SAFETY: the path is a C string that lives until the call returns.
    let answer = unsafe { libc::swapon(path.as_ptr(), SWAP_FLAG_PREFER | PRIORITY) };
    match answer {
        0 => Ok(()),
        _ => Err(OsError::from_io(
            "swap to",
            device.display(),
            &std::io::Error::last_os_error(),
        )),
    }
}
