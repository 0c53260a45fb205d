//! Where a deployment came from: `<id>.origin` in its state folder.
//!
//! Source: files that bootc writes. Sections and `key = value`; a line that starts with `;` or `#` is a comment.
//!
//! ```text
//! [origin]
//! container-image-reference = ostree-unverified-image:docker://registry.example.org/os:1
//!
//! [boot]
//! boot_type = bls
//! digest = <64 hexadecimal digits>
//!
//! [image]
//! manifest_digest = sha256:<64 hexadecimal digits>
//! ```

use std::fmt;

use osmith_image::Sha256Digest;

/// An image and how it is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSource {
    /// The name, in the form of the transport.
    pub image: String,
    /// `registry`, `oci`, `oci-archive`, `containers-storage`...
    pub transport: String,
    /// How signatures are checked.
    pub signature: SignaturePolicy,
}

/// How the signature of an image is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignaturePolicy {
    /// Not asked for.
    Unspecified,
    /// Not at all, and only from a registry.
    Insecure,
    /// As the machine's container policy says.
    ContainerPolicy,
    /// By the keys of an ostree remote.
    OstreeRemote(String),
}

/// How the kernel of a deployment is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootType {
    /// Kernel and initramfs, named by a boot entry.
    Bls,
    /// A unified kernel image.
    Uki,
}

/// The contents of an origin file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// What the machine follows.
    pub source: ImageSource,
    /// How the kernel is started.
    pub boot_type: BootType,
    /// SHA-256 of kernel and initramfs in one, 64 hexadecimal digits.
    pub boot_digest: Option<String>,
    /// The manifest of the image that is deployed.
    pub manifest_digest: Option<Sha256Digest>,
    /// Whether clean-ups leave the deployment alone: `pinned = true` in osmith's own section.
    pub pinned: bool,
}

/// Why a text is no origin file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// A key is missing.
    #[error("key '{key}' of section '[{section}]' is missing")]
    Missing {
        /// The section.
        section: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A value has a form that is not known.
    #[error("'{value}' is not understood as '{key}'")]
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
    },
}

const REFERENCE: &str = "container-image-reference";

impl ImageSource {
    /// An image in a registry, without a signature policy.
    pub fn registry(image: &str) -> Self {
        ImageSource {
            image: image.to_owned(),
            transport: "registry".to_owned(),
            signature: SignaturePolicy::Unspecified,
        }
    }

    /// Reads the form that ostree and bootc use: a policy, a transport, a name.
    pub fn parse(text: &str) -> Option<Self> {
        let (policy, rest) = text.split_once(':')?;
        let (signature, rest) = match policy {
            "ostree-unverified-image" => (SignaturePolicy::Unspecified, rest),
            "ostree-image-signed" => (SignaturePolicy::ContainerPolicy, rest),
            "ostree-unverified-registry" => {
                return Some(ImageSource {
                    signature: SignaturePolicy::Insecure,
                    ..ImageSource::registry(rest)
                });
            }
            "ostree-remote-image" => {
                let (remote, rest) = rest.split_once(':')?;
                (SignaturePolicy::OstreeRemote(remote.to_owned()), rest)
            }
            _ => return None,
        };
        let (transport, image) = parse_transport(rest)?;
        Some(ImageSource {
            image: image.to_owned(),
            transport: transport.to_owned(),
            signature,
        })
    }
}

/// Splits `docker://name` or `transport:name`.
fn parse_transport(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix("docker://") {
        Some(image) => Some(("registry", image)),
        None => text.split_once(':'),
    }
}

impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.signature {
            SignaturePolicy::Unspecified => write!(f, "ostree-unverified-image:")?,
            SignaturePolicy::ContainerPolicy => write!(f, "ostree-image-signed:")?,
            SignaturePolicy::OstreeRemote(remote) => write!(f, "ostree-remote-image:{remote}:")?,
            SignaturePolicy::Insecure => return write!(f, "ostree-unverified-registry:{}", self.image),
        }
        match self.transport.as_str() {
            "registry" => write!(f, "docker://{}", self.image),
            transport => write!(f, "{transport}:{}", self.image),
        }
    }
}

impl Origin {
    /// Reads the text of an origin file.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let reference = require(text, "origin", REFERENCE)?;
        let boot_type = require(text, "boot", "boot_type")?;
        Ok(Origin {
            source: ImageSource::parse(reference).ok_or_else(|| not_understood(REFERENCE, reference))?,
            boot_type: match boot_type {
                "bls" => BootType::Bls,
                "uki" => BootType::Uki,
                _ => return Err(not_understood("boot_type", boot_type)),
            },
            boot_digest: find(text, "boot", "digest").map(str::to_owned),
            manifest_digest: find(text, "image", "manifest_digest")
                .map(|value| {
                    value
                        .parse()
                        .map_err(|_| not_understood("manifest_digest", value))
                })
                .transpose()?,
            pinned: find(text, "osmith", "pinned") == Some("true"),
        })
    }

    /// The text of the file, byte for byte as bootc writes it.
    pub fn to_text(&self) -> String {
        let boot_type = match self.boot_type {
            BootType::Bls => "bls",
            BootType::Uki => "uki",
        };
        let mut text = format!(
            "[origin]\n{REFERENCE} = {}\n\n[boot]\nboot_type = {boot_type}\n",
            self.source
        );
        if let Some(digest) = &self.boot_digest {
            text += &format!("digest = {digest}\n");
        }
        if let Some(digest) = &self.manifest_digest {
            text += &format!("\n[image]\nmanifest_digest = {digest}\n");
        }
        if self.pinned {
            text += "\n[osmith]\npinned = true\n";
        }
        text
    }
}

fn not_understood(key: &'static str, value: &str) -> OriginError {
    OriginError::Value {
        key,
        value: value.to_owned(),
    }
}

fn require<'a>(text: &'a str, section: &'static str, key: &'static str) -> Result<&'a str, OriginError> {
    find(text, section, key).ok_or(OriginError::Missing { section, key })
}

/// The last value of a key in a section.
fn find<'a>(text: &'a str, section: &str, key: &str) -> Option<&'a str> {
    let mut in_section = false;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            in_section = name == section;
        } else if let Some((name, value)) = line.split_once('=')
            && in_section
            && name.trim() == key
        {
            found = Some(value.trim());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Origin {
        Origin {
            source: ImageSource::registry("registry.example.org/os:1"),
            boot_type: BootType::Bls,
            boot_digest: Some("ab".repeat(32)),
            manifest_digest: Some(Sha256Digest::of(b"manifest")),
            pinned: false,
        }
    }

    #[test]
    fn the_text_is_that_of_bootc() {
        let expected = format!(
            "[origin]\ncontainer-image-reference = ostree-unverified-image:docker://registry.example.org/os:1\n\n\
             [boot]\nboot_type = bls\ndigest = {}\n\n[image]\nmanifest_digest = {}\n",
            "ab".repeat(32),
            Sha256Digest::of(b"manifest")
        );
        assert_eq!(sample().to_text(), expected);
        assert_eq!(Origin::parse(&expected), Ok(sample()));
        let compact = expected
            .replace(" = ", "=")
            .replace("[boot]", "; note = 1\n[boot]");
        assert_eq!(Origin::parse(&compact), Ok(sample()));
    }

    #[test]
    fn a_pin_is_kept() {
        let pinned = Origin {
            pinned: true,
            ..sample()
        };
        assert!(pinned.to_text().ends_with("\n\n[osmith]\npinned = true\n"));
        assert_eq!(Origin::parse(&pinned.to_text()), Ok(pinned));
    }

    #[test]
    fn every_policy_and_transport_round_trips() {
        for text in [
            "ostree-unverified-image:docker://registry.example.org/os:1",
            "ostree-unverified-image:oci:/srv/os:1",
            "ostree-unverified-image:containers-storage:localhost/os",
            "ostree-image-signed:docker://registry.example.org/os@sha256:00",
            "ostree-remote-image:keys:docker://registry.example.org/os",
            "ostree-unverified-registry:registry.example.org/os",
        ] {
            let source = ImageSource::parse(text).unwrap();
            assert_eq!(source.to_string(), text);
        }
        assert_eq!(ImageSource::parse("registry.example.org/os:1"), None);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let text = sample().to_text();
        let error = Origin::parse(&text.replace("[boot]", "[other]")).unwrap_err();
        assert!(
            error.to_string().contains("'boot_type' of section '[boot]'"),
            "{error}"
        );
        for (from, to) in [
            ("bls", "grub"),
            ("sha256:", "md5:"),
            ("ostree-unverified-image", "mine"),
        ] {
            let result = Origin::parse(&text.replace(from, to));
            assert!(
                matches!(result, Err(OriginError::Value { .. })),
                "{from}: {result:?}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_read_of_damaged_text_is_written_as_it_was_read(
            place in 0usize..260,
            length in 0usize..40,
            bytes in proptest::collection::vec(any::<u8>(), 0..8),
        ) {
            let mut text = sample().to_text().into_bytes();
            let place = place.min(text.len());
            let end = (place + length).min(text.len());
            text.splice(place..end, bytes);
            if let Ok(origin) = Origin::parse(&String::from_utf8_lossy(&text)) {
                prop_assert_eq!(Origin::parse(&origin.to_text()), Ok(origin));
            }
        }
    }
}
