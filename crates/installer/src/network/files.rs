//! The files that make connections, for the live system and for the installed machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Connection, NetworkError, keyfile, networkd};
use crate::boot_options::InterfaceName;

/// The program that sets the network up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// NetworkManager.
    NetworkManager,
    /// systemd-networkd.
    Networkd,
}

/// For whom files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The system that runs: below `run`.
    Live,
    /// The machine that is installed: below `etc`.
    Installed,
}

/// A file that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigurationFile {
    /// Its path from the root folder on.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// Its contents.
    pub bytes: Vec<u8>,
}

const UNIT_FOLDERS: [&str; 3] = [
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "etc/systemd/system",
];

impl Backend {
    /// The program that an image has; the one that starts by itself if it has both, and NetworkManager if both do.
    pub fn of_image(root: &Path) -> Result<Self, NetworkError> {
        let both = [Backend::NetworkManager, Backend::Networkd];
        let available: Vec<Backend> = both.into_iter().filter(|backend| backend.is_in(root)).collect();
        let enabled = available.iter().find(|backend| backend.is_enabled(root));
        enabled
            .or(available.first())
            .copied()
            .ok_or(NetworkError::NoProgram)
    }

    /// The name of its unit.
    pub fn unit(self) -> &'static str {
        match self {
            Backend::NetworkManager => "NetworkManager.service",
            Backend::Networkd => "systemd-networkd.service",
        }
    }

    /// Whether it is there and may be started.
    fn is_in(self, root: &Path) -> bool {
        let of_machine = root.join("etc/systemd/system").join(self.unit());
        let is_masked = fs::read_link(of_machine).is_ok_and(|target| target == Path::new("/dev/null"));
        let has = |folder: &&str| root.join(folder).join(self.unit()).symlink_metadata().is_ok();
        !is_masked && UNIT_FOLDERS.iter().any(has)
    }

    /// Whether some target or unit wants it.
    fn is_enabled(self, root: &Path) -> bool {
        let wants = |folder: &str| {
            let entries = fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
            let mut wanting = entries.filter(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                name.ends_with(".wants") || name.ends_with(".requires")
            });
            wanting.any(|entry| entry.path().join(self.unit()).symlink_metadata().is_ok())
        };
        UNIT_FOLDERS.iter().any(|folder| wants(folder))
    }
}

/// The files that make these connections and names.
pub fn configuration_files(
    connections: &[Connection],
    names: &[InterfaceName],
    backend: Backend,
    place: Place,
) -> Vec<ConfigurationFile> {
    let root = match place {
        Place::Live => "run",
        Place::Installed => "etc",
    };
    let mut taken = BTreeSet::new();
    let mut files: Vec<ConfigurationFile> = names
        .iter()
        .map(|name| ConfigurationFile {
            path: format!("{root}/systemd/network/10-osmith-{}.link", name.name).into(),
            mode: 0o644,
            bytes: networkd::render_link(name).into_bytes(),
        })
        .collect();
    for connection in connections {
        let name = free_name(&connection.name(), &mut taken);
        files.push(match backend {
            Backend::NetworkManager => ConfigurationFile {
                path: format!("{root}/NetworkManager/system-connections/{name}.nmconnection").into(),
                mode: 0o600,
                bytes: keyfile::render(connection).into_bytes(),
            },
            Backend::Networkd => ConfigurationFile {
                path: format!("{root}/systemd/network/10-osmith-{name}.network").into(),
                mode: 0o644,
                bytes: networkd::render(connection).into_bytes(),
            },
        });
    }
    files
}

/// A second connection for one interface gets another name of its file.
fn free_name(name: &str, taken: &mut BTreeSet<String>) -> String {
    let mut free = name.to_owned();
    let mut number = 1;
    while !taken.insert(free.clone()) {
        number += 1;
        free = format!("{name}-{number}");
    }
    free
}
