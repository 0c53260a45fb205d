//! What is built: layers and history of a stage.

use osmith_image::layer::LayerId;
use osmith_image::store::{Image, LayerSource};

/// What a step left in the history.
#[derive(Debug, Clone)]
pub(crate) struct Past {
    pub(crate) text: String,
    pub(crate) has_layer: bool,
}

/// A stage that is built.
#[derive(Debug, Clone, Default)]
pub(crate) struct Built {
    /// All layers, as a new image has them.
    pub(crate) sources: Vec<LayerSource>,
    /// The same as records.
    pub(crate) layers: Vec<LayerId>,
    /// How many of them come from a base image.
    pub(crate) base_layers: usize,
    /// What the new steps did, those of stages below first.
    pub(crate) past: Vec<Past>,
    /// The image below all.
    pub(crate) base: Option<(String, Image)>,
}

impl Built {
    /// What a stage on an image begins with.
    pub(crate) fn of_image(name: &str, image: &Image, layers: Vec<LayerId>) -> Self {
        Built {
            sources: image.layer_sources(),
            base_layers: layers.len(),
            layers,
            past: Vec::new(),
            base: Some((name.to_owned(), image.clone())),
        }
    }
}
