//! The plan: from what is wanted and what the image is to everything that will be on the disk.

use std::fmt;
use std::io::{self, Read as _};

use osmith_config::Storage;
use osmith_formats::gpt::{Guid, Table};
use osmith_formats::tree::Tree;
use osmith_image::store::{Image, Store, StoreError};
use osmith_image::{Platform, Reference};
use osmith_machine::install::{Architecture, Deployment, InstallOptions, deployment_of_stored};
use osmith_machine::kernel_arguments;
use osmith_machine::origin::ImageSource;
use serde::Serialize;

use crate::bytes::GRAIN_BYTES;
use crate::bytes::Size;
use crate::configured::storage_of_image;
use crate::contents::{Contents, Geometry, Parts};
use crate::customize::MountSettings;
use crate::customize::customize;
use crate::error::PlanError;
use crate::identity::{Identity, Labels};
use crate::spec::{Codec, ImageType, OutputFile, Spec};
use crate::storage::Wanted;

/// A disk that is planned. Its `Display` form is for people, its serialized form for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// The image.
    pub image: String,
    /// The digest of its manifest.
    pub manifest_digest: String,
    /// The processor it is for, in Go's words.
    pub architecture: String,
    /// The deployment: the digest of its composefs image.
    pub deployment: String,
    /// What the boot menu says.
    pub title: String,
    /// The version of the kernel.
    pub kernel_version: String,
    /// The kernel's command line.
    pub kernel_arguments: Vec<String>,
    /// The size of the disk.
    pub size_bytes: u64,
    /// The GUID of the disk.
    pub disk_guid: String,
    /// The partitions.
    pub partitions: Vec<PlannedPartition>,
    /// How many bytes of files there are, with their fs-verity metadata.
    pub file_bytes: u64,
    /// What is written.
    pub outputs: Vec<PlannedOutput>,
    #[serde(skip)]
    pub(crate) stored: StoredDisk,
}

/// A partition that is planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedPartition {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// What is in it, as `blkid` calls it: `vfat`, `ext4`, `swap`; empty for nothing.
    pub file_system: &'static str,
    /// Where it is mounted, if `/etc/fstab` says so.
    pub mount_point: Option<String>,
    /// Where it begins.
    pub offset_bytes: u64,
    /// How long it is.
    pub size_bytes: u64,
    /// What it is for.
    pub type_guid: String,
    /// Which one it is.
    pub guid: String,
    /// The identity of what is in it, as in `/dev/disk/by-uuid`.
    pub uuid: Option<String>,
}

/// An output that is planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedOutput {
    /// The format.
    pub format: ImageType,
    /// Where it goes below the output directory.
    pub path: String,
    /// How it is compressed.
    pub compression: Codec,
    #[serde(skip)]
    pub(crate) file: OutputFile,
}

/// What [`crate::execute()`] needs besides what is shown.
#[derive(Debug)]
pub(crate) struct StoredDisk {
    pub(crate) image: Image,
    pub(crate) contents: Contents,
    pub(crate) geometry: Geometry,
    pub(crate) table: Table,
    pub(crate) labels: Labels,
}

/// Plans a disk for an image of the store. Reads the image's description, its kernel and its initramfs; writes
/// nothing.
pub fn plan(store: &Store, spec: &Spec) -> Result<Plan, PlanError> {
    let wanted_bytes = spec.size_bytes.map(|size_bytes| whole_grains(spec, size_bytes));
    plan_of_size(store, spec, wanted_bytes)
}

/// The size rounded up to what all formats take.
fn whole_grains(spec: &Spec, size_bytes: u64) -> u64 {
    let of_formats = spec.types.iter().map(|format| format.size_grain_bytes());
    let grain_bytes = of_formats.fold(GRAIN_BYTES, u64::max);
    let whole_bytes = size_bytes.checked_next_multiple_of(grain_bytes);
    whole_bytes.unwrap_or(size_bytes)
}

/// Plans a disk that fills a device of that size, whole sectors; the sizes and the formats of `spec` do not count.
pub fn plan_for_device(store: &Store, spec: &Spec, device_bytes: u64) -> Result<Plan, PlanError> {
    let spec = Spec {
        types: Vec::new(),
        size_bytes: None,
        ..spec.clone()
    };
    plan_of_size(store, &spec, Some(device_bytes))
}

/// The image of the store that is meant.
pub(crate) fn stored(
    store: &Store,
    name: &Reference,
    platform: Option<&Platform>,
) -> Result<Image, StoreError> {
    let Some(platform) = platform else {
        return store.image(name);
    };
    let image = store.image_for(name, platform)?;
    image.require_platform(name, platform)?;
    Ok(image)
}

fn plan_of_size(store: &Store, spec: &Spec, disk_bytes: Option<u64>) -> Result<Plan, PlanError> {
    let image = stored(store, &spec.image, spec.platform.as_ref())?;
    let architecture = image.config.architecture.clone();
    let unknown = || PlanError::Architecture {
        image: spec.image.to_string(),
        architecture: architecture.clone(),
    };
    let identity = Identity {
        seed: spec.seed,
        manifest_digest: &image.manifest_digest,
    };
    let root_type = Guid::root_of(&architecture).ok_or_else(unknown)?;
    let processor = Architecture::of_image(&architecture).ok_or_else(unknown)?;
    let tree = image.tree(store)?;
    let wanted = match &spec.configuration.storage {
        Storage::Default => Wanted::of(&storage_of_image(store, &tree)?),
        asked_for => Wanted::of(asked_for),
    };
    let mut deployment = deploy(store, spec, (&image, &tree), processor, (&identity, &wanted))?;
    let (digest, title) = (deployment.digest, std::mem::take(&mut deployment.title));
    let kernel_version = std::mem::take(&mut deployment.kernel_version);
    let kernel_arguments = std::mem::take(&mut deployment.kernel_arguments);
    let time_seconds = deployment
        .root
        .inode(deployment.root.root())
        .metadata
        .mtime
        .seconds;
    let parts = Parts {
        image_name: &spec.image,
        tree: &tree,
        store,
        identity: &identity,
        root_type,
        wanted: &wanted,
    };
    let mut contents = Contents::of(deployment, &parts)?;
    let geometry = choose_geometry(spec, disk_bytes, &contents, &wanted)?;
    require_formats(&spec.types, geometry.disk_bytes)?;
    contents.settle(&geometry)?;
    let disk_guid = identity.guid("disk");
    let table = contents.table(&geometry, disk_guid);
    let labels = Labels::derive(&identity, &spec.image, time_seconds);
    Ok(Plan {
        image: spec.image.to_string(),
        manifest_digest: image.manifest_digest.to_string(),
        architecture,
        deployment: digest.to_string(),
        title,
        kernel_version,
        kernel_arguments,
        size_bytes: geometry.disk_bytes,
        disk_guid: disk_guid.to_string(),
        partitions: planned_partitions(&contents, &geometry),
        file_bytes: contents.file_bytes(),
        outputs: planned_outputs(spec),
        stored: StoredDisk {
            image,
            contents,
            geometry,
            table,
            labels,
        },
    })
}

fn deploy(
    store: &Store,
    spec: &Spec,
    (image, tree): (&Image, &Tree),
    architecture: Architecture,
    (identity, wanted): (&Identity<'_>, &Wanted),
) -> Result<Deployment, PlanError> {
    let mut kernel_arguments = spec.kernel_arguments.clone();
    let configured = spec.configuration.kernel_arguments.as_deref().unwrap_or_default();
    kernel_arguments::append(&mut kernel_arguments, kernel_arguments::split(configured));
    let options = InstallOptions {
        root: format!("UUID={}", identity.guid("root")),
        kernel_arguments,
        source: ImageSource::registry(&spec.follows.to_string()),
        missing_verity_allowed: false,
        local: local(store, spec, (image, tree), (identity, wanted))?,
    };
    let source = deployment_of_stored(store, (image, tree.clone()), architecture, &options);
    source.map_err(|source| PlanError::Install {
        image: spec.image.to_string(),
        source: Box::new(source),
    })
}

/// The tree of the image as the configuration wants it on this machine, if it wants something.
fn local(
    store: &Store,
    spec: &Spec,
    (image, tree): (&Image, &Tree),
    (identity, wanted): (&Identity<'_>, &Wanted),
) -> Result<Option<Tree>, PlanError> {
    let mounts = wanted.mount_settings(identity);
    if spec.configuration.changes_no_files() && mounts == MountSettings::default() {
        return Ok(None);
    }
    let changed = customize(
        tree.clone(),
        &spec.configuration,
        &mounts,
        &image.config.architecture,
        identity,
        &mut |digest| {
            let mut bytes = Vec::new();
            let mut object = store.read_object(digest).map_err(io::Error::other)?;
            object.read_to_end(&mut bytes)?;
            Ok(bytes)
        },
    );
    Ok(Some(changed?))
}

fn choose_geometry(
    spec: &Spec,
    disk_bytes: Option<u64>,
    contents: &Contents,
    wanted: &Wanted,
) -> Result<Geometry, PlanError> {
    let wanted_bytes = wanted.min_disk_bytes.checked_next_multiple_of(GRAIN_BYTES);
    let wanted_bytes = wanted_bytes.ok_or(PlanError::DiskTooLarge)?;
    let Some(disk_bytes) = disk_bytes else {
        let roomy = contents.roomy()?;
        let rounded_bytes = whole_grains(spec, roomy.disk_bytes.max(wanted_bytes));
        return match rounded_bytes == roomy.disk_bytes {
            true => Ok(roomy),
            false => contents.filling(rounded_bytes),
        };
    };
    let minimum_bytes = contents.smallest()?.disk_bytes.max(wanted_bytes);
    if disk_bytes >= minimum_bytes {
        return contents.filling(disk_bytes);
    }
    let image = spec.image.to_string();
    Err(match spec.size_bytes {
        Some(size_bytes) => PlanError::TooSmall {
            image,
            size_bytes,
            minimum_bytes,
        },
        None => PlanError::DeviceTooSmall {
            image,
            size_bytes: disk_bytes,
            minimum_bytes,
        },
    })
}

/// Makes sure that every format can hold a disk of that size.
fn require_formats(types: &[ImageType], size_bytes: u64) -> Result<(), PlanError> {
    let too_small = types.iter().find(|format| size_bytes > format.maximum_bytes());
    too_small.map_or(Ok(()), |format| {
        Err(PlanError::TooLarge {
            format: *format,
            size_bytes,
            maximum_bytes: format.maximum_bytes(),
        })
    })
}

fn planned_partitions(contents: &Contents, geometry: &Geometry) -> Vec<PlannedPartition> {
    let volumes = contents.volumes.iter().zip(&geometry.extents).zip(1..);
    volumes
        .map(|((volume, extent), number)| PlannedPartition {
            number,
            name: volume.name.clone(),
            file_system: volume.file_system(),
            mount_point: volume.mount_point.clone(),
            offset_bytes: extent.offset_bytes,
            size_bytes: extent.size_bytes,
            type_guid: volume.type_guid.to_string(),
            guid: volume.guid.to_string(),
            uuid: volume.uuid(),
        })
        .collect()
}

/// Each file once, in the order of the formats.
fn planned_outputs(spec: &Spec) -> Vec<PlannedOutput> {
    let mut types = spec.types.clone();
    types.sort();
    let mut outputs: Vec<PlannedOutput> = Vec::new();
    for format in types {
        for file in format.files() {
            if outputs.iter().all(|output| output.file != *file) {
                outputs.push(PlannedOutput {
                    format,
                    path: file.path().to_owned(),
                    compression: file.codec(spec.compression),
                    file: *file,
                });
            }
        }
    }
    outputs
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Image       {}@{}", self.image, self.manifest_digest)?;
        writeln!(
            f,
            "Boots       {}, kernel {} ({})",
            self.title, self.kernel_version, self.architecture
        )?;
        writeln!(f, "Deployment  {}", self.deployment)?;
        writeln!(f, "Arguments   {}", self.kernel_arguments.join(" "))?;
        writeln!(f, "Files       {}", Size(self.file_bytes))?;
        writeln!(f, "Disk        {}, GPT {}", Size(self.size_bytes), self.disk_guid)?;
        for partition in &self.partitions {
            writeln!(f, "  {partition}")?;
        }
        for output in &self.outputs {
            writeln!(
                f,
                "Output      {} ({}, {})",
                output.path, output.format, output.compression
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for PlannedPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (offset, size) = (Size(self.offset_bytes), Size(self.size_bytes));
        let Self {
            number,
            name,
            file_system,
            ..
        } = self;
        write!(f, "{number}  {name:<10}  {file_system:<5}  {size} at {offset}")?;
        if let Some(path) = &self.mount_point {
            write!(f, ", mounted at {path}")?;
        }
        match &self.uuid {
            Some(uuid) => write!(f, ", UUID {uuid}"),
            None => Ok(()),
        }
    }
}
