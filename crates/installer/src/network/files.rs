//! The files that make connections, for the live system and for the installed machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use osmith_formats::tree::{Node, Tree};

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

/// What of an image tells which program sets its network up.
pub trait ImageFolders {
    /// The names in a folder; none if it is no folder.
    fn names(&self, folder: &str) -> Vec<String>;

    /// Where a symbolic link leads.
    fn link_target(&self, path: &str) -> Option<String>;

    /// Whether there is something at the path, if only a link that leads nowhere.
    fn has(&self, path: &str) -> bool {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.names(folder).iter().any(|found| found == name)
    }
}

/// An image that is mounted.
impl ImageFolders for Path {
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.join(folder)).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    fn link_target(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.join(path)).ok()?;
        Some(target.to_string_lossy().into_owned())
    }
}

/// An image of a store.
impl ImageFolders for Tree {
    fn names(&self, folder: &str) -> Vec<String> {
        let folder = self.lookup(folder.as_bytes());
        let entries = folder.and_then(|id| self.inode(id).entries());
        let names = entries.into_iter().flatten();
        names
            .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
            .collect()
    }

    fn link_target(&self, path: &str) -> Option<String> {
        match &self.inode(self.lookup(path.as_bytes())?).node {
            Node::Symlink(target) => Some(String::from_utf8_lossy(target).into_owned()),
            _ => None,
        }
    }
}

impl Backend {
    /// The program that an image has; the one that starts by itself if it has both, and NetworkManager if both do.
    pub fn of_image<I: ImageFolders + ?Sized>(image: &I) -> Result<Self, NetworkError> {
        let both = [Backend::NetworkManager, Backend::Networkd];
        let available: Vec<Backend> = both.into_iter().filter(|backend| backend.is_in(image)).collect();
        let enabled = available.iter().find(|backend| backend.is_enabled(image));
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
    fn is_in<I: ImageFolders + ?Sized>(self, image: &I) -> bool {
        let of_machine = format!("etc/systemd/system/{}", self.unit());
        let is_masked = image.link_target(&of_machine).as_deref() == Some("/dev/null");
        let has = |folder: &&str| image.has(&format!("{folder}/{}", self.unit()));
        !is_masked && UNIT_FOLDERS.iter().any(has)
    }

    /// Whether some target or unit wants it.
    fn is_enabled<I: ImageFolders + ?Sized>(self, image: &I) -> bool {
        let wants = |folder: &str| {
            let names = image.names(folder);
            let mut wanting = names
                .iter()
                .filter(|name| name.ends_with(".wants") || name.ends_with(".requires"));
            wanting.any(|name| image.has(&format!("{folder}/{name}/{}", self.unit())))
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
