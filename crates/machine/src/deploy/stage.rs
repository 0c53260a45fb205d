//! An image becomes the next deployment, without a change to what starts if nothing else happens.
//!
//! The order of the writes is what keeps the machine safe. Everything is written where nothing refers to it: composefs
//! image, streams, state folder, kernel files, and last the boot menu for the shutdown; only then the file that tells
//! the shutdown to use it. Whatever is left half done is of no deployment and is removed by the next operation.

use std::os::fd::AsFd;
use std::path::PathBuf;

use osmith_formats::tree::{Content, Inode, Node, Tree};
use osmith_formats::verity::{Digest, tree_bytes};
use osmith_image::host_architecture;
use osmith_image::store::{Image, Store};
use osmith_report::Observer;
use osmith_sys::file::open_directory;

use super::images::{missing_contents, read_object};
use super::persistence::{self, LeftBehind};
use super::write::TreeWriter;
use super::{DeployError, STAGED, failed, unstage};
use crate::boot_menu::{BootCounter, BootMenu, MenuEntry};
use crate::esp::{Esp, InstalledKernel};
use crate::etc::{self, EtcError};
use crate::install::{
    Architecture, BootFiles, DeploymentState, InstallFile, InstallImage, Kernel, PreparedImage, prepare,
};
use crate::machine::Machine;
use crate::origin::{BootType, ImageSource, Origin};
use crate::root_setup::Configuration;
use crate::staged::StagedDeployment;
use crate::{kargs_d, kernel_arguments};

/// How often a new deployment is tried, unless `/etc/kernel/tries` says otherwise.
const TRIES: u32 = 3;
/// The unit by which a deployment says that it is healthy.
const HEALTH_UNIT: &str = "systemd/system/osmith-health.service";
const BLOCK_BYTES: u64 = 4096;
/// What is left free beside what is written.
const SPARE_BYTES: u64 = 16 << 20;
/// What entries and folders take on the EFI system partition.
pub(crate) const ESP_SPARE_BYTES: u64 = 1 << 20;

/// What shall run next.
#[derive(Debug, Clone)]
pub struct StageRequest<'a> {
    /// The image, of the machine's store.
    pub image: &'a Image,
    /// What the machine follows from then on.
    pub source: ImageSource,
    /// Whether shutting down shall not yet change anything.
    pub download_only: bool,
}

/// What came of staging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Staging {
    /// The deployment starts after the next shutdown.
    Staged {
        /// The deployment.
        deployment: Digest,
        /// Paths below `/etc` that the image changed and that stay as they are on the machine, as they were changed
        /// there.
        shadowed: Vec<PathBuf>,
        /// What the deployment will not have of this machine.
        left: Vec<LeftBehind>,
    },
    /// The files of the image are those that run; only what the machine follows was noted.
    Running(Digest),
}

type Result<T> = std::result::Result<T, DeployError>;

/// Stages an image; what was staged before is dropped.
pub fn stage(
    machine: &Machine,
    store: &Store,
    request: &StageRequest,
    observer: &dyn Observer,
) -> Result<Staging> {
    let manifest = store.blob_bytes(&request.image.manifest_digest)?;
    let config = store.blob_bytes(&request.image.id())?;
    let (image, architecture) = install_image(store, request.image, &manifest, &config)?;
    let is_counted = checks_health(machine, &image.tree);
    let prepared = prepare(image, &mut |digest| read_object(store, digest))?;
    require_objects(store, prepared.tree())?;
    let configuration = persistence::of_tree(prepared.tree(), &mut |digest| read_object(store, digest))?;
    observer.require_running()?;
    let transaction = Transaction {
        machine,
        store,
        esp: machine.esp()?,
        observer,
    };
    if prepared.digest == machine.booted() {
        return transaction.note(prepared, &request.source);
    }
    persistence::require_mounted_etc(machine)?;
    let tries = is_counted.then(|| tries(machine)).filter(|tries| *tries > 0);
    transaction.stage(prepared, request, configuration, architecture, tries)
}

pub(super) fn install_image<'a>(
    store: &Store,
    image: &Image,
    manifest: &'a [u8],
    config: &'a [u8],
) -> Result<(InstallImage<'a>, Architecture)> {
    let of_image = &image.config.architecture;
    let architecture = Architecture::of_image(of_image).filter(|_| of_image == host_architecture());
    let architecture = architecture.ok_or_else(|| DeployError::Architecture {
        image: of_image.clone(),
        machine: host_architecture().to_owned(),
    })?;
    let install = InstallImage {
        tree: image.tree(store)?,
        architecture,
        manifest,
        config,
        records: Vec::new(),
    };
    Ok((install, architecture))
}

fn require_objects(store: &Store, tree: &Tree) -> Result<()> {
    let missing = missing_contents(store, tree)?;
    match missing.first() {
        Some(Content::Object { digest, .. }) => Err(DeployError::MissingObjects {
            count: missing.len(),
            first: Box::new(*digest),
        }),
        _ => Ok(()),
    }
}

/// Whether the image takes the boot counter away when it is healthy. One that does not would be left after its tries.
fn checks_health(machine: &Machine, tree: &Tree) -> bool {
    let masked = machine.root().join("etc").join(HEALTH_UNIT);
    let is_masked = std::fs::read_link(masked).is_ok_and(|target| target.as_os_str() == "/dev/null");
    tree.lookup(format!("usr/lib/{HEALTH_UNIT}").as_bytes()).is_some() && !is_masked
}

/// Source: kernel-install(8).
fn tries(machine: &Machine) -> u32 {
    let text = std::fs::read_to_string(machine.root().join("etc/kernel/tries"));
    let found = text.ok().and_then(|text| text.trim().parse().ok());
    found.unwrap_or(TRIES)
}

/// What every step of staging needs.
struct Transaction<'a> {
    machine: &'a Machine,
    store: &'a Store,
    esp: Esp,
    observer: &'a dyn Observer,
}

/// Where the kernel of a deployment is, or comes.
struct KernelPlace {
    /// The name of its folder, or of its file.
    name: String,
    is_there: bool,
}

impl Transaction<'_> {
    /// The same files under another manifest: nothing has to start.
    fn note(&self, image: PreparedImage, source: &ImageSource) -> Result<Staging> {
        let deployment = image.digest;
        let origin = Origin {
            pinned: self.machine.origin(&deployment)?.pinned,
            ..image.origin(source)
        };
        unstage(self.machine, &self.esp)?;
        self.write_files(image, None)?;
        self.machine.sync()?;
        self.machine.write_origin(&deployment, &origin)?;
        Ok(Staging::Running(deployment))
    }

    fn stage(
        &self,
        image: PreparedImage,
        request: &StageRequest,
        configuration: Configuration,
        architecture: Architecture,
        tries: Option<u32>,
    ) -> Result<Staging> {
        let deployment = image.digest;
        let menu = self.esp.menu()?;
        self.require_boot_type(&menu, &image.files)?;
        let place = self.kernel_place(&menu, &image.files, &deployment)?;
        let arguments = match &image.files.kernel {
            Kernel::Separate { arguments, .. } => {
                self.kernel_arguments(&menu, (deployment, arguments), architecture)?
            }
            Kernel::Unified { command_line, .. } => kernel_arguments::split(command_line),
        };
        let entry = MenuEntry {
            stem: String::new(),
            counter: tries.map(BootCounter::new),
            entry: image.files.entry(&deployment, &place.name, &arguments),
        };
        let configuration =
            persistence::require_supported(self.machine, image.tree(), configuration, &arguments)?;
        let os_id = image.files.os.id().to_owned();
        let next = self.next_menu(&menu, entry)?.in_this_order(&os_id);
        let kernel = image.files.kernel.clone();
        let state = self.state(&menu, &image, &request.source);
        unstage(self.machine, &self.esp)?;
        super::remove_unused_kernels(&self.esp, &[&menu])?;
        if menu.of(&deployment).is_none() {
            super::remove_state(self.machine, &deployment)?;
        }
        self.write_files(image, Some(&state))?;
        let left = persistence::left_behind(self.machine, &configuration)?;
        let shadowed = match self.machine.etc_kind().is_kept() && configuration.etc.is_kept() {
            true => self.require_mergeable(&deployment, state.suffix)?,
            false => Vec::new(),
        };
        self.machine.sync()?;
        if !place.is_there {
            self.write_kernel(&place.name, &kernel)?;
        }
        self.esp.write_staged_menu(&next)?;
        self.observer.require_running()?;
        let staged = StagedDeployment {
            deployment,
            download_only: request.download_only,
        };
        let root = self.machine.root();
        staged
            .write(root)
            .map_err(|error| failed("stage a deployment in", root, error))?;
        Ok(Staging::Staged {
            deployment,
            shadowed,
            left,
        })
    }

    /// What the boot loader counts and bootc reads is one or the other: a boot entry without arguments of its own would
    /// lose those of the machine.
    fn require_boot_type(&self, menu: &BootMenu, files: &BootFiles) -> Result<()> {
        let booted = booted_entry(self.machine, menu)?;
        let here = match booted.entry.uki {
            Some(_) => BootType::Uki,
            None => BootType::Bls,
        };
        match files.boot_type() == here {
            true => Ok(()),
            false => Err(DeployError::BootType { here }),
        }
    }

    /// A kernel that is there serves all deployments that start with it, a unified one its own. Makes sure that a new
    /// one fits.
    fn kernel_place(&self, menu: &BootMenu, files: &BootFiles, deployment: &Digest) -> Result<KernelPlace> {
        let found = self.esp.kernels()?;
        let name = files.kernel.place(deployment);
        let is_same = |found: &&InstalledKernel| match files.kernel {
            Kernel::Separate { .. } => found.boot_digest.as_ref() == Some(&files.digest),
            Kernel::Unified { .. } => found.name == name && menu.uses_kernel(&name),
        };
        if let Some(found) = found.iter().find(is_same) {
            return Ok(KernelPlace {
                name: found.name.clone(),
                is_there: true,
            });
        }
        let unused = found.iter().filter(|kernel| !menu.uses_kernel(&kernel.name));
        let free_bytes = self.esp.free_bytes()? + unused.map(|kernel| kernel.size_bytes).sum::<u64>();
        let files = files.kernel.files(&name);
        let needed_bytes = files.iter().map(|(_, content)| content.size_bytes()).sum::<u64>();
        require_space(
            "the EFI system partition",
            needed_bytes + ESP_SPARE_BYTES,
            free_bytes,
        )?;
        Ok(KernelPlace {
            name,
            is_there: false,
        })
    }

    fn write_kernel(&self, place: &str, kernel: &Kernel) -> Result<()> {
        for (path, content) in kernel.files(place) {
            self.observer.require_running()?;
            let contents = self.store.read_content(content)?;
            self.esp.write_kernel_file(&path, contents)?;
        }
        Ok(())
    }

    /// The arguments of the machine go on, those of the image change with it.
    fn kernel_arguments(
        &self,
        menu: &BootMenu,
        (deployment, new): (Digest, &[String]),
        architecture: Architecture,
    ) -> Result<Vec<String>> {
        let booted = booted_entry(self.machine, menu)?;
        let before = kernel_arguments::split(&booted.entry.options);
        let old = kargs_d::of_root(self.machine.image(), architecture.name())?;
        let argument = self.machine.argument(deployment);
        Ok(kernel_arguments::update(&before, argument, &old, new))
    }

    /// The new deployment, the one that runs, and the pinned ones. While the one that runs is still on trial, also the
    /// first that is not.
    fn next_menu(&self, menu: &BootMenu, new: MenuEntry) -> Result<BootMenu> {
        let booted = booted_entry(self.machine, menu)?;
        let mut entries = vec![new, booted.clone()];
        let mut is_proven = booted.counter.is_none();
        for other in &menu.entries {
            let is_listed = entries
                .iter()
                .any(|entry| entry.deployment() == other.deployment());
            let Some(digest) = other.deployment().filter(|_| !is_listed) else {
                continue;
            };
            let is_pinned = self.machine.origin(&digest).is_ok_and(|origin| origin.pinned);
            if is_pinned || (!is_proven && other.counter.is_none()) {
                entries.push(other.clone());
            }
            is_proven |= other.counter.is_none();
        }
        Ok(BootMenu { entries })
    }

    /// A deployment that is in the menu keeps its state until the shutdown.
    fn state(&self, menu: &BootMenu, image: &PreparedImage, source: &ImageSource) -> DeploymentState {
        let before = self.machine.origin(&image.digest).ok();
        let is_there = menu.of(&image.digest).is_some();
        DeploymentState {
            origin: Origin {
                pinned: is_there && before.is_some_and(|origin| origin.pinned),
                ..image.origin(source)
            },
            suffix: if is_there { STAGED } else { "" },
        }
    }

    /// Local changes of `/etc` must go with the new image; what is staged is left as a leftover if they do not.
    fn require_mergeable(&self, deployment: &Digest, suffix: &str) -> Result<Vec<PathBuf>> {
        let new = open_directory(self.machine.state(deployment).join(format!("etc{suffix}")))?;
        let (base, current) = self.machine.etc()?;
        let plan = etc::plan(base.as_fd(), current, new.as_fd())?;
        match plan.conflicts.is_empty() {
            true => Ok(plan.shadowed),
            false => Err(EtcError::Conflicts(plan.conflicts).into()),
        }
    }

    /// Writes what the image needs besides its objects. Makes sure that it fits.
    fn write_files(&self, image: PreparedImage, state: Option<&DeploymentState>) -> Result<()> {
        let (tree, sources) = image.addition(state)?;
        let physical = self.machine.physical();
        let found = rustix::fs::statvfs(&physical)
            .map_err(|errno| failed("look at the space of", &physical, errno.into()))?;
        let free_bytes = found.f_bavail.saturating_mul(found.f_frsize);
        require_space("the root file system", needed_bytes(&tree), free_bytes)?;
        let writer = TreeWriter {
            tree: &tree,
            sources: &sources,
            store: self.store,
            observer: self.observer,
        };
        writer.write(&physical)
    }
}

fn booted_entry<'a>(machine: &Machine, menu: &'a BootMenu) -> Result<&'a MenuEntry> {
    let booted = machine.booted();
    menu.of(&booted)
        .ok_or_else(|| DeployError::NoBootedEntry(Box::new(booted)))
}

pub(crate) fn needed_bytes(tree: &Tree<InstallFile>) -> u64 {
    let needed = |inode: &Inode<InstallFile>| match &inode.node {
        Node::Regular(file) if file.verity => file.size_bytes + tree_bytes(file.size_bytes) + 2 * BLOCK_BYTES,
        Node::Regular(file) => file.size_bytes + BLOCK_BYTES,
        Node::Directory(_) => BLOCK_BYTES,
        _ => 0,
    };
    tree.inodes().map(needed).sum::<u64>() + SPARE_BYTES
}

pub(crate) fn require_space(place: &'static str, needed_bytes: u64, free_bytes: u64) -> Result<()> {
    if needed_bytes <= free_bytes {
        return Ok(());
    }
    Err(DeployError::NoSpace {
        place,
        needed_bytes,
        free_bytes,
    })
}
