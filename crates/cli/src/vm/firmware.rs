//! UEFI firmware for QEMU, as the distributions install it.
//!
//! Source: QEMU's `docs/interop/firmware.json`: every firmware comes with a descriptor in one of three folders; a file
//! in a folder of higher priority masks one of the same name in a lower one; the order is that of the file names. Where
//! there are no descriptors, the pairs of files that distributions ship are looked for. Left out on purpose: secure boot
//! (it needs SMM, and keys for the boot loader), firmware in memory (`-bios`), per-user descriptors.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::arguments::VmArchitecture;

/// Folders of descriptors, the one of higher priority first.
const DESCRIPTOR_FOLDERS: [&str; 2] = ["etc/qemu/firmware", "usr/share/qemu/firmware"];

/// Code and variables where there are no descriptors: Debian and Ubuntu, Fedora and RHEL, Arch, openSUSE.
const KNOWN_AMD64: [(&str, &str); 6] = [
    ("usr/share/OVMF/OVMF_CODE_4M.fd", "usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("usr/share/OVMF/OVMF_CODE.fd", "usr/share/OVMF/OVMF_VARS.fd"),
    (
        "usr/share/edk2/ovmf/OVMF_CODE.fd",
        "usr/share/edk2/ovmf/OVMF_VARS.fd",
    ),
    (
        "usr/share/edk2/x64/OVMF_CODE.4m.fd",
        "usr/share/edk2/x64/OVMF_VARS.4m.fd",
    ),
    (
        "usr/share/edk2-ovmf/x64/OVMF_CODE.fd",
        "usr/share/edk2-ovmf/x64/OVMF_VARS.fd",
    ),
    (
        "usr/share/qemu/ovmf-x86_64-code.bin",
        "usr/share/qemu/ovmf-x86_64-vars.bin",
    ),
];

/// The same for arm64. The files are as long as the chips, 64 MiB.
const KNOWN_ARM64: [(&str, &str); 4] = [
    (
        "usr/share/AAVMF/AAVMF_CODE.no-secboot.fd",
        "usr/share/AAVMF/AAVMF_VARS.fd",
    ),
    ("usr/share/AAVMF/AAVMF_CODE.fd", "usr/share/AAVMF/AAVMF_VARS.fd"),
    (
        "usr/share/edk2/aarch64/QEMU_EFI-pflash.raw",
        "usr/share/edk2/aarch64/vars-template-pflash.raw",
    ),
    (
        "usr/share/qemu/aavmf-aarch64-code.bin",
        "usr/share/qemu/aavmf-aarch64-vars.bin",
    ),
];

/// Firmware: its code, and the template of the variables a machine keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Firmware {
    pub(crate) code: FlashImage,
    pub(crate) variables: FlashImage,
}

/// The content of a flash chip.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct FlashImage {
    #[serde(rename = "filename")]
    pub(crate) path: PathBuf,
    /// `raw` or `qcow2`.
    pub(crate) format: String,
}

/// Looks below `root` for UEFI firmware for QEMU's machine of that architecture.
pub(crate) fn find(root: &Path, architecture: VmArchitecture) -> Option<Firmware> {
    described(root, architecture).or_else(|| known(root, architecture))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Descriptor {
    interface_types: Vec<String>,
    mapping: Mapping,
    targets: Vec<Target>,
    #[serde(default)]
    features: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mapping {
    device: String,
    executable: Option<FlashImage>,
    nvram_template: Option<FlashImage>,
}

#[derive(Deserialize)]
struct Target {
    architecture: String,
    machines: Vec<String>,
}

impl Descriptor {
    fn fits(&self, architecture: VmArchitecture) -> bool {
        self.interface_types.iter().any(|kind| kind == "uefi")
            && self.mapping.device == "flash"
            && self.targets.iter().any(|target| target.fits(architecture))
            && !self
                .features
                .iter()
                .any(|feature| matches!(feature.as_str(), "requires-smm" | "secure-boot"))
    }

    /// The firmware with its files below `root`, if they are there.
    fn into_firmware(self, root: &Path) -> Option<Firmware> {
        let firmware = Firmware {
            code: self.mapping.executable?.below(root),
            variables: self.mapping.nvram_template?.below(root),
        };
        (firmware.code.path.is_file() && firmware.variables.path.is_file()).then_some(firmware)
    }
}

impl Target {
    fn fits(&self, architecture: VmArchitecture) -> bool {
        let is_meant = |machine: &String| machine.contains(architecture.machine());
        self.architecture == architecture.qemu_name() && self.machines.iter().any(is_meant)
    }
}

impl FlashImage {
    fn below(self, root: &Path) -> Self {
        let path = match self.path.strip_prefix("/") {
            Ok(relative) => root.join(relative),
            Err(_) => root.join(&self.path),
        };
        FlashImage { path, ..self }
    }
}

fn described(root: &Path, architecture: VmArchitecture) -> Option<Firmware> {
    let mut descriptors = BTreeMap::new();
    for folder in DESCRIPTOR_FOLDERS {
        let Ok(entries) = fs::read_dir(root.join(folder)) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                descriptors.entry(entry.file_name()).or_insert(path);
            }
        }
    }
    descriptors
        .values()
        .filter_map(|path| serde_json::from_slice::<Descriptor>(&fs::read(path).ok()?).ok())
        .filter(|descriptor| descriptor.fits(architecture))
        .find_map(|descriptor| descriptor.into_firmware(root))
}

fn known(root: &Path, architecture: VmArchitecture) -> Option<Firmware> {
    let pairs = match architecture {
        VmArchitecture::Amd64 => KNOWN_AMD64.as_slice(),
        VmArchitecture::Arm64 => &KNOWN_ARM64,
    };
    pairs
        .iter()
        .map(|(code, variables)| (root.join(code), root.join(variables)))
        .find(|(code, variables)| code.is_file() && variables.is_file())
        .map(|(code, variables)| Firmware {
            code: raw(code),
            variables: raw(variables),
        })
}

fn raw(path: PathBuf) -> FlashImage {
    FlashImage {
        path,
        format: "raw".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(root: &Path, path: &str, content: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(path, content).expect("a file");
    }

    fn descriptor(code: &str, format: &str, features: &str) -> String {
        format!(
            r#"{{"description": "x", "interface-types": ["uefi"], "tags": [],
                "mapping": {{"device": "flash", "mode": "split",
                    "executable": {{"filename": "/fw/{code}", "format": "{format}"}},
                    "nvram-template": {{"filename": "/fw/vars", "format": "{format}"}}}},
                "targets": [{{"architecture": "x86_64", "machines": ["pc-i440fx-*", "pc-q35-*"]}}],
                "features": [{features}]}}"#
        )
    }

    #[test]
    fn the_first_descriptor_that_fits_wins() {
        let root = tempfile::tempdir().expect("a root");
        let root = root.path();
        assert_eq!(find(root, VmArchitecture::Amd64), None);
        place(root, "fw/vars", "");
        place(root, "fw/secure", "");
        place(root, "fw/plain", "");
        place(root, "fw/masked", "");
        let shared = "usr/share/qemu/firmware";
        place(root, &format!("{shared}/10-broken.json"), "{");
        place(
            root,
            &format!("{shared}/20-gone.json"),
            &descriptor("gone", "raw", ""),
        );
        place(
            root,
            &format!("{shared}/30-secure.json"),
            &descriptor("secure", "raw", r#""secure-boot", "requires-smm""#),
        );
        place(
            root,
            &format!("{shared}/40-masked.json"),
            &descriptor("masked", "raw", ""),
        );
        place(
            root,
            "etc/qemu/firmware/40-masked.json",
            &descriptor("secure", "raw", r#""requires-smm""#),
        );
        place(
            root,
            &format!("{shared}/60-plain.json"),
            &descriptor("plain", "qcow2", r#""acpi-s3""#),
        );
        let firmware = find(root, VmArchitecture::Amd64).expect("firmware");
        assert_eq!(firmware.code.path, root.join("fw/plain"));
        assert_eq!(firmware.code.format, "qcow2");
        assert_eq!(firmware.variables.path, root.join("fw/vars"));
    }

    #[test]
    fn firmware_is_for_one_architecture() {
        let root = tempfile::tempdir().expect("a root");
        let root = root.path();
        place(root, "fw/vars", "");
        place(root, "fw/arm", "");
        place(
            root,
            "usr/share/qemu/firmware/60-arm.json",
            &descriptor("arm", "raw", "")
                .replace("x86_64", "aarch64")
                .replace(r#""pc-i440fx-*", "pc-q35-*""#, r#""virt-*""#),
        );
        assert_eq!(find(root, VmArchitecture::Amd64), None);
        let firmware = find(root, VmArchitecture::Arm64).expect("firmware");
        assert_eq!(firmware.code.path, root.join("fw/arm"));
    }

    #[test]
    fn known_files_do_without_descriptors() {
        let root = tempfile::tempdir().expect("a root");
        let root = root.path();
        for name in ["CODE", "VARS"] {
            place(root, &format!("usr/share/AAVMF/AAVMF_{name}.fd"), "");
        }
        assert!(find(root, VmArchitecture::Arm64).is_some());
        place(root, "usr/share/edk2/ovmf/OVMF_CODE.fd", "");
        assert_eq!(find(root, VmArchitecture::Amd64), None);
        place(root, "usr/share/edk2/ovmf/OVMF_VARS.fd", "");
        assert_eq!(
            find(root, VmArchitecture::Amd64).expect("firmware").code.path,
            root.join("usr/share/edk2/ovmf/OVMF_CODE.fd")
        );
    }
}
