//! Which image, from where, and what the machine follows.

use std::fmt;

use osmith_image::Reference;
use osmith_kickstart::{ImageReference, ImageSource as Command, Kickstart, Position, Transport};
use osmith_machine::origin::{ImageSource, SignaturePolicy};

use super::Facts;
use super::problems::Problems;

const REGISTRY: &str = "registry";
/// The image of the installation medium, where other installers have it.
const MEDIUM_PLACE: &str = "/run/install/repo/container";

/// Where the image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// From the installation medium.
    Medium,
    /// From a registry, or a directory or archive in OCI's layout: `PATH`, or `PATH:NAME` if it has several images.
    Image(ImageSource),
}

/// The source, and the name that is followed.
pub(super) fn of(kickstart: &Kickstart, facts: &Facts, problems: &mut Problems) -> Option<(Source, String)> {
    let Some(command) = &kickstart.image else {
        let Some(follows) = &facts.medium else {
            let message = "the file names no image, and this is no installation medium that has one";
            problems.refuse(None, message, "write bootc --source-imgref=registry:HOST/NAME");
            return None;
        };
        return Some((Source::Medium, follows.clone()));
    };
    let place = command.position();
    if command.stateroot() != "default" {
        let message = "--stateroot has no effect: deployments of osmith have no names of their own";
        problems.warn(Some(place), message, "take it away");
    }
    let source = parse(command.source(), place, facts, problems)?;
    let target = match command {
        Command::Bootc(bootc) => bootc.target.as_deref(),
        Command::Ostreecontainer(_) => None,
    };
    let follows = match (target, &source) {
        (Some(target), _) => bare(target).to_owned(),
        (None, Source::Image(source)) if source.transport == REGISTRY => source.image.clone(),
        (None, Source::Medium) => facts.medium.clone()?,
        (None, Source::Image(_)) => {
            let message = "updates cannot come from where this image is: the machine would follow nothing";
            problems.refuse(Some(place), message, "write bootc with --target-imgref=HOST/NAME");
            return None;
        }
    };
    match follows.parse::<Reference>() {
        Ok(name) => Some((source, name.to_string())),
        Err(error) => {
            problems.refuse(
                Some(place),
                format!("'{follows}' is no name of an image: {error}"),
                "write HOST/NAME:TAG",
            );
            None
        }
    }
}

fn parse(
    source: &ImageReference,
    place: &Position,
    facts: &Facts,
    problems: &mut Problems,
) -> Option<Source> {
    let name = source.name.as_str();
    let image = |image: &str, transport: &str| {
        Source::Image(ImageSource {
            image: image.to_owned(),
            transport: transport.to_owned(),
            signature: SignaturePolicy::Unspecified,
        })
    };
    match source.transport {
        Transport::Registry => match bare(name).parse::<Reference>() {
            Ok(name) => Some(image(&name.to_string(), REGISTRY)),
            Err(error) => {
                let message = format!("'{name}' is no name of an image: {error}");
                problems.refuse(Some(place), message, "write HOST/NAME:TAG");
                None
            }
        },
        Transport::Oci if name.trim_end_matches('/') == MEDIUM_PLACE && facts.medium.is_some() => {
            Some(Source::Medium)
        }
        Transport::Oci => Some(image(name, "oci")),
        Transport::OciArchive => Some(image(name, "oci-archive")),
        Transport::DockerArchive | Transport::Directory | Transport::ContainersStorage => {
            let message = format!(
                "osmith does not read images by the transport {}",
                source.transport
            );
            problems.refuse(
                Some(place),
                message,
                "take registry, oci or oci-archive: skopeo copy converts",
            );
            None
        }
    }
}

/// A name without a transport that stands for a registry.
fn bare(name: &str) -> &str {
    let name = name.strip_prefix("registry:").unwrap_or(name);
    name.strip_prefix("docker://").unwrap_or(name)
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Medium => f.write_str("the image of the installation medium"),
            Source::Image(source) if source.transport == REGISTRY => f.write_str(&source.image),
            Source::Image(source) => write!(f, "{}:{}", source.transport, source.image),
        }
    }
}
