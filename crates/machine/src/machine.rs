//! A machine that runs a deployment, locked for an operation that changes it.
//!
//! ```text
//! sysroot/composefs/            the repository
//! sysroot/state/deploy/<id>/    etc, var, <id>.origin
//! sysroot/state/osmith/         store/ (layer records), log.jsonl, lock, failures.json
//! ```

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use osmith_formats::verity::Digest;
use osmith_image::store::Store;
use osmith_report::Observer;
use osmith_sys::file::{NewFile, open_directory};

use crate::deploy::{DeployError, failed};
use crate::esp::{Esp, EspAccess};
use crate::kernel_arguments::ComposefsArgument;
use crate::lock::MachineLock;
use crate::log::{self, LogEntry, LoggedDeployment};
use crate::origin::Origin;
use crate::status::mounts;

/// What osmith keeps of its own, below the physical root.
pub(crate) const OWN: &str = "state/osmith";
/// The objects of the repository, from the store's directory on.
const OBJECTS: &str = "../../../composefs/objects";

/// A machine, open for changes.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
    pristine: OwnedFd,
    booted: ComposefsArgument,
    _lock: MachineLock,
}

type Result<T> = std::result::Result<T, DeployError>;

impl Machine {
    /// Opens the machine whose root directory is `root`, which must be writable below `sysroot`, and waits while
    /// another operation changes it. `pristine` shows the root directory of the image that runs, without `/etc` and
    /// what else is mounted on it. `operation` is what others are told who wait.
    pub fn open(root: &Path, pristine: OwnedFd, operation: &str, observer: &dyn Observer) -> Result<Self> {
        let booted = running(root)?;
        let own = root.join("sysroot").join(OWN);
        fs::create_dir_all(&own).map_err(|error| failed("create", &own, error))?;
        let lock = MachineLock::acquire(&own.join("lock"), operation, observer)?;
        Ok(Machine {
            root: root.to_owned(),
            pristine,
            booted,
            _lock: lock,
        })
    }

    /// The deployment that runs.
    pub fn booted(&self) -> Digest {
        self.booted.digest
    }

    /// The root directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The root directory of the image that runs.
    pub(crate) fn pristine(&self) -> BorrowedFd<'_> {
        self.pristine.as_fd()
    }

    /// The kernel argument that starts a deployment of this machine.
    pub(crate) fn argument(&self, deployment: Digest) -> ComposefsArgument {
        ComposefsArgument {
            digest: deployment,
            ..self.booted
        }
    }

    /// The root of the file system that holds the deployments.
    pub(crate) fn physical(&self) -> PathBuf {
        self.root.join("sysroot")
    }

    /// The folder with what a deployment may change.
    pub(crate) fn state(&self, deployment: &Digest) -> PathBuf {
        self.physical().join(format!("state/deploy/{deployment}"))
    }

    /// A file of osmith's own.
    pub(crate) fn own(&self, name: &str) -> PathBuf {
        self.physical().join(OWN).join(name)
    }

    /// The EFI system partition, for changes.
    pub(crate) fn esp(&self) -> Result<Esp> {
        Ok(Esp::open(&self.root, EspAccess::Write)?)
    }

    /// The store with the layer records of the images of this machine, whose objects are those of the repository.
    pub fn open_store(&self) -> Result<Store> {
        Ok(Store::open_in_repository(&self.own("store"), Path::new(OBJECTS))?)
    }

    /// The origin of a deployment.
    pub fn origin(&self, deployment: &Digest) -> Result<Origin> {
        let path = self.origin_path(deployment);
        let text = fs::read_to_string(&path).map_err(|error| failed("read", &path, error))?;
        Origin::parse(&text).map_err(|error| failed("read", &path, io::Error::other(error)))
    }

    /// Writes the origin of a deployment, whole or not at all.
    pub(crate) fn write_origin(&self, deployment: &Digest, origin: &Origin) -> Result<()> {
        let path = self.origin_path(deployment);
        write_durably(&path, origin.to_text().as_bytes()).map_err(|error| failed("write", &path, error))
    }

    fn origin_path(&self, deployment: &Digest) -> PathBuf {
        self.state(deployment).join(format!("{deployment}.origin"))
    }

    /// Adds an entry to the record of operations.
    pub fn log(&self, entry: &LogEntry) -> Result<()> {
        let path = self.own("log.jsonl");
        log::append(&path, entry).map_err(|error| failed("write", &path, error))
    }

    /// What the record says of a deployment.
    pub fn logged(&self, deployment: &Digest) -> LoggedDeployment {
        let origin = self.origin(deployment).ok();
        LoggedDeployment {
            deployment: deployment.to_string(),
            image: origin.as_ref().map(|origin| origin.source.image.clone()),
            digest: origin.and_then(|origin| Some(origin.manifest_digest?.to_string())),
            version: None,
        }
    }

    /// Waits until everything below the physical root is on the medium.
    pub(crate) fn sync(&self) -> Result<()> {
        let path = self.physical();
        let synced = rustix::fs::syncfs(open_directory(&path)?);
        synced.map_err(|errno| failed("write to the disk", &path, errno.into()))
    }
}

/// The deployment that runs on the machine whose root directory is `root`, and how it was started.
fn running(root: &Path) -> Result<ComposefsArgument> {
    let read = |path: &str| {
        let path = root.join(path);
        fs::read_to_string(&path).map_err(|error| failed("read", &path, error))
    };
    let digest = mounts::deployment(&read("proc/self/mountinfo")?).ok_or(DeployError::NotDeployed)?;
    let argument = ComposefsArgument::find(&read("proc/cmdline")?).ok().flatten();
    Ok(ComposefsArgument {
        digest,
        missing_verity_allowed: argument.is_some_and(|argument| argument.missing_verity_allowed),
    })
}

/// Writes a file that is there whole, on the medium, or as it was before.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = open_directory(path.parent().unwrap_or(Path::new(".")))?;
    let mut new = NewFile::create(folder.try_clone()?, 0o644)?;
    new.file().write_all(bytes)?;
    new.file().sync_all()?;
    new.replace(&folder, path.file_name().unwrap_or_default())?;
    File::from(folder).sync_all()
}
