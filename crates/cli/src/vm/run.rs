//! `osmith vm run`: from the arguments to a machine that was shut down.

use std::env;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use osmith_report::{Class, Event, Observer, Severity};
use tempfile::TempDir;

use super::accelerator::Probe;
use super::arguments::{AcceleratorChoice, FirmwareChoice, RunArgs, VmArchitecture, VmArgs, VmCommand};
use super::define::define;
use super::disk::{self, Disk};
use super::firmware::{self, Firmware};
use super::forward::{self, Forward};
use super::installer::Installer;
use super::machine::{Accelerator, Credential, Machine, Serial};
use super::monitor::Monitor;
use super::process::{self, TerminalSettings};
use super::qemu::{self, Qemu};
use super::source::{OpenStore, Source};
use super::ssh::{self, Identity};
use crate::failure::{CommandFailure, CommandResult};

const MOST_DEFAULT_CPUS: usize = 4;
const LEAST_MEMORY_MIB: u64 = 256;
const SSH_PORT: u16 = 22;
/// How long an emulated machine may take to shut down before its power is cut.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(180);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The lines of a console that are shown when a machine does not answer.
const CONSOLE_LINES: usize = 8;

/// Runs `osmith vm`.
pub(crate) fn run(arguments: &VmArgs, open_store: OpenStore<'_>, observer: &dyn Observer) -> CommandResult {
    match &arguments.command {
        VmCommand::Run(arguments) => run_machine(arguments, open_store, observer),
        VmCommand::Define(arguments) => define(arguments),
    }
}

fn run_machine(arguments: &RunArgs, open_store: OpenStore<'_>, observer: &dyn Observer) -> CommandResult {
    let source = Source::find(arguments, open_store)?;
    let architecture = source.architecture(arguments.architecture)?;
    // What this computer lacks is said before a disk is made.
    let host = Host::find(architecture, arguments)?;
    memory_mib(arguments.memory)?;
    require_free_ports(arguments)?;
    let attached = arguments.attach.iter();
    let attached = attached
        .map(|path| disk::attached(path, arguments.snapshot))
        .collect::<Result<_, _>>()?;
    let installer = Installer::find(&arguments.installer)?;
    let bootable = source.prepare(observer)?;
    let disks = Disks {
        boot: bootable.disk.clone(),
        attached,
        installer,
    };
    run_disks(arguments, &host, disks, observer)?;
    Ok(())
}

/// What this computer has for machines of an architecture.
struct Host {
    architecture: VmArchitecture,
    qemu: Qemu,
    /// With the template of the variables; none for a BIOS.
    firmware: Option<Firmware>,
}

impl Host {
    fn find(architecture: VmArchitecture, arguments: &RunArgs) -> Result<Self, CommandFailure> {
        architecture.require_firmware(arguments.firmware)?;
        if arguments.accelerator == AcceleratorChoice::Kvm && !architecture.is_native() {
            let what = format!(
                "KVM runs machines with this computer's processor, not {}",
                architecture.image_name()
            );
            let hint = "leave --accelerator out: the machine is emulated";
            return Err(CommandFailure::new(Class::Usage, what).hint(hint));
        }
        let qemu = Qemu::find(architecture)?;
        let firmware = match arguments.firmware {
            FirmwareChoice::Uefi => Some(
                firmware::find(Path::new("/"), architecture)
                    .ok_or_else(|| qemu::firmware_missing(architecture))?,
            ),
            FirmwareChoice::Bios => None,
        };
        Ok(Host {
            architecture,
            qemu,
            firmware,
        })
    }
}

struct Disks {
    boot: Disk,
    attached: Vec<Disk>,
    installer: Installer,
}

fn run_disks(
    arguments: &RunArgs,
    host: &Host,
    disks: Disks,
    observer: &dyn Observer,
) -> Result<(), CommandFailure> {
    let login = arguments.ssh.then(Login::prepare).transpose()?;
    let folder = tempfile::Builder::new()
        .prefix("osmith-vm-")
        .tempdir()
        .map_err(|error| cannot("make a folder for the machine", error))?;
    let machine = Machine {
        forwards: forwards(arguments, login.as_ref()),
        credentials: credentials(arguments, login.as_ref())?,
        serial: serial(login.as_ref(), folder.path()),
        ..bare_machine(arguments, host, folder.path(), disks, observer)?
    };
    let _settings = TerminalSettings::keep();
    let mut running = Running::start(&host.qemu, &machine, folder, observer)?;
    match login {
        None => running.wait(),
        Some(login) => {
            login.hold_session(&mut running, arguments)?;
            running.press_power_button();
            running.wait()
        }
    }
}

/// The machine as far as this computer and the sizes decide it.
fn bare_machine(
    arguments: &RunArgs,
    host: &Host,
    folder: &Path,
    disks: Disks,
    observer: &dyn Observer,
) -> Result<Machine, CommandFailure> {
    let accelerator = settle_accelerator(arguments.accelerator, host, folder, observer)?;
    Ok(Machine {
        architecture: host.architecture,
        accelerator,
        cpus: arguments.cpus.unwrap_or_else(default_cpus),
        memory_mib: memory_mib(arguments.memory)?,
        firmware: with_own_variables(host.firmware.as_ref(), &folder.join("variables.fd"))?,
        disk: Some(disks.boot),
        attached: disks.attached,
        media: disks.installer.media,
        kernel: disks.installer.kernel,
        has_network: !arguments.no_network,
        may_restart: !arguments.no_reboot,
        forwards: Vec::new(),
        credentials: Vec::new(),
        serial: Serial::Standard,
        monitor: Some(folder.join("monitor")),
    })
}

fn settle_accelerator(
    choice: AcceleratorChoice,
    host: &Host,
    folder: &Path,
    observer: &dyn Observer,
) -> Result<Accelerator, CommandFailure> {
    let is_tried = choice == AcceleratorChoice::Auto && host.architecture.is_native();
    let template = host.firmware.as_ref().filter(|_| is_tried);
    let firmware = with_own_variables(template, &folder.join("probe-variables.fd"))?;
    let probe = Probe {
        qemu: &host.qemu,
        architecture: host.architecture,
        firmware: firmware.as_ref(),
        cache: runtime_folder().map(|folder| folder.join("accelerator")),
    };
    let chosen = probe.settle(choice);
    if let Some(reason) = chosen.reason {
        tell(observer, Severity::Note, reason);
    }
    if chosen.accelerator == Accelerator::Tcg && host.qemu.major().is_some_and(|major| major < 8) {
        tell(
            observer,
            Severity::Warning,
            format!(
                "{} often crashes when it emulates processors; QEMU 8 and newer do not",
                host.qemu.version
            ),
        );
    }
    Ok(chosen.accelerator)
}

/// The firmware with a copy of its variables that the machine may write to.
fn with_own_variables(template: Option<&Firmware>, copy: &Path) -> Result<Option<Firmware>, CommandFailure> {
    let Some(mut firmware) = template.cloned() else {
        return Ok(None);
    };
    // Not fs::copy: the template may be read-only, and so would be the copy.
    fs::read(&firmware.variables.path)
        .and_then(|content| fs::write(copy, content))
        .map_err(|error| cannot("copy the firmware's variables", error))?;
    firmware.variables.path = copy.to_owned();
    Ok(Some(firmware))
}

fn require_free_ports(arguments: &RunArgs) -> Result<(), CommandFailure> {
    for forward in &arguments.publish {
        forward.require_free().map_err(|error| {
            CommandFailure::new(
                Class::Conflict,
                format!("cannot publish port {} of {}", forward.host_port, forward.address),
            )
            .because(error)
            .hint("choose another, as in -p 18080:80")
        })?;
    }
    Ok(())
}

fn forwards(arguments: &RunArgs, login: Option<&Login>) -> Vec<Forward> {
    let own = login.map(|login| Forward::local(login.port, SSH_PORT));
    arguments.publish.iter().cloned().chain(own).collect()
}

fn credentials(arguments: &RunArgs, login: Option<&Login>) -> Result<Vec<Credential>, CommandFailure> {
    let own = login.map(|login| login.identity.public_key());
    // The parser lets only one of them be given: a credential has one value.
    let keys = arguments.authorized_key.iter().chain(own.iter());
    keys.map(|key| ssh::credential(key)).collect()
}

fn serial(login: Option<&Login>, folder: &Path) -> Serial {
    if login.is_some() {
        return Serial::File(console_file(folder));
    }
    match is_interactive() {
        true => Serial::Terminal,
        false => Serial::Standard,
    }
}

fn console_file(folder: &Path) -> PathBuf {
    folder.join("console")
}

fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

fn default_cpus() -> u16 {
    let here = thread::available_parallelism().map_or(1, usize::from);
    here.min(MOST_DEFAULT_CPUS) as u16
}

fn memory_mib(bytes: u64) -> Result<u64, CommandFailure> {
    let mib = bytes >> 20;
    if mib < LEAST_MEMORY_MIB {
        return Err(CommandFailure::new(
            Class::Usage,
            format!("a machine needs {LEAST_MEMORY_MIB} MiB of memory at least, not {mib} MiB"),
        )
        .hint("sizes have a unit, as in --memory 2GiB"));
    }
    Ok(mib)
}

/// The way into the machine for `--ssh`.
struct Login {
    identity: Identity,
    port: u16,
}

impl Login {
    fn prepare() -> Result<Self, CommandFailure> {
        let folder = user_folder("XDG_STATE_HOME", ".local/state").ok_or_else(|| {
            CommandFailure::new(
                Class::Environment,
                "cannot tell where the ssh key is kept: HOME is not set",
            )
        })?;
        Ok(Login {
            identity: Identity::ensure(&folder.join("vm"))?,
            port: forward::free_local_port().map_err(|error| cannot("find a free port for ssh", error))?,
        })
    }

    fn hold_session(&self, running: &mut Running<'_>, arguments: &RunArgs) -> Result<(), CommandFailure> {
        tell(
            running.observer,
            Severity::Note,
            "waiting for the machine's ssh".to_owned(),
        );
        self.wait_until_let_in(running, Duration::from_secs(arguments.ssh_timeout))?;
        let status = self.identity.session(self.port, &arguments.command)?;
        if status.success() || arguments.command.is_empty() {
            return Ok(());
        }
        Err(CommandFailure::new(
            Class::Command,
            format!(
                "in the machine, '{}' failed: {status}",
                arguments.command.join(" ")
            ),
        ))
    }

    fn wait_until_let_in(&self, running: &mut Running<'_>, timeout: Duration) -> Result<(), CommandFailure> {
        let deadline = Instant::now() + timeout;
        while !self.identity.is_let_in(self.port)? {
            if running.observer.interrupted() {
                return Err(CommandFailure::new(
                    Class::Interrupted,
                    "interrupted while waiting for ssh",
                ));
            }
            if running.has_ended()? {
                return Err(running.does_not_answer("the machine ended before it answered to ssh"));
            }
            if Instant::now() >= deadline {
                let seconds = timeout.as_secs();
                return Err(
                    running.does_not_answer(&format!("the machine did not answer to ssh in {seconds} s"))
                );
            }
            thread::sleep(Duration::from_secs(1));
        }
        Ok(())
    }
}

/// A machine that runs; its power is cut when this is dropped.
struct Running<'a> {
    child: Child,
    folder: TempDir,
    observer: &'a dyn Observer,
}

impl<'a> Running<'a> {
    fn start(
        qemu: &Qemu,
        machine: &Machine,
        folder: TempDir,
        observer: &'a dyn Observer,
    ) -> Result<Self, CommandFailure> {
        let mut command = Command::new(&qemu.program);
        command.args(machine.arguments());
        process::end_with_us(&mut command);
        match machine.serial {
            Serial::Terminal => tell(
                observer,
                Severity::Note,
                "this terminal is the machine's console; Ctrl-A x ends the machine".to_owned(),
            ),
            _ => {
                process::shield_from_terminal(&mut command);
                if io::stdin().is_terminal() || matches!(machine.serial, Serial::File(_)) {
                    command.stdin(Stdio::null());
                }
            }
        }
        let child = command
            .spawn()
            .map_err(|error| cannot(&format!("run {}", qemu.program.display()), error))?;
        Ok(Running {
            child,
            folder,
            observer,
        })
    }

    /// Waits until the machine is off. The user's wish to stop is passed on to it.
    fn wait(&mut self) -> Result<(), CommandFailure> {
        let mut power_off_by = None;
        loop {
            if let Some(status) = self.status()? {
                return judge(status);
            }
            match power_off_by {
                None if self.observer.interrupted() => {
                    power_off_by = Some(Instant::now() + SHUTDOWN_TIMEOUT);
                    self.press_power_button();
                }
                Some(deadline) if Instant::now() >= deadline => {
                    let seconds = SHUTDOWN_TIMEOUT.as_secs();
                    tell(
                        self.observer,
                        Severity::Warning,
                        format!("the machine did not shut down in {seconds} s: its power is cut"),
                    );
                    return Ok(());
                }
                _ => thread::sleep(POLL_INTERVAL),
            }
        }
    }

    /// Asks the machine's operating system to shut down.
    fn press_power_button(&self) {
        let pressed = Monitor::connect(&self.folder.path().join("monitor"))
            .and_then(|mut monitor| monitor.press_power_button());
        match pressed {
            Ok(()) => tell(
                self.observer,
                Severity::Note,
                "asked the machine to shut down; Ctrl-C ends it at once".to_owned(),
            ),
            Err(error) => tell(
                self.observer,
                Severity::Warning,
                format!("cannot ask the machine to shut down: {error}; Ctrl-C ends it at once"),
            ),
        }
    }

    fn has_ended(&mut self) -> Result<bool, CommandFailure> {
        Ok(self.status()?.is_some())
    }

    fn status(&mut self) -> Result<Option<ExitStatus>, CommandFailure> {
        self.child
            .try_wait()
            .map_err(|error| cannot("wait for the machine", error))
    }

    /// A failure that ends with what the machine said last.
    fn does_not_answer(&self, message: &str) -> CommandFailure {
        let console = fs::read(console_file(self.folder.path())).unwrap_or_default();
        let failure = CommandFailure::new(Class::Network, message);
        match last_lines(&console) {
            lines if lines.is_empty() => {
                failure.hint("its console is silent: is it a disk that boots with UEFI?")
            }
            lines => failure.hint(format!("the end of its console:\n{lines}")),
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // Both fail only when the machine has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn judge(status: ExitStatus) -> Result<(), CommandFailure> {
    match status.success() {
        true => Ok(()),
        false => Err(
            CommandFailure::new(Class::Environment, format!("the machine's QEMU failed: {status}"))
                .hint("QEMU's own message is above"),
        ),
    }
}

/// The last lines of a console, without what only a terminal understands.
fn last_lines(console: &[u8]) -> String {
    let text = String::from_utf8_lossy(console);
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            line.chars()
                .filter(|character| !character.is_control())
                .collect::<String>()
        })
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(CONSOLE_LINES)..].join("\n")
}

/// The user's folder for what only counts until the next boot; the caches if there is none.
fn runtime_folder() -> Option<PathBuf> {
    match absolute("XDG_RUNTIME_DIR") {
        Some(folder) => Some(folder.join("osmith")),
        None => user_folder("XDG_CACHE_HOME", ".cache"),
    }
}

/// osmith's folder in the one that the variable names, or in the default below HOME (XDG Base Directory Specification).
fn user_folder(variable: &str, default: &str) -> Option<PathBuf> {
    absolute(variable)
        .or_else(|| absolute("HOME").map(|home| home.join(default)))
        .map(|folder| folder.join("osmith"))
}

fn absolute(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

fn tell(observer: &dyn Observer, severity: Severity, text: String) {
    observer.observe(Event::Message { severity, text });
}

fn cannot(what: &str, error: io::Error) -> CommandFailure {
    CommandFailure::new(Class::Environment, format!("cannot {what}")).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_console_is_readable() {
        let console = b"\x1b[2Jfirst\r\n\r\n"
            .iter()
            .copied()
            .chain((0..20).flat_map(|n| format!("line {n}\r\n").into_bytes()));
        let text = last_lines(&console.collect::<Vec<u8>>());
        assert_eq!(text.lines().count(), CONSOLE_LINES);
        assert!(text.ends_with("line 19"), "{text}");
        assert_eq!(last_lines(b""), "");
        assert_eq!(last_lines(b"\x1b[2J\xff"), "[2J\u{fffd}");
    }

    #[test]
    fn memory_is_counted_in_mib() {
        assert_eq!(memory_mib(2 << 30).ok(), Some(2048));
        assert!(memory_mib(1 << 20).is_err());
    }
}
