//! What of the installation is kept on the new system: what it needs to fetch updates, and what was done.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use osmith_kickstart::{Kickstart, without_secrets};
use osmith_report::{Event, Observer, Severity};

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
const ANCHORS: [&str; 2] = ["etc/pki/ca-trust/source/anchors", "etc/osmith/certificates"];

/// Writes the certificates of the file where it says, or else where the image looks for them.
pub(super) fn certificates(kickstart: &Kickstart, root: &Path, observer: &dyn Observer) {
    for certificate in &kickstart.certificates {
        let usual = || {
            ANCHORS
                .iter()
                .find(|place| root.join(place).is_dir())
                .unwrap_or(&ANCHORS[1])
        };
        let folder = match &certificate.directory {
            Some(folder) => folder.trim_start_matches('/').to_owned(),
            None => (*usual()).to_owned(),
        };
        let path = root.join(folder).join(&certificate.filename);
        tell(write(&path, certificate.body.as_bytes(), 0o644), &path, observer);
    }
}

/// Passwords for registries come along, unless the image has its own: updates need them, too.
pub(super) fn credentials(host: &Path, root: &Path, observer: &dyn Observer) {
    let to = root.join(KEPT_CREDENTIALS);
    if to.exists() {
        return;
    }
    if let Some(bytes) = CREDENTIALS.iter().find_map(|path| fs::read(host.join(path)).ok()) {
        tell(write(&to, &bytes, 0o600), &to, observer);
    }
}

/// The log of the installation, and the file without its passwords.
pub(super) fn records(session: &Session<'_>, root: &Path) {
    let folder = root.join(RECORDS);
    let kickstart = folder.join("kickstart.cfg");
    let text = without_secrets(&session.file.text);
    tell(
        write(&kickstart, text.as_bytes(), 0o600),
        &kickstart,
        session.observer,
    );
    if let Some(log) = &session.log {
        let to = folder.join("install.log");
        let copied = fs::read(log).and_then(|bytes| write(&to, &bytes, 0o600));
        tell(copied, &to, session.observer);
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder: PathBuf = path.parent().map(Path::to_owned).unwrap_or_default();
    fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    let mut file = fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)?;
    io::Write::write_all(&mut file, bytes)
}

/// None of these is a reason to give a machine up that is installed.
fn tell(result: io::Result<()>, path: &Path, observer: &dyn Observer) {
    if let Err(error) = result {
        observer.observe(Event::Message {
            severity: Severity::Warning,
            text: format!("cannot write '{}': {error}", path.display()),
        });
    }
}
