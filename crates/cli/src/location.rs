//! Where the store is when the command line does not say.

use std::env;
use std::path::PathBuf;

use osmith_report::Class;

use crate::failure::CommandFailure;

/// `/var/lib/osmith` for root, `$XDG_DATA_HOME/osmith` (by default `~/.local/share/osmith`) for anybody else.
///
/// In a user namespace that maps the user to root, the invoking user counts.
pub(crate) fn default_store(is_root: bool) -> Result<PathBuf, CommandFailure> {
    if is_root {
        return Ok(PathBuf::from("/var/lib/osmith"));
    }
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("osmith"))
        .ok_or_else(|| {
            CommandFailure::new(
                Class::Environment,
                "cannot tell where images are kept: HOME is not set",
            )
            .hint("name the store with --store DIR or OSMITH_STORE")
        })
}
