//! Which accelerator runs the machine's processors.
//!
//! A `/dev/kvm` that opens proves nothing: nested and cut-down KVM may refuse registers, hang in real mode or make QEMU
//! abort. So a machine is tried: the very firmware, machine type and processor model that are to be used, without a
//! disk. Firmware that writes to the serial port has been through real mode, long mode and paging. The answer is kept
//! per kernel, boot and QEMU version.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::arguments::{AcceleratorChoice, VmArchitecture};
use super::firmware::Firmware;
use super::machine::{Accelerator, Machine, Serial};
use super::process;
use super::qemu::Qemu;

const KVM_DEVICE: &str = "/dev/kvm";
/// Firmware reaches the serial port within a second under a KVM that works, also in a nested one.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
const PROBE_CPUS: u16 = 2;
const PROBE_MEMORY_MIB: u64 = 256;

/// An accelerator, and why it is not the faster one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) accelerator: Accelerator,
    /// A sentence for the user.
    pub(crate) reason: Option<String>,
}

/// What is needed to try an accelerator.
pub(crate) struct Probe<'a> {
    pub(crate) qemu: &'a Qemu,
    pub(crate) architecture: VmArchitecture,
    /// With variables that may be written to; none for a BIOS.
    pub(crate) firmware: Option<&'a Firmware>,
    /// The file that keeps the answer; without one every start tries again.
    pub(crate) cache: Option<PathBuf>,
}

impl Probe<'_> {
    /// Settles `choice` for this computer.
    pub(crate) fn settle(&self, choice: AcceleratorChoice) -> Chosen {
        let accelerator = match choice {
            AcceleratorChoice::Kvm => Accelerator::Kvm,
            AcceleratorChoice::Tcg => Accelerator::Tcg,
            AcceleratorChoice::Auto => return self.try_kvm(),
        };
        Chosen {
            accelerator,
            reason: None,
        }
    }

    fn try_kvm(&self) -> Chosen {
        if !self.architecture.is_native() {
            return emulated(&format!(
                "this computer's processor is not {}",
                self.architecture.image_name()
            ));
        }
        let reason = match fs::File::options().read(true).write(true).open(KVM_DEVICE) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Some(format!(
                "{KVM_DEVICE} may not be opened (is this user in the group kvm?)"
            )),
            Err(_) => Some(format!("there is no {KVM_DEVICE}")),
            Ok(_) if self.kvm_works() => None,
            Ok(_) => Some(format!(
                "{KVM_DEVICE} is there, but a machine does not start with it"
            )),
        };
        match reason {
            None => Chosen {
                accelerator: Accelerator::Kvm,
                reason: None,
            },
            Some(why) => emulated(&why),
        }
    }

    fn kvm_works(&self) -> bool {
        let subject = subject(&self.qemu.version);
        if let Some(answer) = self.cache.as_deref().and_then(|file| recall(file, &subject)) {
            return answer;
        }
        let works = self.start_with_kvm();
        if let Some(file) = &self.cache {
            remember(file, &subject, works);
        }
        works
    }

    /// Starts a machine without a disk and waits for its firmware's first word.
    fn start_with_kvm(&self) -> bool {
        let machine = Machine {
            architecture: self.architecture,
            accelerator: Accelerator::Kvm,
            cpus: PROBE_CPUS,
            memory_mib: PROBE_MEMORY_MIB,
            firmware: self.firmware.cloned(),
            disk: None,
            attached: Vec::new(),
            media: Vec::new(),
            kernel: None,
            has_network: false,
            may_restart: true,
            forwards: Vec::new(),
            credentials: Vec::new(),
            serial: Serial::Standard,
            monitor: None,
        };
        let mut command = Command::new(&self.qemu.program);
        command
            .args(machine.arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        process::end_with_us(&mut command);
        let Ok(mut child) = command.spawn() else {
            return false;
        };
        let spoke = speaks(&mut child);
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
        spoke
    }
}

fn emulated(why: &str) -> Chosen {
    Chosen {
        accelerator: Accelerator::Tcg,
        reason: Some(format!("{why}: the machine is emulated, and slow")),
    }
}

/// Whether the child writes a byte in time. The reader ends when the caller ends the child.
fn speaks(child: &mut Child) -> bool {
    let Some(mut output) = child.stdout.take() else {
        return false;
    };
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let heard = output.read(&mut [0]).is_ok_and(|length| length > 0);
        // Nobody listens any more after the time-out.
        let _ = sender.send(heard);
    });
    receiver.recv_timeout(PROBE_TIMEOUT).unwrap_or(false)
}

/// What an answer is about; a reboot or an upgrade asks anew.
fn subject(qemu_version: &str) -> String {
    let kernel = |name: &str| fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    format!(
        "{} {} {qemu_version}",
        kernel("osrelease").trim(),
        kernel("random/boot_id").trim()
    )
}

fn recall(file: &Path, subject: &str) -> Option<bool> {
    let text = fs::read_to_string(file).ok()?;
    let (kept_subject, answer) = text.split_once('\n')?;
    if kept_subject != subject {
        return None;
    }
    match answer.trim() {
        "kvm works" => Some(true),
        "kvm fails" => Some(false),
        _ => None,
    }
}

/// Keeps an answer; one that cannot be kept is found again.
fn remember(file: &Path, subject: &str, works: bool) {
    let answer = if works { "kvm works" } else { "kvm fails" };
    let _ = file
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(file, format!("{subject}\n{answer}\n")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_per_subject() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("osmith/accelerator");
        assert_eq!(recall(&file, "a"), None);
        remember(&file, "a", false);
        assert_eq!(recall(&file, "a"), Some(false));
        assert_eq!(recall(&file, "b"), None);
        remember(&file, "b", true);
        assert_eq!(recall(&file, "b"), Some(true));
        fs::write(&file, "b\nkvm maybe\n").expect("a file");
        assert_eq!(recall(&file, "b"), None);
    }

    #[test]
    fn a_program_that_ends_silently_does_not_speak() {
        let child = |script: &str| {
            Command::new("sh")
                .args(["-c", script])
                .stdout(Stdio::piped())
                .spawn()
                .expect("a shell")
        };
        let mut silent = child("exit 1");
        assert!(!speaks(&mut silent));
        let _ = silent.wait();
        let mut talking = child("echo hello");
        assert!(speaks(&mut talking));
        let _ = talking.wait();
    }
}
