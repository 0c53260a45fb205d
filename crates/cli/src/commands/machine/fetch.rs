//! Images from where a machine follows them.

use std::path::{Path, PathBuf};

use osmith_image::layout::{self, LoadOptions};
use osmith_image::registry::{self, Client, PullOptions, Settings};
use osmith_image::store::{Image, Store};
use osmith_image::{
    ImageConfig, IntakeOptions, Manifest, Platform, Sha256Digest, Transferred, host_architecture,
};
use osmith_machine::deploy::{image_name, incomplete_layers};
use osmith_machine::origin::ImageSource;
use osmith_report::{Class, Failure, Observer, StepId};

use crate::commands::images::parse_name;
use crate::failure::CommandFailure;

type Fallible<T> = Result<T, Box<dyn Failure>>;

/// The label and annotation with the version of an image.
const VERSION: &str = "org.opencontainers.image.version";

/// An image that was found, of which only the description was read.
pub(crate) struct Found {
    place: Place,
}

enum Place {
    /// An OCI directory or archive; the name tells it from others there.
    Layout {
        path: PathBuf,
        name: Option<String>,
        resolved: Box<layout::Resolved>,
    },
    Registry {
        client: Box<Client>,
        resolved: Box<registry::Resolved>,
    },
}

impl Found {
    /// Looks for what a machine follows.
    pub(super) fn find(source: &ImageSource, observer: &dyn Observer) -> Fallible<Self> {
        Found::find_with(source, crate::registries::machine_settings()?, observer)
    }

    /// The same with these settings for registries.
    pub(crate) fn find_with(
        source: &ImageSource,
        settings: Settings,
        observer: &dyn Observer,
    ) -> Fallible<Self> {
        let place = match source.transport.as_str() {
            "registry" => find_in_registry(&source.image, settings, observer)?,
            "oci" | "oci-archive" => find_in_layout(&source.image)?,
            transport => return Err(unknown_transport(&source.image, transport).into()),
        };
        Ok(Found { place })
    }

    /// Looks for an image that was there before: by the digest of its manifest, whatever its name means now, else by its
    /// name. Layers that were compressed on the way to the registry changed the manifest; the configuration, with the
    /// digests of what is in the layers, says that it is the same image.
    pub(super) fn find_again(
        source: &ImageSource,
        manifest: &Sha256Digest,
        config: Option<Sha256Digest>,
        observer: &dyn Observer,
    ) -> Fallible<Self> {
        if source.transport == "registry" {
            let name = parse_name(&source.image)?.with_digest(*manifest);
            match find_in_registry(
                &name.to_string(),
                crate::registries::machine_settings()?,
                observer,
            ) {
                Err(error) if error.class() == Class::NotFound && config.is_some() => {}
                found => return Ok(Found { place: found? }),
            }
        }
        let found = Found::find(source, observer)?;
        let is_same = found.manifest_digest() == *manifest || Some(found.manifest().config.digest) == config;
        match is_same {
            true => Ok(found),
            false => Err(replaced(&source.image, manifest, &found.manifest_digest()).into()),
        }
    }

    /// The digest of its manifest.
    pub(super) fn manifest_digest(&self) -> Sha256Digest {
        match &self.place {
            Place::Layout { resolved, .. } => resolved.manifest_digest,
            Place::Registry { resolved, .. } => resolved.manifest_digest,
        }
    }

    /// The manifest.
    pub(super) fn manifest(&self) -> &Manifest {
        match &self.place {
            Place::Layout { resolved, .. } => resolved.manifest(),
            Place::Registry { resolved, .. } => resolved.manifest(),
        }
    }

    /// The configuration.
    pub(super) fn config(&self) -> &ImageConfig {
        match &self.place {
            Place::Layout { resolved, .. } => resolved.config(),
            Place::Registry { resolved, .. } => resolved.config(),
        }
    }

    /// What the image calls its version.
    pub(super) fn version(&self) -> Option<&str> {
        let labels = &self.config().config.labels;
        let annotations = &self.manifest().annotations;
        annotations
            .get(VERSION)
            .or_else(|| labels.get(VERSION))
            .map(String::as_str)
    }

    /// Fetches what the store lacks of the image, and has the store keep it.
    pub(crate) fn fetch(
        &self,
        store: &Store,
        observer: &dyn Observer,
        step: StepId,
    ) -> Fallible<(Image, Transferred)> {
        let mut intake = IntakeOptions {
            keep_blobs: false,
            ..IntakeOptions::default()
        };
        let (image, mut transferred) = self.take(store, intake.clone(), observer, step)?;
        intake.reread = incomplete_layers(store, &image)?;
        if !intake.reread.is_empty() {
            let (_, more) = self.take(store, intake, observer, step)?;
            transferred += more;
        }
        if let Some(name) = image_name(&image.manifest_digest) {
            store.tag(&image, &name)?;
        }
        Ok((image, transferred))
    }

    fn take(
        &self,
        store: &Store,
        intake: IntakeOptions,
        observer: &dyn Observer,
        step: StepId,
    ) -> Fallible<(Image, Transferred)> {
        match &self.place {
            Place::Layout { path, name, .. } => {
                let options = layout_options(name.clone(), intake);
                let loaded = layout::load(path, store, &options, observer, step)?;
                let loaded = loaded.into_iter().next().ok_or_else(|| no_image(path))?;
                Ok((loaded.image, loaded.transferred))
            }
            Place::Registry { client, resolved } => {
                let options = PullOptions {
                    names: Some(Vec::new()),
                    intake,
                };
                let pulled = registry::pull(client, resolved, store, &options, observer, step)?;
                Ok((pulled.image, pulled.transferred))
            }
        }
    }
}

fn find_in_registry(name: &str, settings: Settings, observer: &dyn Observer) -> Fallible<Place> {
    let client = Client::new(settings);
    let resolved = registry::resolve(&client, &parse_name(name)?, &platform(), observer)?;
    Ok(Place::Registry {
        client: Box::new(client),
        resolved: Box::new(resolved),
    })
}

/// `PATH` or `PATH:NAME`.
fn find_in_layout(text: &str) -> Fallible<Place> {
    let (path, name) = match text.rsplit_once(':') {
        Some((path, name)) if !Path::new(text).exists() => (PathBuf::from(path), Some(name.to_owned())),
        _ => (PathBuf::from(text), None),
    };
    let options = layout_options(name.clone(), IntakeOptions::default());
    let resolved = Box::new(layout::resolve(&path, &options)?);
    Ok(Place::Layout { path, name, resolved })
}

fn unknown_transport(image: &str, transport: &str) -> CommandFailure {
    let text = format!("cannot fetch '{image}': transport '{transport}' is not supported");
    CommandFailure::new(Class::Usage, text)
        .hint("osmith switch --transport takes registry, oci and oci-archive")
}

fn replaced(image: &str, wanted: &Sha256Digest, found: &Sha256Digest) -> CommandFailure {
    let text = format!("'{image}' is another image by now: {found} instead of {wanted}");
    CommandFailure::new(Class::NotFound, text).hint("'osmith upgrade' takes the one that is there")
}

fn no_image(path: &Path) -> CommandFailure {
    CommandFailure::new(
        Class::NotFound,
        format!("there is no image in '{}'", path.display()),
    )
}

fn layout_options(select: Option<String>, intake: IntakeOptions) -> LoadOptions {
    LoadOptions {
        select,
        platform: platform(),
        names: Some(Vec::new()),
        intake,
    }
}

/// What this machine runs.
fn platform() -> Platform {
    ImageConfig::new(host_architecture(), "linux").platform()
}

#[cfg(test)]
mod tests {
    use osmith_image::compression::Codec;
    use osmith_image::layer::LayerBuilder;
    use osmith_image::layout::{LayoutFormat, SaveOptions};
    use osmith_image::store::{Access, Encoding, ImageParts, LayerSource};
    use osmith_machine::origin::SignaturePolicy;
    use osmith_report::Silent;

    use super::*;

    fn image(store: &Store, author: &str) -> Image {
        let mut config = ImageConfig::new(host_architecture(), "linux");
        config.author = Some(author.to_owned());
        let layer = store.put_layer(&LayerBuilder::new().finish()).unwrap();
        let parts = ImageParts {
            config,
            layers: vec![LayerSource::Own(layer)],
            annotations: Default::default(),
            format: osmith_image::ManifestFormat::Oci,
        };
        store.commit_image(parts, &[], &Silent).unwrap()
    }

    #[test]
    fn an_image_is_found_again_however_its_layers_are_compressed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), Access::ReadWrite).unwrap();
        let (image, other) = (image(&store, "one"), image(&store, "two"));
        let path = folder.path().join("layout");
        let options = SaveOptions {
            format: LayoutFormat::Directory,
            encoding: Encoding::of(Codec::Zstd),
            name: None,
        };
        let saved = layout::save(&image, &store, &path, &options, &Silent, StepId(0)).unwrap();
        assert_ne!(saved.digest, image.manifest_digest);
        let source = ImageSource {
            image: path.to_str().unwrap().to_owned(),
            transport: "oci".to_owned(),
            signature: SignaturePolicy::Unspecified,
        };
        let find = |manifest, config| Found::find_again(&source, manifest, config, &Silent);
        let found = find(&image.manifest_digest, Some(image.id())).unwrap();
        assert_eq!(found.manifest_digest(), saved.digest);
        assert!(find(&saved.digest, None).is_ok());
        for config in [None, Some(other.id())] {
            let error = find(&image.manifest_digest, config).err().unwrap();
            assert!(error.to_string().contains("is another image by now"), "{error}");
        }
    }
}
