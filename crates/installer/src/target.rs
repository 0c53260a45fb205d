//! The system that was written, mounted as its machine will see it: for scripts, and for what is kept of the installation.
//!
//! The disk has no partition table yet, so its partitions are shown by loop devices. The deployment is mounted over its
//! physical root, then the file systems of its `/etc/fstab`, the boot partitions last.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use osmith_disk::{Plan, PlannedPartition};
use osmith_formats::gpt::Guid;
use osmith_formats::verity::Digest;
use osmith_machine::kernel_arguments::ComposefsArgument;
use osmith_machine::root_setup::{RootSetupError, mount_deployment};
use osmith_report::{Class, Failure};
use osmith_sys::OsError;
use osmith_sys::file::open_directory;
use osmith_sys::mount::{self, FileSystem, MountAttrFlags, Stretch};
use rustix::io::Errno;

/// Where an image has the EFI system partition; the first that it has a folder for.
const ESP_PLACES: [&str; 3] = ["efi", "boot/efi", "boot"];
/// A process that has just ended may still hold a file for a moment.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// Why the new system cannot be mounted.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The system said no.
    #[error("cannot mount the new system")]
    System(#[from] OsError),
    /// The deployment is not as it was written.
    #[error("cannot mount the new system")]
    Deployment(#[from] RootSetupError),
    /// The plan is not of a disk with an image.
    #[error("cannot mount the new system: the plan has no {0}")]
    Plan(&'static str),
}

impl Failure for TargetError {
    fn class(&self) -> Class {
        match self {
            TargetError::System(_) => Class::Environment,
            TargetError::Deployment(error) => error.class(),
            TargetError::Plan(_) => Class::Internal,
        }
    }

    fn hints(&self) -> Vec<String> {
        vec!["nothing starts from the disk; the installation can be tried again".to_owned()]
    }
}

/// A system that is mounted. Dropped, it is unmounted as far as that goes.
#[derive(Debug)]
pub struct Target {
    root: PathBuf,
    /// In the order in which they were mounted.
    mounted: Vec<PathBuf>,
}

impl Target {
    /// Mounts what was written to a device as `plan` says, at the folder `root`, which is made. `scratch` is a folder for
    /// short-lived mounts.
    pub fn mount(device: &File, plan: &Plan, root: &Path, scratch: &Path) -> Result<Self, TargetError> {
        std::fs::create_dir_all(root).map_err(|error| OsError::from_io("create", root.display(), &error))?;
        let digest: Digest = plan
            .deployment
            .parse()
            .map_err(|_| TargetError::Plan("deployment"))?;
        let mut target = Target {
            root: root.to_owned(),
            mounted: Vec::new(),
        };
        let (physical, others) = plan.partitions.split_last().ok_or(TargetError::Plan("root"))?;
        target.attach(device, physical, "")?;
        let argument = ComposefsArgument {
            digest,
            missing_verity_allowed: false,
        };
        mount_deployment(root, argument, scratch)?;
        target.mounted.push(root.to_owned());
        for partition in others {
            if let Some(path) = target.place_of(partition) {
                target.attach(device, partition, &path)?;
            }
        }
        Ok(target)
    }

    /// The root directory of the new system.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a partition is mounted, from the root on.
    fn place_of(&self, partition: &PlannedPartition) -> Option<String> {
        if let Some(path) = &partition.mount_point {
            return Some(path.trim_start_matches('/').to_owned());
        }
        let is = |kind: Guid| partition.type_guid == kind.to_string();
        let places: &[&str] = match () {
            () if is(Guid::EXTENDED_BOOT_LOADER) => &["boot"],
            () if is(Guid::EFI_SYSTEM) => &ESP_PLACES,
            () => return None,
        };
        let place = places.iter().find(|place| self.root.join(place).is_dir())?;
        Some((*place).to_owned())
    }

    fn attach(&mut self, device: &File, partition: &PlannedPartition, path: &str) -> Result<(), TargetError> {
        let kind = match partition.file_system {
            kind @ ("ext4" | "vfat") => kind,
            _ => return Ok(()),
        };
        let stretch = Stretch {
            offset_bytes: partition.offset_bytes,
            len_bytes: partition.size_bytes,
            writable: true,
        };
        let shown = mount::attach_loop_device(device.as_fd(), stretch)?;
        let file_system = FileSystem::open(kind)?;
        file_system.set("source", &shown.path().to_string_lossy())?;
        let mounted = file_system.mount(MountAttrFlags::empty())?;
        let root = open_directory(&self.root)?;
        mounted.attach(&root, path)?;
        self.mounted.push(self.root.join(path));
        Ok(())
    }

    /// Writes everything to the disk and unmounts it.
    pub fn unmount(mut self) -> Result<(), TargetError> {
        while let Some(path) = self.mounted.pop() {
            // What is mounted below the root of the deployment (etc, var, sysroot) goes with it.
            let is_deployment = path == self.root && self.mounted.contains(&path);
            if let Ok(directory) = open_directory(&path) {
                rustix::fs::syncfs(directory)
                    .map_err(|errno| OsError::new("write", path.display(), errno))?;
            }
            match is_deployment {
                true => mount::detach(&path)?,
                false => unmount_patiently(&path)?,
            }
        }
        Ok(())
    }
}

fn unmount_patiently(path: &Path) -> Result<(), OsError> {
    for _ in 0..TRIES {
        match mount::unmount(path) {
            Err(error) if error.errno() == Errno::BUSY => std::thread::sleep(PAUSE),
            answer => return answer,
        }
    }
    mount::unmount(path)
}

impl Drop for Target {
    fn drop(&mut self) {
        while let Some(path) = self.mounted.pop() {
            let _ = mount::detach(path);
        }
    }
}
