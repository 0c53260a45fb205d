//! Kickstart files of the initramfs, which goes away when the live system starts: they are kept in `/run`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use osmith_sys::OsError;

use crate::kernel_arguments;

/// Where files of the initramfs are kept, under the paths that they had there.
pub const KEPT: &str = "run/osmith/initramfs";
/// What `osmith iso embed-kickstart` writes, and others append to an initramfs.
const USUAL: &str = "ks.cfg";

/// Keeps the usual file and those that `inst.ks=` names, if they are there.
pub(crate) fn keep(initramfs: &Path, command_line: &str) -> Result<(), OsError> {
    let arguments = kernel_arguments::split(command_line);
    let named = arguments.iter().filter_map(|argument| {
        let value = argument.strip_prefix("inst.ks=")?;
        let path = value.strip_prefix("file:").unwrap_or(value);
        path.starts_with('/').then_some(path)
    });
    for path in named.chain([USUAL]) {
        let names: Vec<_> = path.split('/').filter(|name| !name.is_empty()).collect();
        let has_way_out = names.contains(&"..");
        let from = initramfs.join(names.join("/"));
        if has_way_out || !from.is_file() {
            continue;
        }
        let to = initramfs.join(KEPT).join(names.join("/"));
        copy(&from, &to).map_err(|error| OsError::from_io("keep", from.display(), &error))?;
    }
    Ok(())
}

/// Passwords may be in it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    let mut copy = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(to)?;
    io::copy(&mut File::open(from)?, &mut copy).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_and_usual_files_are_kept() {
        let initramfs = tempfile::tempdir().unwrap();
        let at = |path: &str| initramfs.path().join(path);
        fs::create_dir_all(at("etc")).unwrap();
        for path in ["ks.cfg", "etc/my.ks", "other"] {
            fs::write(at(path), path).unwrap();
        }
        let line =
            "inst.ks=file:///etc/my.ks inst.ks=/missing inst.ks=file:/../etc/my.ks inst.ks=http://x/other";
        keep(initramfs.path(), line).unwrap();
        assert_eq!(fs::read(at(KEPT).join("etc/my.ks")).unwrap(), b"etc/my.ks");
        assert_eq!(fs::read(at(KEPT).join("ks.cfg")).unwrap(), b"ks.cfg");
        assert!(!at(KEPT).join("other").exists());
    }
}
