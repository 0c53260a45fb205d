//! The unit that makes a staged deployment the next one at the shutdown.

use std::io;
use std::process::Command;

use osmith_report::Class;

use crate::failure::CommandFailure;

const UNIT: &str = "osmith-finalize-staged.service";

/// Makes sure that the unit is active: it does its work when it is stopped, and an update that is staged without it would
/// never start. Starting what is active changes nothing.
pub(super) fn ensure_active() -> Result<(), CommandFailure> {
    ensure_active_by(Command::new("systemctl"))
}

fn ensure_active_by(mut systemctl: Command) -> Result<(), CommandFailure> {
    let failed = || {
        let message =
            format!("an update would never start: cannot start '{UNIT}', which takes it at the shutdown");
        CommandFailure::new(Class::Environment, message)
    };
    let answer = match systemctl.args(["start", UNIT]).output() {
        Ok(answer) if answer.status.success() => return Ok(()),
        Ok(answer) => answer,
        Err(error) => return Err(failed().because(error)),
    };
    let said = String::from_utf8_lossy(&answer.stderr);
    // Not found, not loaded: systemctl's statuses are those of init scripts.
    let hint = match answer.status.code() {
        Some(4..=6) => format!("the image lacks '{UNIT}': add osmith's units to it and enable them"),
        _ => format!("'systemctl enable --now {UNIT}' starts it, 'systemctl status {UNIT}' says more"),
    };
    let reason = match said.lines().find(|line| !line.trim().is_empty()) {
        Some(line) => line.trim().to_owned(),
        None => answer.status.to_string(),
    };
    Err(failed().because(io::Error::other(reason)).hint(hint))
}

#[cfg(test)]
mod tests {
    use osmith_report::Failure as _;

    use super::*;

    /// Asks a shell that answers as systemctl would.
    fn ask(script: &str) -> Result<(), CommandFailure> {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "systemctl"]);
        ensure_active_by(shell)
    }

    #[test]
    fn the_unit_is_started_or_what_helps_is_said() {
        ask(&format!("test \"$*\" = 'start {UNIT}'")).unwrap();
        for (script, reason, hint) in [
            (
                "echo \"Failed to start: Unit x not found.\" >&2; exit 5",
                "Unit x not found",
                "the image lacks",
            ),
            (
                "echo \"Unit is masked.\" >&2; exit 1",
                "masked",
                "systemctl enable --now",
            ),
            ("exit 1", "exit status: 1", "systemctl enable --now"),
        ] {
            let failure = ask(script).unwrap_err();
            let text = crate::failure::with_causes(&failure);
            assert!(
                text.contains("would never start") && text.contains(reason),
                "{text}"
            );
            assert!(failure.hints()[0].contains(hint), "{:?}", failure.hints());
        }
        let failure = ensure_active_by(Command::new("/nonexistent/systemctl")).unwrap_err();
        assert!(failure.to_string().contains(UNIT), "{failure}");
    }
}
