//! Kernel arguments of this machine.
//!
//! They stand in the boot entries, beside those that the image asks for. A change is one of the deployment that starts
//! next: of the staged one, or of the first in the menu. Updates take the arguments along.

use super::{DeployError, Result, failed, rollback};
use crate::boot_menu::{BootCounter, BootMenu};
use crate::esp::Esp;
use crate::kernel_arguments::{self, ComposefsArgument};
use crate::machine::Machine;
use crate::staged::StagedDeployment;

/// What is to change. Each argument is a word: `name` or `name=value`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KargsChange {
    /// Arguments that shall be there.
    pub append: Vec<String>,
    /// Arguments that shall not: whole, or a name for all with that name.
    pub delete: Vec<String>,
    /// Arguments in whose place others of the same name go.
    pub replace: Vec<String>,
    /// How often the changed deployment is tried before the one after it starts; not counted if `None`.
    pub tries: Option<u32>,
}

/// The kernel arguments of the deployment that starts next.
pub fn kargs(machine: &Machine) -> Result<Vec<String>> {
    let esp = machine.esp()?;
    let menu = next_menu(machine, &esp)?;
    let first = menu.entries.first().ok_or(DeployError::NothingToRollBackTo)?;
    match &first.entry.uki {
        Some(path) => Ok(kernel_arguments::split(&esp.read_uki(path)?.command_line)),
        None => Ok(kernel_arguments::split(&first.entry.options)),
    }
}

/// Changes the kernel arguments of the deployment that starts next, and returns them.
pub fn change_kargs(machine: &Machine, change: &KargsChange) -> Result<Vec<String>> {
    let esp = machine.esp()?;
    let staged = StagedDeployment::read(machine.root()).ok().flatten();
    let mut menu = next_menu(machine, &esp)?;
    let first = menu.entries.first_mut().ok_or(DeployError::NothingToRollBackTo)?;
    if first.entry.uki.is_some() {
        return Err(DeployError::SealedArguments);
    }
    let os_id = rollback::os_id(first).to_owned();
    let before = kernel_arguments::split(&first.entry.options);
    let after = changed(&before, change)?;
    if after == before {
        return Ok(after);
    }
    first.entry.options = kernel_arguments::join(&after);
    if let Some(tries) = change.tries.filter(|tries| *tries > 0) {
        first.counter = Some(BootCounter::new(tries));
    }
    let menu = menu.in_this_order(&os_id);
    match staged {
        None => {
            esp.write_staged_menu(&menu)?;
            esp.exchange_menus()?;
        }
        Some(staged) => {
            let root = machine.root();
            let unwritable = |error| failed("stage a deployment in", root, error);
            // Meanwhile nothing is staged: a menu that is half written is none.
            StagedDeployment::remove(root).map_err(unwritable)?;
            esp.write_staged_menu(&menu)?;
            staged.write(root).map_err(unwritable)?;
        }
    }
    Ok(after)
}

/// The menu after the next shutdown.
fn next_menu(machine: &Machine, esp: &Esp) -> Result<BootMenu> {
    let staged = StagedDeployment::read(machine.root()).ok().flatten();
    match staged {
        Some(_) => esp.staged_menu()?.ok_or(DeployError::StagedMenu),
        None => Ok(esp.menu()?),
    }
}

fn changed(before: &[String], change: &KargsChange) -> Result<Vec<String>> {
    let mut arguments = before.to_vec();
    for deleted in &change.delete {
        let count = arguments.len();
        arguments.retain(|argument| argument != deleted && name(argument) != deleted);
        if arguments.len() == count {
            return Err(DeployError::UnknownArgument(deleted.clone()));
        }
    }
    for replacement in &change.replace {
        let place = arguments
            .iter()
            .position(|argument| name(argument) == name(replacement));
        let place = place.ok_or_else(|| DeployError::UnknownArgument(name(replacement).to_owned()))?;
        arguments.retain(|argument| name(argument) != name(replacement));
        arguments.insert(place.min(arguments.len()), replacement.clone());
    }
    kernel_arguments::append(&mut arguments, change.append.iter().cloned());
    let named = |arguments: &[String]| ComposefsArgument::find(&kernel_arguments::join(arguments));
    match named(&arguments) == named(before) {
        true => Ok(arguments),
        false => Err(DeployError::DeploymentArgument("composefs".to_owned())),
    }
}

fn name(argument: &str) -> &str {
    argument.split_once('=').map_or(argument, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        kernel_arguments::split(text)
    }

    fn change(append: &str, delete: &str, replace: &str) -> KargsChange {
        KargsChange {
            append: words(append),
            delete: words(delete),
            replace: words(replace),
            tries: None,
        }
    }

    #[test]
    fn arguments_come_go_and_change() {
        let before = words("root=UUID=1 rw console=tty0 console=ttyS0 quiet");
        for (change, expected) in [
            (
                change("a=1 rw", "", ""),
                "root=UUID=1 rw console=tty0 console=ttyS0 quiet a=1",
            ),
            (
                change("", "console=tty0 quiet", ""),
                "root=UUID=1 rw console=ttyS0",
            ),
            (change("", "console", ""), "root=UUID=1 rw quiet"),
            (
                change("", "", "console=hvc0"),
                "root=UUID=1 rw console=hvc0 quiet",
            ),
        ] {
            assert_eq!(
                kernel_arguments::join(&changed(&before, &change).unwrap()),
                expected
            );
        }
    }

    #[test]
    fn what_is_not_there_is_said_and_the_deployment_stays() {
        let before = words(&format!(
            "rw composefs={}",
            osmith_formats::verity::Digest::of(b"")
        ));
        for change in [change("", "quiet", ""), change("", "", "quiet=1")] {
            let error = changed(&before, &change).unwrap_err();
            assert!(matches!(error, DeployError::UnknownArgument(_)), "{error}");
        }
        for change in [change("composefs=1", "", ""), change("", "composefs", "")] {
            let error = changed(&before, &change).unwrap_err();
            assert!(matches!(error, DeployError::DeploymentArgument(_)), "{error}");
        }
    }
}
