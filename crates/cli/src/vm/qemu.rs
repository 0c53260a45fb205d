//! The QEMU of this computer: where it is, which version, and how to get one.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use osmith_report::Class;

use crate::failure::CommandFailure;

const PROGRAM: &str = "qemu-system-x86_64";
/// Where RHEL and its relatives keep their QEMU, which is on nobody's PATH.
const RHEL_PROGRAM: &str = "/usr/libexec/qemu-kvm";

/// An installed QEMU.
#[derive(Debug, Clone)]
pub(crate) struct Qemu {
    pub(crate) program: PathBuf,
    /// The first line of `--version`, which tells one build from another.
    pub(crate) version: String,
}

impl Qemu {
    /// Looks for QEMU on the PATH.
    pub(crate) fn find() -> Result<Self, CommandFailure> {
        let path = env::var_os("PATH").unwrap_or_default();
        let program = env::split_paths(&path)
            .map(|folder| folder.join(PROGRAM))
            .chain([PathBuf::from(RHEL_PROGRAM)])
            .find(|file| is_executable(file))
            .ok_or_else(|| {
                CommandFailure::new(
                    Class::Environment,
                    format!("cannot run a machine: {PROGRAM} is not installed"),
                )
                .hint(install_hint(&os_release()))
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
pub(crate) fn firmware_missing() -> CommandFailure {
    CommandFailure::new(
        Class::Environment,
        "cannot run a machine: no UEFI firmware for QEMU is installed",
    )
    .hint(install_hint(&os_release()))
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
fn install_hint(os_release: &str) -> String {
    let field = |name: &str| {
        os_release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_default()
            .trim_matches(['"', '\''])
    };
    if field("VERSION_CODENAME") == "bookworm" {
        return "add bookworm-backports to apt's sources, then: \
                apt install ovmf && apt install -t bookworm-backports qemu-system-x86"
            .to_owned();
    }
    let families = format!("{} {}", field("ID"), field("ID_LIKE"));
    let command = families.split_whitespace().find_map(|family| match family {
        "debian" | "ubuntu" => Some("apt install qemu-system-x86 ovmf"),
        "fedora" => Some("dnf install qemu-system-x86-core edk2-ovmf"),
        "rhel" | "centos" => Some("dnf install qemu-kvm-core edk2-ovmf"),
        "arch" => Some("pacman -S qemu-base edk2-ovmf"),
        "suse" | "opensuse" => Some("zypper install qemu-x86 qemu-ovmf-x86_64"),
        "alpine" => Some("apk add qemu-system-x86_64 ovmf"),
        _ => None,
    });
    match command {
        Some(command) => format!("install it: {command}"),
        None => format!("install {PROGRAM} and UEFI firmware for it (OVMF, edk2) with your package manager"),
    }
}

#[cfg(test)]
mod tests {
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
        for (os_release, command) in [
            (
                "ID=debian\nVERSION_CODENAME=trixie\n",
                "apt install qemu-system-x86 ovmf",
            ),
            ("ID=debian\nVERSION_CODENAME=bookworm\n", "-t bookworm-backports"),
            (
                "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n",
                "apt install qemu-system-x86 ovmf",
            ),
            (
                "ID=\"almalinux\"\nID_LIKE=\"rhel centos fedora\"\n",
                "dnf install qemu-kvm-core",
            ),
            ("", "your package manager"),
        ] {
            let hint = install_hint(os_release);
            assert!(hint.contains(command), "{os_release}: {hint}");
        }
    }
}
