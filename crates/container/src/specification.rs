//! What a container is to be: the image's configuration, with what its user wishes otherwise.

use std::net::IpAddr;
use std::path::PathBuf;

use osmith_image::store::Image;
use osmith_image::{RuntimeConfig, Sha256Digest};
use osmith_sys::sandbox;
use serde::{Deserialize, Serialize};

use crate::{ContainerError, signal, systemd};

/// What a program gets as `PATH` if the image says nothing.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a container may take to stop before it is killed, unless asked otherwise.
pub const STOP_TIMEOUT_SECONDS: u32 = 10;

/// Everything that a container is made of. Kept with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Specification {
    /// What it runs on.
    pub image: ImageOrigin,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// `NAME=VALUE`. `HOME` is added at the start.
    pub env: Vec<String>,
    /// Where the command starts.
    pub cwd: String,
    /// Who runs it, as `USER` of a Containerfile; empty for root.
    pub user: String,
    /// The host name; empty for the beginning of the container's ID.
    pub hostname: String,
    /// What it reaches.
    pub network: NetworkMode,
    /// Ports of this computer that lead into it.
    pub ports: Vec<Port>,
    /// What it sees of this computer, and file systems in memory.
    pub volumes: Vec<Volume>,
    /// The capabilities it may have, as a bit mask.
    pub capabilities: u64,
    /// Whether pid 1 is systemd, and gets what that expects.
    pub systemd: bool,
    /// The number of the signal that asks it to stop.
    pub stop_signal: i32,
    /// How long it may take to stop before it is killed.
    pub stop_timeout_seconds: u32,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Whether its standard input stays open.
    pub input: bool,
    /// Whether its root file system takes no changes.
    pub read_only: bool,
    /// Whether it is removed when it has ended.
    pub remove_when_ended: bool,
}

/// The image of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageOrigin {
    /// The name it had when the container was made.
    pub name: String,
    /// The digest of its manifest.
    pub digest: Sha256Digest,
    /// Its ID.
    pub id: Sha256Digest,
}

/// What a container reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkMode {
    /// The network of this computer, as its own.
    Host,
    /// Nothing.
    None,
    /// A network of its own, which pasta connects.
    Pasta,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of this computer that leads into a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// By which protocol.
    pub transport: Transport,
    /// Where it listens; everywhere if not given.
    pub address: Option<IpAddr>,
    /// The port here.
    pub host: u16,
    /// The container's port.
    pub container: u16,
}

/// Something that is mounted for a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Where, inside.
    pub target: PathBuf,
    /// What.
    pub source: VolumeSource,
    /// Nothing can be changed there.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeSource {
    /// A file or directory of this computer, by its absolute path.
    Path(PathBuf),
    /// A directory of the store with this name.
    Named(String),
    /// A new file system in memory.
    Memory {
        /// Permission bits.
        mode: u32,
        /// The most it holds; half of the machine's memory if not given.
        size_bytes: Option<u64>,
    },
}

/// When a container is one of systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SystemdMode {
    /// If its command is an init program.
    #[default]
    Detect,
    /// In any case.
    Always,
    /// Never.
    Never,
}

/// What the user wishes. What is not given is the image's, or the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wishes {
    /// The arguments of the entry point, or the command.
    pub command: Vec<String>,
    /// Another entry point; an empty one is none.
    pub entrypoint: Option<Vec<String>>,
    /// `NAME=VALUE`, in place of the image's of that name.
    pub env: Vec<String>,
    /// Where the command starts.
    pub cwd: Option<String>,
    /// Who runs it.
    pub user: Option<String>,
    /// The host name.
    pub hostname: Option<String>,
    /// What it reaches.
    pub network: NetworkMode,
    /// Ports that lead into it.
    pub ports: Vec<Port>,
    /// What is mounted.
    pub volumes: Vec<Volume>,
    /// Capabilities beside the default ones, as a bit mask.
    pub added_capabilities: u64,
    /// Default capabilities it is not to have, as a bit mask.
    pub dropped_capabilities: u64,
    /// Whether it is a container of systemd.
    pub systemd: SystemdMode,
    /// The number of the signal that asks it to stop.
    pub stop_signal: Option<i32>,
    /// How long it may take to stop.
    pub stop_timeout_seconds: u32,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Whether its standard input stays open.
    pub input: bool,
    /// Whether its root file system takes no changes.
    pub read_only: bool,
    /// Whether it is removed when it has ended.
    pub remove_when_ended: bool,
}

impl Specification {
    /// What a container of `image`, which was asked for as `name`, is to be.
    pub fn new(name: &str, image: &Image, wishes: Wishes) -> Result<Self, ContainerError> {
        let config = &image.config.config;
        let argv = argv(config, &wishes)?;
        let systemd = match wishes.systemd {
            SystemdMode::Detect => argv.first().is_some_and(|program| systemd::is_init(program)),
            SystemdMode::Always => true,
            SystemdMode::Never => false,
        };
        Ok(Specification {
            image: ImageOrigin {
                name: name.to_owned(),
                digest: image.manifest_digest,
                id: image.id(),
            },
            argv,
            env: env(config, &wishes),
            cwd: cwd(config, &wishes)?,
            user: wishes.user.unwrap_or_else(|| config.user.clone()),
            hostname: wishes.hostname.unwrap_or_default(),
            network: wishes.network,
            ports: wishes.ports,
            volumes: wishes.volumes,
            capabilities: sandbox::capabilities(wishes.added_capabilities, wishes.dropped_capabilities),
            systemd,
            stop_signal: stop_signal(config, wishes.stop_signal, systemd)?,
            stop_timeout_seconds: wishes.stop_timeout_seconds,
            terminal: wishes.terminal,
            input: wishes.input,
            read_only: wishes.read_only,
            remove_when_ended: wishes.remove_when_ended,
        })
    }
}

/// Entry point and arguments. Another entry point makes the image's arguments meaningless.
fn argv(config: &RuntimeConfig, wishes: &Wishes) -> Result<Vec<String>, ContainerError> {
    let own = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
    let mut argv = match &wishes.entrypoint {
        Some(entrypoint) => entrypoint.clone(),
        None => own(&config.entrypoint),
    };
    argv.extend(match (&wishes.entrypoint, wishes.command.is_empty()) {
        (None, true) => own(&config.cmd),
        _ => wishes.command.clone(),
    });
    match argv.is_empty() {
        true => Err(ContainerError::NoCommand),
        false => Ok(argv),
    }
}

/// The last of each name counts.
fn env(config: &RuntimeConfig, wishes: &Wishes) -> Vec<String> {
    let mut env = vec![DEFAULT_PATH.to_owned()];
    if wishes.terminal {
        env.push("TERM=xterm".to_owned());
    }
    env.push("container=oci".to_owned());
    for variable in config.env.iter().chain(&wishes.env) {
        let name = name_of(variable);
        env.retain(|known| name_of(known) != name);
        env.push(variable.clone());
    }
    env
}

/// What is before the `=`.
pub(crate) fn name_of(variable: &str) -> &str {
    variable.split_once('=').map_or(variable, |(name, _)| name)
}

fn cwd(config: &RuntimeConfig, wishes: &Wishes) -> Result<String, ContainerError> {
    let cwd = wishes.cwd.as_deref().unwrap_or(&config.working_dir);
    match cwd {
        "" => Ok("/".to_owned()),
        cwd if cwd.starts_with('/') => Ok(cwd.to_owned()),
        cwd => Err(ContainerError::RelativeDirectory(cwd.to_owned())),
    }
}

fn stop_signal(config: &RuntimeConfig, wish: Option<i32>, systemd: bool) -> Result<i32, ContainerError> {
    if let Some(signal) = wish {
        return Ok(signal);
    }
    match &config.stop_signal {
        Some(name) => signal::parse(name).ok_or_else(|| ContainerError::Signal(name.clone())),
        None if systemd => Ok(signal::SYSTEMD_HALT),
        None => Ok(signal::TERM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes() -> Wishes {
        Wishes {
            command: Vec::new(),
            entrypoint: None,
            env: Vec::new(),
            cwd: None,
            user: None,
            hostname: None,
            network: NetworkMode::None,
            ports: Vec::new(),
            volumes: Vec::new(),
            added_capabilities: 0,
            dropped_capabilities: 0,
            systemd: SystemdMode::Detect,
            stop_signal: None,
            stop_timeout_seconds: STOP_TIMEOUT_SECONDS,
            terminal: false,
            input: false,
            read_only: false,
            remove_when_ended: false,
        }
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_command_is_entry_point_and_arguments() {
        let config = RuntimeConfig {
            entrypoint: Some(words("/entry --fast")),
            cmd: Some(words("serve")),
            ..RuntimeConfig::default()
        };
        let argv_of = |entrypoint: Option<&str>, command: &str| {
            let wishes = Wishes {
                entrypoint: entrypoint.map(words),
                command: words(command),
                ..wishes()
            };
            argv(&config, &wishes).map(|argv| argv.join(" ")).ok()
        };
        assert_eq!(argv_of(None, "").as_deref(), Some("/entry --fast serve"));
        assert_eq!(argv_of(None, "test x").as_deref(), Some("/entry --fast test x"));
        assert_eq!(argv_of(Some("sh"), "").as_deref(), Some("sh"));
        assert_eq!(argv_of(Some(""), "ls /").as_deref(), Some("ls /"));
        assert_eq!(argv_of(Some(""), ""), None);
    }

    #[test]
    fn the_last_variable_of_a_name_counts() {
        let config = RuntimeConfig {
            env: vec!["PATH=/bin".into(), "A=1".into()],
            ..RuntimeConfig::default()
        };
        let wishes = Wishes {
            env: vec!["A=2".into(), "B=".into()],
            terminal: true,
            ..wishes()
        };
        assert_eq!(
            env(&config, &wishes),
            ["TERM=xterm", "container=oci", "PATH=/bin", "A=2", "B="]
        );
    }

    #[test]
    fn systemd_stops_by_a_signal_of_its_own() {
        let mut config = RuntimeConfig::default();
        assert_eq!(stop_signal(&config, None, true).ok(), Some(37));
        assert_eq!(stop_signal(&config, None, false).ok(), Some(15));
        config.stop_signal = Some("SIGQUIT".into());
        assert_eq!(stop_signal(&config, None, true).ok(), Some(3));
        assert_eq!(stop_signal(&config, Some(9), true).ok(), Some(9));
        config.stop_signal = Some("SIGX".into());
        assert!(stop_signal(&config, None, true).is_err());
    }
}
