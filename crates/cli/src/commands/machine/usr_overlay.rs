//! `osmith usr-overlay`: a writable layer over `/usr`, in memory.

use std::path::Path;

use osmith_machine::machine;
use osmith_machine::usr_overlay::unlock_usr;

use super::{ROOT, require_root};
use crate::args::UsrOverlayArgs;
use crate::commands::images::print;
use crate::failure::CommandResult;

pub(crate) fn usr_overlay(_: &UsrOverlayArgs) -> CommandResult {
    machine::running(Path::new(ROOT))?;
    require_root("usr-overlay")?;
    let text = match unlock_usr(Path::new(ROOT))? {
        true => "/usr is writable until the next reboot, which undoes all changes in it.\n",
        false => "/usr is writable already.\n",
    };
    print(text)
}
