//! A fresh disk for an image, as data: the tree of the root file system and the tree of the ESP.
//!
//! Who writes file systems turns the trees into bytes; [`Target`] writes them into file systems that are mounted. The layout is that of bootc's
//! composefs backend with systemd-boot and boot entries:
//!
//! ```text
//! root  composefs/meta.json, objects/, images/     the repository: every file of the image, the composefs images
//!       state/deploy/<id>/etc, var, <id>.origin    what belongs to the deployment
//!       state/os/default/var                       what all deployments share
//!       state/osmith/store/                        what layers the image has: an update fetches only others
//!       ostree/bootc -> ../composefs/bootc, boot/  for programs that look there
//! ESP   EFI/BOOT/BOOTX64.EFI, EFI/systemd/         systemd-boot from the image
//!       EFI/Linux/bootc_composefs-<id>/            kernel and initramfs, or
//!       EFI/Linux/bootc/bootc_composefs-<id>.efi   the unified kernel image
//!       loader/entries/, loader/loader.conf        the boot entry
//! ```
//!
//! Left out: add-ons of unified kernel images, and the images bound to an image.

mod architecture;
mod boot;
mod contents;
mod error;
mod folders;
mod medium;
mod repository;
mod root;
mod target;

use std::io::{self, Read};

use osmith_formats::composefs;
use osmith_formats::tree::Tree;
use osmith_formats::verity::Digest;

use crate::deploy::image_name;
use crate::kernel_arguments::{self, ComposefsArgument};
use crate::origin::{ImageSource, Origin};
use crate::root_setup::{CONFIGURATION_PATH, Configuration, FolderKind};
use osmith_image::Sha256Digest;
use osmith_image::store::{Image, Record, Store};

pub use architecture::Architecture;
pub use boot::KICKSTART_AREA;
pub(crate) use boot::{BootFiles, Kernel, unified_kernel};
pub use error::InstallError;
pub use medium::{MediumOptions, medium_of_stored};
pub use root::STATE_VAR;
pub use target::{Target, TargetError, TargetRequest};

/// Reads an object of the store.
pub type ReadObject<'a> = dyn FnMut(&Digest) -> std::io::Result<Vec<u8>> + 'a;

/// A regular file of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstallFile {
    /// Its contents: a position in [`Deployment::sources`].
    pub source: u32,
    /// Its length.
    pub size_bytes: u64,
    /// Whether the file gets fs-verity, where the file system has it.
    pub verity: bool,
}

/// The contents of a file of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileData {
    /// The bytes themselves.
    Bytes(Vec<u8>),
    /// An object of the store the image is in.
    Object(Digest),
    /// The file of a record of that store, by its path there.
    Record(String),
}

/// The image that is installed.
#[derive(Debug, Clone)]
pub struct InstallImage<'a> {
    /// The tree of all layers in one.
    pub tree: Tree,
    /// The processor it is for.
    pub architecture: Architecture,
    /// Its manifest, as it was signed or hashed.
    pub manifest: &'a [u8],
    /// Its configuration, likewise.
    pub config: &'a [u8],
    /// What the store knows of it, for the machine's own store.
    pub records: Vec<Record>,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct InstallOptions {
    /// The root file system, as the kernel argument `root=` takes it, such as `UUID=...`.
    pub root: String,
    /// Kernel arguments beside those of the image.
    pub kernel_arguments: Vec<String>,
    /// What the machine follows for updates.
    pub source: ImageSource,
    /// Whether the machine starts even if its root file system has no fs-verity.
    pub missing_verity_allowed: bool,
    /// The tree whose `/etc` and `/var` the machine starts with, if these are not the image's. What it has elsewhere does
    /// not count; contents in the tree may be longer than elsewhere.
    pub local: Option<Tree>,
}

/// The contents of a disk.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// The identity of the deployment: the digest of its composefs image.
    pub digest: Digest,
    /// What the boot menu calls it.
    pub title: String,
    /// The kernel's version.
    pub kernel_version: String,
    /// The kernel's command line.
    pub kernel_arguments: Vec<String>,
    /// The root file system.
    pub root: Tree<InstallFile>,
    /// The EFI system partition.
    pub esp: Tree<InstallFile>,
    /// The contents of the files of both.
    pub sources: Vec<FileData>,
}

/// An image that can be deployed: its tree is one to boot from, and its composefs image is made.
#[derive(Debug)]
pub(crate) struct PreparedImage<'a> {
    /// The identity of the deployment: the digest of its composefs image.
    pub(crate) digest: Digest,
    /// What starts it.
    pub(crate) files: BootFiles,
    tree: Tree,
    local: Option<Tree>,
    boot_image: Vec<u8>,
    manifest: &'a [u8],
    config: &'a [u8],
}

/// Looks at an image and makes its composefs image. `object` reads the few objects that must be looked into:
/// descriptions, the kernel and its initramfs.
pub(crate) fn prepare<'a>(
    image: InstallImage<'a>,
    object: &mut ReadObject,
) -> Result<PreparedImage<'a>, InstallError> {
    // First: an image without a kernel lacks other things too, but says most about itself by that.
    let files = boot::find(&image, object)?;
    let tree = composefs::bootable(image.tree, object)?;
    let boot_image = composefs::image(&tree)?;
    let digest = Digest::of(&boot_image);
    files.require_digest(&digest)?;
    Ok(PreparedImage {
        digest,
        files,
        tree,
        local: None,
        boot_image,
        manifest: image.manifest,
        config: image.config,
    })
}

/// [`deployment`] of an image of a store, and of its tree.
pub fn deployment_of_stored(
    store: &Store,
    (image, tree): (&Image, Tree),
    architecture: Architecture,
    options: &InstallOptions,
) -> Result<Deployment, InstallError> {
    let install = InstallImage {
        tree,
        architecture,
        manifest: &store.blob_bytes(&image.manifest_digest)?,
        config: &store.blob_bytes(&image.id())?,
        records: store.records(image, image_name(&image.manifest_digest).as_ref())?,
    };
    deployment(install, options, &mut |digest| read_object(store, digest))
}

/// Makes sure that an image can be deployed; `tree` is its tree.
pub fn require_bootable(
    store: &Store,
    image: &Image,
    tree: Tree,
    architecture: Architecture,
) -> Result<(), InstallError> {
    let install = InstallImage {
        tree,
        architecture,
        manifest: &store.blob_bytes(&image.manifest_digest)?,
        config: &store.blob_bytes(&image.id())?,
        records: Vec::new(),
    };
    prepare(install, &mut |digest| read_object(store, digest)).map(drop)
}

/// The contents of a fresh disk on which the image is deployed.
pub fn deployment(
    mut image: InstallImage,
    options: &InstallOptions,
    object: &mut ReadObject,
) -> Result<Deployment, InstallError> {
    let architecture = image.architecture;
    let records = std::mem::take(&mut image.records);
    let mut prepared = prepare(image, object)?;
    if options.local.is_some() {
        require_plain_etc(&prepared.tree, object)?;
    }
    // What is new in it gets the labels of the policy.
    let local = options
        .local
        .clone()
        .map(|tree| composefs::bootable(tree, object));
    prepared.local = local.transpose()?;
    let digest = prepared.digest;
    let argument = ComposefsArgument {
        digest,
        missing_verity_allowed: options.missing_verity_allowed,
    };
    let files = &prepared.files;
    let kernel_arguments = kernel_arguments(options, argument, &files.kernel)?;
    let (title, kernel_version) = (files.os.title().to_owned(), files.version.clone());
    let origin = prepared.origin(&options.source);
    let (esp, sources) = boot::esp(architecture, files, digest, &kernel_arguments).finish();
    let state = DeploymentState { origin, suffix: "" };
    let (root, sources) = root::of_fresh_disk(prepared, &state, records, sources)?.finish();
    Ok(Deployment {
        digest,
        title,
        kernel_version,
        kernel_arguments,
        root,
        esp,
        sources,
    })
}

/// Makes sure that what a fresh disk has of `/etc` is what the machine sees there.
fn require_plain_etc(tree: &Tree, object: &mut ReadObject) -> Result<(), InstallError> {
    let text = contents::text(tree, CONFIGURATION_PATH, object)?.unwrap_or_default();
    match Configuration::parse(&text) {
        Ok(configuration) if configuration.etc == FolderKind::Bind => Ok(()),
        _ => Err(InstallError::LayeredEtc),
    }
}

impl PreparedImage<'_> {
    /// The tree the machine boots from.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The origin file of the deployment.
    pub(crate) fn origin(&self, source: &ImageSource) -> Origin {
        Origin {
            source: source.clone(),
            boot_type: self.files.boot_type(),
            boot_digest: Some(self.files.digest.clone()),
            manifest_digest: Some(Sha256Digest::of(self.manifest)),
            pinned: false,
        }
    }

    /// What a machine that has all objects of the image needs besides, from its physical root on; and the contents of
    /// those files.
    pub(crate) fn addition(
        self,
        state: Option<&DeploymentState>,
    ) -> Result<(Tree<InstallFile>, Vec<FileData>), InstallError> {
        Ok(root::of_addition(self, state)?.finish())
    }
}

/// What belongs to a deployment and the machine may change.
#[derive(Debug, Clone)]
pub(crate) struct DeploymentState {
    /// Its origin.
    pub(crate) origin: Origin,
    /// What stands behind the names of `etc` and of the origin's file.
    pub(crate) suffix: &'static str,
}

/// In the order in which bootc writes them.
fn kernel_arguments(
    options: &InstallOptions,
    argument: ComposefsArgument,
    kernel: &Kernel,
) -> Result<Vec<String>, InstallError> {
    let of_image = match kernel {
        Kernel::Separate { arguments, .. } => arguments.clone(),
        Kernel::Unified { command_line, .. } => return sealed_arguments(options, command_line),
    };
    let mut arguments = vec![format!("root={}", options.root), "rw".to_owned()];
    kernel_arguments::append(&mut arguments, options.kernel_arguments.iter().cloned());
    kernel_arguments::append(&mut arguments, [argument.to_string()]);
    kernel_arguments::append(&mut arguments, of_image);
    Ok(arguments)
}

fn sealed_arguments(options: &InstallOptions, command_line: &str) -> Result<Vec<String>, InstallError> {
    if !options.kernel_arguments.is_empty() {
        return Err(InstallError::SealedArguments(options.kernel_arguments.clone()));
    }
    let argument = ComposefsArgument::find(command_line).ok().flatten();
    let is_strict = argument.is_some_and(|argument| !argument.missing_verity_allowed);
    match is_strict && options.missing_verity_allowed {
        true => Err(InstallError::SealedVerity),
        false => Ok(kernel_arguments::split(command_line)),
    }
}

/// Whether an image starts by a unified kernel image, which takes no kernel arguments from outside.
pub fn is_unified(tree: &Tree) -> Result<bool, InstallError> {
    Ok(unified_kernel(tree)?.is_some())
}

/// The identity of an image's deployments, which its unified kernel image must name: of all files but those in `/boot`.
pub fn composefs_digest(store: &Store, image: &Image) -> Result<Digest, InstallError> {
    let tree = composefs::bootable(image.tree(store)?, &mut |digest| read_object(store, digest))?;
    Ok(Digest::of(&composefs::image(&tree)?))
}

fn read_object(store: &Store, digest: &Digest) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut object = store.read_object(digest).map_err(io::Error::other)?;
    object.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
