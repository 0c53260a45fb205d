//! Values of the options of `osmith run` and `osmith exec`, in podman's spellings.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{env, fs};

use osmith_container::specification::{Port, Transport, Volume, VolumeSource};
use osmith_report::Class;

use crate::failure::CommandFailure;
use crate::size;

const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// `--cap-add` and `--cap-drop`: a bit mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capabilities(pub(crate) u64);

impl FromStr for Capabilities {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if name == "ALL" {
            return Ok(Capabilities((1 << CAPABILITIES.len()) - 1));
        }
        let number = CAPABILITIES.iter().position(|known| *known == name);
        number
            .map(|number| Capabilities(1 << number))
            .ok_or_else(|| format!("there is no capability '{text}': see capabilities(7)"))
    }
}

/// `-e`: a variable, or the name of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Environment(String);

impl FromStr for Environment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.starts_with('=') || text.is_empty() || text.contains('\0') {
            true => Err("a variable needs a name: NAME=VALUE".to_owned()),
            false => Ok(Environment(text.to_owned())),
        }
    }
}

/// Files' variables first, then those of the command line; a name without a value has that of this environment, and is
/// left out if it has none there.
pub(crate) fn variables(files: &[PathBuf], given: &[Environment]) -> Result<Vec<String>, CommandFailure> {
    let mut variables = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).map_err(|error| {
            CommandFailure::new(
                Class::Input,
                format!("cannot read the variables in '{}'", file.display()),
            )
            .because(error)
        })?;
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        variables.extend(lines.map(str::to_owned));
    }
    variables.extend(given.iter().map(|variable| variable.0.clone()));
    let with_value = |variable: String| match variable.contains('=') {
        true => Some(variable),
        false => env::var(&variable)
            .ok()
            .map(|value| format!("{variable}={value}")),
    };
    Ok(variables.into_iter().filter_map(with_value).collect())
}

/// `-p`: a port of this computer that leads into the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Published(pub(crate) Port);

impl FromStr for Published {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ports, transport) = match text.rsplit_once('/') {
            None => (text, Transport::Tcp),
            Some((ports, "tcp")) => (ports, Transport::Tcp),
            Some((ports, "udp")) => (ports, Transport::Udp),
            Some((_, other)) => return Err(format!("'{other}' is no transport: tcp and udp are")),
        };
        let (rest, container) = ports
            .rsplit_once(':')
            .ok_or("two ports are needed: HOST:CONTAINER, as in 8080:80")?;
        let (address, host) = match rest.rsplit_once(':') {
            Some((address, host)) => (Some(address), host),
            None => (None, rest),
        };
        let address = address.map(|address| {
            let plain = address.trim_start_matches('[').trim_end_matches(']');
            plain.parse().map_err(|_| format!("'{address}' is no IP address"))
        });
        Ok(Published(Port {
            transport,
            address: address.transpose()?,
            host: port(host)?,
            container: port(container)?,
        }))
    }
}

fn port(text: &str) -> Result<u16, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("'{text}' is no port: 1 to 65535 are"))
}

/// `-v`: a file or directory, or a named volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounted(pub(crate) Volume);

impl FromStr for Mounted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let (Some(source), Some(target)) = (parts.next(), parts.next()) else {
            return Err("a source and a target are needed: /here:/there, or name:/there".to_owned());
        };
        let read_only = match parts.next() {
            None | Some("rw") => false,
            Some("ro") => true,
            Some(other) => return Err(format!("'{other}' is no option: ro and rw are")),
        };
        if parts.next().is_some() {
            return Err("too many colons: SOURCE:TARGET[:ro]".to_owned());
        }
        let is_path = source.starts_with('/') || source.starts_with('.');
        let source = match is_path {
            true => VolumeSource::Path(std::path::absolute(source).map_err(|error| error.to_string())?),
            false if source.is_empty() => return Err("the source is empty".to_owned()),
            false => VolumeSource::Named(source.to_owned()),
        };
        Ok(Mounted(Volume {
            target: target_path(target)?,
            source,
            read_only,
        }))
    }
}

/// `--tmpfs`: a file system in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemporaryFolder(pub(crate) Volume);

impl FromStr for TemporaryFolder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let (mut mode, mut size_bytes, mut read_only) = (0o1777, None, false);
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("size", value)) => size_bytes = Some(memory_size(value)?),
                Some(("mode", value)) => {
                    let octal = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
                    mode = octal.ok_or_else(|| format!("'{value}' are no permission bits"))?;
                }
                None if option == "ro" => read_only = true,
                // What it is in any case.
                None if matches!(option, "rw" | "nosuid" | "nodev") => {}
                _ => return Err(format!("'{option}' is no option: size=, mode= and ro are")),
            }
        }
        Ok(TemporaryFolder(Volume {
            target: target_path(target)?,
            source: VolumeSource::Memory { mode, size_bytes },
            read_only,
        }))
    }
}

/// `64m`, as mount(8) has it, or `64MiB`.
fn memory_size(text: &str) -> Result<u64, String> {
    let unit = match text.chars().last() {
        Some('k') => "KiB",
        Some('m') => "MiB",
        Some('g') => "GiB",
        _ => return size::parse(text),
    };
    size::parse(&format!("{}{unit}", &text[..text.len() - 1]))
}

fn target_path(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let is_plain = path.is_absolute()
        && path.file_name().is_some()
        && !path
            .components()
            .any(|part| part == std::path::Component::ParentDir);
    match is_plain {
        true => Ok(path.to_owned()),
        false => Err(format!(
            "the target '{text}' is no path from the container's root"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem<T: FromStr<Err = String>>(text: &str) -> String {
        T::from_str(text).err().unwrap_or_default()
    }

    #[test]
    fn ports() {
        let port = |text: &str| text.parse::<Published>().unwrap().0;
        assert_eq!((port("8080:80").host, port("8080:80").container), (8080, 80));
        assert_eq!(port("127.0.0.1:53:53/udp").transport, Transport::Udp);
        assert_eq!(port("[::1]:1:2").address, Some("::1".parse().unwrap()));
        for (text, words) in [
            ("80", "two ports"),
            ("0:80", "'0' is no port"),
            ("x:1:2", "'x' is no IP address"),
            ("1:2/sctp", "no transport"),
        ] {
            assert!(problem::<Published>(text).contains(words), "{text}");
        }
    }

    #[test]
    fn volumes() {
        let volume = |text: &str| text.parse::<Mounted>().unwrap().0;
        assert_eq!(volume("data:/srv").source, VolumeSource::Named("data".into()));
        assert_eq!(volume("/a:/b:ro").source, VolumeSource::Path("/a".into()));
        assert!(volume("/a:/b:ro").read_only);
        for (text, words) in [
            ("/a", "a target are needed"),
            ("/a:b", "no path"),
            ("/a:/b/../c", "no path"),
            ("/a:/", "no path"),
            ("/a:/b:z", "'z' is no option"),
            (":/b", "the source is empty"),
        ] {
            assert!(problem::<Mounted>(text).contains(words), "{text}");
        }
    }

    #[test]
    fn folders_in_memory() {
        let volume = "/x:size=64m,mode=700,ro".parse::<TemporaryFolder>().unwrap().0;
        let memory = VolumeSource::Memory {
            mode: 0o700,
            size_bytes: Some(64 << 20),
        };
        assert_eq!((volume.source, volume.read_only), (memory, true));
        assert!(problem::<TemporaryFolder>("/x:exec").contains("'exec' is no option"));
    }

    #[test]
    fn capabilities_are_known_by_name() {
        assert_eq!("cap_net_admin".parse(), Ok(Capabilities(1 << 12)));
        assert_eq!("CHECKPOINT_RESTORE".parse(), Ok(Capabilities(1 << 40)));
        assert!(problem::<Capabilities>("root").contains("no capability"));
    }
}
