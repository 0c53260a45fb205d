//! Kernel arguments that an image asks for: `/usr/lib/bootc/kargs.d/*.toml`, in the order of their names.
//!
//! ```toml
//! kargs = ["console=ttyS0"]          # required
//! match-architectures = ["x86_64"]   # optional; without it, all
//! ```
//!
//! Any other key is an error, as it is for bootc.

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;

use osmith_sys::file::descriptor_path;
use serde::Deserialize;

use crate::deploy_error::{DeployError, failed};

/// The folder of the files, from the root on.
pub const KARGS_D: &str = "usr/lib/bootc/kargs.d";

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    kargs: Vec<String>,
    match_architectures: Option<Vec<String>>,
}

/// The arguments of one file for a processor (`x86_64`, `aarch64`); none if the file is for others.
pub fn parse(text: &str, architecture: &str) -> Result<Vec<String>, toml::de::Error> {
    let file: File = toml::from_str(text)?;
    let matches = file
        .match_architectures
        .is_none_or(|names| names.iter().any(|name| name == architecture));
    Ok(if matches { file.kargs } else { Vec::new() })
}

/// The arguments that the image asks for whose root directory is open.
pub(crate) fn of_root(root: BorrowedFd<'_>, architecture: &str) -> Result<Vec<String>, DeployError> {
    let folder = descriptor_path(root).join(KARGS_D);
    let read = match fs::read_dir(&folder) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("list", &folder, error)),
    };
    let paths = read
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>();
    let mut paths = paths.map_err(|error| failed("list", &folder, error))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let mut arguments = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).map_err(|error| failed("read", &path, error))?;
        let found = parse(&text, architecture);
        arguments.extend(found.map_err(|error| failed("read", &path, io::Error::other(error)))?);
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_architecture_decides() {
        let text = "kargs = [\"console=ttyS0\", \"quiet\"]\nmatch-architectures = [\"x86_64\"]\n";
        assert_eq!(parse(text, "x86_64").unwrap(), ["console=ttyS0", "quiet"]);
        assert!(parse(text, "aarch64").unwrap().is_empty());
        assert_eq!(parse("kargs = [\"a\"]", "aarch64").unwrap(), ["a"]);
    }

    #[test]
    fn other_keys_are_errors() {
        for text in ["", "kargs = 1", "kargs = []\nkarg-deletes = []", "kargs = ["] {
            assert!(parse(text, "x86_64").is_err(), "{text}");
        }
    }
}
