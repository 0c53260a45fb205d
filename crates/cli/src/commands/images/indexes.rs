//! How indexes are shown: images for several kinds of machines under one name.

use osmith_image::store::{Listed, ListedIndex};
use osmith_image::{Descriptor, Platform};
use serde_json::{Value, json};

use super::{Row, SHORT_ID_DIGITS, row, size_bytes};
use crate::size;

/// Whether an image is in one of the indexes.
pub(super) fn has(indexes: &[ListedIndex], entry: &Listed) -> bool {
    let mut digests = indexes.iter().flat_map(|listed| listed.index.digests());
    digests.any(|digest| digest == entry.image.manifest_digest)
}

pub(super) fn short_digest(listed: &ListedIndex) -> String {
    listed.index.digest.hex().chars().take(SHORT_ID_DIGITS).collect()
}

/// A row a name, and one for each image.
pub(super) fn rows(listed: &ListedIndex, images: &[Listed]) -> Vec<Row> {
    let created = members(listed, images).filter_map(|(_, image)| image?.image.config.created.clone());
    let created = created.max().unwrap_or_else(|| "-".to_owned());
    let created = created.get(..16).unwrap_or(&created).replace('T', " ");
    let of_name = listed.names.iter().map(|name| {
        [
            name.name(),
            name.tag_or_latest().to_owned(),
            short_digest(listed),
            created.clone(),
            size::render(total_bytes(listed, images)),
        ]
    });
    let of_images = members(listed, images).map(|(entry, image)| {
        let platform = format!("  {}", platform(entry));
        match image {
            Some(image) => row(image, platform, ""),
            None => [
                platform,
                String::new(),
                "missing".to_owned(),
                "-".to_owned(),
                "-".to_owned(),
            ],
        }
    });
    of_name.chain(of_images).collect()
}

pub(super) fn listing(listed: &ListedIndex, images: &[Listed]) -> Value {
    json!({
        "Id": listed.index.digest.hex(),
        "Digest": listed.index.digest.to_string(),
        "Names": names(listed),
        "IsManifestList": true,
        "Manifests": manifests(listed, images),
        "Size": total_bytes(listed, images),
    })
}

pub(super) fn inspection(listed: &ListedIndex, images: &[Listed]) -> Value {
    json!({
        "Digest": listed.index.digest.to_string(),
        "RepoTags": names(listed),
        "Annotations": listed.index.index.annotations,
        "Manifests": manifests(listed, images),
        "ManifestType": listed.index.index.media_type,
    })
}

fn manifests(listed: &ListedIndex, images: &[Listed]) -> Vec<Value> {
    let manifest = |(entry, image): (&Descriptor, Option<&Listed>)| {
        json!({
            "Platform": platform(entry),
            "Id": image.map(|image| image.image.id().hex()),
            "Digest": entry.digest.to_string(),
            "ManifestType": entry.media_type,
            "Size": image.map(size_bytes),
        })
    };
    members(listed, images).map(manifest).collect()
}

/// The entries of an index, with the images if they are there.
fn members<'a>(
    listed: &'a ListedIndex,
    images: &'a [Listed],
) -> impl Iterator<Item = (&'a Descriptor, Option<&'a Listed>)> {
    listed.index.index.manifests.iter().map(|entry| {
        let mut found = images.iter();
        (
            entry,
            found.find(|image| image.image.manifest_digest == entry.digest),
        )
    })
}

fn total_bytes(listed: &ListedIndex, images: &[Listed]) -> u64 {
    members(listed, images)
        .filter_map(|(_, image)| image.map(size_bytes))
        .sum()
}

fn platform(entry: &Descriptor) -> String {
    entry
        .platform
        .as_ref()
        .map_or_else(|| "-".to_owned(), Platform::to_string)
}

fn names(listed: &ListedIndex) -> Vec<String> {
    listed.names.iter().map(ToString::to_string).collect()
}
