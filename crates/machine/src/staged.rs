//! What an update leaves for the shutdown: `/run/composefs/staged-deployment`, which goes with a power cut.
//!
//! Source: bootc, which reads and writes the same: one JSON object without white space and without a newline.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use osmith_formats::verity::Digest;
use serde::{Deserialize, Serialize};

/// A deployment that becomes the first of the boot menu when the machine shuts down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StagedDeployment {
    /// The deployment.
    pub deployment: Digest,
    /// Whether shutting down changes nothing yet: it was only downloaded.
    pub download_only: bool,
}

#[derive(Serialize, Deserialize)]
struct StagedJson {
    depl_id: String,
    #[serde(default)]
    finalization_locked: bool,
}

impl StagedDeployment {
    /// Reads the file of the machine whose root directory is `root`; `None` if there is none.
    pub fn read(root: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read_to_string(path(root)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let json: StagedJson = serde_json::from_str(&text)?;
        Ok(Some(StagedDeployment {
            deployment: json.depl_id.parse().map_err(io::Error::other)?,
            download_only: json.finalization_locked,
        }))
    }

    /// Writes the file.
    pub fn write(&self, root: &Path) -> io::Result<()> {
        let json = StagedJson {
            depl_id: self.deployment.to_string(),
            finalization_locked: self.download_only,
        };
        let path = path(root);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let temporary = path.with_extension("tmp");
        fs::write(&temporary, serde_json::to_vec(&json)?)?;
        fs::rename(&temporary, &path)
    }

    /// Removes the file; there need be none.
    pub fn remove(root: &Path) -> io::Result<()> {
        match fs::remove_file(path(root)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn path(root: &Path) -> PathBuf {
    root.join("run/composefs/staged-deployment")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_that_of_bootc() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(StagedDeployment::read(root.path()).unwrap(), None);
        StagedDeployment::remove(root.path()).unwrap();
        for download_only in [false, true] {
            let staged = StagedDeployment {
                deployment: Digest::of(b"image"),
                download_only,
            };
            staged.write(root.path()).unwrap();
            let text = fs::read_to_string(path(root.path())).unwrap();
            let expected = format!(
                "{{\"depl_id\":\"{}\",\"finalization_locked\":{download_only}}}",
                staged.deployment
            );
            assert_eq!(text, expected);
            assert_eq!(StagedDeployment::read(root.path()).unwrap(), Some(staged));
        }
        StagedDeployment::remove(root.path()).unwrap();
        assert_eq!(StagedDeployment::read(root.path()).unwrap(), None);
        fs::write(path(root.path()), "{\"depl_id\":\"x\"}").unwrap();
        StagedDeployment::read(root.path()).unwrap_err();
    }
}
