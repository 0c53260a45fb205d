//! Names of platforms as people write them: `linux/arm64`, `arm64`, `linux/arm/v7`.

use std::str::FromStr;

use crate::config::{ImageConfig, host_architecture};
use crate::manifest::Platform;

/// The text is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no platform: expected OS/ARCHITECTURE[/VARIANT], such as linux/arm64")]
pub struct PlatformError(pub String);

impl Platform {
    /// This machine's.
    pub fn host() -> Self {
        ImageConfig::new(host_architecture(), "linux").platform()
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    /// Reads `OS/ARCHITECTURE[/VARIANT]`, or an architecture of Linux alone. Other names of an architecture
    /// (`x86_64`, `aarch64`) are understood, and the variant that goes without saying (`arm64/v8`) is left out.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts.as_slice() {
            [architecture] => ("linux", *architecture, None),
            [os, architecture] => (*os, *architecture, None),
            [os, architecture, variant] => (*os, *architecture, Some(*variant)),
            _ => return Err(PlatformError(text.to_owned())),
        };
        let is_word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if !is_word(os) || !is_word(architecture) || !variant.is_none_or(is_word) || architecture == "linux" {
            return Err(PlatformError(text.to_owned()));
        }
        let (architecture, implied) = normal(&architecture.to_ascii_lowercase());
        let variant = variant.map(str::to_ascii_lowercase).or(implied);
        let variant = variant.filter(|variant| !goes_without_saying(&architecture, variant));
        Ok(Platform {
            variant,
            ..Platform::new(&os.to_ascii_lowercase(), &architecture)
        })
    }
}

/// Go's name of an architecture, and the variant that another name says.
fn normal(name: &str) -> (String, Option<String>) {
    let (name, variant) = match name {
        "x86_64" | "x86-64" => ("amd64", None),
        "aarch64" => ("arm64", None),
        "i386" | "i686" => ("386", None),
        "armhf" => ("arm", Some("v7")),
        "armel" => ("arm", Some("v6")),
        name => (name, None),
    };
    (name.to_owned(), variant.map(str::to_owned))
}

fn goes_without_saying(architecture: &str, variant: &str) -> bool {
    matches!((architecture, variant), ("arm64", "v8") | ("amd64", "v1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_brought_into_one_form() {
        for (text, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("arm64", "linux/arm64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("Linux/ARM/v7", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("windows/x86_64", "windows/amd64"),
        ] {
            let platform: Platform = text.parse().unwrap();
            assert_eq!(platform.to_string(), expected, "{text}");
        }
        for text in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/a md64"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
