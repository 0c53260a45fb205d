//! An image becomes an installation medium: an ISO for discs and sticks, or a kernel and an initramfs for PXE.
//!
//! What a disk has as its root file system and as its EFI system partition, a medium has as an EROFS that is compressed
//! and as a FAT32. The image is on it once: the live system runs from the very objects that it installs.

mod contents;
mod embed;
mod iso;
mod new_outputs;
mod packed;
mod pxe;

use std::fmt;
use std::path::{Path, PathBuf};

use osmith_image::store::Store;
use osmith_image::{Platform, Reference};
use osmith_machine::install::{Architecture, MediumOptions, medium_of_stored};
use osmith_machine::medium::MediumId;
use osmith_machine::origin::ImageSource;
use osmith_report::{Event, Observer, Step, StepId};
use serde::Serialize;

use crate::bytes::Size;
use crate::error::{PlanError, WriteError};
use crate::execute::Destination;
use crate::identity::Identity;
use crate::plan::stored;
use contents::Contents;

pub use embed::{EmbedError, embed_kickstart};
pub use osmith_formats::erofs::LEVEL_DEFAULT;

/// How long a Kickstart file can be that is written into a finished medium, with what is around it.
pub const KICKSTART_AREA_BYTES: usize = 256 << 10;

/// A medium that is wanted.
#[derive(Debug, Clone)]
pub struct MediumSpec {
    /// The image.
    pub image: Reference,
    /// For which kind of machine, if the name stands for several; if none is given, for one like this.
    pub platform: Option<Platform>,
    /// Which, each with files of its own.
    pub kinds: Vec<MediumKind>,
    /// What identifiers are derived from, together with the image.
    pub seed: u64,
    /// Kernel arguments beside those of the image.
    pub kernel_arguments: Vec<String>,
    /// What machines follow that are installed from it.
    pub follows: Reference,
    /// How hard zstd works: 1 to 19.
    pub level: i32,
}

/// How a machine starts from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediumKind {
    /// From a disc or a stick.
    Iso,
    /// Over the network.
    Pxe,
}

/// A medium that is planned. Its `Display` form is for people, its serialized form for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MediumPlan {
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
    /// The identity of the medium's file system.
    pub id: String,
    /// What machines follow that are installed from it.
    pub follows: String,
    /// How many bytes of files there are.
    pub file_bytes: u64,
    /// What is written, below the output directory.
    pub outputs: Vec<&'static str>,
    #[serde(skip)]
    kinds: Vec<MediumKind>,
    #[serde(skip)]
    level: i32,
    #[serde(skip)]
    contents: Contents,
}

/// A file of a medium that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct WrittenMedium {
    /// The file.
    pub path: PathBuf,
    /// Its length.
    pub len_bytes: u64,
}

impl MediumKind {
    fn outputs(self) -> &'static [&'static str] {
        match self {
            MediumKind::Iso => &iso::OUTPUTS,
            MediumKind::Pxe => &pxe::OUTPUTS,
        }
    }
}

/// Plans a medium for an image of the store. Writes nothing.
pub fn plan_medium(store: &Store, spec: &MediumSpec) -> Result<MediumPlan, PlanError> {
    let image = stored(store, &spec.image, spec.platform.as_ref())?;
    let architecture = image.config.architecture.clone();
    let processor = Architecture::of_image(&architecture).ok_or_else(|| PlanError::Architecture {
        image: spec.image.to_string(),
        architecture: architecture.clone(),
    })?;
    let identity = Identity {
        seed: spec.seed,
        manifest_digest: &image.manifest_digest,
    };
    let id = MediumId::new(*identity.guid("medium").as_bytes());
    let options = MediumOptions {
        id,
        kernel_arguments: spec.kernel_arguments.clone(),
        source: ImageSource::registry(&spec.follows.to_string()),
        area_bytes: KICKSTART_AREA_BYTES,
    };
    let tree = image.tree(store)?;
    let deployment = medium_of_stored(store, (&image, tree.clone()), processor, &options);
    let mut deployment = deployment.map_err(|source| PlanError::Install {
        image: spec.image.to_string(),
        source: Box::new(source),
    })?;
    let mut kinds = spec.kinds.clone();
    kinds.sort_unstable();
    kinds.dedup();
    let digest = deployment.digest;
    let title = std::mem::take(&mut deployment.title);
    let kernel_version = std::mem::take(&mut deployment.kernel_version);
    let kernel_arguments = std::mem::take(&mut deployment.kernel_arguments);
    let contents = Contents::of(deployment, &tree, &identity);
    Ok(MediumPlan {
        image: spec.image.to_string(),
        manifest_digest: image.manifest_digest.to_string(),
        architecture,
        deployment: digest.to_string(),
        title,
        kernel_version,
        kernel_arguments,
        id: id.to_string(),
        follows: spec.follows.to_string(),
        outputs: kinds.iter().flat_map(|kind| kind.outputs()).copied().collect(),
        kinds,
        level: spec.level,
        file_bytes: contents.file_bytes(),
        contents,
    })
}

/// Writes the medium. Files get their names when all of them are complete and on stable storage.
pub fn write_medium(
    plan: &MediumPlan,
    store: &Store,
    destination: &Destination<'_>,
    observer: &dyn Observer,
) -> Result<Vec<WrittenMedium>, WriteError> {
    let steps: Vec<Step> = plan
        .kinds
        .iter()
        .zip(0..)
        .map(|(kind, number)| Step {
            id: StepId(number),
            title: format!("write {}", kind.outputs().join(", ")),
        })
        .collect();
    observer.observe(Event::Plan { steps });
    let mut written = Vec::new();
    for (kind, number) in plan.kinds.iter().zip(0..) {
        let job = Job {
            plan,
            store,
            destination,
            observer,
            step: StepId(number),
        };
        written.extend(match kind {
            MediumKind::Iso => job.run(iso::write)?,
            MediumKind::Pxe => job.run(pxe::write)?,
        });
    }
    Ok(written)
}

/// What writing one kind of medium needs.
struct Job<'a> {
    plan: &'a MediumPlan,
    store: &'a Store,
    destination: &'a Destination<'a>,
    observer: &'a dyn Observer,
    step: StepId,
}

impl Job<'_> {
    fn run(
        &self,
        work: impl FnOnce(&Self) -> Result<Vec<WrittenMedium>, WriteError>,
    ) -> Result<Vec<WrittenMedium>, WriteError> {
        crate::execute::step(self.observer, self.step, || {
            let written = work(self)?;
            let total = written.iter().map(|file| file.len_bytes).sum();
            Ok((written, Size(total).to_string()))
        })
    }

    fn path(&self, output: &str) -> PathBuf {
        self.destination.directory.join(output)
    }
}

/// The folder of a path, which is made.
fn ensure_folder(path: &Path) -> Result<&Path, WriteError> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).map_err(|error| WriteError::output("create", folder, error))?;
    Ok(folder)
}

impl fmt::Display for MediumPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Image       {}@{}", self.image, self.manifest_digest)?;
        writeln!(
            f,
            "Installs    {}, kernel {} ({})",
            self.title, self.kernel_version, self.architecture
        )?;
        writeln!(f, "Followed    {}", self.follows)?;
        writeln!(f, "Medium      {}", self.id)?;
        writeln!(f, "Arguments   {}", self.kernel_arguments.join(" "))?;
        writeln!(f, "Files       {}", Size(self.file_bytes))?;
        for output in &self.outputs {
            writeln!(f, "Output      {output}")?;
        }
        Ok(())
    }
}
