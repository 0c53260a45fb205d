//! The QEMU of this computer: where it is, which version, and how to get one.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use osmith_report::Class;

use super::arguments::VmArchitecture;
use crate::failure::CommandFailure;

/// Where RHEL and its relatives keep their QEMU, which is on nobody's PATH and knows this computer's processor alone.
const RHEL_PROGRAM: &str = "/usr/libexec/qemu-kvm";

/// An installed QEMU.
#[derive(Debug, Clone)]
pub(crate) struct Qemu {
    pub(crate) program: PathBuf,
    /// The first line of `--version`, which tells one build from another.
    pub(crate) version: String,
}

impl Qemu {
    /// Looks on the PATH for the QEMU of that architecture.
    pub(crate) fn find(architecture: VmArchitecture) -> Result<Self, CommandFailure> {
        let name = program_name(architecture);
        let path = env::var_os("PATH").unwrap_or_default();
        let native = architecture.is_native().then(|| PathBuf::from(RHEL_PROGRAM));
        let program = env::split_paths(&path)
            .map(|folder| folder.join(&name))
            .chain(native)
            .find(|file| is_executable(file))
            .ok_or_else(|| {
                CommandFailure::new(
                    Class::Environment,
                    format!("cannot run a machine: {name} is not installed"),
                )
                .hint(install_hint(&os_release(), architecture))
            })?;
        let version = version_of(&program)?;
        Ok(Qemu { program, version })
    }

    /// The first number of the version.
    pub(crate) fn major(&self) -> Option<u32> {
        major(&self.version)
    }
}

/// The failure for missing UEFI firmware.
pub(crate) fn firmware_missing(architecture: VmArchitecture) -> CommandFailure {
    CommandFailure::new(
        Class::Environment,
        format!(
            "cannot run a machine: no UEFI firmware for {} is installed",
            program_name(architecture)
        ),
    )
    .hint(install_hint(&os_release(), architecture))
}

fn program_name(architecture: VmArchitecture) -> String {
    format!("qemu-system-{}", architecture.qemu_name())
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn version_of(program: &Path) -> Result<String, CommandFailure> {
    let output = Command::new(program).arg("--version").output().map_err(|error| {
        CommandFailure::new(Class::Environment, format!("cannot run {}", program.display())).because(error)
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// `QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)` → 10.
fn major(version: &str) -> Option<u32> {
    let (_, number) = version.split_once("version ")?;
    number.split('.').next()?.parse().ok()
}

fn os_release() -> String {
    fs::read_to_string("/etc/os-release").unwrap_or_default()
}

/// The command that installs QEMU and firmware on the distribution that `os_release` names.
fn install_hint(os_release: &str, architecture: VmArchitecture) -> String {
    let field = |name: &str| {
        os_release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_default()
            .trim_matches(['"', '\''])
    };
    if field("VERSION_CODENAME") == "bookworm" {
        let (firmware, qemu) = match architecture {
            VmArchitecture::Amd64 => ("ovmf", "qemu-system-x86"),
            VmArchitecture::Arm64 => ("qemu-efi-aarch64", "qemu-system-arm"),
        };
        return format!(
            "add bookworm-backports to apt's sources, then: \
             apt install {firmware} && apt install -t bookworm-backports {qemu}"
        );
    }
    let families = format!("{} {}", field("ID"), field("ID_LIKE"));
    let mut commands = families
        .split_whitespace()
        .filter_map(|family| install_command(family, architecture));
    match commands.next() {
        Some(command) => format!("install it: {command}"),
        None => format!(
            "install {} and UEFI firmware for it (OVMF, AAVMF, edk2) with your package manager",
            program_name(architecture)
        ),
    }
}

fn install_command(family: &str, architecture: VmArchitecture) -> Option<&'static str> {
    let (amd64, arm64) = match family {
        "debian" | "ubuntu" => (
            "apt install qemu-system-x86 ovmf",
            "apt install qemu-system-arm qemu-efi-aarch64",
        ),
        "fedora" => (
            "dnf install qemu-system-x86-core edk2-ovmf",
            "dnf install qemu-system-aarch64-core edk2-aarch64",
        ),
        "rhel" | "centos" if architecture.is_native() => (
            "dnf install qemu-kvm-core edk2-ovmf",
            "dnf install qemu-kvm-core edk2-aarch64",
        ),
        "arch" => (
            "pacman -S qemu-base edk2-ovmf",
            "pacman -S qemu-system-aarch64 edk2-aarch64",
        ),
        "suse" | "opensuse" => (
            "zypper install qemu-x86 qemu-ovmf-x86_64",
            "zypper install qemu-arm qemu-uefi-aarch64",
        ),
        "alpine" => (
            "apk add qemu-system-x86_64 ovmf",
            "apk add qemu-system-aarch64 aavmf",
        ),
        _ => return None,
    };
    Some(match architecture {
        VmArchitecture::Amd64 => amd64,
        VmArchitecture::Arm64 => arm64,
    })
}

#[cfg(test)]
mod tests {
    use super::super::architecture::ARCHITECTURES;
    use super::*;

    #[test]
    fn the_major_version_is_read() {
        for (text, number) in [
            ("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)", Some(10)),
            ("QEMU emulator version 7.2.17", Some(7)),
            ("something else", None),
        ] {
            assert_eq!(major(text), number, "{text}");
        }
    }

    #[test]
    fn the_hint_is_the_distribution_s_command() {
        const DEBIAN: &str = "ID=debian\nVERSION_CODENAME=trixie\n";
        const BACKPORTS: &str = "ID=debian\nVERSION_CODENAME=bookworm\n";
        const MINT: &str = "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n";
        for (os_release, amd64, arm64) in [
            (
                DEBIAN,
                "apt install qemu-system-x86 ovmf",
                "apt install qemu-system-arm qemu-efi",
            ),
            (
                BACKPORTS,
                "-t bookworm-backports qemu-system-x86",
                "-backports qemu-system-arm",
            ),
            (MINT, "apt install qemu-system-x86", "apt install qemu-system-arm"),
            ("ID=fedora\n", "edk2-ovmf", "edk2-aarch64"),
            ("", "qemu-system-x86_64 and", "qemu-system-aarch64 and"),
        ] {
            for (architecture, command) in [(VmArchitecture::Amd64, amd64), (VmArchitecture::Arm64, arm64)] {
                let hint = install_hint(os_release, architecture);
                assert!(hint.contains(command), "{os_release}: {hint}");
            }
        }
    }

    #[test]
    fn the_qemu_of_rhel_is_for_its_own_processor() {
        let os_release = "ID=\"almalinux\"\nID_LIKE=\"rhel centos\"\n";
        for architecture in ARCHITECTURES {
            let hint = install_hint(os_release, architecture);
            assert_eq!(
                hint.contains("qemu-kvm-core"),
                architecture.is_native(),
                "{architecture:?}: {hint}"
            );
        }
    }
}
