//! Base images: where they are looked up, and those that a build found.

use std::path::Path;

use osmith_image::layout::{LoadOptions, load};
use osmith_image::registry::PullPolicy;
use osmith_image::store::{Image, Store, StoreError};
use osmith_image::{ImageConfig, IntakeOptions, Location, Platform, Reference};
use osmith_report::{Event, Failure, Observer, Severity, StepId};

use crate::outside::Outside;
use crate::plan::{BaseImages, ImageOrigin, MissingImage};

/// The images that a build takes something from.
#[derive(Debug, Default)]
pub(crate) struct BaseImageSet(Vec<(ImageOrigin, Image)>);

impl BaseImageSet {
    pub(crate) fn get(&self, origin: &ImageOrigin) -> Option<&Image> {
        let found = self.0.iter().find(|(known, _)| known == origin);
        found.map(|(_, image)| image)
    }
}

/// Base images, looked up in the store.
pub(crate) struct StoreImages<'s> {
    pub(crate) store: &'s Store,
    pub(crate) outside: &'s dyn Outside,
    pub(crate) policy: PullPolicy,
    pub(crate) observer: &'s dyn Observer,
    pub(crate) found: BaseImageSet,
}

impl BaseImages for StoreImages<'_> {
    fn config(&mut self, name: &str, platform: &Platform) -> Result<ImageConfig, MissingImage> {
        let origin = ImageOrigin {
            name: name.to_owned(),
            platform: platform.clone(),
        };
        if let Some(image) = self.found.get(&origin) {
            return Ok(image.config.clone());
        }
        let image = self.image(name, platform)?;
        let config = image.config.clone();
        self.found.0.push((origin, image));
        Ok(config)
    }
}

impl StoreImages<'_> {
    fn image(&self, name: &str, platform: &Platform) -> Result<Image, MissingImage> {
        let name = name.strip_prefix("docker://").unwrap_or(name);
        let location: Location =
            name.parse()
                .map_err(|error: osmith_image::ReferenceError| MissingImage {
                    message: error.to_string(),
                    note: error.hints().into_iter().next().unwrap_or_default(),
                })?;
        match &location {
            Location::Store(reference) => self
                .policy
                .image(reference, platform, self.store, || self.pull(reference, platform)),
            Location::OciDirectory { path, name } | Location::OciArchive { path, name } => {
                self.load(path, name, platform)
            }
        }
    }

    fn pull(&self, name: &Reference, platform: &Platform) -> Result<Image, MissingImage> {
        let message = |text| Event::Message {
            severity: Severity::Note,
            text,
        };
        self.observer.observe(message(format!("fetching {name}")));
        let quiet = Quiet(self.observer);
        self.outside
            .pull(name, platform, self.store, &quiet)
            .map_err(|error| missing(&error))
    }

    /// Takes the image of a layout into the store, without a name there.
    fn load(&self, path: &Path, name: &Option<String>, platform: &Platform) -> Result<Image, MissingImage> {
        let options = LoadOptions {
            select: name.clone(),
            platform: platform.clone(),
            names: Some(Vec::new()),
            intake: IntakeOptions::default(),
        };
        let quiet = Quiet(self.observer);
        let mut loaded =
            load(path, self.store, &options, &quiet, StepId(0)).map_err(|error| missing(&error))?;
        match (loaded.pop(), loaded.is_empty()) {
            (Some(only), true) => Ok(only.image),
            _ => Err(MissingImage {
                message: format!("there is not exactly one image in '{}'", path.display()),
                note: "add the name of one of them: oci:PATH:NAME".to_owned(),
            }),
        }
    }
}

/// Passes on the wish to stop, and nothing else: the plan is not made yet.
struct Quiet<'o>(&'o dyn Observer);

impl Observer for Quiet<'_> {
    fn observe(&self, _: Event) {}

    fn interrupted(&self) -> bool {
        self.0.interrupted()
    }
}

impl From<StoreError> for MissingImage {
    fn from(error: StoreError) -> Self {
        missing(&error)
    }
}

fn missing(error: &dyn Failure) -> MissingImage {
    MissingImage {
        message: chain_of(error),
        note: error.hints().into_iter().next().unwrap_or_default(),
    }
}

/// An error with its causes in one line.
pub(crate) fn chain_of(error: &dyn Failure) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
