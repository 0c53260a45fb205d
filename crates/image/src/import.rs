//! Makes an image of one layer from an archive of a root file system.

use std::io::Read;

use osmith_report::{Class, Failure, Observer, StepId};

use crate::compression::decompressed;
use crate::config::{History, ImageConfig, RuntimeConfig};
use crate::layer::{self, LayerError};
use crate::progress::{Meter, Metered};
use crate::reference::Reference;
use crate::store::{Image, ImageParts, LayerSource, Store, StoreError};
use crate::tar::{self, Limits, TarError};

/// How [`import`] makes the image.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The names of the image.
    pub names: Vec<Reference>,
    /// Go's name of the processor: `amd64`, `arm64`; see [`crate::host_architecture`].
    pub architecture: String,
    /// When, RFC 3339; see [`crate::rfc3339`].
    pub created: Option<String>,
    /// A remark in the history, for instance where the archive came from.
    pub message: String,
    /// How a container of the image runs; see [`RuntimeConfig::change`].
    pub config: RuntimeConfig,
    /// What the archive may have.
    pub limits: Limits,
}

/// Why an archive was not imported. No image and no name has changed.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The archive is bad.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// The archive is no file system.
    #[error("the archive is no root file system")]
    Layer(#[from] LayerError),
    /// The archive has no files.
    #[error("the archive is empty")]
    Empty,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Failure for ImportError {
    fn class(&self) -> Class {
        match self {
            ImportError::Tar(error) => error.class(),
            ImportError::Layer(error) => error.class(),
            ImportError::Empty => Class::Input,
            ImportError::Store(error) => error.class(),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            ImportError::Tar(error) => error.hints(),
            ImportError::Layer(error) => error.hints(),
            ImportError::Empty => vec!["check that the command that makes the archive succeeded".to_owned()],
            ImportError::Store(error) => error.hints(),
        }
    }
}

/// Reads an archive of a root file system, plain or compressed, and makes an image of it.
///
/// Progress counts the bytes of the archive as they come in; `size_bytes` is their number, if it is known.
pub fn import(
    archive: impl Read + Send,
    size_bytes: Option<u64>,
    store: &Store,
    options: ImportOptions,
    observer: &dyn Observer,
    step: StepId,
) -> Result<Image, ImportError> {
    let meter = Meter::new(observer, step, size_bytes);
    let metered = Metered {
        inner: archive,
        meter: &meter,
    };
    let plain = decompressed(metered).map_err(TarError::Read)?;
    let layer = tar::read_layer(plain, store, &options.limits, observer)?;
    if layer.is_empty() {
        return Err(ImportError::Empty);
    }
    // A layer that needs another one below it is no root file system.
    layer::apply(&mut layer::empty_tree(), &layer)?;
    let id = store.put_layer(&layer)?;
    let parts = ImageParts {
        config: config(&options),
        layers: vec![LayerSource::Own(id)],
        annotations: Default::default(),
        format: crate::manifest::ManifestFormat::Oci,
    };
    Ok(store.commit_image(parts, &options.names, observer)?)
}

fn config(options: &ImportOptions) -> ImageConfig {
    let mut config = ImageConfig::new(&options.architecture, "linux");
    config.created = options.created.clone();
    config.config = options.config.clone();
    config.history = vec![History {
        created: options.created.clone(),
        comment: Some(options.message.clone()).filter(|message| !message.is_empty()),
        ..History::default()
    }];
    config
}

/// Why a change of a configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The instruction is none that changes a configuration.
    #[error("'{0}' changes no configuration")]
    Instruction(String),
    /// The value makes no sense.
    #[error("'{value}' is no value of {instruction}")]
    Value {
        /// The instruction.
        instruction: String,
        /// Its value.
        value: String,
    },
}

impl Failure for ChangeError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hints(&self) -> Vec<String> {
        vec![
            "changes are CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME and WORKDIR, \
             for instance CMD=[\"/sbin/init\"] or ENV=LANG=C.UTF-8"
                .to_owned(),
        ]
    }
}

impl RuntimeConfig {
    /// Makes a change as `podman import --change` does: `INSTRUCTION=VALUE` or `INSTRUCTION VALUE`.
    pub fn change(&mut self, text: &str) -> Result<(), ChangeError> {
        let (instruction, value) = text.split_once(['=', ' ']).unwrap_or((text, ""));
        let instruction = instruction.to_uppercase();
        let value = value.trim();
        let bad_value = || ChangeError::Value {
            instruction: instruction.clone(),
            value: value.to_owned(),
        };
        if value.is_empty() {
            return Err(match instruction_exists(&instruction) {
                true => bad_value(),
                false => ChangeError::Instruction(text.to_owned()),
            });
        }
        match instruction.as_str() {
            "CMD" => self.cmd = Some(command(value).ok_or_else(bad_value)?),
            "ENTRYPOINT" => self.entrypoint = Some(command(value).ok_or_else(bad_value)?),
            "ENV" => {
                let (name, value) = pair(value).ok_or_else(bad_value)?;
                self.env.retain(|entry| entry.split('=').next() != Some(name));
                self.env.push(format!("{name}={value}"));
            }
            "LABEL" => {
                let (name, value) = pair(value).ok_or_else(bad_value)?;
                self.labels.insert(name.to_owned(), value.to_owned());
            }
            "EXPOSE" => {
                let protocol = if value.contains('/') { "" } else { "/tcp" };
                self.exposed_ports
                    .insert(format!("{value}{protocol}"), Default::default());
            }
            "VOLUME" => {
                self.volumes.insert(value.to_owned(), Default::default());
            }
            "STOPSIGNAL" => self.stop_signal = Some(value.to_owned()),
            "USER" => self.user = value.to_owned(),
            "WORKDIR" => self.working_dir = value.to_owned(),
            _ => return Err(ChangeError::Instruction(text.to_owned())),
        }
        Ok(())
    }
}

fn instruction_exists(instruction: &str) -> bool {
    let all = [
        "CMD",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "LABEL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ];
    all.contains(&instruction)
}

/// A JSON array of arguments, or a line for the shell.
fn command(value: &str) -> Option<Vec<String>> {
    match value.starts_with('[') {
        true => serde_json::from_str(value).ok(),
        false => Some(["/bin/sh", "-c", value].map(str::to_owned).to_vec()),
    }
}

fn pair(value: &str) -> Option<(&str, &str)> {
    let (name, value) = value.split_once(['=', ' '])?;
    let unquoted = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value);
    Some((name, unquoted)).filter(|(name, _)| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes() {
        let mut config = RuntimeConfig::default();
        for text in [
            "CMD=[\"/sbin/init\", \"3\"]",
            "entrypoint exec x",
            "ENV A=1",
            "ENV=A=2=3",
            "LABEL containers.bootc=1",
            "LABEL x \"a b\"",
            "EXPOSE 80",
            "EXPOSE 53/udp",
            "USER www-data",
            "WORKDIR=/srv",
            "VOLUME /data",
            "STOPSIGNAL SIGTERM",
        ] {
            config.change(text).unwrap();
        }
        assert_eq!(config.cmd, Some(vec!["/sbin/init".into(), "3".into()]));
        assert_eq!(
            config.entrypoint,
            Some(vec!["/bin/sh".into(), "-c".into(), "exec x".into()])
        );
        assert_eq!(config.env, ["A=2=3"]);
        assert_eq!(
            (
                config.labels["containers.bootc"].as_str(),
                config.labels["x"].as_str()
            ),
            ("1", "a b")
        );
        assert!(config.exposed_ports.keys().eq(["53/udp", "80/tcp"]));
        assert_eq!(
            (config.user.as_str(), config.working_dir.as_str()),
            ("www-data", "/srv")
        );
        assert!(config.volumes.contains_key("/data"));
        assert_eq!(config.stop_signal.as_deref(), Some("SIGTERM"));
        for text in ["", "RUN x", "CMD", "CMD=[1]", "ENV x", "ENV =x", "FROM=x"] {
            assert!(config.change(text).is_err(), "{text}");
        }
    }
}
