//! Which deployments failed: they did not become healthy, and are not deployed again until their image changes.
//!
//! One JSON file, replaced as a whole, which everybody may read:
//!
//! ```text
//! failed   deployments that were given up, the last one last
//! tries    starts that failed, of deployments that still have tries left
//! ```
//!
//! Keys that are not known here are ignored. Units: tries.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use osmith_formats::verity::Digest;
use osmith_image::Sha256Digest;
use osmith_report::{Class, Failure};
use osmith_sys::file::{NewFile, open_directory};
use serde::{Deserialize, Serialize};

/// The name of the file in osmith's own folder of a machine.
pub const FILE_NAME: &str = "failures.json";
/// What is appended to the name of a file that nobody can read.
const UNREADABLE: &str = "unreadable";
/// How many deployments are remembered.
const FAILED_MAX: usize = 64;

/// A deployment that was given up. Fields stand in the order of their JSON names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedDeployment {
    /// The health check that failed, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// The deployment.
    pub deployment: String,
    /// The name of its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The manifest of the image: this one is not deployed again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_digest: Option<Sha256Digest>,
    /// Why, one sentence.
    pub reason: String,
    /// When it was given up, RFC 3339 in UTC.
    pub time: String,
    /// How its image is fetched; a registry if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// How often it was started.
    pub tries: u32,
}

/// A start that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedTry {
    /// Which start of the machine it was: the kernel's `boot_id`.
    #[serde(default)]
    pub boot: String,
    /// The health check that failed, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// The deployment.
    pub deployment: String,
    /// Why, one sentence.
    pub reason: String,
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// Which try it was, as the boot loader counts: from 1 on.
    #[serde(rename = "try")]
    pub number: u32,
}

/// The contents of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Failures {
    /// Deployments that were given up.
    pub failed: Vec<FailedDeployment>,
    /// Starts that failed, of deployments that were not given up.
    pub tries: Vec<FailedTry>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FailuresError {
    /// It cannot be read or written.
    #[error("cannot {operation} '{}'", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what was written.
    #[error("'{}' is no record of failed deployments", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl Failure for FailuresError {
    fn class(&self) -> Class {
        match self {
            FailuresError::File { .. } => Class::Environment,
            FailuresError::Malformed { .. } => Class::Corrupt,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            FailuresError::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                vec!["run the command as root".to_owned()]
            }
            FailuresError::File { .. } => Vec::new(),
            FailuresError::Malformed { .. } => {
                vec!["'osmith health --at-boot' sets it aside at the next start of the machine".to_owned()]
            }
        }
    }
}

type Result<T, E = FailuresError> = std::result::Result<T, E>;

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FailuresError {
    let path = path.to_owned();
    move |source| FailuresError::File {
        operation,
        path,
        source,
    }
}

impl Failures {
    /// Reads the file `path`; there need be none.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Failures::default()),
            bytes => bytes.map_err(failed("read", path))?,
        };
        serde_json::from_slice(&bytes).map_err(|source| FailuresError::Malformed {
            path: path.to_owned(),
            source,
        })
    }

    /// Reads the file `path`. One that is malformed gets another name, which is returned, and counts as empty.
    pub fn read_or_set_aside(path: &Path) -> Result<(Self, Option<PathBuf>)> {
        match Failures::read(path) {
            Err(FailuresError::Malformed { .. }) => {
                let aside = path.with_added_extension(UNREADABLE);
                std::fs::rename(path, &aside).map_err(failed("rename", path))?;
                Ok((Failures::default(), Some(aside)))
            }
            read => Ok((read?, None)),
        }
    }

    /// Writes the file `path`: it is there as a whole and on the medium, or as it was before.
    pub fn write(&self, path: &Path) -> Result<()> {
        self.replace(path).map_err(failed("write", path))
    }

    fn replace(&self, path: &Path) -> io::Result<()> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidFilename.into());
        };
        let folder = open_directory(folder)?;
        let mut new = NewFile::create(folder.try_clone()?, 0o644)?;
        new.file().write_all(&bytes)?;
        // Whatever the umask of who writes: status is for everybody.
        rustix::fs::fchmod(new.file(), rustix::fs::Mode::from_raw_mode(0o644))?;
        new.file().sync_all()?;
        new.replace(&folder, name)?;
        File::from(folder).sync_all()
    }

    /// Adds a deployment that was given up. Its tries are no longer remembered, nor are the oldest failures.
    pub fn record(&mut self, failure: FailedDeployment) {
        self.remove(&failure.deployment);
        self.failed.push(failure);
        let superfluous = self.failed.len().saturating_sub(FAILED_MAX);
        self.failed.drain(..superfluous);
    }

    /// Adds a start that failed, in the place of what was said of the same start.
    pub fn record_try(&mut self, failure: FailedTry) {
        self.tries
            .retain(|known| known.deployment != failure.deployment || known.boot != failure.boot);
        self.tries.push(failure);
    }

    /// The deployment with this manifest that was given up.
    pub fn find_manifest(&self, digest: &Sha256Digest) -> Option<&FailedDeployment> {
        let mut failed = self.failed.iter();
        failed.rfind(|failure| failure.manifest_digest.as_ref() == Some(digest))
    }

    /// This deployment, if it was given up.
    pub fn find_deployment(&self, deployment: &Digest) -> Option<&FailedDeployment> {
        let deployment = deployment.to_string();
        self.failed
            .iter()
            .find(|failure| failure.deployment == deployment)
    }

    /// The starts of a deployment that failed, the last one last.
    pub fn tries_of(&self, deployment: &Digest) -> impl DoubleEndedIterator<Item = &FailedTry> {
        let deployment = deployment.to_string();
        self.tries
            .iter()
            .filter(move |known| known.deployment == deployment)
    }

    /// Forgets what is said of a deployment, because it became healthy or is to be tried again. Says whether there was
    /// something.
    pub fn forget(&mut self, deployment: &Digest) -> bool {
        self.remove(&deployment.to_string())
    }

    fn remove(&mut self, deployment: &str) -> bool {
        let before = self.failed.len() + self.tries.len();
        self.failed.retain(|failure| failure.deployment != deployment);
        self.tries.retain(|failure| failure.deployment != deployment);
        self.failed.len() + self.tries.len() < before
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn digest(seed: &str) -> Digest {
        Digest::of(seed.as_bytes())
    }

    fn failure(seed: &str) -> FailedDeployment {
        FailedDeployment {
            check: Some("10-units".to_owned()),
            deployment: digest(seed).to_string(),
            image: Some("registry.example.org/os:1".to_owned()),
            manifest_digest: Some(Sha256Digest::of(seed.as_bytes())),
            reason: "failed: web.service".to_owned(),
            time: "2026-01-02T03:04:05Z".to_owned(),
            transport: None,
            tries: 3,
        }
    }

    fn failed_try(seed: &str, number: u32) -> FailedTry {
        FailedTry {
            boot: number.to_string(),
            check: None,
            deployment: digest(seed).to_string(),
            reason: format!("try {number}"),
            time: "2026-01-02T03:04:05Z".to_owned(),
            number,
        }
    }

    #[test]
    fn what_is_written_is_read_by_everybody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        assert_eq!(Failures::read(&path).unwrap(), Failures::default());
        let mut failures = Failures::default();
        failures.record(failure("a"));
        failures.record_try(failed_try("b", 1));
        failures.write(&path).unwrap();
        assert_eq!(Failures::read(&path).unwrap(), failures);
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        let text = std::fs::read_to_string(&path).unwrap();
        let newer = text.replacen("\"failed\"", "\"other\": 1, \"failed\"", 1);
        std::fs::write(&path, newer).unwrap();
        assert_eq!(Failures::read(&path).unwrap(), failures);
    }

    #[test]
    fn a_deployment_is_given_up_once_and_found_by_its_manifest() {
        let mut failures = Failures::default();
        failures.record_try(failed_try("a", 1));
        failures.record_try(failed_try("a", 2));
        failures.record_try(failed_try("a", 2));
        failures.record_try(failed_try("b", 1));
        let numbers: Vec<_> = failures
            .tries_of(&digest("a"))
            .map(|failure| failure.number)
            .collect();
        assert_eq!(numbers, [1, 2]);
        assert_eq!(failures.find_deployment(&digest("a")), None);
        failures.record(failure("a"));
        failures.record(failure("a"));
        assert_eq!(failures.failed, [failure("a")]);
        assert_eq!(failures.tries, [failed_try("b", 1)]);
        assert_eq!(
            failures.find_manifest(&Sha256Digest::of(b"a")),
            Some(&failure("a"))
        );
        assert_eq!(failures.find_manifest(&Sha256Digest::of(b"b")), None);
        assert!(failures.forget(&digest("a")));
        assert!(failures.forget(&digest("b")));
        assert!(!failures.forget(&digest("b")));
        assert_eq!(failures, Failures::default());
    }

    #[test]
    fn the_oldest_failures_are_not_kept_for_ever() {
        let mut failures = Failures::default();
        for number in 0..=FAILED_MAX {
            failures.record(failure(&number.to_string()));
        }
        assert_eq!(failures.failed.len(), FAILED_MAX);
        assert_eq!(failures.find_deployment(&digest("0")), None);
        assert!(failures.find_deployment(&digest("1")).is_some());
    }

    #[test]
    fn a_malformed_file_is_named_and_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        std::fs::write(&path, "{\"failed\": 1}").unwrap();
        let error = Failures::read(&path).unwrap_err();
        assert!(
            error.to_string().ends_with("is no record of failed deployments"),
            "{error}"
        );
        let (failures, aside) = Failures::read_or_set_aside(&path).unwrap();
        assert_eq!(failures, Failures::default());
        assert_eq!(std::fs::read(aside.unwrap()).unwrap(), b"{\"failed\": 1}");
        assert_eq!(
            Failures::read_or_set_aside(&path).unwrap(),
            (Failures::default(), None)
        );
    }

    #[test]
    fn a_place_that_is_missing_is_named() {
        let error = Failures::default()
            .write(Path::new("/no/such/failures.json"))
            .unwrap_err();
        assert_eq!(error.to_string(), "cannot write '/no/such/failures.json'");
    }
}
