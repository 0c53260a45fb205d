//! What of the installation is kept on the new system: what it needs to fetch updates, and what was done.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use osmith_kickstart::{Kickstart, without_secrets};
use osmith_report::{Event, Observer, Severity};
use osmith_sys::OsError;
use osmith_sys::file::{NewFile, open_directory, open_in_root};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::Session;

/// Where the records are, from the new root on.
const RECORDS: &str = "var/log/osmith";
/// The passwords for registries that a machine updates itself with, where `%pre` puts them.
const CREDENTIALS: [&str; 3] = [
    "etc/ostree/auth.json",
    "run/ostree/auth.json",
    "run/containers/0/auth.json",
];
const KEPT_CREDENTIALS: &str = "etc/ostree/auth.json";
/// Where distributions take further authorities from.
const ANCHORS: &str = "etc/pki/ca-trust/source/anchors";
/// Where those of a registry are.
const OF_REGISTRIES: &str = "etc/containers/certs.d";
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// Writes the certificates of the file where it says, or else where the image looks for them; and where osmith looks for them
/// when it fetches updates from `registry`.
pub(super) fn certificates(
    kickstart: &Kickstart,
    registry: Option<&str>,
    root: &Path,
    observer: &dyn Observer,
) {
    for certificate in &kickstart.certificates {
        let usual = Some(ANCHORS).filter(|place| root.join(place).is_dir());
        let wanted = certificate
            .directory
            .as_deref()
            .map(|folder| folder.trim_matches('/'));
        let of_registry = registry.map(|registry| {
            let stem = certificate
                .filename
                .rsplit_once('.')
                .map_or(certificate.filename.as_str(), |(stem, _)| stem);
            format!("{OF_REGISTRIES}/{registry}/{stem}.crt")
        });
        let of_system = wanted
            .or(usual)
            .map(|folder| format!("{folder}/{}", certificate.filename));
        for path in of_system.into_iter().chain(of_registry) {
            tell(
                write(root, &path, certificate.body.as_bytes(), 0o644),
                &path,
                observer,
            );
        }
    }
}

/// Passwords for registries come along, unless the image has its own: updates need them, too.
pub(super) fn credentials(host: &Path, root: &Path, observer: &dyn Observer) {
    if root.join(KEPT_CREDENTIALS).exists() {
        return;
    }
    if let Some(bytes) = CREDENTIALS.iter().find_map(|path| fs::read(host.join(path)).ok()) {
        tell(
            write(root, KEPT_CREDENTIALS, &bytes, 0o600),
            KEPT_CREDENTIALS,
            observer,
        );
    }
}

/// The log of the installation, and the file without its passwords.
pub(super) fn records(session: &Session<'_>, root: &Path) {
    let text = without_secrets(&session.file.text);
    let kickstart = format!("{RECORDS}/kickstart.cfg");
    tell(
        write(root, &kickstart, text.as_bytes(), 0o600),
        &kickstart,
        session.observer,
    );
    if let Some(log) = &session.log {
        let to = format!("{RECORDS}/install.log");
        let copied = fs::read(log).map_err(|error| failed("read", log, &error));
        tell(
            copied.and_then(|bytes| write(root, &to, &bytes, 0o600)),
            &to,
            session.observer,
        );
    }
}

/// Writes a file below the new root, with the folders on the way. Links of the image are followed as the new system does, and
/// never out of it.
fn write(root: &Path, path: &str, bytes: &[u8], mode: u32) -> Result<(), OsError> {
    let root = open_directory(root)?;
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut so_far = String::from(".");
    for part in folder.split('/').filter(|part| !part.is_empty()) {
        let above = open_in_root(&root, &so_far, DIRECTORY, Mode::empty())?;
        so_far = format!("{so_far}/{part}");
        match rustix::fs::mkdirat(&above, part, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(OsError::new("create", so_far, errno)),
        }
    }
    let folder = open_in_root(&root, &so_far, DIRECTORY, Mode::empty())?;
    let failed = |error: io::Error| failed("write", Path::new(path), &error);
    let mut file = NewFile::create(folder.try_clone().map_err(failed)?, mode).map_err(failed)?;
    file.file().write_all(bytes).map_err(failed)?;
    file.replace(&folder, name).map_err(failed)
}

fn failed(operation: &'static str, path: &Path, error: &io::Error) -> OsError {
    OsError::from_io(operation, path.display(), error)
}

/// None of these is a reason to give a machine up that is installed.
fn tell(result: Result<(), OsError>, path: &str, observer: &dyn Observer) {
    if let Err(error) = result {
        observer.observe(Event::Message {
            severity: Severity::Warning,
            text: format!("/{path} of the new system is not written: {error}"),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn links_of_the_image_do_not_lead_out_of_it() {
        let place = tempfile::tempdir().unwrap();
        let (root, outside) = (place.path().join("root"), place.path().join("outside"));
        fs::create_dir_all(root.join("var/log")).unwrap();
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink("/var/log", root.join("log")).unwrap();
        symlink(&outside, root.join("etc/out")).unwrap();
        write(&root, "log/osmith/a", b"x", 0o600).unwrap();
        let written = root.join("var/log/osmith/a");
        assert_eq!(fs::read(&written).unwrap(), b"x");
        assert_eq!(written.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        write(&root, "log/osmith/a", b"y", 0o600).unwrap();
        assert_eq!(fs::read(&written).unwrap(), b"y");
        assert!(write(&root, "etc/out/a", b"x", 0o600).is_err());
        assert!(write(&root, "../outside/a", b"x", 0o600).is_ok());
        assert!(fs::read_dir(&outside).unwrap().next().is_none());
    }
}
