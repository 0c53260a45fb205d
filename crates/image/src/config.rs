//! The configuration of an image, as JSON.
//!
//! Source: OCI image specification 1.1, `config.md`. Fields that are not known here survive in `extra`, among them
//! those that only Docker has (`Healthcheck`, `OnBuild`, `Shell`). Go writes `null` for what is empty; such a field
//! is read as absent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::digest::Sha256Digest;
use crate::manifest::{JsonError, Platform, from_json, nullable, to_json};

/// The configuration of an image. The digest of its JSON is the image ID.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When the image was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Go's name of the processor: `amd64`, `arm64`.
    #[serde(default, deserialize_with = "nullable")]
    pub architecture: String,
    /// The variant of the processor: `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Go's name of the operating system: `linux`.
    #[serde(default, deserialize_with = "nullable")]
    pub os: String,
    /// How a container of the image runs.
    #[serde(default, deserialize_with = "nullable")]
    pub config: RuntimeConfig,
    /// The layers.
    pub rootfs: RootFs,
    /// How the layers came about, lowest first.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Fields that are not known here.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// How a container of the image runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RuntimeConfig {
    /// User, or user and group, names or numbers: `www-data`, `33:33`.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub user: String,
    /// Ports: `80/tcp`.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// `NAME=VALUE`, in order.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The arguments of the entry point, or the command if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Paths of volumes.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub volumes: BTreeMap<String, Empty>,
    /// The working directory.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub working_dir: String,
    /// Labels.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// The signal that stops the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Fields that are not known here.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The value in a map of which only the keys matter: `{}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Empty {}

/// The layers of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The digests of the layers' tar streams, not compressed, lowest first.
    #[serde(default, deserialize_with = "nullable")]
    pub diff_ids: Vec<Sha256Digest>,
    /// Fields that are not known here.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One step of an image's making.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct History {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By what command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the step made no layer.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "is_false")]
    pub empty_layer: bool,
    /// Fields that are not known here.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ImageConfig {
    /// The configuration of an image without layers.
    pub fn new(architecture: &str, os: &str) -> Self {
        ImageConfig {
            created: None,
            author: None,
            architecture: architecture.to_owned(),
            variant: None,
            os: os.to_owned(),
            config: RuntimeConfig::default(),
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids: Vec::new(),
                extra: Map::new(),
            },
            history: Vec::new(),
            extra: Map::new(),
        }
    }

    /// Reads a configuration.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, JsonError> {
        from_json("image configuration", bytes)
    }

    /// The configuration as JSON: known fields first, maps sorted, no white space.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_json(self)
    }

    /// For what machine the image is.
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            variant: self.variant.clone(),
            extra: Map::new(),
        }
    }
}

/// Go's name of the processor this program was compiled for.
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        other => go_architecture(other),
    }
}

/// Go's name of a processor that Linux, Rust or Go call so.
pub fn go_architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" | "i386" | "i686" => "386",
        "loongarch64" => "loong64",
        other => other,
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_survive() {
        let text = r#"{"created":"2026-01-02T03:04:05Z","architecture":"arm64","variant":"v8","os":"linux",
            "os.version":"1","config":{"Env":["A=1"],"Cmd":["sh"],"ExposedPorts":{"80/tcp":{}},"Labels":{"b":"","a":"1"},
            "OnBuild":["RUN x"],"Healthcheck":{"Test":["NONE"]}},"rootfs":{"type":"layers","diff_ids":[]},
            "history":[{"created_by":"x","empty_layer":true,"v":1}],"docker_version":"20"}"#;
        let config = ImageConfig::from_bytes(text.as_bytes()).unwrap();
        let before: Value = serde_json::from_str(text).unwrap();
        let after: Value = serde_json::from_slice(&config.to_bytes()).unwrap();
        assert_eq!(before, after);
        assert_eq!(config.config.extra["OnBuild"][0], "RUN x");
    }

    #[test]
    fn null_is_nothing() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Cmd":null,"Env":null,"Labels":null,"User":null},
            "rootfs":{"type":"layers","diff_ids":null},"history":null}"#;
        let config = ImageConfig::from_bytes(text.as_bytes()).unwrap();
        assert_eq!(config, ImageConfig::new("amd64", "linux"));
        assert_eq!(ImageConfig::from_bytes(&config.to_bytes()).unwrap(), config);
    }
}
