//! Commands about the images of the store: list, inspect, tag, remove, prune, check.

mod indexes;

use std::io::Write as _;

use osmith_image::store::{
    DamagedImage, Image, Listed, ListedIndex, Listing, Named, PruneOptions, Store, StoreError,
};
use osmith_image::{Platform, Reference, ReferenceError};
use osmith_machine::install::composefs_digest;
use osmith_report::{Class, Failure, Observer};
use serde::Serialize;
use serde_json::{Value, json};

use super::single_step;
use crate::args::{DigestArgs, ImagesArgs, InspectArgs, ListFormat, PruneArgs, RmiArgs, TagArgs};
use crate::failure::{CommandFailure, CommandResult};
use crate::size;

/// A row of the list of images.
type Row = [String; 5];

/// How much of an image ID a listing shows.
const SHORT_ID_DIGITS: usize = 12;

pub(crate) fn images(args: &ImagesArgs, store: &Store) -> CommandResult {
    let Listing {
        images: listed,
        indexes,
        damaged,
    } = store.images()?;
    let text = match (args.format, args.quiet) {
        (ListFormat::Json, _) => {
            let images = listed.iter().map(listing);
            let indexes = indexes.iter().map(|entry| indexes::listing(entry, &listed));
            json_text(&Value::Array(images.chain(indexes).collect()))?
        }
        (ListFormat::Table, true) => {
            let images = listed.iter().map(short_id);
            let indexes = indexes.iter().map(indexes::short_digest);
            images.chain(indexes).map(|id| id + "\n").collect()
        }
        (ListFormat::Table, false) => table(&rows(&listed, &indexes)),
    };
    print(&text)?;
    match damaged.into_iter().next() {
        None => Ok(()),
        Some(first) => Err(unlisted(first).into()),
    }
}

fn unlisted(damaged: DamagedImage) -> CommandFailure {
    let names: Vec<_> = damaged.names.iter().map(|name| format!("'{name}'")).collect();
    let what = match names.as_slice() {
        [] => "an image without a name cannot be read".to_owned(),
        names => format!("image {} cannot be read", names.join(", ")),
    };
    let failure = CommandFailure::new(Class::Corrupt, what).because(damaged.error);
    failure.hint("'osmith fsck' lists all that is damaged, 'osmith rmi' removes an image")
}

pub(crate) fn inspect(args: &InspectArgs, store: &Store) -> CommandResult {
    let Listing { images, indexes, .. } = store.images()?;
    let mut found = Vec::new();
    for name in &args.images {
        let name = parse_name(name)?;
        found.push(match named(&name, args.platform.as_ref(), store)? {
            Named::Image(image) => {
                let same = |entry: &&Listed| entry.image.manifest_digest == image.manifest_digest;
                let names = images.iter().find(same).map(|entry| entry.names.clone());
                inspection(&Listed {
                    image: *image,
                    names: names.unwrap_or_default(),
                })
            }
            Named::Index(index) => {
                let same = |entry: &&ListedIndex| entry.index.digest == index.digest;
                let names = indexes.iter().find(same).map(|entry| entry.names.clone());
                let names = names.unwrap_or_default();
                indexes::inspection(&ListedIndex { index, names }, &images)
            }
        });
    }
    print(&json_text(&Value::Array(found))?)
}

/// The image of a name that is for a kind of machine.
pub(crate) fn of_platform(name: &Reference, platform: &Platform, store: &Store) -> Result<Image, StoreError> {
    let image = store.image_for(name, platform)?;
    image.require_platform(name, platform)?;
    Ok(image)
}

/// What a name stands for: of an index the image for a kind of machine, if that is asked for.
pub(crate) fn named(
    name: &Reference,
    platform: Option<&Platform>,
    store: &Store,
) -> Result<Named, StoreError> {
    match platform {
        Some(platform) => Ok(Named::Image(Box::new(of_platform(name, platform, store)?))),
        None => store.find(name),
    }
}

pub(crate) fn digest(args: &DigestArgs, store: &Store) -> CommandResult {
    let image = store.image(&parse_name(&args.image)?)?;
    print(&format!("{}\n", composefs_digest(store, &image)?))
}

pub(crate) fn tag(args: &TagArgs, store: &Store) -> CommandResult {
    let named = store.find(&parse_name(&args.image)?)?;
    let names = args
        .names
        .iter()
        .map(|name| parse_name(name))
        .collect::<Result<Vec<_>, _>>()?;
    for name in names {
        match &named {
            Named::Image(image) => store.tag(image, &name)?,
            Named::Index(index) => store.tag_index(index, &name)?,
        }
    }
    Ok(())
}

/// Takes names off images; an ID takes all names of its image.
pub(crate) fn rmi(args: &RmiArgs, store: &Store, observer: &dyn Observer) -> CommandResult {
    let mut freed_bytes = 0;
    for text in &args.images {
        for name in names_to_remove(text, store)? {
            let (name, removed) = store.remove_image(&name, observer)?;
            freed_bytes += removed.size_bytes;
            print(&format!("Untagged: {name}\n"))?;
        }
    }
    print(&format!("Freed: {}\n", size::render(freed_bytes)))
}

fn names_to_remove(text: &str, store: &Store) -> Result<Vec<Reference>, Box<dyn Failure>> {
    let wanted = parse_name(text)?;
    // A name whose image is damaged can be removed too, so the image is not read.
    if wanted.digest().is_none() && !matches!(store.resolve(&wanted), Ok(None)) {
        return Ok(vec![wanted]);
    }
    let meant = store.find(&wanted)?.digest();
    let of_image = store.names()?.into_iter().filter(|(_, digest)| *digest == meant);
    let found: Vec<_> = of_image.map(|(name, _)| name).collect();
    match found.is_empty() {
        false => Ok(found),
        true => Err(CommandFailure::new(
            Class::NotFound,
            format!("image '{text}' has no name to take away"),
        )
        .hint("'osmith prune' deletes images without a name")
        .into()),
    }
}

pub(crate) fn prune(args: &PruneArgs, store: &Store, observer: &dyn Observer) -> CommandResult {
    let removed = store.prune(&PruneOptions { cache: args.cache }, observer)?;
    let counts = [
        (removed.images, "images"),
        (removed.layers, "layers"),
        (removed.objects, "objects"),
        (removed.blobs, "blobs"),
        (removed.cache_entries, "cached steps"),
    ];
    let counts: Vec<String> = counts
        .iter()
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    print(&format!(
        "Deleted: {}\nFreed: {}\n",
        counts.join(", "),
        size::render(removed.size_bytes)
    ))
}

pub(crate) fn fsck(store: &Store, observer: &dyn Observer) -> CommandResult {
    let title = format!("check {}", store.path().display());
    let damages = single_step(observer, title, |step| Ok(store.verify(observer, step)?))?;
    if damages.is_empty() {
        return print("Nothing is damaged\n");
    }
    let lines: String = damages.iter().map(|damage| format!("{damage}\n")).collect();
    print(&lines)?;
    let what = match damages.len() {
        1 => "one thing is".to_owned(),
        count => format!("{count} things are"),
    };
    Err(CommandFailure::new(
        Class::Corrupt,
        format!("{what} damaged in the store '{}'", store.path().display()),
    )
    .hint("remove the images that need it with 'osmith rmi', run 'osmith prune --cache', and make them again")
    .into())
}

pub(crate) fn parse_name(text: &str) -> Result<Reference, ReferenceError> {
    text.parse()
}

/// Writes a command's result to standard output.
pub(crate) fn print(text: &str) -> CommandResult {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        // The reader, such as `head`, has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(
            CommandFailure::new(Class::Environment, "cannot write to standard output")
                .because(error)
                .into(),
        ),
        Ok(()) => Ok(()),
    }
}

/// A value as lines of JSON.
pub(crate) fn json_text(value: &impl Serialize) -> Result<String, CommandFailure> {
    serde_json::to_string_pretty(value)
        .map(|text| text + "\n")
        .map_err(|error| CommandFailure::new(Class::Internal, "cannot write JSON").because(error))
}

fn short_id(entry: &Listed) -> String {
    entry.image.id().hex().chars().take(SHORT_ID_DIGITS).collect()
}

fn size_bytes(entry: &Listed) -> u64 {
    entry
        .image
        .manifest
        .layers
        .iter()
        .map(|layer| layer.size_bytes)
        .sum()
}

/// A row a name, podman's columns; below an index its images.
fn rows(listed: &[Listed], indexes: &[ListedIndex]) -> Vec<Row> {
    let mut rows = vec![["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"].map(str::to_owned)];
    let (named, unnamed): (Vec<_>, Vec<_>) = listed.iter().partition(|entry| !entry.names.is_empty());
    for entry in named {
        for name in &entry.names {
            rows.push(row(entry, name.name(), name.tag_or_latest()));
        }
    }
    for index in indexes {
        rows.extend(indexes::rows(index, listed));
    }
    let in_index = |entry: &&Listed| indexes::has(indexes, entry);
    for entry in unnamed.into_iter().filter(|entry| !in_index(entry)) {
        rows.push(row(entry, "<none>".to_owned(), "<none>"));
    }
    rows
}

/// The columns of an image.
fn row(entry: &Listed, repository: String, tag: &str) -> Row {
    let created = entry.image.config.created.as_deref().unwrap_or("-");
    let created = created.get(..16).unwrap_or(created).replace('T', " ");
    [
        repository,
        tag.to_owned(),
        short_id(entry),
        created,
        size::render(size_bytes(entry)),
    ]
}

/// Rows with columns of equal width.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or_default()
    });
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn listing(entry: &Listed) -> Value {
    json!({
        "Id": entry.image.id().hex(),
        "Digest": entry.image.manifest_digest.to_string(),
        "Names": names(entry),
        "Created": entry.image.config.created,
        "Size": size_bytes(entry),
        "Labels": labels(entry),
    })
}

/// What podman's `image inspect` prints, for the fields that mean something here.
fn inspection(entry: &Listed) -> Value {
    let config = &entry.image.config;
    json!({
        "Id": entry.image.id().hex(),
        "Digest": entry.image.manifest_digest.to_string(),
        "RepoTags": names(entry),
        "Created": config.created,
        "Author": config.author,
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": size_bytes(entry),
        "Labels": labels(entry),
        "Annotations": entry.image.manifest.annotations,
        "Config": config.config,
        "RootFS": { "Type": config.rootfs.kind, "Layers": config.rootfs.diff_ids },
        "History": config.history,
        "ManifestType": entry.image.manifest.media_type,
    })
}

fn names(entry: &Listed) -> Vec<String> {
    entry.names.iter().map(ToString::to_string).collect()
}

fn labels(entry: &Listed) -> Value {
    json!(entry.image.config.config.labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["A", "B"], ["long", "x"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "A     B\nlong  x\n");
    }
}
