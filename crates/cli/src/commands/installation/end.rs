//! How an installation ends: the machine restarts, is switched off, or offers a shell.

use std::env;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use osmith_installer::consoles::Consoles;
use osmith_kickstart::End;
use osmith_report::{Class, Failure};

use crate::failure::CommandFailure;

/// So long consoles may take to show the last lines.
const FLUSH: Duration = Duration::from_secs(5);
/// How often a shell is looked at.
const PAUSE: Duration = Duration::from_millis(200);
/// Set in the shell's environment.
const IN_SHELL: &str = "OSMITH_INSTALLER_SHELL";
const CONSOLE: &str = "dev/console";
const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];

/// Ends the live system.
pub(super) fn end(end: End, consoles: &Consoles) -> Result<(), Box<dyn Failure>> {
    let (verb, text) = match end {
        End::Reboot => ("reboot", "Installed. The machine restarts."),
        End::Poweroff => ("poweroff", "Installed. The machine is switched off."),
        End::Halt => ("halt", "Installed. The machine is halted."),
    };
    consoles.line(text);
    consoles.flush(FLUSH);
    let status = Command::new("systemctl").args(["--no-block", verb]).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(verb, status.to_string()).into()),
        Err(error) => Err(failed(verb, error.to_string()).into()),
    }
}

fn failed(verb: &str, reason: String) -> CommandFailure {
    let text = format!("the machine is installed, but 'systemctl {verb}' failed: {reason}");
    CommandFailure::new(Class::Environment, text).hint("restart the machine by hand")
}

/// Says that nothing was installed, and offers a shell on the console, again and again: somebody must see what is wrong
/// and decide. Ends when the system is shut down, or if the installer was called from that very shell.
pub(super) fn offer_shell(host: &Path, consoles: &Consoles, is_over: &AtomicBool) {
    consoles.line("");
    if env::var_os(IN_SHELL).is_some() {
        consoles.line("This machine was not installed.");
        consoles.flush(FLUSH);
        return;
    }
    while !is_over.load(Ordering::Relaxed) {
        consoles.line("This machine was not installed. There is a shell on the console:");
        consoles.line("  osmith installer     tries again");
        consoles.line("  systemctl reboot     restarts the machine");
        consoles.line("The log is /run/osmith/install.log.");
        consoles.flush(FLUSH);
        if let Err(error) = shell(host, is_over) {
            consoles.line(&format!("cannot start a shell on the console: {error}"));
            consoles.flush(FLUSH);
            std::thread::sleep(Duration::from_secs(60));
        }
    }
}

/// A shell that has the console for itself, until it ends or everything does: a shell heeds no SIGTERM, and systemd would
/// wait for it.
fn shell(host: &Path, is_over: &AtomicBool) -> std::io::Result<()> {
    let console = std::fs::File::options()
        .read(true)
        .write(true)
        .open(host.join(CONSOLE))?;
    let program = SHELLS
        .into_iter()
        .find(|shell| host.join(shell.trim_start_matches('/')).exists());
    let mut command = Command::new("setsid");
    command
        .args(["--ctty", "--wait", program.unwrap_or("/bin/sh"), "-i"])
        .env("HOME", "/root")
        .env("TERM", "linux")
        .env(IN_SHELL, "1")
        .current_dir(host)
        .stdin(console.try_clone()?)
        .stdout(console.try_clone()?)
        .stderr(console);
    let mut child = command.spawn()?;
    while child.try_wait()?.is_none() && !is_over.load(Ordering::Relaxed) {
        std::thread::sleep(PAUSE);
    }
    Ok(())
}
