//! The firmware starts the new system: Kickstart's `bootloader` says whether, and when.

use std::path::Path;

use osmith_disk::{Plan, PlannedPartition};
use osmith_formats::efi_boot::HardDrive;
use osmith_formats::gpt::{Guid, SECTOR_BYTES};
use osmith_kickstart::{BootLocation, Kickstart};
use osmith_machine::install::Architecture;
use osmith_report::{Failure, Severity};

use super::Session;
use crate::disks::{self, Disk};
use crate::firmware::{BootOrder, FirmwareError, NewSystem, start_from};

const BY_GUID: &str = "/dev/disk/by-partuuid/";

/// Tells the firmware, as far as the file wants it. The machine is installed by now, so that a failure is only told.
pub(super) fn set(session: &Session<'_>, kickstart: &Kickstart, (plan, disk): (&Plan, &Disk)) {
    let Some(order) = wanted(kickstart) else {
        return;
    };
    let others = partitions_beside(session.host, disk);
    let started = new_system(plan).and_then(|system| start_from(session.host, &system, order, &others));
    match started {
        Ok(Some(entry)) => {
            let when = match order {
                BootOrder::First => "first in the boot order of the firmware",
                BootOrder::NextStart => "what the firmware starts next",
            };
            session.message(Severity::Note, format!("the new system is {when}: {entry}"));
        }
        Ok(None) => {}
        Err(error) => session.message(Severity::Warning, told(&error)),
    }
}

/// What the file wants: without `bootloader`, what Anaconda does without it.
fn wanted(kickstart: &Kickstart) -> Option<BootOrder> {
    match &kickstart.bootloader {
        Some(command) if command.disabled || command.location == Some(BootLocation::None) => None,
        Some(command) if command.leave_boot_order => Some(BootOrder::NextStart),
        _ => Some(BootOrder::First),
    }
}

fn new_system(plan: &Plan) -> Result<NewSystem, FirmwareError> {
    let is_esp = |partition: &&PlannedPartition| partition.type_guid == Guid::EFI_SYSTEM.to_string();
    let partition = plan
        .partitions
        .iter()
        .find(is_esp)
        .ok_or(FirmwareError::NoPartition)?;
    let architecture = Architecture::of_image(&plan.architecture).ok_or(FirmwareError::NoPartition)?;
    Ok(NewSystem {
        title: plan.title.clone(),
        partition: HardDrive {
            number: partition.number,
            first_lba: partition.offset_bytes / SECTOR_BYTES,
            sectors: partition.size_bytes / SECTOR_BYTES,
            guid: partition.guid.parse().map_err(|_| FirmwareError::NoPartition)?,
        },
        loader: format!(r"\EFI\systemd\systemd-boot{}.efi", architecture.efi_suffix()),
    })
}

/// The partitions of all other disks.
fn partitions_beside(host: &Path, disk: &Disk) -> Vec<Guid> {
    let others = disks::probe(host, None)
        .into_iter()
        .filter(|other| other.name != disk.name);
    let links = others.flat_map(|other| other.links);
    links
        .filter_map(|link| link.strip_prefix(BY_GUID)?.parse().ok())
        .collect()
}

/// The failure with its causes and what to do, in a line.
fn told(error: &FirmwareError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let mut text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    for hint in error.hints() {
        text = format!("{text}; {hint}");
    }
    text
}

#[cfg(test)]
mod tests {
    use osmith_kickstart::{Dialect, MissingIncludes, ParseOptions, parse};
    use osmith_sys::OsError;

    use super::*;

    #[test]
    fn the_file_says_whether() {
        let wanted = |text: &str| {
            let options = ParseOptions {
                dialect: Dialect::default(),
                missing_includes: MissingIncludes::Refuse,
            };
            let parsed = parse("ks.cfg", text, &options, &mut osmith_kickstart::NoIncludes);
            super::wanted(&parsed.kickstart)
        };
        assert_eq!(wanted("zerombr\n"), Some(BootOrder::First));
        assert_eq!(wanted("bootloader --append=quiet\n"), Some(BootOrder::First));
        assert_eq!(
            wanted("bootloader --leavebootorder\n"),
            Some(BootOrder::NextStart)
        );
        assert_eq!(wanted("bootloader --disabled --leavebootorder\n"), None);
        assert_eq!(wanted("bootloader --location=none\n"), None);
    }

    #[test]
    fn a_failure_is_told_in_a_line() {
        let error = OsError::new("write", "BootOrder", rustix::io::Errno::NOSPC);
        insta::assert_snapshot!(told(&error.into()));
    }
}
