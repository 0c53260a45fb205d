//! The repository on the physical root, and the composefs image in it.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use osmith_formats::verity::{Digest, Hasher};
use osmith_sys::file::open_beneath;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::Deserialize;

use super::{DIRECTORY, Result, RootSetupError};
use crate::kernel_arguments::ComposefsArgument;

/// A composefs image whose digest was found right.
pub(super) struct Image {
    /// The image, open for reading.
    pub(super) file: File,
    /// Whether the kernel enforces its contents.
    pub(super) verity: bool,
}

/// What of `meta.json` decides whether the repository can be used.
#[derive(Deserialize)]
struct Meta {
    version: u64,
    algorithm: String,
    #[serde(default)]
    features: Features,
}

#[derive(Deserialize, Default)]
struct Features {
    #[serde(default)]
    incompatible: Vec<String>,
}

/// Opens the repository and makes sure that it is one this program understands.
pub(super) fn open_repository(sysroot: &OwnedFd) -> Result<OwnedFd> {
    let repository = open_beneath(sysroot, "composefs", DIRECTORY, Mode::empty());
    let repository = repository.map_err(|source| match source.errno() {
        Errno::NOENT | Errno::NOTDIR => RootSetupError::NoRepository,
        _ => source.into(),
    })?;
    let mut text = String::new();
    match open_beneath(&repository, "meta.json", OFlags::RDONLY, Mode::empty()) {
        Ok(file) => File::from(file).read_to_string(&mut text).map_err(unreadable)?,
        // Made before there was such a file.
        Err(error) if error.errno() == Errno::NOENT => return Ok(repository),
        Err(error) => return Err(error.into()),
    };
    require_known(&text)?;
    Ok(repository)
}

fn unreadable(error: std::io::Error) -> RootSetupError {
    osmith_sys::OsError::from_io("read", "composefs/meta.json", &error).into()
}

fn require_known(text: &str) -> Result<()> {
    let refuse = |reason| Err(RootSetupError::Repository { reason });
    let meta: Meta = match serde_json::from_str(text) {
        Ok(meta) => meta,
        Err(error) => return refuse(error.to_string()),
    };
    if meta.version > 1 {
        return refuse(format!("version {} is not known", meta.version));
    }
    if meta.algorithm != "fsverity-sha512-12" {
        return refuse(format!("algorithm '{}' is not known", meta.algorithm));
    }
    match meta.features.incompatible.first() {
        Some(feature) => refuse(format!("feature '{feature}' is not known")),
        None => Ok(()),
    }
}

/// Opens the image of a deployment and makes sure that its digest is the one asked for.
pub(super) fn open(repository: &OwnedFd, argument: &ComposefsArgument) -> Result<Image> {
    let digest = argument.digest;
    let file = match open_beneath(
        repository,
        format!("images/{digest}"),
        OFlags::RDONLY,
        Mode::empty(),
    ) {
        Ok(file) => File::from(file),
        Err(error) if error.errno() == Errno::NOENT => return Err(RootSetupError::NoDeployment { digest }),
        Err(error) => return Err(error.into()),
    };
    let measured = osmith_sys::verity::measure(&file)?.map(Digest::new);
    if measured.is_none() && !argument.missing_verity_allowed {
        return Err(RootSetupError::NoVerity { digest });
    }
    let found = match measured {
        Some(found) => found,
        None => hash(&file)?,
    };
    if found != digest {
        return Err(RootSetupError::WrongDigest {
            digest,
            found: Box::new(found),
        });
    }
    Ok(Image {
        file,
        verity: measured.is_some(),
    })
}

/// The digest of a file that the kernel does not know it of.
fn hash(mut file: &File) -> Result<Digest> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish().digest),
            Ok(length) => hasher.update(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(osmith_sys::OsError::from_io("read", "the composefs image", &error).into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::fs::symlink;
    use std::path::Path;

    const META: &str =
        r#"{"version":1,"algorithm":"fsverity-sha512-12","features":{"compatible":["x"],"incompatible":[]}}"#;

    fn sysroot(image: &[u8], digest: Digest) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let repository = folder.path().join("composefs");
        let object = repository.join("objects").join(digest.object_path());
        std::fs::create_dir_all(object.parent().unwrap()).unwrap();
        std::fs::create_dir_all(repository.join("images")).unwrap();
        std::fs::write(object, image).unwrap();
        let target = format!("../objects/{}", digest.object_path());
        symlink(target, repository.join("images").join(digest.to_string())).unwrap();
        std::fs::write(repository.join("meta.json"), META).unwrap();
        folder
    }

    fn open_in(folder: &Path, digest: Digest, missing_verity_allowed: bool) -> Result<Image> {
        let sysroot = osmith_sys::file::open_directory(folder).unwrap();
        let argument = ComposefsArgument {
            digest,
            missing_verity_allowed,
        };
        open(&open_repository(&sysroot)?, &argument)
    }

    #[test]
    fn without_verity_the_argument_must_allow_it_and_the_digest_is_computed() {
        let digest = Digest::of(b"image");
        let folder = sysroot(b"image", digest);
        let image = open_in(folder.path(), digest, true).unwrap();
        assert!(!image.verity);
        let error = open_in(folder.path(), digest, false).map(|_| ()).unwrap_err();
        assert!(matches!(error, RootSetupError::NoVerity { .. }), "{error}");
    }

    #[test]
    fn a_changed_image_is_refused() {
        let digest = Digest::of(b"image");
        let folder = sysroot(b"other", digest);
        let error = open_in(folder.path(), digest, true).map(|_| ()).unwrap_err();
        let RootSetupError::WrongDigest { found, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(*found, Digest::of(b"other"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let digest = Digest::of(b"image");
        let folder = sysroot(b"image", digest);
        let error = open_in(folder.path(), Digest::of(b"x"), true)
            .map(|_| ())
            .unwrap_err();
        assert!(matches!(error, RootSetupError::NoDeployment { .. }), "{error}");
        std::fs::remove_dir_all(folder.path().join("composefs")).unwrap();
        let error = open_in(folder.path(), digest, true).map(|_| ()).unwrap_err();
        assert!(matches!(error, RootSetupError::NoRepository), "{error}");
    }

    #[test]
    fn repositories_of_the_future_are_refused() {
        assert!(require_known(META).is_ok());
        for (from, to, reason) in [
            ("\"version\":1", "\"version\":2", "version 2"),
            ("sha512-12", "sha256-12", "algorithm 'fsverity-sha256-12'"),
            (
                "\"incompatible\":[]",
                "\"incompatible\":[\"new\"]",
                "feature 'new'",
            ),
            ("{", "", "expected"),
        ] {
            let error = require_known(&META.replacen(from, to, 1)).unwrap_err();
            assert!(error.to_string().contains(reason), "{reason}: {error}");
        }
    }
}
