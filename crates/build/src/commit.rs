//! The last step: configuration, history and layers become an image.

use std::collections::BTreeMap;

use osmith_image::layer::{LayerId, diff, empty_tree, squash};
use osmith_image::store::{Image, ImageParts, LayerSource, Store};
use osmith_image::{History, ImageConfig, ManifestFormat, rfc3339};
use osmith_report::Observer;

use crate::built::{Built, Past};
use crate::error::BuildError;
use crate::key::{Key, KeyHasher, chain};
use crate::plan::ImageFormat;
use crate::{Request, Squash};

const CREATED: &str = "org.opencontainers.image.created";
const BASE_NAME: &str = "org.opencontainers.image.base.name";
const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

/// Makes the image of a stage that is built.
pub(crate) fn commit(
    store: &Store,
    request: &Request,
    config: &ImageConfig,
    mut built: Built,
    observer: &dyn Observer,
) -> Result<Image, BuildError> {
    let mut config = config.clone();
    match request.squash {
        Squash::Nothing => {}
        Squash::New => squash_new_layers(store, request, &mut built)?,
        Squash::All => squash_all_layers(store, request, &mut config, &mut built)?,
    }
    let key = image_key(&config, &built);
    let created = created(store, request, &key)?;
    let text = rfc3339(created);
    config.created = Some(text.clone());
    let base_layers = built.base_layers;
    complete_history(&mut config.history, base_layers);
    config.history.extend(history(&built, &text));
    if request.omits_history {
        config.history.clear();
    }
    let parts = ImageParts {
        config,
        layers: built.sources.clone(),
        annotations: annotations(request, &built, &text),
        format: match request.format {
            ImageFormat::Oci => ManifestFormat::Oci,
            ImageFormat::Docker => ManifestFormat::Docker,
        },
    };
    let image = store.commit_image(parts, &request.tags, observer)?;
    store.cache_put(&key, &created.to_le_bytes(), &[])?;
    Ok(image)
}

/// When the image was made: the first time, if it was made before.
fn created(store: &Store, request: &Request, key: &Key) -> Result<i64, BuildError> {
    if let Some(created) = request.times.created() {
        return Ok(created);
    }
    let before = match request.no_cache {
        true => None,
        false => store.cache_get(key)?,
    };
    let before = before
        .and_then(|bytes| bytes.try_into().ok())
        .map(i64::from_le_bytes);
    Ok(before.unwrap_or(request.created))
}

fn image_key(config: &ImageConfig, built: &Built) -> Key {
    let past = built
        .past
        .iter()
        .map(|past| format!("{} {}", past.has_layer, past.text));
    KeyHasher::new("osmith build 1: image")
        .bytes(config.to_bytes())
        .bytes(chain(&built.layers))
        .list(past)
        .option(
            built
                .base
                .as_ref()
                .map(|(name, image)| format!("{name} {}", image.manifest_digest)),
        )
        .finish()
}

fn history(built: &Built, created: &str) -> Vec<History> {
    let base = built.base.as_ref().map_or("scratch", |(name, _)| name);
    let entry = |(index, past): (usize, &Past)| History {
        created: Some(created.to_owned()),
        created_by: Some(past.text.clone()),
        comment: (index == 0).then(|| format!("FROM {base}")),
        empty_layer: !past.has_layer,
        ..History::default()
    };
    built.past.iter().enumerate().map(entry).collect()
}

/// A base image may say less of its layers than there are: nothing, for instance. The others get an entry each, so that
/// what is said of new layers is said of them.
fn complete_history(history: &mut Vec<History>, layers: usize) {
    let described = history.iter().filter(|entry| !entry.empty_layer).count();
    history.extend((described..layers).map(|_| History::default()));
}

/// The base image's annotations, what is said of every image, and what was asked for.
fn annotations(request: &Request, built: &Built, created: &str) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::new();
    if let Some((name, image)) = &built.base {
        if request.inherits_annotations {
            annotations = image.manifest.annotations.clone();
        }
        annotations.insert(BASE_NAME.to_owned(), name.clone());
        annotations.insert(BASE_DIGEST.to_owned(), image.manifest_digest.to_string());
    }
    annotations.insert(CREATED.to_owned(), created.to_owned());
    annotations.retain(|name, _| !request.unset_annotations.contains(name));
    annotations.extend(request.annotations.clone());
    annotations
}

/// All layers that are not the base image's become one; the steps stay in the history.
fn squash_new_layers(store: &Store, request: &Request, built: &mut Built) -> Result<(), BuildError> {
    let (base, new) = built.layers.split_at(built.base_layers.min(built.layers.len()));
    if new.len() < 2 {
        return Ok(());
    }
    let key = KeyHasher::new("osmith build 1: squash")
        .bytes(chain(base))
        .bytes(chain(new))
        .finish();
    let known = match request.no_cache {
        true => None,
        false => store.cache_get(&key)?.and_then(|bytes| Key::try_from(bytes).ok()),
    };
    let layer = match known {
        Some(known) => LayerId::new(known),
        None => squashed(store, base, new)?,
    };
    store.cache_put(&key, layer.as_bytes(), &[layer])?;
    built.layers.truncate(built.base_layers);
    built.layers.push(layer);
    built.sources.truncate(built.base_layers);
    built.sources.push(LayerSource::Own(layer));
    let last = built.past.iter().rposition(|past| past.has_layer);
    for (index, past) in built.past.iter_mut().enumerate() {
        past.has_layer = Some(index) == last;
    }
    Ok(())
}

/// All layers become one, and all steps one entry of the history. The base is only named.
fn squash_all_layers(
    store: &Store,
    request: &Request,
    config: &mut ImageConfig,
    built: &mut Built,
) -> Result<(), BuildError> {
    let key = KeyHasher::new("osmith build 1: squash all")
        .bytes(chain(&built.layers))
        .bytes(request.times.key())
        .finish();
    let known = match request.no_cache {
        true => None,
        false => store.cache_get(&key)?.and_then(|bytes| Key::try_from(bytes).ok()),
    };
    let layer = match known {
        Some(known) => LayerId::new(known),
        None => {
            let tree = store.merge(&built.layers)?;
            let mut layer = diff(&empty_tree(), &tree);
            layer.map_mtimes(|time| request.times.of_file(time));
            store.put_layer(&layer)?
        }
    };
    store.cache_put(&key, layer.as_bytes(), &[layer])?;
    built.base_layers = 0;
    built.layers = vec![layer];
    built.sources = vec![LayerSource::Own(layer)];
    config.history.clear();
    let last = built.past.pop();
    built.past = vec![Past {
        text: last.map_or_else(|| "/bin/sh -c #(nop) FROM".to_owned(), |past| past.text),
        has_layer: true,
    }];
    Ok(())
}

fn squashed(store: &Store, base: &[LayerId], new: &[LayerId]) -> Result<LayerId, BuildError> {
    let tree = store.merge(base)?;
    let layers = new
        .iter()
        .map(|id| store.layer(id))
        .collect::<Result<Vec<_>, _>>()?;
    let layer = squash(&tree, &layers).map_err(BuildError::Squash)?;
    Ok(store.put_layer(&layer)?)
}
