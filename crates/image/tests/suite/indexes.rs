//! Indexes: images for several kinds of machines under one name, in the store and out of it.

use std::fs;

use osmith_image::layer::{LayerBuilder, LayerNode, LayerPath};
use osmith_image::layout::{LayoutFormat, LoadOptions, SaveOptions, load, save_index};
use osmith_image::store::{
    Access, Encoding, Image, ImageIndex, ImageParts, LayerSource, Named, PruneOptions, Store, StoreError,
};
use osmith_image::{
    ImageConfig, Index, IntakeOptions, ManifestFormat, Platform, Reference, Sha256Digest, media_type,
};
use osmith_report::{Failure, Silent, StepId};
use osmith_testing::oracle;

use crate::trees::store;

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

/// An image of one file that is an object, for a kind of machine.
fn image_in(store: &Store, text: &str, seed: u8, format: ManifestFormat, names: &[&str]) -> Image {
    let platform = platform(text);
    let mut builder = LayerBuilder::new();
    let content = store.put_bytes(&[seed; 1000]).unwrap();
    let path = LayerPath::parse(b"file").unwrap();
    builder
        .add(path, Default::default(), LayerNode::Regular(content))
        .unwrap();
    let layer = store.put_layer(&builder.finish()).unwrap();
    let mut config = ImageConfig::new(&platform.architecture, &platform.os);
    config.variant = platform.variant;
    let parts = ImageParts {
        config,
        layers: vec![LayerSource::Own(layer)],
        annotations: Default::default(),
        format,
    };
    let names: Vec<_> = names.iter().map(|name| reference(name)).collect();
    store.commit_image(parts, &names, &Silent).unwrap()
}

fn image(store: &Store, text: &str, seed: u8) -> Image {
    image_in(store, text, seed, ManifestFormat::Oci, &[])
}

/// Images for two kinds of machines, with the index `localhost/both`.
fn both(store: &Store) -> (Image, Image, ImageIndex) {
    let (one, other) = (image(store, "linux/amd64", 1), image(store, "linux/arm64", 2));
    let images = [one.clone(), other.clone()];
    let index = store.add_to_index(&reference("both"), &images).unwrap();
    (one, other, index)
}

fn objects(store: &Store) -> usize {
    let directories = fs::read_dir(store.objects_path()).unwrap();
    directories
        .map(|directory| fs::read_dir(directory.unwrap().path()).unwrap().count())
        .sum()
}

#[test]
fn an_image_of_an_index_is_chosen_by_the_kind_of_machine() {
    let (_directory, store) = store();
    let (one, other, index) = both(&store);
    let name = reference("both");
    let found = |text: &str| store.image_for(&name, &platform(text)).unwrap();
    assert_eq!(found("linux/amd64"), one);
    assert_eq!(found("linux/arm64/v8"), other);
    let error = store.image_for(&name, &platform("linux/s390x")).unwrap_err();
    assert_eq!(error.to_string(), "'both' has no image for linux/s390x");
    assert_eq!(error.hints(), ["it has images for linux/amd64, linux/arm64"]);
    assert_eq!(
        store.image(&name).ok(),
        [one.clone(), other]
            .into_iter()
            .find(|image| image.config.architecture == osmith_image::host_architecture())
    );
    let whole = Named::Index(index.clone());
    assert_eq!(store.find(&name).unwrap(), whole);
    assert_eq!(store.find(&reference("localhost/both:latest")).unwrap(), whole);
    assert_eq!(store.find(&name.with_digest(index.digest)).unwrap(), whole);
    assert_eq!(store.find(&reference(&index.digest.hex()[..12])).unwrap(), whole);
    // An image alone is for whatever it is for.
    store.tag(&one, &reference("one")).unwrap();
    let alone = store.image_for(&reference("one"), &platform("linux/s390x"));
    assert_eq!(alone.unwrap(), one);
    let error = one.require_platform(&name, &platform("linux/s390x")).unwrap_err();
    assert_eq!(error.hints(), ["it has images for linux/amd64"]);
    one.require_platform(&name, &platform("linux/amd64/v3")).unwrap();
    let listing = store.images().unwrap();
    assert!(listing.damaged.is_empty());
    assert_eq!(listing.images.len(), 2);
    assert_eq!(listing.indexes.len(), 1);
    assert_eq!(listing.indexes[0].names, [reference("localhost/both:latest")]);
}

#[test]
fn an_image_takes_the_place_of_one_for_the_same_machines() {
    let (_directory, store) = store();
    let (one, _, first) = both(&store);
    let name = reference("both");
    let newer = image(&store, "linux/arm64/v8", 3);
    let third = image(&store, "linux/arm/v7", 4);
    let index = store
        .add_to_index(&name, &[newer.clone(), third.clone()])
        .unwrap();
    let digests = [one.manifest_digest, newer.manifest_digest, third.manifest_digest];
    assert_eq!(index.digests().collect::<Vec<_>>(), digests);
    assert_eq!(index.index.media_type.as_deref(), Some(media_type::INDEX));
    assert_eq!(store.add_to_index(&name, &[newer]).unwrap(), index);
    // The old one has no name and goes, and the old index with it.
    let pruned = store.prune(&PruneOptions { cache: true }, &Silent).unwrap();
    assert_eq!((pruned.images, pruned.objects), (1, 1));
    assert!(matches!(
        store.index_of_digest(&first.digest),
        Err(StoreError::MissingBlob(_))
    ));
    store.tag(&third, &reference("alone")).unwrap();
    assert!(matches!(
        store.add_to_index(&reference("alone"), &[one]),
        Err(StoreError::NotAnIndex(_))
    ));
    let docker = image_in(&store, "linux/amd64", 5, ManifestFormat::Docker, &[]);
    let index = store.add_to_index(&reference("docker"), &[docker]).unwrap();
    assert_eq!(index.index.media_type.as_deref(), Some(media_type::DOCKER_INDEX));
    assert_eq!(index.index.manifests[0].media_type, media_type::DOCKER_MANIFEST);
}

#[test]
fn builds_that_end_together_are_all_in_the_index() {
    let (directory, store) = store();
    let platforms = ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/s390x"];
    std::thread::scope(|scope| {
        for (text, seed) in platforms.into_iter().zip(1..) {
            // Each as a process of its own has it.
            let own = Store::open(directory.path(), Access::ReadWrite).unwrap();
            scope.spawn(move || {
                let image = image(&own, text, seed);
                own.add_to_index(&reference("all"), &[image]).unwrap();
            });
        }
    });
    for text in platforms {
        store.image_for(&reference("all"), &platform(text)).unwrap();
    }
}

#[test]
fn an_index_keeps_its_images_until_its_last_name_goes() {
    let (_directory, store) = store();
    let (one, other, index) = both(&store);
    store.tag_index(&index, &reference("again")).unwrap();
    store.tag(&one, &reference("one")).unwrap();
    let prune = || {
        store
            .prune(&PruneOptions { cache: true }, &Silent)
            .unwrap()
            .images
    };
    assert_eq!(prune(), 0);
    let remove = |name: &str| store.remove_image(&reference(name), &Silent).unwrap().1.images;
    // An image that is in an index needs no name.
    assert_eq!(remove("one"), 0);
    store.tag(&one, &reference("one")).unwrap();
    assert_eq!(remove("both"), 0);
    assert_eq!(objects(&store), 2);
    assert_eq!(remove("again"), 1);
    assert_eq!(objects(&store), 1);
    assert!(store.image_of_digest(&other.manifest_digest).is_err());
    assert_eq!(store.image(&reference("one")).unwrap(), one);
    assert_eq!(store.verify(&Silent, StepId(0)).unwrap(), []);
    assert_eq!(prune(), 0);
}

#[test]
fn an_image_that_is_held_keeps_the_last_name_of_its_index() {
    let (_directory, store) = store();
    let (_, other, _) = both(&store);
    let holder = Sha256Digest::of(b"holder");
    store.hold(&holder, &other.manifest_digest).unwrap();
    assert!(matches!(
        store.remove_image(&reference("both"), &Silent),
        Err(StoreError::Held { .. })
    ));
    store.release(&holder).unwrap();
    let (_, pruned) = store.remove_image(&reference("both"), &Silent).unwrap();
    assert_eq!((pruned.images, objects(&store)), (2, 0));
}

#[test]
fn what_an_index_has_lost_is_told() {
    let (directory, store) = store();
    let (one, _, index) = both(&store);
    fs::remove_file(directory.path().join("images").join(one.manifest_digest.hex())).unwrap();
    let told = || -> Vec<_> {
        let damages = store.verify(&Silent, StepId(0)).unwrap();
        damages.iter().map(ToString::to_string).collect()
    };
    assert_eq!(told(), [format!("image {} is missing", one.manifest_digest)]);
    let blob = directory.path().join("blobs/sha256").join(index.digest.hex());
    fs::write(blob, "{}").unwrap();
    assert_eq!(told(), [format!("image {} is damaged", index.digest)]);
    assert_eq!(store.images().unwrap().damaged.len(), 1);
    // Nothing goes while it cannot be told what is needed.
    assert!(store.prune(&PruneOptions::default(), &Silent).is_err());
    store.remove_image(&reference("both"), &Silent).unwrap();
    assert_eq!(store.prune(&PruneOptions::default(), &Silent).unwrap().images, 1);
    assert_eq!(told(), Vec::<String>::new());
}

#[test]
fn a_layout_of_an_index_has_all_its_images() {
    let (_directory, store) = store();
    let work = tempfile::tempdir().unwrap();
    let (one, other, index) = both(&store);
    for (format, name) in [
        (LayoutFormat::Directory, "layout"),
        (LayoutFormat::Archive, "layout.tar"),
    ] {
        let output = work.path().join(name);
        let options = SaveOptions {
            format,
            encoding: Encoding::of(osmith_image::compression::Codec::Gzip),
            name: Some(reference("both")),
        };
        let saved = save_index(&index, &store, &output, &options, &Silent, StepId(0)).unwrap();
        assert_eq!(saved.media_type, media_type::INDEX);
        for (text, expected) in [("linux/amd64", &one), ("linux/arm64", &other)] {
            let (_elsewhere, there) = crate::trees::store();
            let options = LoadOptions {
                select: None,
                platform: platform(text),
                names: None,
                intake: IntakeOptions::default(),
            };
            let loaded = load(&output, &there, &options, &Silent, StepId(0)).unwrap();
            assert_eq!(loaded[0].image.config, expected.config, "{text}");
            assert_eq!(loaded[0].names, [reference("localhost/both:latest")]);
        }
        if let (LayoutFormat::Directory, Some(skopeo)) = (format, oracle::require("skopeo")) {
            let mut command = std::process::Command::new(skopeo);
            command
                .args(["inspect", "--raw"])
                .arg(format!("oci:{}:localhost/both:latest", output.display()));
            let raw = command.output().unwrap().stdout;
            let seen = Index::from_bytes(&raw).unwrap();
            let platforms = seen.manifests.iter().map(|entry| entry.platform.clone().unwrap());
            assert_eq!(
                platforms.collect::<Vec<_>>(),
                [platform("linux/amd64"), platform("linux/arm64")]
            );
        }
    }
}
