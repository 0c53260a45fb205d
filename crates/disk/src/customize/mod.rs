//! A configuration becomes changes of the machine's own part of the image: `/etc` and `/var`.
//!
//! The composefs image stays what it is, because its digest is the deployment's identity. What the image must have for a
//! setting to work is looked up first; all that is missing is told at once, each with its key and the way out.

mod accounts;
mod drift;
mod edit;
mod files;
mod firewall;
mod mounts;
mod services;
mod settings;
mod time;

use osmith_config::{Configuration, ConfigurationError};
use osmith_formats::tree::Tree;
use osmith_machine::install::ReadObject;
use osmith_report::{Class, Failure};

use crate::identity::Identity;
use edit::Edit;

pub(crate) use mounts::MountSettings;

/// Why a configuration cannot be applied to an image.
#[derive(Debug, thiserror::Error)]
pub enum CustomizeError {
    /// It asks for what the image does not have.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// A file of the image cannot be read.
    #[error("cannot read '/{path}' of the image")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Failure for CustomizeError {
    fn class(&self) -> Class {
        match self {
            CustomizeError::Configuration(error) => error.class(),
            CustomizeError::Read { .. } => Class::Corrupt,
        }
    }
}

/// The tree of the image with what the configuration and its file systems change. `object` reads the objects of the image.
pub(crate) fn customize(
    mut tree: Tree,
    configuration: &Configuration,
    mounts: &MountSettings,
    architecture: &str,
    identity: &Identity,
    object: &mut ReadObject,
) -> Result<Tree, CustomizeError> {
    let mut edit = Edit::new(&mut tree, object);
    check_architecture(&mut edit, configuration, architecture);
    accounts::apply(&mut edit, configuration, identity)?;
    settings::apply(&mut edit, configuration)?;
    time::apply(&mut edit, &configuration.timezone)?;
    services::apply(&mut edit, &configuration.services)?;
    firewall::apply(&mut edit, &configuration.firewall)?;
    mounts::apply(&mut edit, mounts)?;
    // Last: a file that is written out has the last word.
    files::apply(&mut edit, configuration)?;
    drift::apply(&mut edit);
    let problems = edit.into_problems();
    match configuration.error(problems) {
        Some(error) => Err(error.into()),
        None => Ok(tree),
    }
}

/// Go, Debian and Linux have names of their own.
fn check_architecture(edit: &mut Edit, configuration: &Configuration, architecture: &str) {
    let Some(wanted) = &configuration.architecture else {
        return;
    };
    let of_go = |name: &str| match name {
        "x86_64" => "amd64".to_owned(),
        "aarch64" => "arm64".to_owned(),
        other => other.to_owned(),
    };
    if of_go(wanted) != architecture {
        let reason = format!("the image is for {architecture}, not for {wanted}");
        edit.problem(
            "architecture",
            reason,
            "take an image for that architecture, or take the key away",
        );
    }
}

#[cfg(test)]
mod tests;
