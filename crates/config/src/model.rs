//! What a configuration asks for, whatever file it comes from.
//!
//! What errors of a later stage must name has a `key`: where it comes from, in the words of its file.

use crate::problem::{ConfigurationError, Positions, Problem};

/// What is configured beside what the image is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Configuration {
    /// What the file calls itself: for people.
    pub name: Option<String>,
    /// What it says of itself: for people.
    pub description: Option<String>,
    /// Its version: for people.
    pub version: Option<String>,
    /// The architecture that the image must have, as Linux, Go or Debian call it.
    pub architecture: Option<String>,
    /// Accounts, each name once.
    pub users: Vec<User>,
    /// Groups, each name and number once.
    pub groups: Vec<Group>,
    /// Keys of accounts that are in `users` or in the image.
    pub ssh_keys: Vec<SshKey>,
    /// Kernel arguments in one line, as the kernel splits it.
    pub kernel_arguments: Option<String>,
    /// Partitions and their sizes.
    pub storage: Storage,
    /// Directories, parents before what is in them if the file has them in that order.
    pub directories: Vec<Directory>,
    /// Files.
    pub files: Vec<File>,
    /// Settings of the SSH server.
    pub sshd: Sshd,
    /// The name of the machine.
    pub hostname: Option<String>,
    /// Time.
    pub timezone: Timezone,
    /// Language.
    pub locale: Locale,
    /// Units of systemd.
    pub services: Services,
    /// What firewalld lets through.
    pub firewall: Firewall,
    /// The name of the file, for errors.
    pub file: Option<String>,
    /// Where the keys stand in the file.
    pub positions: Positions,
}

impl Configuration {
    /// What is wrong with it, found by who applies it: keys, reasons and remedies. `None` if that is nothing.
    pub fn error(&self, found: Vec<(String, String, String)>) -> Option<ConfigurationError> {
        let problem = |(key, reason, remedy): (String, String, String)| Problem {
            position: self.positions.of(&key),
            key,
            reason,
            remedy,
        };
        let mut problems: Vec<_> = found.into_iter().map(problem).collect();
        problems.sort_by_key(|problem| problem.position);
        (!problems.is_empty()).then(|| ConfigurationError {
            file: self.file.clone(),
            problems,
        })
    }

    /// Puts in what is in local files, which `read` reads by their paths.
    pub fn read_local_files<E: std::fmt::Display>(
        &mut self,
        mut read: impl FnMut(&str) -> Result<Vec<u8>, E>,
    ) -> Result<(), ConfigurationError> {
        let mut found = Vec::new();
        for file in &mut self.files {
            let FileContents::Local(path) = &file.contents else {
                continue;
            };
            match read(path) {
                Ok(bytes) => file.contents = FileContents::Bytes(bytes),
                Err(error) => {
                    let reason = format!("cannot read '{path}': {error}");
                    found.push((format!("{}.uri", file.key), reason, "check the path".to_owned()));
                }
            }
        }
        self.error(found).map_or(Ok(()), Err)
    }

    /// Whether it changes nothing of the machine's files.
    pub fn changes_no_files(&self) -> bool {
        let Configuration {
            users,
            groups,
            ssh_keys,
            directories,
            files,
            ..
        } = self;
        users.is_empty()
            && groups.is_empty()
            && ssh_keys.is_empty()
            && directories.is_empty()
            && files.is_empty()
            && self.sshd == Sshd::default()
            && self.hostname.is_none()
            && self.timezone == Timezone::default()
            && self.locale == Locale::default()
            && self.services == Services::default()
            && self.firewall == Firewall::default()
            && self.architecture.is_none()
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// Where it comes from.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: Option<u32>,
    /// The number of its group.
    pub gid: Option<u32>,
    /// What it is called.
    pub description: Option<String>,
    /// The password; without one, a new account has none that fits.
    pub password: Option<Password>,
    /// Lines for its `authorized_keys`.
    pub ssh_keys: Vec<String>,
    /// Further groups, by name; an account of the image is then in no others.
    pub groups: Option<Vec<String>>,
    /// Where it lives: an absolute path, or empty for nowhere.
    pub home: Option<String>,
    /// The program that a login starts.
    pub shell: Option<String>,
    /// The day after which the account does not work, counted from 1970-01-01.
    pub expires_on_day: Option<u32>,
    /// Whether the first login asks for another password.
    pub must_change_password: bool,
}

/// A password.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// As it is in `/etc/shadow`.
    Hashed(String),
    /// As it is typed.
    Plain(String),
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What is logged must not tell it.
        f.write_str(match self {
            Password::Hashed(_) => "Hashed(..)",
            Password::Plain(_) => "Plain(..)",
        })
    }
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// Where it comes from.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Its number.
    pub gid: Option<u32>,
}

/// A key with which somebody may log in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SshKey {
    /// Where it comes from.
    pub key: String,
    /// The account.
    pub user: String,
    /// Lines for its `authorized_keys`.
    pub lines: Vec<String>,
}

/// Partitions and their sizes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Storage {
    /// As it is without a configuration.
    #[default]
    Default,
    /// File systems at these mount points; a root file system is there in any case.
    Mounts(Vec<Mount>),
    /// These partitions; what a machine needs to start is added if it is missing.
    Disk(Disk),
}

/// A file system with a mount point.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mount {
    /// Where it comes from.
    pub key: String,
    /// The mount point.
    pub mountpoint: String,
    /// How large it is at least.
    pub min_bytes: u64,
}

/// A disk with a GUID partition table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Disk {
    /// How large it is at least.
    pub min_bytes: Option<u64>,
    /// Where the first partition may begin.
    pub start_offset_bytes: Option<u64>,
    /// In the order of the disk.
    pub partitions: Vec<Partition>,
}

/// A partition that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Where it comes from.
    pub key: String,
    /// What is on it.
    pub contents: PartitionContents,
    /// Where it is mounted: always for ext4 and FAT, never else.
    pub mountpoint: Option<String>,
    /// The label of the file system.
    pub label: Option<String>,
    /// How large it is at least.
    pub min_bytes: u64,
    /// What it is for: a GUID in lower case.
    pub type_guid: Option<String>,
    /// How it is mounted, as `mount(8)` has its options; `defaults` if nothing is said. No key of the file sets it.
    pub mount_options: Option<String>,
    /// The name in the partition table.
    pub name: Option<String>,
    /// Which one it is: a GUID in lower case.
    pub guid: Option<String>,
}

/// What is on a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionContents {
    /// An ext4 file system.
    Ext4,
    /// A FAT file system.
    Vfat,
    /// Swap space.
    Swap,
    /// Nothing yet.
    Empty,
}

/// An owner, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A number.
    Id(u32),
    /// A name of the machine's accounts or groups.
    Name(String),
}

/// A directory that is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Where it comes from.
    pub key: String,
    /// Its path.
    pub path: String,
    /// Its owner; root if there is none.
    pub user: Option<Owner>,
    /// Its group; root if there is none.
    pub group: Option<Owner>,
    /// Its permissions.
    pub mode: Option<u16>,
    /// Whether missing directories on the way are made.
    pub ensure_parents: bool,
}

/// A file that is made, or replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it comes from.
    pub key: String,
    /// Its path.
    pub path: String,
    /// Its owner; root if there is none.
    pub user: Option<Owner>,
    /// Its group; root if there is none.
    pub group: Option<Owner>,
    /// Its permissions.
    pub mode: Option<u16>,
    /// What is in it.
    pub contents: FileContents,
}

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileContents {
    /// These bytes.
    Bytes(Vec<u8>),
    /// What is in the file of this path where osmith runs.
    Local(String),
}

/// Settings of the SSH server; what is not set stays as it is in the image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sshd {
    /// Whether passwords let one in.
    pub password_authentication: Option<bool>,
    /// Whether questions and answers do.
    pub keyboard_interactive_authentication: Option<bool>,
    /// How root comes in: a word of `sshd_config(5)`.
    pub permit_root_login: Option<String>,
    /// After how many silent seconds a client is asked whether it is there.
    pub client_alive_interval_seconds: Option<u32>,
}

/// Time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Timezone {
    /// A name of the time zone database.
    pub timezone: Option<String>,
    /// Machines to ask for the time.
    pub ntp_servers: Vec<String>,
}

/// Language.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Locale {
    /// The first is the language of the system.
    pub languages: Vec<String>,
    /// The keyboard of the console.
    pub keyboard: Option<String>,
}

/// Units of systemd, with their suffixes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Services {
    /// Start with the machine.
    pub enabled: Vec<String>,
    /// Do not.
    pub disabled: Vec<String>,
    /// Cannot be started at all.
    pub masked: Vec<String>,
}

/// What firewalld lets through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Firewall {
    /// Ports of the default zone: number or range, and protocol.
    pub ports: Vec<(String, String)>,
    /// Services of the default zone that are let through.
    pub enabled_services: Vec<String>,
    /// Services of the default zone that are not.
    pub disabled_services: Vec<String>,
    /// What further zones are for.
    pub zones: Vec<FirewallZone>,
}

/// A zone of firewalld.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FirewallZone {
    /// Where it comes from.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Addresses that belong to it.
    pub sources: Vec<String>,
}
