//! Where the store is when the command line does not say.

use std::env;
use std::path::PathBuf;

use osmith_report::Class;

use crate::args::Global;
use crate::failure::CommandFailure;
use crate::namespace;

/// The directory of the store: what was asked for, else `/var/lib/osmith` for root and `$XDG_DATA_HOME/osmith` (by
/// default `~/.local/share/osmith`) for anybody else.
pub(crate) fn store(global: &Global) -> Result<PathBuf, CommandFailure> {
    if let Some(chosen) = &global.store {
        return std::path::absolute(chosen).map_err(|error| {
            CommandFailure::new(Class::Usage, "cannot tell where the store is").because(error)
        });
    }
    if namespace::is_root() {
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
