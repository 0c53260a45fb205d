//! What a running machine is: which deployment runs, which image it came from, what the boot menu offers.
//!
//! The sources, in this order: the mount table and the kernel arguments name the deployment that runs; its origin file
//! names the image; the repository has the image's manifest and configuration; the boot entries on the EFI system
//! partition name the other deployments. The last two need root; others are told what root published last.

mod host;
pub(crate) mod mounts;
mod published;
mod render;
mod repository;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use osmith_formats::verity::Digest;
use osmith_image::host_architecture;
use osmith_report::{Class, Failure};
use osmith_sys::OsError;
use osmith_sys::file::open_directory;
use serde::{Deserialize, Serialize};

use crate::boot_menu::{BootMenu, MenuEntry};
use crate::esp::{Esp, EspAccess, EspError};
use crate::failures::{self, Failures};
use crate::kernel_arguments::ComposefsArgument;
use crate::machine::OWN;
use crate::origin::{BootType, Origin};
use crate::staged::StagedDeployment;

pub use host::{
    AccessMode, BootOrder, BootTypeStatus, Bootloader, ComposefsStatus, DeploymentStatus, Host, HostSpec,
    HostStatus, ImageReference, ImageSignature, ImageStatus, Persistence, UsrOverlay,
};
pub use published::publish;
pub use render::render;

/// The EFI variable in which the boot loader leaves its name, below the folder of EFI variables.
const LOADER_INFO: &str = "LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// The state of a machine, and what could not be found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The state.
    pub host: Host,
    /// What is missing in it and why, a sentence each.
    pub notes: Vec<String>,
}

/// Why nothing at all can be said about a machine.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The physical root is not where it belongs.
    #[error("cannot look at the deployments of this machine")]
    PhysicalRoot(#[source] OsError),
    /// A file of the kernel's cannot be read.
    #[error("cannot read /{path}")]
    Kernel {
        /// The file.
        path: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl Failure for StatusError {
    fn class(&self) -> Class {
        Class::Environment
    }
}

/// The state of the machine whose root directory is `root`.
pub fn status(root: &Path) -> Result<Status, StatusError> {
    let mountinfo = read_kernel(root, "proc/self/mountinfo")?;
    let Some(booted) = mounts::deployment(&mountinfo) else {
        return Ok(Status {
            host: Host::new(),
            notes: Vec::new(),
        });
    };
    let command_line = read_kernel(root, "proc/cmdline")?;
    let argument = ComposefsArgument::find(&command_line).ok().flatten();
    let machine = Machine {
        physical: open_directory(root.join("sysroot")).map_err(StatusError::PhysicalRoot)?,
        bootloader: bootloader(root),
        missing_verity_allowed: argument.is_some_and(|argument| argument.missing_verity_allowed),
    };
    let mut status = Status {
        host: Host::new(),
        notes: Vec::new(),
    };
    status.host.status.kind = Some("bootcHost".to_owned());
    status.host.status.usr_overlay = mounts::usr_overlay(&mountinfo);
    status.host.status.booted = Some(machine.deployment(&booted, &mut status.notes));
    let staged = StagedDeployment::read(root).unwrap_or_else(|error| {
        let note = format!("what is staged cannot be read, and will not start: {error}");
        status.notes.push(note);
        None
    });
    match menus(root) {
        Ok((current, next)) => machine.place(&current, &next, &booted, staged, &mut status),
        Err(error) => match published::read(root, &booted) {
            Some(published) => return Ok(published.at_present(&mountinfo)),
            None => {
                let note = format!(
                    "the boot entries cannot be read, so only the running deployment is shown: {error}"
                );
                status.notes.push(note);
            }
        },
    }
    match Failures::read(&root.join("sysroot").join(OWN).join(failures::FILE_NAME)) {
        Ok(failures) => status.host.status.failed_deployments = failures.failed,
        Err(error) => status
            .notes
            .push(format!("which deployments failed is not shown: {error}")),
    }
    status.host.spec.image = followed(&status.host.status);
    Ok(status)
}

/// The boot menu, and the one that an update left for the shutdown.
fn menus(root: &Path) -> Result<(BootMenu, BootMenu), EspError> {
    let esp = Esp::open(root, EspAccess::Read)?;
    Ok((esp.menu()?, esp.staged_menu()?.unwrap_or_default()))
}

fn read_kernel(root: &Path, path: &'static str) -> Result<String, StatusError> {
    std::fs::read_to_string(root.join(path)).map_err(|source| StatusError::Kernel { path, source })
}

/// What started the machine. The variable has four bytes of attributes, then UTF-16.
fn bootloader(root: &Path) -> Bootloader {
    let variable = std::fs::read(root.join("sys/firmware/efi/efivars").join(LOADER_INFO));
    let variable = variable.unwrap_or_default();
    let (units, _) = variable.get(4..).unwrap_or_default().as_chunks::<2>();
    let units: Vec<u16> = units.iter().copied().map(u16::from_le_bytes).collect();
    let name = String::from_utf16_lossy(&units).to_lowercase();
    if name.contains("systemd-boot") {
        Bootloader::Systemd
    } else if name.contains("grub cc") {
        Bootloader::GrubCc
    } else {
        Bootloader::Grub
    }
}

/// The image that the next deployment comes from.
fn followed(status: &HostStatus) -> Option<ImageReference> {
    let next = status.staged.as_ref().or(status.booted.as_ref())?;
    Some(next.image.as_ref()?.image.clone())
}

/// What all deployments of a machine have in common.
struct Machine {
    physical: OwnedFd,
    bootloader: Bootloader,
    missing_verity_allowed: bool,
}

impl Machine {
    /// Finds out about a deployment; what is not found out becomes a note.
    fn deployment(&self, digest: &Digest, notes: &mut Vec<String>) -> DeploymentStatus {
        let verity = digest.to_string();
        let origin = self.origin(&verity);
        if let Err(error) = &origin {
            notes.push(format!("deployment {verity} has no readable origin: {error}"));
        }
        let origin = origin.ok();
        let is_uki = origin
            .as_ref()
            .is_some_and(|origin| origin.boot_type == BootType::Uki);
        let composefs = ComposefsStatus {
            boot_digest: origin.as_ref().and_then(|origin| origin.boot_digest.clone()),
            boot_type: if is_uki {
                BootTypeStatus::Uki
            } else {
                BootTypeStatus::Bls
            },
            bootloader: self.bootloader,
            missing_verity_allowed: self.missing_verity_allowed,
            verity,
        };
        let pinned = origin.as_ref().is_some_and(|origin| origin.pinned);
        let image = origin.and_then(|origin| self.image(&origin, notes));
        DeploymentStatus::new(composefs, image, pinned)
    }

    fn origin(&self, verity: &str) -> io::Result<Origin> {
        let path = format!("state/deploy/{verity}/{verity}.origin");
        let bytes = repository::read(&self.physical, &path)?;
        Origin::parse(&String::from_utf8_lossy(&bytes)).map_err(io::Error::other)
    }

    fn image(&self, origin: &Origin, notes: &mut Vec<String>) -> Option<ImageStatus> {
        let manifest_digest = origin.manifest_digest?;
        let mut status = ImageStatus {
            architecture: host_architecture().to_owned(),
            image: ImageReference::from(&origin.source),
            image_digest: manifest_digest.to_string(),
            timestamp: None,
            version: None,
        };
        match repository::image(&self.physical, &manifest_digest) {
            Ok(stored) => {
                status.version = stored.version();
                status.architecture = stored.config.architecture;
                status.timestamp = stored.config.created;
            }
            Err(error) => notes.push(format!(
                "version and time of image {manifest_digest} cannot be read: {error}"
            )),
        }
        Some(status)
    }

    /// Puts the deployments of the boot entries where they belong.
    fn place(
        &self,
        current: &BootMenu,
        next: &BootMenu,
        booted: &Digest,
        staged: Option<StagedDeployment>,
        status: &mut Status,
    ) {
        let is_given_up = |digest: &Digest| current.of(digest).is_some_and(MenuEntry::is_exhausted);
        let mut seen = vec![*booted];
        for digest in current.deployments().into_iter().chain(next.deployments()) {
            if seen.contains(&digest) {
                continue;
            }
            seen.push(digest);
            let mut deployment = self.deployment(&digest, &mut status.notes);
            let host = &mut status.host.status;
            match staged.filter(|staged| staged.deployment == digest) {
                Some(staged) => {
                    deployment.download_only = staged.download_only;
                    host.staged = Some(deployment);
                }
                None if host.rollback.is_none() && !is_given_up(&digest) => host.rollback = Some(deployment),
                None => host.other_deployments.push(deployment),
            }
        }
        let first = current.deployments().first().copied();
        if first.is_some_and(|first| first != *booted) {
            status.host.status.rollback_queued = true;
            status.host.spec.boot_order = BootOrder::Rollback;
        }
    }
}

#[cfg(test)]
mod tests;
