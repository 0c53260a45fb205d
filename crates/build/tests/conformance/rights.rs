//! What builds with RUN need: root, or an ordinary user's user namespace.

use std::fs;

use osmith_sys::userns::{IdMap, SubordinateIds};
use osmith_testing::oracle;

/// Whether this process, which has one thread so far, has what it needs now; if not, it has said so.
pub(crate) fn acquire() -> bool {
    let uid = rustix::process::getuid();
    if uid.is_root() {
        osmith_sys::mount::enter_namespace().unwrap();
        return true;
    }
    match subordinate_ids(uid.as_raw()) {
        Some(ids) => {
            osmith_sys::userns::enter(&IdMap::Subordinate(ids)).unwrap();
            true
        }
        None => oracle::require_root("RUN without subordinate ids"),
    }
}

fn subordinate_ids(uid: u32) -> Option<SubordinateIds> {
    let read = |path| fs::read(path).unwrap_or_default();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut lines = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let name = lines.find(|line| line.get(2) == Some(&uid.to_string().as_str()))?[0].to_owned();
    SubordinateIds::find(&read("/etc/subuid"), &read("/etc/subgid"), &name, uid)
}
