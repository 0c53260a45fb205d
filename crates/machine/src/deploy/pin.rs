//! What is said of deployments that are there: that clean-ups leave them alone, and what is followed.

use osmith_formats::verity::Digest;

use super::{DeployError, Result};
use crate::machine::Machine;
use crate::origin::{ImageSource, Origin};

/// The fewest digits that name a deployment.
const DIGITS_MIN: usize = 4;

/// The deployment that `name` means: `booted`, `rollback`, or the beginning of its digits; without a name the one that
/// runs.
pub fn find_deployment(machine: &Machine, name: Option<&str>) -> Result<Digest> {
    let deployments = machine.esp()?.menu()?.deployments();
    let unknown = |name: &str| DeployError::UnknownDeployment(name.to_owned());
    match name {
        None | Some("booted") => Ok(machine.booted()),
        Some("rollback") => {
            let mut others = deployments.into_iter();
            others
                .find(|other| *other != machine.booted())
                .ok_or_else(|| unknown("rollback"))
        }
        Some(digits) => {
            let is_meant =
                |other: &&Digest| digits.len() >= DIGITS_MIN && other.to_string().starts_with(digits);
            let mut found = deployments.iter().filter(is_meant);
            match (found.next(), found.next()) {
                (Some(only), None) => Ok(*only),
                (Some(_), Some(_)) => Err(DeployError::AmbiguousDeployment(digits.to_owned())),
                _ => Err(unknown(digits)),
            }
        }
    }
}

/// Pins a deployment, or gives it up. Returns whether that changed anything.
pub fn set_pinned(machine: &Machine, deployment: &Digest, pinned: bool) -> Result<bool> {
    let origin = machine.origin(deployment)?;
    if origin.pinned == pinned {
        return Ok(false);
    }
    machine.write_origin(deployment, &Origin { pinned, ..origin })?;
    Ok(true)
}

/// Lets a deployment follow another image, from the next update on. Nothing is fetched.
pub fn set_source(machine: &Machine, deployment: &Digest, source: ImageSource) -> Result<()> {
    let origin = machine.origin(deployment)?;
    machine.write_origin(deployment, &Origin { source, ..origin })
}
