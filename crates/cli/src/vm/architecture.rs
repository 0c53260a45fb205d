//! The processors that a machine can have, and what they are called where.

use osmith_image::host_architecture;
use osmith_report::Class;

use super::arguments::{FirmwareChoice, VmArchitecture};
use crate::failure::CommandFailure;

/// All of them.
pub(crate) const ARCHITECTURES: [VmArchitecture; 2] = [VmArchitecture::Amd64, VmArchitecture::Arm64];

impl VmArchitecture {
    /// The processor that an image names.
    pub(crate) fn of_image(name: &str) -> Option<Self> {
        ARCHITECTURES
            .into_iter()
            .find(|architecture| architecture.image_name() == name)
    }

    /// This computer's, as far as machines can have it.
    pub(crate) fn of_this_computer() -> Self {
        Self::of_image(host_architecture()).unwrap_or(VmArchitecture::Amd64)
    }

    /// Whether this computer's processors can run it.
    pub(crate) fn is_native(self) -> bool {
        self.image_name() == host_architecture()
    }

    /// The name in images, which is Go's.
    pub(crate) fn image_name(self) -> &'static str {
        match self {
            VmArchitecture::Amd64 => "amd64",
            VmArchitecture::Arm64 => "arm64",
        }
    }

    /// The name of QEMU and libvirt.
    pub(crate) fn qemu_name(self) -> &'static str {
        match self {
            VmArchitecture::Amd64 => "x86_64",
            VmArchitecture::Arm64 => "aarch64",
        }
    }

    /// QEMU's type of machine.
    pub(crate) fn machine(self) -> &'static str {
        match self {
            VmArchitecture::Amd64 => "q35",
            VmArchitecture::Arm64 => "virt",
        }
    }

    /// Fails if nothing of that kind starts such a machine.
    pub(crate) fn require_firmware(self, firmware: FirmwareChoice) -> Result<(), CommandFailure> {
        match (self, firmware) {
            (VmArchitecture::Arm64, FirmwareChoice::Bios) => {
                Err(CommandFailure::new(Class::Usage, "there is no BIOS for arm64")
                    .hint("leave --firmware out: arm64 starts by UEFI"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_name_the_processors() {
        assert_eq!(VmArchitecture::of_image("arm64"), Some(VmArchitecture::Arm64));
        assert_eq!(VmArchitecture::of_image("amd64"), Some(VmArchitecture::Amd64));
        assert_eq!(VmArchitecture::of_image("riscv64"), None);
    }

    #[test]
    fn a_bios_starts_x86_only() {
        for (architecture, firmware, is_there) in [
            (VmArchitecture::Amd64, FirmwareChoice::Bios, true),
            (VmArchitecture::Arm64, FirmwareChoice::Uefi, true),
            (VmArchitecture::Arm64, FirmwareChoice::Bios, false),
        ] {
            assert_eq!(architecture.require_firmware(firmware).is_ok(), is_there);
        }
    }
}
