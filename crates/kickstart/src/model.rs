//! What a Kickstart file asks for: one field for each command that osmith carries out.
//!
//! Sizes are MiB, as Kickstart counts them. What was nonsense, such as a malformed address, is not in the model but a
//! problem of at least [`Level::Unsupported`](crate::Level::Unsupported): who installs from a file without such problems
//! finds everything in here that the file said.

mod network;
mod storage;
mod system;

pub use network::{BindTo, BootProtocol, Ipv6, Network, NetworkDevice};
pub use storage::{
    Autopart, AutopartScheme, BootLocation, Bootloader, CacheMode, Clear, Clearpart, DiskChoice, Encryption,
    Ignoredisk, LogicalVolume, Mount, Partition, Raid, RaidLevel, Reformat, Reqpart, Storage, Target,
    VolumeGroup, Zerombr,
};
pub use system::{
    Certificate, Display, DisplayMode, End, EndAction, Firewall, FirewallPort, Group, GroupOfUser, Keyboard,
    Lang, Logging, Packages, Rootpw, Script, Section, Selinux, SelinuxMode, Services, SshKey, TimeServer,
    Timesource, Timezone, User,
};

use std::fmt;

use crate::problem::Position;

/// A whole file with everything that it includes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kickstart {
    /// `bootc` or `ostreecontainer`: the image; without one it is that of the installation medium.
    pub image: Option<ImageSource>,
    /// `zerombr`.
    pub zerombr: Option<Zerombr>,
    /// `clearpart`.
    pub clearpart: Option<Clearpart>,
    /// `ignoredisk`.
    pub ignoredisk: Option<Ignoredisk>,
    /// `autopart`.
    pub autopart: Option<Autopart>,
    /// `reqpart`.
    pub reqpart: Option<Reqpart>,
    /// `part` and `partition`.
    pub partitions: Vec<Partition>,
    /// `volgroup`.
    pub volume_groups: Vec<VolumeGroup>,
    /// `logvol`.
    pub logical_volumes: Vec<LogicalVolume>,
    /// `raid`.
    pub raids: Vec<Raid>,
    /// `mount`.
    pub mounts: Vec<Mount>,
    /// `bootloader`.
    pub bootloader: Option<Bootloader>,
    /// `network`.
    pub networks: Vec<Network>,
    /// `rootpw`.
    pub rootpw: Option<Rootpw>,
    /// `user`.
    pub users: Vec<User>,
    /// `group`.
    pub groups: Vec<Group>,
    /// `sshkey`.
    pub ssh_keys: Vec<SshKey>,
    /// `lang`.
    pub lang: Option<Lang>,
    /// `keyboard`.
    pub keyboard: Option<Keyboard>,
    /// `timezone`.
    pub timezone: Option<Timezone>,
    /// `timesource`.
    pub timesources: Vec<Timesource>,
    /// `services`.
    pub services: Option<Services>,
    /// `selinux`.
    pub selinux: Option<Selinux>,
    /// `firewall`.
    pub firewall: Option<Firewall>,
    /// `logging`.
    pub logging: Option<Logging>,
    /// `reboot`, `poweroff`, `shutdown` or `halt`; without one the machine restarts.
    pub end: Option<EndAction>,
    /// `text`, `cmdline` or `graphical`: without effect.
    pub display: Option<Display>,
    /// Scripts in the order of the file; empty ones are left out.
    pub scripts: Vec<Script>,
    /// `%certificate`.
    pub certificates: Vec<Certificate>,
    /// `%packages`.
    pub packages: Vec<Packages>,
}

impl Kickstart {
    /// The scripts of one section, in the order of the file.
    pub fn scripts_of(&self, section: Section) -> impl Iterator<Item = &Script> {
        self.scripts
            .iter()
            .filter(move |script| script.section == section)
    }
}

/// Where the image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// `bootc`.
    Bootc(Bootc),
    /// `ostreecontainer`.
    Ostreecontainer(Ostreecontainer),
}

impl ImageSource {
    /// The command's place.
    pub fn position(&self) -> &Position {
        match self {
            ImageSource::Bootc(command) => &command.position,
            ImageSource::Ostreecontainer(command) => &command.position,
        }
    }

    /// What is fetched.
    pub fn source(&self) -> &ImageReference {
        match self {
            ImageSource::Bootc(command) => &command.source,
            ImageSource::Ostreecontainer(command) => &command.source,
        }
    }

    /// The name of the deployment root, `default` unless the file says otherwise.
    pub fn stateroot(&self) -> &str {
        match self {
            ImageSource::Bootc(command) => &command.stateroot,
            ImageSource::Ostreecontainer(command) => &command.stateroot,
        }
    }
}

/// `bootc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootc {
    /// Its place.
    pub position: Position,
    /// `--source-imgref`.
    pub source: ImageReference,
    /// `--target-imgref` without a transport: where updates come from. `None`: from the source, if it is a registry.
    pub target: Option<String>,
    /// `--stateroot`.
    pub stateroot: String,
}

/// `ostreecontainer`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ostreecontainer {
    /// Its place.
    pub position: Position,
    /// `--transport` and `--url`.
    pub source: ImageReference,
    /// `--stateroot`.
    pub stateroot: String,
    /// `--remote`: without effect.
    pub remote: Option<String>,
    /// `--no-signature-verification`.
    pub no_signature_verification: bool,
}

/// An image and how to get at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReference {
    /// How.
    pub transport: Transport,
    /// A name of a registry for [`Transport::Registry`], else a path.
    pub name: String,
}

/// How to get at an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// From a registry: `registry:` and `docker://`.
    Registry,
    /// `oci:DIRECTORY`.
    Oci,
    /// `oci-archive:FILE`.
    OciArchive,
    /// `docker-archive:FILE`.
    DockerArchive,
    /// `dir:DIRECTORY`.
    Directory,
    /// `containers-storage:NAME`.
    ContainersStorage,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Registry => "registry",
            Transport::Oci => "oci",
            Transport::OciArchive => "oci-archive",
            Transport::DockerArchive => "docker-archive",
            Transport::Directory => "dir",
            Transport::ContainersStorage => "containers-storage",
        })
    }
}

/// A password; what is logged does not tell it.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// As it is in `/etc/shadow`.
    Hashed(String),
    /// As it is typed.
    Plain(String),
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Password::Hashed(_) => "Hashed(..)",
            Password::Plain(_) => "Plain(..)",
        })
    }
}

/// A passphrase or a key; what is logged does not tell it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
