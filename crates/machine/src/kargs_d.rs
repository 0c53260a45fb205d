//! Kernel arguments that an image asks for: `/usr/lib/bootc/kargs.d/*.toml`, in the order of their names.
//!
//! ```toml
//! kargs = ["console=ttyS0"]          # required
//! match-architectures = ["x86_64"]   # optional; without it, all
//! ```
//!
//! Any other key is an error, as it is for bootc.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    kargs: Vec<String>,
    match_architectures: Option<Vec<String>>,
}

/// The arguments of one file for a processor (`x86_64`, `aarch64`); none if the file is for others.
pub(crate) fn parse(text: &str, architecture: &str) -> Result<Vec<String>, toml::de::Error> {
    let file: File = toml::from_str(text)?;
    let matches = file
        .match_architectures
        .is_none_or(|names| names.iter().any(|name| name == architecture));
    Ok(if matches { file.kargs } else { Vec::new() })
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
