//! A virtual machine, and the arguments that make QEMU be it. Pure.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::arguments::VmArchitecture;
use super::disk::Disk;
use super::firmware::{Firmware, FlashImage};
use super::forward::Forward;

/// The disk's place among what the firmware tries. QEMU gives the first one to a kernel that is started directly.
const DISK_BOOTINDEX: u32 = 1;

/// How the machine's processors are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accelerator {
    Kvm,
    Tcg,
}

/// Where the machine's serial port leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Serial {
    /// To the terminal, which also takes QEMU's commands after Ctrl-A.
    Terminal,
    /// To standard output and from standard input, whatever they are.
    Standard,
    /// Into a file.
    File(PathBuf),
}

/// Something systemd of the machine is told: a system credential (systemd.system-credentials(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) name: &'static str,
    /// Printable ASCII.
    pub(crate) value: String,
}

/// Where an installation medium is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// A disc drive: SATA in a PC, SCSI elsewhere.
    Cdrom,
    /// A USB stick.
    Usb,
}

/// An installation medium: a raw image that is only read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Medium {
    pub(crate) slot: Slot,
    pub(crate) path: PathBuf,
}

/// A kernel that is started without a boot loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DirectKernel {
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: Option<PathBuf>,
    pub(crate) arguments: String,
}

/// A virtual machine.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) architecture: VmArchitecture,
    pub(crate) accelerator: Accelerator,
    pub(crate) cpus: u16,
    pub(crate) memory_mib: u64,
    /// The variables must be a file of this machine alone: it writes to it. Without, QEMU's own BIOS starts the machine.
    pub(crate) firmware: Option<Firmware>,
    /// A machine without a disk stops in its firmware.
    pub(crate) disk: Option<Disk>,
    /// Disks that it does not boot from.
    pub(crate) attached: Vec<Disk>,
    /// What it starts from if its disk does not start, in this order.
    pub(crate) media: Vec<Medium>,
    /// What it starts before all disks.
    pub(crate) kernel: Option<DirectKernel>,
    pub(crate) has_network: bool,
    /// Whether it starts again when it restarts; else it ends.
    pub(crate) may_restart: bool,
    pub(crate) forwards: Vec<Forward>,
    pub(crate) credentials: Vec<Credential>,
    pub(crate) serial: Serial,
    /// Where QEMU listens for its machine protocol.
    pub(crate) monitor: Option<PathBuf>,
}

impl Machine {
    /// The arguments of `qemu-system-x86_64` or `qemu-system-aarch64`.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut arguments = Arguments::default();
        arguments.flag("-no-user-config").flag("-nodefaults");
        let options = match self.architecture {
            VmArchitecture::Amd64 => ",graphics=off,vmport=off",
            VmArchitecture::Arm64 => "",
        };
        arguments.option("-machine", format!("{}{options}", self.architecture.machine()));
        arguments.option("-display", "none");
        if !self.may_restart {
            arguments.flag("-no-reboot");
        }
        self.add_processors(&mut arguments);
        self.add_firmware(&mut arguments);
        self.add_disks(&mut arguments);
        self.add_media(&mut arguments);
        self.add_kernel(&mut arguments);
        self.add_network(&mut arguments);
        arguments.option("-device", "virtio-rng-pci");
        self.add_credentials(&mut arguments);
        self.add_serial(&mut arguments);
        if let Some(socket) = &self.monitor {
            arguments.path_option("-qmp", "unix:", socket, ",server=on,wait=off");
        }
        arguments.0
    }

    fn add_processors(&self, arguments: &mut Arguments) {
        let (accelerator, model) = match (self.accelerator, self.architecture) {
            (Accelerator::Kvm, _) => ("kvm", "host"),
            // Five-level paging makes every translated memory access of a guest that turns it on slower.
            (Accelerator::Tcg, VmArchitecture::Amd64) => ("tcg,thread=multi", "max,la57=off"),
            // Pointers are authenticated at every call and return; the real cipher for it, QEMU's choice before
            // version 10, is slow.
            (Accelerator::Tcg, VmArchitecture::Arm64) => ("tcg,thread=multi", "max,pauth-impdef=on"),
        };
        arguments.option("-accel", accelerator);
        arguments.option("-cpu", model);
        arguments.option("-smp", self.cpus.to_string());
        arguments.option("-m", format!("{}M", self.memory_mib));
    }

    fn add_firmware(&self, arguments: &mut Arguments) {
        let Some(Firmware { code, variables }) = &self.firmware else {
            return;
        };
        let flash = |image: &FlashImage, mode: &str| format!("if=pflash,{mode}format={},file=", image.format);
        arguments.path_option("-drive", &flash(code, "readonly=on,"), &code.path, "");
        arguments.path_option("-drive", &flash(variables, ""), &variables.path, "");
    }

    fn add_disks(&self, arguments: &mut Arguments) {
        if let Some(disk) = &self.disk {
            arguments.drive("disk", disk);
            let device = format!("virtio-blk-pci,drive=disk,bootindex={DISK_BOOTINDEX}");
            arguments.option("-device", device);
        }
        for (number, disk) in self.attached.iter().enumerate() {
            let name = format!("attached{number}");
            arguments.drive(&name, disk);
            arguments.option("-device", format!("virtio-blk-pci,drive={name}"));
        }
    }

    /// A blank disk is tried first, in vain; a disk with a system goes before the medium that it came from.
    fn add_media(&self, arguments: &mut Arguments) {
        for (medium, bootindex) in self.media.iter().zip(DISK_BOOTINDEX + 1..) {
            let (name, controller, device) = match (medium.slot, self.architecture) {
                (Slot::Cdrom, VmArchitecture::Amd64) => ("cdrom", None, "ide-cd"),
                (Slot::Cdrom, VmArchitecture::Arm64) => ("cdrom", Some("virtio-scsi-pci"), "scsi-cd"),
                (Slot::Usb, _) => ("usb", Some("qemu-xhci"), "usb-storage,removable=on"),
            };
            let drive = format!("if=none,id={name},format=raw,readonly=on,file=");
            arguments.path_option("-drive", &drive, &medium.path, "");
            if let Some(controller) = controller {
                arguments.option("-device", controller);
            }
            arguments.option("-device", format!("{device},drive={name},bootindex={bootindex}"));
        }
    }

    fn add_kernel(&self, arguments: &mut Arguments) {
        let Some(direct) = &self.kernel else { return };
        arguments.option("-kernel", &direct.kernel);
        if let Some(initrd) = &direct.initrd {
            arguments.option("-initrd", initrd);
        }
        arguments.option("-append", &direct.arguments);
    }

    fn add_network(&self, arguments: &mut Arguments) {
        if !self.has_network {
            return;
        }
        let mut network = "user,id=network".to_owned();
        for forward in &self.forwards {
            network.push_str(",hostfwd=");
            network.push_str(&forward.to_qemu());
        }
        arguments.option("-netdev", network);
        // Without its boot ROM: the firmware need not wait for the network.
        arguments.option("-device", "virtio-net-pci,netdev=network,romfile=");
    }

    fn add_credentials(&self, arguments: &mut Arguments) {
        for Credential { name, value } in &self.credentials {
            // An OEM string of the SMBIOS tables; QEMU reads two commas as one.
            let value = value.replace(',', ",,");
            arguments.option(
                "-smbios",
                format!("type=11,value=io.systemd.credential:{name}={value}"),
            );
        }
    }

    fn add_serial(&self, arguments: &mut Arguments) {
        match &self.serial {
            Serial::Terminal => {
                arguments.option("-chardev", "stdio,id=console,mux=on,signal=off");
                arguments.option("-mon", "chardev=console,mode=readline");
            }
            Serial::Standard => {
                arguments.option("-chardev", "stdio,id=console,signal=off");
            }
            Serial::File(path) => {
                arguments.path_option("-chardev", "file,id=console,path=", path, "");
            }
        }
        arguments.option("-serial", "chardev:console");
    }
}

/// Arguments under construction.
#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn flag(&mut self, name: &str) -> &mut Self {
        self.0.push(name.into());
        self
    }

    fn option(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.push(name.into());
        self.0.push(value.into());
    }

    fn drive(&mut self, name: &str, disk: &Disk) {
        let snapshot = if disk.snapshot { "on" } else { "off" };
        let drive = format!(
            "if=none,id={name},format={},snapshot={snapshot},discard=unmap,file=",
            disk.format.name()
        );
        self.path_option("-drive", &drive, &disk.path, "");
    }

    /// An option whose value holds a path; QEMU reads two commas as one that does not end the path.
    fn path_option(&mut self, name: &str, before: &str, path: &Path, after: &str) {
        let mut value = before.as_bytes().to_vec();
        for &byte in path.as_os_str().as_bytes() {
            value.push(byte);
            if byte == b',' {
                value.push(byte);
            }
        }
        value.extend_from_slice(after.as_bytes());
        self.option(name, OsString::from_vec(value));
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::DiskFormat;
    use super::*;

    fn flash(path: &str) -> FlashImage {
        FlashImage {
            path: path.into(),
            format: "raw".to_owned(),
        }
    }

    fn machine() -> Machine {
        Machine {
            architecture: VmArchitecture::Amd64,
            accelerator: Accelerator::Tcg,
            cpus: 2,
            memory_mib: 2048,
            firmware: Some(Firmware {
                code: flash("/fw/code.fd"),
                variables: flash("/run/1/variables.fd"),
            }),
            disk: Some(Disk {
                path: "output/a,b.qcow2".into(),
                format: DiskFormat::Qcow2,
                snapshot: false,
            }),
            attached: vec![Disk {
                path: "blank.raw".into(),
                format: DiskFormat::Raw,
                snapshot: true,
            }],
            media: Vec::new(),
            kernel: None,
            has_network: true,
            may_restart: true,
            forwards: vec![Forward::local(8080, 80), Forward::local(2222, 22)],
            credentials: Vec::new(),
            serial: Serial::Standard,
            monitor: Some("/run/1/monitor".into()),
        }
    }

    /// The values of an option, in order.
    fn values(machine: &Machine, name: &str) -> Vec<String> {
        let arguments = machine.arguments();
        arguments
            .windows(2)
            .filter(|pair| pair[0] == name)
            .map(|pair| pair[1].to_str().expect("text").to_owned())
            .collect()
    }

    #[test]
    fn without_firmware_the_bios_of_qemu_is_left_in_place() {
        let machine = Machine {
            firmware: None,
            ..machine()
        };
        let drives = values(&machine, "-drive");
        assert!(
            drives.iter().all(|drive| drive.starts_with("if=none,")),
            "{drives:?}"
        );
    }

    #[test]
    fn disk_and_firmware_are_drives() {
        assert_eq!(
            values(&machine(), "-drive"),
            [
                "if=pflash,readonly=on,format=raw,file=/fw/code.fd",
                "if=pflash,format=raw,file=/run/1/variables.fd",
                "if=none,id=disk,format=qcow2,snapshot=off,discard=unmap,file=output/a,,b.qcow2",
                "if=none,id=attached0,format=raw,snapshot=on,discard=unmap,file=blank.raw",
            ]
        );
        let devices = values(&machine(), "-device");
        assert!(devices.contains(&"virtio-blk-pci,drive=disk,bootindex=1".to_owned()));
        assert!(devices.contains(&"virtio-blk-pci,drive=attached0".to_owned()));
    }

    #[test]
    fn ports_are_forwarded() {
        assert_eq!(
            values(&machine(), "-netdev"),
            ["user,id=network,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=tcp:127.0.0.1:2222-:22"]
        );
    }

    #[test]
    fn accelerators_take_their_processor_model() {
        let mut machine = machine();
        assert_eq!(values(&machine, "-accel"), ["tcg,thread=multi"]);
        machine.accelerator = Accelerator::Kvm;
        assert_eq!(values(&machine, "-accel"), ["kvm"]);
        assert_eq!(values(&machine, "-cpu"), ["host"]);
        assert_eq!(values(&machine, "-machine"), ["q35,graphics=off,vmport=off"]);
        machine.architecture = VmArchitecture::Arm64;
        assert_eq!(values(&machine, "-cpu"), ["host"]);
        assert_eq!(values(&machine, "-machine"), ["virt"]);
        machine.accelerator = Accelerator::Tcg;
        assert_eq!(values(&machine, "-cpu"), ["max,pauth-impdef=on"]);
    }

    #[test]
    fn credentials_are_smbios_strings() {
        let mut machine = machine();
        machine.credentials.push(Credential {
            name: "ssh.authorized_keys.root",
            value: "ssh-ed25519 AAAA a,b".to_owned(),
        });
        assert_eq!(
            values(&machine, "-smbios"),
            ["type=11,value=io.systemd.credential:ssh.authorized_keys.root=ssh-ed25519 AAAA a,,b"]
        );
    }

    #[test]
    fn only_a_terminal_has_a_monitor_on_it() {
        let mut machine = machine();
        assert!(values(&machine, "-mon").is_empty());
        machine.serial = Serial::Terminal;
        assert_eq!(values(&machine, "-mon"), ["chardev=console,mode=readline"]);
        machine.serial = Serial::File("/tmp/c,d".into());
        assert_eq!(values(&machine, "-chardev"), ["file,id=console,path=/tmp/c,,d"]);
        assert_eq!(values(&machine, "-serial"), ["chardev:console"]);
    }

    #[test]
    fn a_machine_may_have_neither_disk_nor_network() {
        let machine = Machine {
            disk: None,
            attached: Vec::new(),
            has_network: false,
            ..machine()
        };
        assert_eq!(values(&machine, "-drive").len(), 2);
        assert!(values(&machine, "-netdev").is_empty());
        let devices = values(&machine, "-device");
        assert!(
            !devices.iter().any(|device| device.contains("net")),
            "{devices:?}"
        );
    }

    #[test]
    fn media_are_read_and_come_after_the_disk() {
        let mut machine = machine();
        let medium = |slot, path: &str| Medium {
            slot,
            path: path.into(),
        };
        machine.media = vec![medium(Slot::Cdrom, "a,b.iso"), medium(Slot::Usb, "c.iso")];
        assert_eq!(
            values(&machine, "-drive")[4..],
            [
                "if=none,id=cdrom,format=raw,readonly=on,file=a,,b.iso",
                "if=none,id=usb,format=raw,readonly=on,file=c.iso",
            ]
        );
        let booted = |machine: &Machine| {
            let mut devices = values(machine, "-device");
            devices.retain(|device| device.contains("bootindex"));
            devices
        };
        assert_eq!(
            booted(&machine),
            [
                "virtio-blk-pci,drive=disk,bootindex=1",
                "ide-cd,drive=cdrom,bootindex=2",
                "usb-storage,removable=on,drive=usb,bootindex=3",
            ]
        );
        assert!(values(&machine, "-device").contains(&"qemu-xhci".to_owned()));
        machine.architecture = VmArchitecture::Arm64;
        assert_eq!(booted(&machine)[1], "scsi-cd,drive=cdrom,bootindex=2");
        assert!(values(&machine, "-device").contains(&"virtio-scsi-pci".to_owned()));
    }

    #[test]
    fn a_kernel_is_started_with_its_arguments_as_they_are() {
        let mut machine = machine();
        assert!(values(&machine, "-kernel").is_empty() && values(&machine, "-append").is_empty());
        machine.kernel = Some(DirectKernel {
            kernel: "a,b/vmlinuz".into(),
            initrd: Some("a,b/initrd.img".into()),
            arguments: "quiet inst.ks=http://10.0.2.2:8000/a,b".to_owned(),
        });
        assert_eq!(values(&machine, "-kernel"), ["a,b/vmlinuz"]);
        assert_eq!(values(&machine, "-initrd"), ["a,b/initrd.img"]);
        assert_eq!(
            values(&machine, "-append"),
            ["quiet inst.ks=http://10.0.2.2:8000/a,b"]
        );
    }

    #[test]
    fn a_machine_that_may_not_restart_ends() {
        let mut machine = machine();
        assert!(!machine.arguments().contains(&"-no-reboot".into()));
        machine.may_restart = false;
        assert!(machine.arguments().contains(&"-no-reboot".into()));
    }
}
