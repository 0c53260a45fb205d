//! Manifests, indexes and descriptors of images, as JSON.
//!
//! Source: OCI image specification 1.1, `manifest.md`, `image-index.md`, `descriptor.md`; the media types of Docker's
//! v2 schema 2 mean the same and are read too. Fields that are not known here survive in `extra`.

use std::collections::BTreeMap;
use std::fmt;

use osmith_report::{Class, Failure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::digest::Sha256Digest;

/// Media types, in the words of the specification.
pub mod media_type {
    /// An image manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An image index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An image configuration.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// A layer that is not compressed.
    pub const LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
    /// A layer compressed with gzip.
    pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// A layer compressed with zstd.
    pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// Docker's image manifest, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's manifest list: an index.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's image configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

    /// Docker's media type of a layer; `None` if it has none, as for zstd.
    pub fn docker_layer(media_type: &str) -> Option<&'static str> {
        match oci_layer(media_type).unwrap_or(media_type) {
            LAYER_TAR => Some("application/vnd.docker.image.rootfs.diff.tar"),
            LAYER_GZIP => Some("application/vnd.docker.image.rootfs.diff.tar.gzip"),
            _ => None,
        }
    }

    /// The OCI media type of one of Docker's layers.
    pub fn oci_layer(docker: &str) -> Option<&'static str> {
        match docker.strip_prefix("application/vnd.docker.image.rootfs.diff.")? {
            "tar" => Some(LAYER_TAR),
            "tar.gzip" => Some(LAYER_GZIP),
            "tar.zstd" => Some(LAYER_ZSTD),
            _ => None,
        }
    }
}

/// Whose form a manifest has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ManifestFormat {
    /// That of the Open Container Initiative.
    #[default]
    Oci,
    /// Docker's, schema 2. Its layers are compressed with gzip, and it has no annotations.
    Docker,
}

/// JSON of images that is larger than this is not read.
pub const JSON_MAX_BYTES: u64 = 4 << 20;

/// What points to a blob.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    #[serde(default)]
    pub media_type: String,
    /// Its name.
    pub digest: Sha256Digest,
    /// Its length.
    #[serde(rename = "size")]
    pub size_bytes: u64,
    /// Notes by key.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// For what machine the blob is, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Fields that are not known here.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A kind of machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Go's name of the processor: `amd64`, `arm64`.
    pub architecture: String,
    /// Go's name of the operating system: `linux`.
    pub os: String,
    /// The variant of the processor: `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Fields that are not known here.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// An image manifest: the configuration and the layers, lowest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// What the manifest says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default, deserialize_with = "nullable")]
    pub layers: Vec<Descriptor>,
    /// Notes by key.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// Fields that are not known here.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// An image index: manifests by platform, or the images of an OCI layout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// What the index says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests.
    #[serde(default, deserialize_with = "nullable")]
    pub manifests: Vec<Descriptor>,
    /// Notes by key.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// Fields that are not known here.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Why bytes are no manifest, index or configuration.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The bytes are no such JSON.
    #[error("the {what} is malformed")]
    Malformed {
        /// What was expected.
        what: &'static str,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// The schema is another one.
    #[error("the {what} has schema version {version}; only 2 is known")]
    Schema {
        /// What was expected.
        what: &'static str,
        /// What it has.
        version: u32,
    },
    /// The document is for something else.
    #[error("the {what} has the media type '{media_type}'")]
    MediaType {
        /// What was expected.
        what: &'static str,
        /// What it says it is.
        media_type: String,
    },
    /// The document is too long.
    #[error("the {what} is {size_bytes} bytes long; at most {JSON_MAX_BYTES} are read")]
    Length {
        /// What was expected.
        what: &'static str,
        /// Its length.
        size_bytes: u64,
    },
}

impl Failure for JsonError {
    fn class(&self) -> Class {
        Class::Input
    }
}

/// A manifest or an index: what a name of a layout or a registry may stand for.
#[derive(Debug, Clone, PartialEq)]
pub enum ManifestOrIndex {
    /// One image.
    Manifest(Box<Manifest>),
    /// Several images.
    Index(Index),
}

impl Descriptor {
    /// A descriptor of bytes.
    pub fn of(media_type: &str, data: &[u8]) -> Self {
        Self::new(media_type, Sha256Digest::of(data), data.len() as u64)
    }

    /// A descriptor without annotations and platform.
    pub fn new(media_type: &str, digest: Sha256Digest, size_bytes: u64) -> Self {
        Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size_bytes,
            annotations: BTreeMap::new(),
            platform: None,
            extra: Map::new(),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl Platform {
    /// A kind of machine without a variant; see [`crate::host_architecture`].
    pub fn new(os: &str, architecture: &str) -> Self {
        Platform {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
            variant: None,
            extra: Map::new(),
        }
    }
}

impl Manifest {
    /// Whose form it has.
    pub fn format(&self) -> ManifestFormat {
        match self.media_type.as_deref() {
            Some(media_type::DOCKER_MANIFEST) => ManifestFormat::Docker,
            _ => ManifestFormat::Oci,
        }
    }

    /// The same in Docker's form; `None` if a layer has no media type there.
    pub fn into_docker(mut self) -> Option<Self> {
        self.media_type = Some(media_type::DOCKER_MANIFEST.to_owned());
        self.config.media_type = media_type::DOCKER_CONFIG.to_owned();
        self.annotations.clear();
        for layer in &mut self.layers {
            layer.media_type = media_type::docker_layer(&layer.media_type)?.to_owned();
            layer.annotations.clear();
        }
        Some(self)
    }

    /// An OCI manifest without annotations.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Manifest {
            schema_version: 2,
            media_type: Some(media_type::MANIFEST.to_owned()),
            config,
            layers,
            annotations: BTreeMap::new(),
            extra: Map::new(),
        }
    }

    /// Reads a manifest.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, JsonError> {
        match ManifestOrIndex::from_bytes(bytes)? {
            ManifestOrIndex::Manifest(manifest) => Ok(*manifest),
            ManifestOrIndex::Index(index) => Err(JsonError::MediaType {
                what: "manifest",
                media_type: index.media_type.unwrap_or_else(|| media_type::INDEX.to_owned()),
            }),
        }
    }

    /// The manifest as JSON: known fields in the order of the specification, maps sorted, no white space.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_json(self)
    }
}

impl Index {
    /// An OCI index without annotations.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Index {
            schema_version: 2,
            media_type: Some(media_type::INDEX.to_owned()),
            manifests,
            annotations: BTreeMap::new(),
            extra: Map::new(),
        }
    }

    /// Reads an index.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, JsonError> {
        let index: Index = from_json("index", bytes)?;
        require_schema("index", index.schema_version)?;
        Ok(index)
    }

    /// The index as JSON; see [`Manifest::to_bytes`].
    pub fn to_bytes(&self) -> Vec<u8> {
        to_json(self)
    }
}

impl ManifestOrIndex {
    /// Reads a manifest or an index: the media type decides, or, without one, whether there is a `config`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, JsonError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Kind {
            media_type: Option<String>,
            config: Option<Value>,
        }
        let kind: Kind = from_json("manifest", bytes)?;
        let is_index = match kind.media_type.as_deref() {
            Some(media_type::MANIFEST | media_type::DOCKER_MANIFEST) => false,
            Some(media_type::INDEX | media_type::DOCKER_INDEX) => true,
            None => kind.config.is_none(),
            Some(other) => {
                return Err(JsonError::MediaType {
                    what: "manifest",
                    media_type: other.to_owned(),
                });
            }
        };
        if is_index {
            return Index::from_bytes(bytes).map(ManifestOrIndex::Index);
        }
        let manifest: Manifest = from_json("manifest", bytes)?;
        require_schema("manifest", manifest.schema_version)?;
        Ok(ManifestOrIndex::Manifest(Box::new(manifest)))
    }
}

fn require_schema(what: &'static str, version: u32) -> Result<(), JsonError> {
    match version {
        2 => Ok(()),
        _ => Err(JsonError::Schema { what, version }),
    }
}

pub(crate) fn from_json<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, JsonError> {
    if bytes.len() as u64 > JSON_MAX_BYTES {
        return Err(JsonError::Length {
            what,
            size_bytes: bytes.len() as u64,
        });
    }
    serde_json::from_slice(bytes).map_err(|source| JsonError::Malformed { what, source })
}

/// JSON of a value whose maps have text keys, which cannot fail; numbers and text always have a form.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Go writes `null` for an empty list or map.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn manifest_json() -> String {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{EMPTY}","size":0,"data":"eA=="}},
            "layers":[{{"mediaType":"a/b","digest":"{EMPTY}","size":7,"urls":["http://x/"],"annotations":{{"b":"1","a":"2"}}}}],
            "annotations":{{"k":"v"}},"subject":{{"x":[1,null,{{"y":1.5}}]}},"z":null}}"#
        )
    }

    #[test]
    fn unknown_fields_survive() {
        let text = manifest_json();
        let manifest = Manifest::from_bytes(text.as_bytes()).unwrap();
        let before: Value = serde_json::from_str(&text).unwrap();
        let after: Value = serde_json::from_slice(&manifest.to_bytes()).unwrap();
        assert_eq!(before, after);
        assert_eq!(Manifest::from_bytes(&manifest.to_bytes()).unwrap(), manifest);
    }

    #[test]
    fn kinds_are_told_apart() {
        let index = Index::new(vec![Descriptor::of(media_type::MANIFEST, b"x")]).to_bytes();
        assert!(matches!(
            ManifestOrIndex::from_bytes(&index),
            Ok(ManifestOrIndex::Index(_))
        ));
        assert!(matches!(
            Manifest::from_bytes(&index),
            Err(JsonError::MediaType { .. })
        ));
        let bare = r#"{"schemaVersion":2,"manifests":null}"#;
        assert!(matches!(
            ManifestOrIndex::from_bytes(bare.as_bytes()),
            Ok(ManifestOrIndex::Index(_))
        ));
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for (text, expected) in [
            ("{", "malformed"),
            ("[]", "malformed"),
            (r#"{"schemaVersion":1,"manifests":[]}"#, "schema version 1"),
            (
                r#"{"schemaVersion":2,"mediaType":"text/html","config":{}}"#,
                "text/html",
            ),
            (
                r#"{"schemaVersion":2,"config":{"digest":"sha256:0","size":1}}"#,
                "malformed",
            ),
            (
                &format!(r#"{{"schemaVersion":2,"config":{{"digest":"{EMPTY}","size":-1}}}}"#),
                "malformed",
            ),
        ] {
            let error = ManifestOrIndex::from_bytes(text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }
}
