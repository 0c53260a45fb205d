//! What the format and Linux can hold: names, link targets, device numbers.

use crate::tree::Device;

const NAME_MAX_BYTES: usize = 255;
const TARGET_MAX_BYTES: usize = 4095;

/// Whether this can be the name of a file.
pub(crate) fn is_file_name(name: &[u8]) -> bool {
    let special = name.is_empty() || name == b"." || name == b"..";
    !special && name.len() <= NAME_MAX_BYTES && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// Whether this can be the target of a symbolic link.
pub(crate) fn is_target(target: &[u8]) -> bool {
    !target.is_empty() && target.len() <= TARGET_MAX_BYTES && !target.contains(&0)
}

/// The kernel's 32-bit form: 8 low bits of the minor number, 12 of the major, 12 more of the minor. `None` if it is
/// too large.
pub(crate) fn device_number(device: Device) -> Option<u32> {
    let Device { major, minor } = device;
    let fits = major < 1 << 12 && minor < 1 << 20;
    fits.then_some((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12))
}
