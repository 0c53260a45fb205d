//! Why the firmware may not start the new system by itself.

use osmith_formats::efi_boot::PathTooLong;
use osmith_report::{Class, Failure};
use osmith_sys::OsError;
use rustix::io::Errno;

/// Why the firmware has no entry of the new system, or not in its place. The new system is complete.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareError {
    /// The system or the firmware said no.
    #[error("cannot change the boot order of the firmware")]
    System(#[from] OsError),
    /// There is no number for another entry.
    #[error("cannot change the boot order of the firmware: all 65,536 boot entries are taken")]
    Full,
    /// The entry cannot be written.
    #[error("cannot change the boot order of the firmware")]
    Entry(#[from] PathTooLong),
    /// The disk is not one that firmware starts.
    #[error("cannot change the boot order of the firmware: the disk has no EFI system partition")]
    NoPartition,
}

impl Failure for FirmwareError {
    fn class(&self) -> Class {
        match self {
            FirmwareError::System(_) | FirmwareError::Full => Class::Environment,
            FirmwareError::Entry(_) | FirmwareError::NoPartition => Class::Internal,
        }
    }

    fn hints(&self) -> Vec<String> {
        let mut hints = vec![
            "the firmware may start the installation medium again, which erases the disk: remove the medium"
                .to_owned(),
        ];
        if let FirmwareError::System(error) = self
            && error.errno() == Errno::NOSPC
        {
            hints.push(
                "the firmware has no room for another variable: delete boot entries in its setup".to_owned(),
            );
        }
        hints
    }
}
