//! What systemd of the medium's system does: the installation, and nothing that the image does when it runs.
//!
//! The units are in `/run`, which comes along when systemd leaves the initramfs; so they fit the program that wrote them,
//! and an image needs none of its own.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use osmith_sys::OsError;

/// What systemd starts: the kernel argument `systemd.unit=` names it.
pub const TARGET: &str = "osmith-install.target";

const FOLDER: &str = "run/systemd/system";
const UNITS: [(&str, &str); 2] = [
    (TARGET, include_str!("osmith-install.target")),
    ("osmith-install.service", include_str!("osmith-install.service")),
];
/// What grows file systems and partitions would do that to the medium; the rest waits for somebody or is of no use.
const MASKED: [&str; 5] = [
    "osmith-grow-root.service",
    "systemd-repart.service",
    "systemd-growfs-root.service",
    "systemd-firstboot.service",
    "ldconfig.service",
];

/// Writes the units for the system that the initramfs `initramfs` leads to.
pub(crate) fn write_units(initramfs: &Path) -> Result<(), OsError> {
    let folder = initramfs.join(FOLDER);
    let failed =
        |error: io::Error| OsError::from_io("write the units of the installer to", folder.display(), &error);
    fs::create_dir_all(&folder).map_err(failed)?;
    for (name, text) in UNITS {
        fs::write(folder.join(name), text).map_err(failed)?;
    }
    for name in MASKED {
        match symlink("/dev/null", folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_there_twice_as_well() {
        let initramfs = tempfile::tempdir().unwrap();
        write_units(initramfs.path()).unwrap();
        write_units(initramfs.path()).unwrap();
        let folder = initramfs.path().join(FOLDER);
        assert!(
            fs::read_to_string(folder.join(TARGET))
                .unwrap()
                .contains("osmith-install.service")
        );
        let masked = fs::read_link(folder.join("systemd-repart.service")).unwrap();
        assert_eq!(masked, Path::new("/dev/null"));
    }
}
