//! Removing what no deployment needs.
//!
//! A deployment is kept that runs, is staged, stands in the boot menu, or is pinned. Everything that is kept is found
//! out first, from the composefs images and streams themselves; if any of them cannot be read, nothing is removed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use osmith_formats::composefs;
use osmith_formats::composefs::repository::{manifest_stream, unescape_tag};
use osmith_formats::splitstream;
use osmith_formats::verity::Digest;
use osmith_image::Sha256Digest;
use osmith_image::store::{PruneOptions, Store};
use osmith_report::Observer;
use osmith_sys::file::open_directory;
use rustix::fs::FlockOperation;

use super::{Result, failed, remove, remove_state, remove_unused_kernels};
use crate::boot_menu::BootMenu;
use crate::machine::Machine;
use crate::staged::StagedDeployment;

/// The beginning of tags by which bootc and osmith keep the images of deployments.
const TAG_PREFIX: &str = "localhost/bootc-";

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    /// States of deployments.
    pub deployments: u64,
    /// Objects.
    pub objects: u64,
    /// The length of the objects.
    pub size_bytes: u64,
}

/// Removes what no deployment needs. Nobody else may use the repository meanwhile.
pub fn collect(machine: &Machine, store: &Store, observer: &dyn Observer) -> Result<Collected> {
    let repository = Repository::lock(machine)?;
    let menus = menus(machine)?;
    let kept = kept_deployments(machine, &menus)?;
    let manifests: BTreeSet<_> = kept
        .iter()
        .filter_map(|deployment| machine.origin(deployment).ok()?.manifest_digest)
        .collect();
    let needed = repository.needed(&kept, &manifests)?;
    let mut collected = Collected::default();
    remove_unused_kernels(&machine.esp()?, &menus.iter().collect::<Vec<_>>())?;
    for deployment in state_folders(machine)?.difference(&kept) {
        remove_state(machine, deployment)?;
        collected.deployments += 1;
    }
    repository.remove_names(&needed, &manifests)?;
    forget_images(store, &manifests, observer)?;
    repository.remove_objects(&needed, &mut collected, observer)?;
    Ok(collected)
}

/// The menu, and the one for the shutdown if something is staged. One that was left half written is removed.
fn menus(machine: &Machine) -> Result<Vec<BootMenu>> {
    let esp = machine.esp()?;
    let mut menus = vec![esp.menu()?];
    match StagedDeployment::read(machine.root()).ok().flatten() {
        Some(_) => menus.extend(esp.staged_menu()?),
        None => esp.remove_staged_menu()?,
    }
    Ok(menus)
}

fn kept_deployments(machine: &Machine, menus: &[BootMenu]) -> Result<BTreeSet<Digest>> {
    let mut kept: BTreeSet<_> = menus.iter().flat_map(BootMenu::deployments).collect();
    kept.insert(machine.booted());
    let staged = StagedDeployment::read(machine.root()).ok().flatten();
    kept.extend(staged.map(|staged| staged.deployment));
    let is_pinned = |digest: &Digest| machine.origin(digest).is_ok_and(|origin| origin.pinned);
    kept.extend(state_folders(machine)?.into_iter().filter(is_pinned));
    Ok(kept)
}

/// The deployments that have a state.
fn state_folders(machine: &Machine) -> Result<BTreeSet<Digest>> {
    let folder = machine.physical().join("state/deploy");
    let names = names(&folder)?.into_iter();
    Ok(names.filter_map(|name| name.parse().ok()).collect())
}

/// The machine's store of layer records forgets images that are not deployed.
fn forget_images(store: &Store, manifests: &BTreeSet<Sha256Digest>, observer: &dyn Observer) -> Result<()> {
    for (name, digest) in store.names()? {
        if !manifests.contains(&digest) {
            store.untag(&name)?;
        }
    }
    store.prune(&PruneOptions { cache: true }, observer)?;
    Ok(())
}

/// The repository, with the lock that keeps others from using it.
struct Repository {
    path: PathBuf,
    _lock: File,
}

/// What of a repository is needed.
#[derive(Default)]
struct Needed {
    /// Images and streams, which are objects too.
    documents: BTreeSet<Digest>,
    objects: BTreeSet<Digest>,
}

impl Repository {
    fn lock(machine: &Machine) -> Result<Self> {
        let path = machine.physical().join("composefs");
        let lock = File::from(open_directory(&path)?);
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)
            .map_err(|errno| failed("lock", &path, errno.into()))?;
        Ok(Repository { path, _lock: lock })
    }

    /// Everything that the deployments need, and the tags of others.
    fn needed(&self, kept: &BTreeSet<Digest>, manifests: &BTreeSet<Sha256Digest>) -> Result<Needed> {
        let mut pending: Vec<Digest> = kept.iter().copied().collect();
        for manifest in manifests {
            pending.extend(self.target(&format!("streams/{}", manifest_stream(&manifest.to_string())))?);
        }
        for tag in self.tags()? {
            if is_needed(&tag, manifests) {
                pending.extend(self.target(&tag)?);
            }
        }
        let mut needed = Needed::default();
        while let Some(document) = pending.pop() {
            if needed.documents.insert(document) {
                needed.objects.insert(document);
                self.follow(&document, &mut needed.objects, &mut pending)?;
            }
        }
        Ok(needed)
    }

    /// What a stream or an image refers to.
    fn follow(
        &self,
        document: &Digest,
        objects: &mut BTreeSet<Digest>,
        pending: &mut Vec<Digest>,
    ) -> Result<()> {
        let path = self.path.join("objects").join(document.object_path());
        let bytes = fs::read(&path).map_err(|error| failed("read", &path, error))?;
        match splitstream::read(&bytes) {
            Ok(stream) => {
                objects.extend(stream.objects);
                pending.extend(stream.streams);
            }
            Err(_) => {
                let found = composefs::objects(&bytes);
                objects.extend(found.map_err(|error| failed("read", &path, io::Error::other(error)))?);
            }
        }
        Ok(())
    }

    /// The object that a path below the repository leads to, through links; `None` if there is nothing at the path.
    fn target(&self, path: &str) -> Result<Option<Digest>> {
        let path = self.path.join(path);
        let target = match fs::canonicalize(&path) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("follow", &path, error)),
        };
        let mut names = target.iter().rev().take(2).map(|name| name.to_string_lossy());
        let (rest, first) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
        let digest = format!("{first}{rest}").parse();
        let digest = digest.map_err(|error| failed("follow", &path, io::Error::other(error)))?;
        Ok(Some(digest))
    }

    /// The paths of all tags.
    fn tags(&self) -> Result<Vec<String>> {
        let mut tags = Vec::new();
        let mut folders = vec!["streams/refs".to_owned()];
        while let Some(folder) = folders.pop() {
            for name in names(&self.path.join(&folder))? {
                let path = format!("{folder}/{name}");
                match self.path.join(&path).symlink_metadata() {
                    Ok(found) if found.is_dir() => folders.push(path),
                    _ => tags.push(path),
                }
            }
        }
        Ok(tags)
    }

    /// Removes the names of what is not needed.
    fn remove_names(&self, needed: &Needed, manifests: &BTreeSet<Sha256Digest>) -> Result<()> {
        for tag in self.tags()? {
            if !is_needed(&tag, manifests) {
                remove(&self.path.join(tag))?;
            }
        }
        for folder in ["streams", "images"] {
            for name in names(&self.path.join(folder))? {
                let path = format!("{folder}/{name}");
                let is_link = self.path.join(&path).is_symlink();
                let target = if is_link { self.target(&path)? } else { None };
                if is_link && target.is_none_or(|target| !needed.documents.contains(&target)) {
                    remove(&self.path.join(path))?;
                }
            }
        }
        Ok(())
    }

    fn remove_objects(
        &self,
        needed: &Needed,
        collected: &mut Collected,
        observer: &dyn Observer,
    ) -> Result<()> {
        let objects = self.path.join("objects");
        for first in names(&objects)? {
            observer.require_running()?;
            let folder = objects.join(&first);
            for rest in names(&folder)? {
                let path = folder.join(&rest);
                let is_needed = |digest: Digest| needed.objects.contains(&digest);
                // What has no name of an object was not made by this program, and is left to who made it.
                if format!("{first}{rest}").parse().map_or(true, is_needed) {
                    continue;
                }
                collected.size_bytes += path.symlink_metadata().map_or(0, |found| found.len());
                collected.objects += 1;
                remove(&path)?;
            }
        }
        Ok(())
    }
}

/// Whether a tag is of an image that is deployed, or of somebody else.
fn is_needed(path: &str, manifests: &BTreeSet<Sha256Digest>) -> bool {
    let name = path.strip_prefix("streams/refs/oci/").map(unescape_tag);
    let digest = name.as_deref().and_then(|name| name.strip_prefix(TAG_PREFIX));
    match digest.and_then(|digest| digest.parse().ok()) {
        Some(digest) => manifests.contains(&digest),
        None => true,
    }
}

/// The names in a folder, sorted; none if there is no folder.
fn names(folder: &Path) -> Result<Vec<String>> {
    let read = match fs::read_dir(folder) {
        Ok(read) => read,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed("list", folder, error)),
    };
    let names = read.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names
        .collect::<io::Result<Vec<_>>>()
        .map_err(|error| failed("list", folder, error))?;
    names.sort();
    Ok(names)
}
