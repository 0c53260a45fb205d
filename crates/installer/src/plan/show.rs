//! The installation for people, step by step.

use std::fmt;

use osmith_disk::Size;
use osmith_kickstart::{End, Section};

use super::Installation;
use super::layout::Request;
use crate::network::{Connection, Ipv4, Ipv6};

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut number = 0;
        let mut step = |f: &mut fmt::Formatter<'_>, text: String| {
            number += 1;
            writeln!(f, "{number}. {text}")
        };
        if let Some(count) = self.scripts(Section::Pre) {
            step(f, format!("Run {count}, then read the file again"))?;
        }
        step(
            f,
            format!(
                "Get the image: {}; the machine follows {}",
                self.source, self.follows
            ),
        )?;
        step(f, format!("Erase the disk {}, and divide it:", self.disk))?;
        let (root, others): (Vec<_>, Vec<_>) = self
            .requests
            .iter()
            .partition(|request| request.path.as_deref() == Some("/"));
        if !others
            .iter()
            .any(|request| request.path.as_deref() == Some("/boot/efi"))
        {
            writeln!(f, "   /boot/efi  vfat, as large as it must be")?;
        }
        for request in others {
            writeln!(f, "   {request}")?;
        }
        for request in root {
            writeln!(
                f,
                "   /  {}, the rest, {} at least",
                request.file_system,
                Size(request.size_bytes)
            )?;
        }
        if let Some(count) = self.scripts(Section::PreInstall) {
            step(f, format!("Run {count}"))?;
        }
        step(f, "Write the image".to_owned())?;
        for setting in self.settings() {
            writeln!(f, "   {setting}")?;
        }
        if let Some(count) = self.scripts(Section::Post) {
            step(f, format!("Run {count} in the new system"))?;
        }
        step(
            f,
            "Write the partition table: from here on the disk starts the machine".to_owned(),
        )?;
        let end = match self.end {
            End::Reboot => "Restart the machine",
            End::Poweroff => "Switch the machine off",
            End::Halt => "Halt the machine",
        };
        step(f, end.to_owned())
    }
}

impl Installation {
    fn scripts(&self, section: Section) -> Option<String> {
        let (_, count) = self.scripts.iter().find(|(of, _)| *of == section)?;
        let name = match section {
            Section::Pre => "%pre",
            Section::PreInstall => "%pre-install",
            Section::Post => "%post",
            Section::OnError => "%onerror",
            Section::Traceback => "%traceback",
        };
        Some(match count {
            1 => name.to_owned(),
            count => format!("{count} scripts of {name}"),
        })
    }

    /// What of the machine is set beside its image.
    fn settings(&self) -> Vec<String> {
        let configuration = &self.configuration;
        let mut settings = Vec::new();
        let mut add = |name: &str, values: Vec<String>| {
            if !values.is_empty() {
                settings.push(format!("{name}: {}", values.join(", ")));
            }
        };
        let optional = |value: &Option<String>| value.iter().cloned().collect::<Vec<_>>();
        add("host name", optional(&configuration.hostname));
        add("network", self.connections.iter().map(connection).collect());
        add(
            "accounts",
            configuration.users.iter().map(|user| user.name.clone()).collect(),
        );
        add(
            "groups",
            configuration
                .groups
                .iter()
                .map(|group| group.name.clone())
                .collect(),
        );
        add(
            "keys for",
            configuration
                .ssh_keys
                .iter()
                .map(|key| key.user.clone())
                .collect(),
        );
        add("language", configuration.locale.languages.clone());
        add("keyboard", optional(&configuration.locale.keyboard));
        add("time zone", optional(&configuration.timezone.timezone));
        add("time servers", configuration.timezone.ntp_servers.clone());
        add("services enabled", configuration.services.enabled.clone());
        add("services disabled", configuration.services.disabled.clone());
        add("kernel arguments", optional(&configuration.kernel_arguments));
        add(
            "files",
            configuration.files.iter().map(|file| file.path.clone()).collect(),
        );
        settings
    }
}

fn connection(connection: &Connection) -> String {
    let ipv4 = match connection.ipv4 {
        Ipv4::Dhcp => Some("DHCP".to_owned()),
        Ipv4::Static { address, prefix, .. } => Some(format!("{address}/{prefix}")),
        Ipv4::Disabled => None,
    };
    let ipv6 = match connection.ipv6 {
        Ipv6::Static { address, prefix, .. } => Some(format!("{address}/{prefix}")),
        Ipv6::Auto | Ipv6::Dhcp | Ipv6::LinkLocal | Ipv6::Disabled => None,
    };
    let addresses: Vec<_> = ipv4.into_iter().chain(ipv6).collect();
    format!("{} ({})", connection.name(), addresses.join(" and "))
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.path.as_deref().unwrap_or("swap");
        write!(f, "{name}  {}, {}", self.file_system, Size(self.size_bytes))
    }
}
