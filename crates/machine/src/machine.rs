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
use osmith_sys::file::{NewFile, open_beneath, open_directory};
use osmith_sys::mount::{self, DetachedMount, MountAttrFlags};
use rustix::fs::{Mode, OFlags};

use crate::deploy_error::{DeployError, failed};
use crate::esp::{Esp, EspAccess};
use crate::kernel_arguments::ComposefsArgument;
use crate::lock::MachineLock;
use crate::log::{self, LogEntry, LoggedDeployment};
use crate::origin::Origin;
use crate::root_setup::FolderKind;
use crate::status::mounts;

/// What osmith keeps of its own, below the physical root.
pub(crate) const OWN: &str = "state/osmith";
const MOUNTINFO: &str = "proc/self/mountinfo";
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);
/// The objects of the repository, from the store's directory on.
pub(crate) const OBJECTS: &str = "../../../composefs/objects";

/// What an operation looks at of a machine that runs, apart from what is mounted on it.
#[derive(Debug)]
pub struct Views {
    /// The root directory of the image that runs.
    pub image: OwnedFd,
    /// The `/etc` of the machine.
    pub etc: OwnedFd,
}

/// A machine, open for changes.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
    views: Views,
    booted: ComposefsArgument,
    etc_kind: FolderKind,
    var_kind: FolderKind,
    _lock: MachineLock,
}

type Result<T> = std::result::Result<T, DeployError>;

impl Machine {
    /// Opens the machine whose root directory is `root`, which must be writable below `sysroot`: see [`make_writable`].
    /// Waits while another operation changes it; `operation` is what others are told who wait.
    pub fn open(root: &Path, views: Views, operation: &str, observer: &dyn Observer) -> Result<Self> {
        let booted = running(root)?;
        let mountinfo = read(root, MOUNTINFO)?;
        let own = root.join("sysroot").join(OWN);
        fs::create_dir_all(&own).map_err(|error| failed("create", &own, error))?;
        let lock = MachineLock::acquire(&own.join("lock"), operation, observer)?;
        Ok(Machine {
            root: root.to_owned(),
            views,
            booted,
            etc_kind: mounts::folder_kind(&mountinfo, "/etc"),
            var_kind: mounts::folder_kind(&mountinfo, "/var"),
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
    pub(crate) fn image(&self) -> BorrowedFd<'_> {
        self.views.image.as_fd()
    }

    /// The `/etc` that the image that runs came with, and the one that the machine made of it.
    pub(crate) fn etc(&self) -> Result<(OwnedFd, BorrowedFd<'_>)> {
        let base = open_beneath(self.image(), "etc", DIRECTORY, Mode::empty())?;
        Ok((base, self.views.etc.as_fd()))
    }

    /// How `/etc` of the deployment that runs was made writable.
    pub(crate) fn etc_kind(&self) -> FolderKind {
        self.etc_kind
    }

    /// How `/var` of the deployment that runs was made writable.
    pub(crate) fn var_kind(&self) -> FolderKind {
        self.var_kind
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

    /// The origin that a deployment has once what is staged is the next: another one than now if the deployment is there
    /// already.
    pub fn staged_origin(&self, deployment: &Digest) -> Result<Origin> {
        let path = self.origin_path(deployment).with_extension("origin.staged");
        match fs::read_to_string(&path) {
            Ok(text) => Origin::parse(&text).map_err(|error| failed("read", &path, io::Error::other(error))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.origin(deployment),
            Err(error) => Err(failed("read", &path, error)),
        }
    }

    /// Where deployments stand that failed: see [`crate::failures`].
    pub fn failures_path(&self) -> PathBuf {
        self.own(crate::failures::FILE_NAME)
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
pub fn running(root: &Path) -> Result<ComposefsArgument> {
    let digest = mounts::deployment(&read(root, MOUNTINFO)?).ok_or(DeployError::NotDeployed)?;
    let argument = ComposefsArgument::find(&read(root, "proc/cmdline")?)
        .ok()
        .flatten();
    Ok(ComposefsArgument {
        digest,
        missing_verity_allowed: argument.is_some_and(|argument| argument.missing_verity_allowed),
    })
}

/// Whether what is changed in `/etc` of the machine whose root directory is `root` is there after its next start.
pub fn keeps_etc(root: &Path) -> Result<bool> {
    Ok(mounts::folder_kind(&read(root, MOUNTINFO)?, "/etc").is_kept())
}

fn read(root: &Path, path: &str) -> Result<String> {
    let path = root.join(path);
    fs::read_to_string(&path).map_err(|error| failed("read", &path, error))
}

/// Puts this process into a mount namespace of its own, in which the physical root of the machine can be written to.
/// Must come before any thread that is to see the same.
pub fn make_writable(root: &Path) -> Result<Views> {
    mount::enter_namespace()?;
    let physical = open_directory(root.join("sysroot"))?;
    let (none, read_only) = (MountAttrFlags::empty(), MountAttrFlags::MOUNT_ATTR_RDONLY);
    mount::set_attributes(&physical, none, read_only, false)?;
    let view = |path: &str| {
        let alone = DetachedMount::clone_of(open_directory(root)?, path, false)?;
        open_beneath(&alone, ".", DIRECTORY, Mode::empty())
    };
    Ok(Views {
        image: view("")?,
        etc: view("etc")?,
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
