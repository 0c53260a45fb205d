//! A writable layer over `/usr`, in memory: gone with the next start.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use osmith_sys::file::open_directory;
use osmith_sys::mount::Layer;

use crate::deploy_error::{DeployError, failed};
use crate::status::mounts;
use crate::writable;

/// Makes `/usr` of the machine whose root directory is `root` writable, for everybody. Returns false if it was already.
pub fn unlock_usr(root: &Path) -> Result<bool, DeployError> {
    let table = root.join("proc/self/mountinfo");
    let mountinfo = fs::read_to_string(&table).map_err(|error| failed("read", &table, error))?;
    if mounts::usr_overlay(&mountinfo).is_some() {
        return Ok(false);
    }
    let scratch = root.join("run/osmith/usr-overlay");
    fs::create_dir_all(&scratch).map_err(|error| failed("create", &scratch, error))?;
    let usr = open_directory(root.join("usr"))?;
    let layer = writable::in_memory("overlay", Layer::Attached(usr.as_fd()), &scratch)?;
    layer.attach(&usr, "")?;
    Ok(true)
}
