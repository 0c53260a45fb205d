//! An ordinary user builds, and runs containers, as root of a user namespace of their own.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use osmith_report::{Class, Event, Observer, Severity};
use osmith_sys::mount;
use osmith_sys::userns::{self, IdMap, SubordinateIds, UserNamespaceError};

use crate::failure::CommandFailure;

/// Where distributions begin to hand them out (login.defs(5)).
const FIRST_SUBORDINATE_ID: u32 = 100_000;

/// Whether this process became root by [`enter`].
static IS_ORDINARY: AtomicBool = AtomicBool::new(false);

/// Whether root runs this program: not an ordinary user, who may be root of a user namespace by now.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root() && !IS_ORDINARY.load(Ordering::Relaxed)
}

/// Makes an ordinary user root of a new user namespace. What is mounted afterwards is seen by this process and its
/// children alone. Must come before any thread.
///
/// `purpose` is a verb with what belongs to it: what the user wanted. Files made afterwards belong to the user, or to their subordinate ids.
pub(crate) fn enter(purpose: &str, observer: &dyn Observer) -> Result<(), CommandFailure> {
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        // In a container root may not; RUN steps will say so, and other builds need no mounts.
        let _ = mount::enter_namespace();
        return Ok(());
    }
    let read = |path: &str| fs::read(path).unwrap_or_default();
    let (subuid, subgid) = (read("/etc/subuid"), read("/etc/subgid"));
    let name = user_name(&read("/etc/passwd"), uid.as_raw()).unwrap_or_default();
    let map = match SubordinateIds::find(&subuid, &subgid, &name, uid.as_raw()) {
        Some(ids) => IdMap::Subordinate(ids),
        None => {
            observer.observe(Event::Message {
                severity: Severity::Warning,
                text: format!(
                    "user '{name}' has no subordinate ids: RUN steps that give files to other users will fail; \
                     'sudo usermod --add-subuids {ids} --add-subgids {ids} {name}' gives some",
                    ids = free_ids([&subuid, &subgid]),
                ),
            });
            IdMap::Single
        }
    };
    userns::enter(&map).map_err(|error| failure(purpose, error))?;
    IS_ORDINARY.store(true, Ordering::Relaxed);
    Ok(())
}

fn failure(purpose: &str, error: UserNamespaceError) -> CommandFailure {
    let hints = error.hints();
    let failure = CommandFailure::new(
        Class::Environment,
        format!("cannot {purpose} as an ordinary user"),
    )
    .because(error);
    hints.into_iter().fold(failure, CommandFailure::hint)
}

/// The first ids that nobody has yet, as usermod takes them.
fn free_ids(files: [&[u8]; 2]) -> String {
    let end = |line: &str| {
        let mut fields = line.trim().split(':').skip(1);
        let first: u32 = fields.next()?.parse().ok()?;
        first.checked_add(fields.next()?.parse().ok()?)
    };
    let texts = files.map(String::from_utf8_lossy);
    let ends = texts.iter().flat_map(|text| text.lines().filter_map(end));
    let first = ends.fold(FIRST_SUBORDINATE_ID, u32::max);
    format!("{first}-{}", first.saturating_add(userns::WANTED_IDS - 1))
}

/// The name of a user in `/etc/passwd`.
pub(crate) fn user_name(passwd: &[u8], uid: u32) -> Option<String> {
    let text = String::from_utf8_lossy(passwd);
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ids_are_behind_those_of_others() {
        assert_eq!(free_ids([b"", b""]), "100000-165535");
        assert_eq!(
            free_ids([b"a:100000:65536\n", b"b:165536:10\nx"]),
            "165546-231081"
        );
    }

    #[test]
    fn users_are_found_by_number() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nbroken\nada:x:1000:1000::/home/ada:/bin/sh\n";
        assert_eq!(user_name(passwd, 1000).as_deref(), Some("ada"));
        assert_eq!(user_name(passwd, 7), None);
    }
}
