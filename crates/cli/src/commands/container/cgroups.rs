//! Where this process may make cgroups for containers of systemd.
//!
//! On most machines cgroup2 is at `/sys/fs/cgroup`, on those with both kinds at `unified` in it. root makes a cgroup of its
//! own at the top. An ordinary user has one only from their service manager, which gives it to a new scope.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use osmith_report::Class;
use rustix::fs::{Access, access};

use crate::failure::CommandFailure;

const PLACES: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// What root's containers are in.
const OF_ROOT: &str = "osmith";
/// Set in the scope that this program made for itself.
const SCOPE_MARK: &str = "OSMITH_IN_SCOPE";

/// The root of the cgroup2 file system, if there is one.
pub(super) fn root() -> Option<PathBuf> {
    let places = PLACES.iter().map(Path::new);
    let root = places
        .into_iter()
        .find(|place| place.join("cgroup.controllers").exists());
    root.map(Path::to_owned)
}

/// The directory for the cgroups of containers. May start this command anew, in a scope of its own. Must come before
/// this process enters a user namespace.
pub(super) fn for_containers() -> Result<Option<PathBuf>, CommandFailure> {
    let Some(root) = root() else {
        return Ok(None);
    };
    if rustix::process::geteuid().is_root() {
        return Ok(Some(root.join(OF_ROOT)));
    }
    let own = own(&root);
    match own.filter(|own| is_ours(own)) {
        Some(own) => Ok(Some(own)),
        None => Err(start_in_scope()),
    }
}

fn own(root: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(root.join(path.trim_start_matches('/')))
}

fn is_ours(cgroup: &Path) -> bool {
    let may_write = |path: &Path| access(path, Access::WRITE_OK).is_ok();
    may_write(cgroup) && may_write(&cgroup.join("cgroup.procs"))
}

/// Returns only if there is no service manager of the user's, or if it does not do it.
fn start_in_scope() -> CommandFailure {
    let none = CommandFailure::new(
        Class::Environment,
        "systemd as pid 1 needs a cgroup of its own, and this session may make none",
    )
    .hint("run the command in a session that systemd manages, such as one of ssh, or as root")
    .hint("--systemd=false runs it without what systemd expects");
    let manager =
        env::var_os("XDG_RUNTIME_DIR").map(|directory| PathBuf::from(directory).join("systemd/private"));
    if env::var_os(SCOPE_MARK).is_some() || !manager.is_some_and(|manager| manager.exists()) {
        return none;
    }
    let arguments = ["--user", "--scope", "--quiet", "--property=Delegate=yes", "--"];
    let Ok(program) = env::current_exe() else {
        return none;
    };
    let error = Command::new("systemd-run")
        .args(arguments)
        .arg(program)
        .args(env::args_os().skip(1))
        .env(SCOPE_MARK, "1")
        .exec();
    none.because(error)
}
