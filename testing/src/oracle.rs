//! Programs of other people that judge what osmith writes: `e2fsck`, `qemu-img`, `skopeo` and their like.

use std::env;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Where such programs are besides `PATH`: an ordinary user's lacks the system directories.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The program of that name.
///
/// Where it is missing the test says so on standard error and gets `None`, which it takes for a pass; with `CI=true`
/// in the environment a missing program fails the test instead.
#[track_caller]
pub fn require(program: &str) -> Option<PathBuf> {
    let found = find(program);
    if found.is_none() {
        assert!(
            !in_ci(),
            "the program '{program}' is missing, and CI=true does not allow to skip a test"
        );
        eprintln!("SKIPPED: the program '{program}' is missing");
    }
    found
}

/// Whether the test may do what only root may, such as mounting; if not, it says so or fails as in [`require`].
#[track_caller]
pub fn require_root(what: &str) -> bool {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !is_root {
        assert!(
            !in_ci(),
            "{what} needs root, and CI=true does not allow to skip a test"
        );
        eprintln!("SKIPPED: {what} needs root");
    }
    is_root
}

/// Whether the test runs where nothing may be skipped.
pub fn in_ci() -> bool {
    env::var("CI").is_ok_and(|value| value == "true")
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_DIRECTORIES.map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}
