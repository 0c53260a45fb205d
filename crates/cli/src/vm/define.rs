//! `osmith vm define`: what libvirt has to be told of a disk.
//!
//! Source: virt-install(1), and libvirt's "Domain XML format". libvirt chooses what is not said: UUID, addresses of the
//! network and of devices, the firmware that suits `firmware="efi"`.

use std::path::PathBuf;

use osmith_formats::xml::escaped;
use osmith_report::{Class, Failure};

use super::arguments::{DefineArgs, DefineForm, FirmwareChoice, VmArchitecture};
use super::disk;
use crate::commands::images::print;
use crate::failure::{CommandFailure, CommandResult};

/// A machine as libvirt knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Domain {
    name: String,
    memory_mib: u64,
    cpus: u16,
    /// Absolute: libvirt's daemon has another working directory.
    disk: PathBuf,
    /// QEMU's name of the format.
    format: &'static str,
    architecture: VmArchitecture,
    firmware: FirmwareChoice,
    network: Network,
    os: String,
}

/// What the machine's network card is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Network {
    /// A network that libvirt manages.
    Managed(String),
    /// A bridge of the computer.
    Bridge(String),
    /// Nothing but what QEMU does for an ordinary user.
    User,
}

pub(super) fn define(args: &DefineArgs) -> CommandResult {
    let domain = Domain::of(args)?;
    print(&match args.form {
        DefineForm::VirtInstall => domain.to_command(),
        DefineForm::Xml => domain.to_xml(),
    })
}

impl Domain {
    fn of(args: &DefineArgs) -> Result<Self, Box<dyn Failure>> {
        let probed = disk::probe(&args.disk, true)?;
        let path = std::fs::canonicalize(&args.disk).map_err(|error| {
            let what = format!("cannot find the disk {}", args.disk.display());
            CommandFailure::new(Class::Environment, what).because(error)
        })?;
        if path.to_str().is_none() {
            let what = format!(
                "libvirt cannot be told of {}: its path is no UTF-8",
                path.display()
            );
            return Err(CommandFailure::new(Class::Input, what).hint("rename it").into());
        }
        let architecture = args
            .architecture
            .or_else(|| probed.architecture())
            .unwrap_or_else(VmArchitecture::of_this_computer);
        architecture.require_firmware(args.firmware)?;
        Ok(Domain {
            name: args.name.clone(),
            memory_mib: args.memory >> 20,
            cpus: args.cpus,
            disk: path,
            format: probed.format.name(),
            architecture,
            firmware: args.firmware,
            network: Network::parse(&args.network),
            os: args.osinfo.clone(),
        })
    }

    /// The command line, for a shell.
    fn to_command(&self) -> String {
        let disk = format!("{},format={},bus=virtio", option_value(&self.path()), self.format);
        let mut options = vec![
            ("--name", self.name.clone()),
            ("--memory", self.memory_mib.to_string()),
            ("--vcpus", self.cpus.to_string()),
        ];
        if self.architecture == VmArchitecture::Arm64 {
            options.push(("--arch", self.architecture.qemu_name().to_owned()));
        }
        if self.firmware == FirmwareChoice::Uefi {
            options.push(("--boot", "uefi".to_owned()));
        }
        options.push(("--disk", disk));
        options.push(("--network", self.network.to_option()));
        options.push(("--osinfo", self.os.clone()));
        let options = options
            .iter()
            .map(|(name, value)| format!("{name} {} \\\n    ", quoted(value)));
        format!(
            "virt-install --import \\\n    {}--graphics none --noautoconsole\n",
            options.collect::<String>()
        )
    }

    fn to_xml(&self) -> String {
        let firmware = match self.firmware {
            FirmwareChoice::Uefi => " firmware=\"efi\"",
            FirmwareChoice::Bios => "",
        };
        let secure_boot = match self.firmware {
            FirmwareChoice::Uefi => {
                "    <firmware>\n      <feature enabled=\"no\" name=\"secure-boot\"/>\n    </firmware>\n"
            }
            FirmwareChoice::Bios => "",
        };
        let Domain {
            memory_mib,
            cpus,
            format,
            ..
        } = self;
        format!(
            "<domain type=\"kvm\">\n\
             \x20 <name>{name}</name>\n\
             \x20 <memory unit=\"MiB\">{memory_mib}</memory>\n\
             \x20 <vcpu>{cpus}</vcpu>\n\
             \x20 <os{firmware}>\n\
             \x20   <type arch=\"{architecture}\" machine=\"{machine}\">hvm</type>\n\
             {secure_boot}\
             \x20   <boot dev=\"hd\"/>\n\
             \x20 </os>\n\
             \x20 <features>\n\
             \x20   <acpi/>\n\
             \x20 </features>\n\
             \x20 <cpu mode=\"host-passthrough\"/>\n\
             \x20 <clock offset=\"utc\"/>\n\
             \x20 <devices>\n\
             \x20   <disk type=\"file\" device=\"disk\">\n\
             \x20     <driver name=\"qemu\" type=\"{format}\" discard=\"unmap\"/>\n\
             \x20     <source file=\"{disk}\"/>\n\
             \x20     <target dev=\"vda\" bus=\"virtio\"/>\n\
             \x20   </disk>\n\
             {network}\
             \x20   <console type=\"pty\"/>\n\
             \x20   <rng model=\"virtio\">\n\
             \x20     <backend model=\"random\">/dev/urandom</backend>\n\
             \x20   </rng>\n\
             \x20 </devices>\n\
             </domain>\n",
            name = escaped(&self.name),
            architecture = self.architecture.qemu_name(),
            machine = self.architecture.machine(),
            disk = escaped(&self.path()),
            network = self.network.to_xml(),
        )
    }

    fn path(&self) -> String {
        self.disk.to_string_lossy().into_owned()
    }
}

impl Network {
    /// `user`, `bridge=NAME`, or the name of a network of libvirt.
    fn parse(text: &str) -> Self {
        match text.strip_prefix("bridge=") {
            Some(bridge) => Network::Bridge(bridge.to_owned()),
            None if text == "user" => Network::User,
            None => Network::Managed(text.to_owned()),
        }
    }

    fn to_option(&self) -> String {
        match self {
            Network::Managed(name) => format!("network={},model=virtio", option_value(name)),
            Network::Bridge(name) => format!("bridge={},model=virtio", option_value(name)),
            Network::User => "user,model=virtio".to_owned(),
        }
    }

    fn to_xml(&self) -> String {
        let (kind, source) = match self {
            Network::Managed(name) => (
                "network",
                format!("      <source network=\"{}\"/>\n", escaped(name)),
            ),
            Network::Bridge(name) => (
                "bridge",
                format!("      <source bridge=\"{}\"/>\n", escaped(name)),
            ),
            Network::User => ("user", String::new()),
        };
        format!("    <interface type=\"{kind}\">\n{source}      <model type=\"virtio\"/>\n    </interface>\n")
    }
}

/// A value among those of an option of virt-install, which are separated by commas and quoted as words of a shell.
fn option_value(value: &str) -> String {
    match value.contains([',', '\'', '"', '\\']) {
        true => format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")),
        false => value.to_owned(),
    }
}

/// One word for a POSIX shell.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=,@%+".contains(letter);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> Domain {
        Domain {
            name: "a&b".to_owned(),
            memory_mib: 4096,
            cpus: 2,
            disk: "/srv/it's, mine/disk.qcow2".into(),
            format: "qcow2",
            architecture: VmArchitecture::Arm64,
            firmware: FirmwareChoice::Uefi,
            network: Network::Bridge("br0".to_owned()),
            os: "debian13".to_owned(),
        }
    }

    #[test]
    fn the_shell_and_virt_install_get_the_words_as_they_are() {
        assert_eq!(
            domain().to_command(),
            "virt-install --import \\\n    --name 'a&b' \\\n    --memory 4096 \\\n    --vcpus 2 \\\n    \
             --arch aarch64 \\\n    --boot uefi \\\n    \
             --disk '\"/srv/it'\\''s, mine/disk.qcow2\",format=qcow2,bus=virtio' \\\n    \
             --network bridge=br0,model=virtio \\\n    --osinfo debian13 \\\n    \
             --graphics none --noautoconsole\n"
        );
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn xml_gets_its_letters_escaped() {
        let xml = domain().to_xml();
        assert!(xml.contains("<name>a&amp;b</name>"), "{xml}");
        assert_eq!(escaped("<\"&>"), "&lt;&quot;&amp;&gt;");
    }

    #[test]
    fn networks_are_told_apart() {
        assert_eq!(Network::parse("default"), Network::Managed("default".to_owned()));
        assert_eq!(Network::parse("bridge=br0"), Network::Bridge("br0".to_owned()));
        assert_eq!(Network::parse("user"), Network::User);
    }
}
