//! Which system the firmware starts: after an installation the new one, and not the medium again, which would erase it.
//!
//! UEFI firmware remembers boot entries and their order in its variables (UEFI specification 2.10, 3.1). As Anaconda does,
//! the new system gets an entry, which comes first. Machines with a BIOS have nothing of the kind.
//!
//! ```text
//! variables ──read──▶ BootVariables + NewSystem ──plan──▶ Changes ──write──▶ Boot####, BootOrder, BootNext, removals
//! ```
//!
//! The order of the writes is that in which a power failure leaves a list whose entries all exist.

mod changes;
mod error;
mod variables;

use std::path::Path;

use osmith_formats::efi_boot::{BOOT_NEXT, BOOT_ORDER, HardDrive, LoadOption, entry_name, numbers_to_bytes};
use osmith_formats::gpt::Guid;

use changes::Changes;
pub use error::FirmwareError;
use variables::Variables;

/// What the firmware is to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSystem {
    /// What its menu says. Entries with this title and loader are osmith's.
    pub title: String,
    /// The EFI system partition.
    pub partition: HardDrive,
    /// The boot loader on it, absolute, with backslashes.
    pub loader: String,
}

/// When the firmware starts the new system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootOrder {
    /// Always: its entry is the first.
    First,
    /// At the next start; after that the order is as it was, and its entry is in it, at the end if it is new.
    NextStart,
}

/// Sees to it that the firmware of the machine whose root directory is `host` starts the new system. `others` are partitions
/// that exist besides those of its disk; entries of osmith's for partitions that do not exist are used again, or removed.
///
/// Returns the name of the entry; `None` where there is no such firmware, and nothing was done.
pub fn start_from(
    host: &Path,
    system: &NewSystem,
    order: BootOrder,
    others: &[Guid],
) -> Result<Option<String>, FirmwareError> {
    let Some(variables) = Variables::open(host)? else {
        return Ok(None);
    };
    let option = LoadOption::new(&system.title, system.partition, &system.loader);
    let changes = Changes::plan(&variables.read_boot()?, &option, order, others)?;
    let entry = option.to_bytes()?;
    let name = entry_name(changes.number);
    variables.write(&name, &entry)?;
    variables.write(BOOT_ORDER, &numbers_to_bytes(&changes.order))?;
    if let Some(next) = changes.next {
        variables.write(BOOT_NEXT, &numbers_to_bytes(&[next]))?;
    }
    for number in changes.removed {
        // The new system comes first already, and the order names the entry no more: left behind, it does no harm.
        let _ = variables.remove(&entry_name(number));
    }
    Ok(Some(name))
}

#[cfg(test)]
mod tests;
