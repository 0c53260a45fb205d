//! Images, names, builds on images, and what is removed when.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use osmith_formats::tree::Content;
use osmith_image::compression::Codec;
use osmith_image::layer::{Layer, LayerBuilder, LayerNode, LayerPath};
use osmith_image::layout::{LayoutFormat, SaveOptions, save};
use osmith_image::store::{
    Access, Encoding, ImageParts, LayerSource, PruneOptions, RecordContents, Store, StoreError,
};
use osmith_image::{History, ImageConfig, Reference};
use osmith_report::{Class, Failure, Silent, StepId};

use crate::trees::{store, view};

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// A layer of one file with a content that is an object.
fn layer(store: &Store, path: &str, seed: u8) -> Layer {
    let mut builder = LayerBuilder::new();
    let content = store.put_bytes(&[seed; 1000]).unwrap();
    let path = LayerPath::parse(path.as_bytes()).unwrap();
    builder
        .add(path, Default::default(), LayerNode::Regular(content))
        .unwrap();
    builder.finish()
}

fn parts(layers: Vec<LayerSource>) -> ImageParts {
    ImageParts {
        config: ImageConfig::new("amd64", "linux"),
        layers,
        annotations: [("key".to_owned(), "value".to_owned())].into(),
        format: osmith_image::ManifestFormat::Oci,
    }
}

fn own(store: &Store, path: &str, seed: u8) -> LayerSource {
    LayerSource::Own(store.put_layer(&layer(store, path, seed)).unwrap())
}

#[test]
fn an_image_on_an_image_shares_its_layers() {
    let (directory, store) = store();
    let base = parts(vec![own(&store, "a", 1), own(&store, "b", 2)]);
    let base = store.commit_image(base, &[reference("base:1")], &Silent).unwrap();
    let mut layers = base.layer_sources();
    layers.push(own(&store, "c", 3));
    let image = store
        .commit_image(parts(layers), &[reference("localhost/top")], &Silent)
        .unwrap();
    assert_eq!(image.manifest.layers[..2], base.manifest.layers);
    assert_eq!(image.manifest.annotations["key"], "value");
    let tree = image.tree(&store).unwrap();
    assert_eq!(view(&tree).len(), 4);
    // The layer's digest is that of its tar stream.
    let id = image.layers(&store).unwrap()[2];
    let mut tar = Vec::new();
    store.write_tar(&id, &mut tar, &Silent).unwrap();
    let descriptor = &image.manifest.layers[2];
    assert_eq!(osmith_image::Sha256Digest::of(&tar), descriptor.digest);
    assert_eq!(
        (tar.len() as u64, descriptor.digest),
        (descriptor.size_bytes, image.config.rootfs.diff_ids[2])
    );
    // The same from a store that is only read.
    drop(store);
    let store = Store::open(directory.path(), Access::ReadOnly).unwrap();
    assert_eq!(store.image(&reference("top")).unwrap(), image);
    assert_eq!(view(&image.tree(&store).unwrap()), view(&tree));
    assert!(matches!(
        store.tag(&image, &reference("x")),
        Err(StoreError::ReadOnly(_))
    ));
}

#[test]
fn images_are_found_by_name_digest_and_id() {
    let (_directory, store) = store();
    let image = store
        .commit_image(
            parts(vec![own(&store, "a", 1)]),
            &[reference("debian:13")],
            &Silent,
        )
        .unwrap();
    let id = image.id().hex();
    let pinned = format!("anything@{}", image.manifest_digest);
    for text in ["debian:13", "localhost/debian:13", &pinned, &id, &id[..12]] {
        assert_eq!(store.image(&reference(text)).unwrap(), image, "{text}");
    }
    for text in [
        "debian",
        "debian:12",
        "registry.example/library/debian:13",
        "ffff",
        &format!("{id}:1"),
    ] {
        assert!(
            matches!(
                store.image(&reference(text)),
                Err(StoreError::UnknownImage { .. })
            ),
            "{text}"
        );
    }
    let error = store.image(&reference("debiam:13")).unwrap_err();
    assert_eq!(error.class(), Class::NotFound);
    assert_eq!(error.hints()[0], "did you mean 'localhost/debian:13'?");
    store.tag(&image, &reference("registry.example/x/y:z")).unwrap();
    let listed = store.images().unwrap().images;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        listed[0].names,
        [
            reference("localhost/debian:13"),
            reference("registry.example/x/y:z")
        ]
    );
    store.untag(&reference("debian:13")).unwrap();
    assert!(store.untag(&reference("debian:13")).is_err());
    assert_eq!(
        store.images().unwrap().images[0].names,
        [reference("registry.example/x/y:z")]
    );
}

#[test]
fn names_as_long_as_they_may_be() {
    let (_directory, store) = store();
    let image = store.commit_image(parts(vec![]), &[], &Silent).unwrap();
    let long = format!("localhost/{}:{}", ["a"; 122].join("/"), "t".repeat(128));
    for name in [long.as_str(), "a/b:1", "a/b/c:1", "a:b", "localhost:5000/a"] {
        store.tag(&image, &reference(name)).unwrap();
        assert_eq!(store.image(&reference(name)).unwrap(), image);
    }
    assert_eq!(store.names().unwrap().len(), 5);
}

#[test]
fn the_history_fits_the_layers() {
    let (_directory, store) = store();
    let mut wrong = parts(vec![own(&store, "a", 1)]);
    let empty = History {
        empty_layer: true,
        ..History::default()
    };
    wrong.config.history = vec![empty.clone()];
    assert!(matches!(
        store.commit_image(wrong.clone(), &[], &Silent),
        Err(StoreError::History {
            history: 0,
            layers: 1
        })
    ));
    wrong.config.history.push(History::default());
    store.commit_image(wrong, &[], &Silent).unwrap();
}

/// The names of all files of the store.
fn files(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(path) = pending.pop() {
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => pending.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn prune_removes_what_nothing_needs_and_nothing_else() {
    let (directory, store) = store();
    let kept = parts(vec![own(&store, "a", 1), own(&store, "b", 2)]);
    let kept = store.commit_image(kept, &[reference("kept")], &Silent).unwrap();
    let options = SaveOptions {
        format: LayoutFormat::Directory,
        encoding: Encoding::of(Codec::Zstd),
        name: None,
    };
    let work = store.work_directory().unwrap();
    save(
        &kept,
        &store,
        &work.path().join("1"),
        &options,
        &Silent,
        StepId(0),
    )
    .unwrap();
    drop(work);
    let cached = store.put_layer(&layer(&store, "cached", 3)).unwrap();
    store.cache_put(&[1; 32], b"value", &[cached]).unwrap();
    let before = files(directory.path());
    let nothing = store.prune(&PruneOptions::default(), &Silent).unwrap();
    assert_eq!(nothing, Default::default());
    let dangling = parts(vec![own(&store, "a", 1), own(&store, "d", 4)]);
    let dangling = store.commit_image(dangling, &[], &Silent).unwrap();
    save(
        &dangling,
        &store,
        &directory.path().join("tmp/2"),
        &options,
        &Silent,
        StepId(0),
    )
    .unwrap();
    store.put_bytes(&[5; 5000]).unwrap();
    let pruned = store.prune(&PruneOptions::default(), &Silent).unwrap();
    assert_eq!(
        (pruned.images, pruned.layers, pruned.objects, pruned.cache_entries),
        (1, 1, 2, 0)
    );
    // Manifest, configuration, and the layer that was compressed.
    assert_eq!(pruned.blobs, 3);
    assert!(pruned.size_bytes > 6000);
    assert_eq!(files(directory.path()), before);
    assert!(store.verify(&Silent, StepId(0)).unwrap().is_empty());
    let pruned = store.prune(&PruneOptions { cache: true }, &Silent).unwrap();
    assert_eq!((pruned.cache_entries, pruned.layers, pruned.objects), (1, 1, 1));
    kept.tree(&store).unwrap();
    let (removed, pruned) = store.remove_image(&reference("kept"), &Silent).unwrap();
    assert_eq!(removed.to_string(), "localhost/kept:latest");
    assert_eq!((pruned.images, pruned.objects), (1, 2));
    assert_eq!(files(directory.path()), [directory.path().join("store.json")]);
}

#[test]
fn short_names_find_the_only_image_that_ends_so() {
    let (_directory, store) = store();
    let names = ["registry.example/library/web:1", "registry.example/db"].map(reference);
    let image = store
        .commit_image(parts(vec![own(&store, "a", 1)]), &names, &Silent)
        .unwrap();
    for text in ["web:1", "library/web:1", "db"] {
        assert_eq!(store.image(&reference(text)).unwrap(), image, "{text}");
    }
    store.tag(&image, &reference("example.com/web:1")).unwrap();
    let error = store.image(&reference("web:1")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "'web:1' may be any of 'example.com/web:1', 'registry.example/library/web:1'"
    );
    store.tag(&image, &reference("web:1")).unwrap();
    assert_eq!(
        store.resolve(&reference("web:1")).unwrap(),
        Some(reference("localhost/web:1"))
    );
    store.remove_image(&reference("web:1"), &Silent).unwrap();
    assert!(store.image(&reference("web:1")).is_err());
}

#[test]
fn a_damaged_image_is_listed_beside_the_others_and_can_be_removed() {
    let (directory, store) = store();
    let image = store
        .commit_image(parts(vec![own(&store, "a", 1)]), &[reference("a")], &Silent)
        .unwrap();
    store
        .commit_image(parts(vec![own(&store, "c", 1)]), &[reference("c")], &Silent)
        .unwrap();
    let require_damaged = |name: &str| {
        let listing = store.images().unwrap();
        assert_eq!(listing.images.len(), 1);
        assert_eq!(listing.damaged.len(), 1);
        assert_eq!(listing.damaged[0].names, [reference(name).qualified()]);
        assert_eq!(listing.damaged[0].error.class(), Class::Corrupt);
    };
    let manifest = format!("blobs/sha256/{}", image.manifest_digest.hex());
    std::fs::write(directory.path().join(manifest), b"{}").unwrap();
    require_damaged("a");
    store.remove_image(&reference("a"), &Silent).unwrap();
    assert!(store.images().unwrap().damaged.is_empty());
    std::fs::write(directory.path().join("names/localhost/b:latest"), b"").unwrap();
    require_damaged("b");
    store.remove_image(&reference("b"), &Silent).unwrap();
    assert!(store.images().unwrap().damaged.is_empty());
}

#[test]
fn a_name_less_is_no_image_less() {
    let (_directory, store) = store();
    let names = [reference("a"), reference("b")];
    let image = store
        .commit_image(parts(vec![own(&store, "a", 1)]), &names, &Silent)
        .unwrap();
    let (_, pruned) = store.remove_image(&names[0], &Silent).unwrap();
    assert_eq!(pruned, Default::default());
    assert_eq!(store.image(&names[1]).unwrap(), image);
}

#[test]
fn prune_needs_the_store_alone_and_leaves_it_usable() {
    let (directory, store) = store();
    let other = Store::open(directory.path(), Access::ReadOnly).unwrap();
    let error = store.prune(&PruneOptions::default(), &Silent).unwrap_err();
    assert!(matches!(error, StoreError::Busy(_)));
    assert_eq!(error.class(), Class::Conflict);
    drop(other);
    store.prune(&PruneOptions::default(), &Silent).unwrap();
}

#[test]
fn a_name_that_leads_nowhere_keeps_everything() {
    let (directory, store) = store();
    let image = parts(vec![own(&store, "a", 1)]);
    let image = store.commit_image(image, &[reference("x:1")], &Silent).unwrap();
    fs::write(directory.path().join("names/localhost/x:1"), b"").unwrap();
    let error = store.prune(&PruneOptions::default(), &Silent).unwrap_err();
    assert_eq!(error.class(), Class::Corrupt);
    store.tag(&image, &reference("x:1")).unwrap();
    store.prune(&PruneOptions::default(), &Silent).unwrap();
    assert_eq!(store.image(&reference("x:1")).unwrap(), image);
}

#[test]
fn damage_is_found_and_nothing_is_pruned_on_a_guess() {
    let (directory, store) = store();
    let image = parts(vec![
        own(&store, "a", 1),
        own(&store, "b", 2),
        own(&store, "c", 3),
    ]);
    let image = store.commit_image(image, &[reference("x")], &Silent).unwrap();
    assert!(store.verify(&Silent, StepId(0)).unwrap().is_empty());
    let objects: Vec<_> = files(&directory.path().join("objects"));
    let mut bytes = fs::read(&objects[0]).unwrap();
    bytes[999] ^= 1;
    fs::write(&objects[0], bytes).unwrap();
    fs::remove_file(&objects[1]).unwrap();
    let damages = store.verify(&Silent, StepId(0)).unwrap();
    let seen: Vec<_> = damages
        .iter()
        .map(|damage| (damage.what, damage.missing))
        .collect();
    assert_eq!(seen.len(), 2);
    assert!(seen.contains(&("object", false)) && seen.contains(&("object", true)));
    let layer = image.layers(&store).unwrap()[0];
    let record = directory.path().join("layers").join(layer.hex());
    let mut bytes = fs::read(&record).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&record, bytes).unwrap();
    assert_eq!(
        store.verify(&Silent, StepId(0)).unwrap().last().unwrap().what,
        "object"
    );
    assert!(
        store
            .verify(&Silent, StepId(0))
            .unwrap()
            .iter()
            .any(|damage| damage.what == "layer")
    );
    assert!(matches!(
        image.tree(&store),
        Err(StoreError::Damaged { what: "layer", .. })
    ));
    let before = files(directory.path());
    assert!(store.prune(&PruneOptions::default(), &Silent).is_err());
    assert_eq!(files(directory.path()), before);
}

#[test]
fn records_make_a_store_in_a_repository_that_leaves_its_objects_alone() {
    let (directory, store) = store();
    let image = store
        .commit_image(parts(vec![own(&store, "a", 1)]), &[reference("a")], &Silent)
        .unwrap();
    let machine = tempfile::tempdir().unwrap();
    let (repository, path) = (
        machine.path().join("composefs"),
        machine.path().join("state/store"),
    );
    std::fs::create_dir_all(&repository).unwrap();
    std::fs::rename(directory.path().join("objects"), repository.join("objects")).unwrap();
    std::fs::create_dir(directory.path().join("objects")).unwrap();
    for record in store.records(&image, Some(&reference("a").qualified())).unwrap() {
        let file = path.join(&record.path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        match record.contents {
            RecordContents::Bytes(bytes) => std::fs::write(file, bytes).unwrap(),
            RecordContents::Stored { size_bytes } => {
                std::io::copy(
                    &mut store.open_record(&record.path).unwrap(),
                    &mut fs::File::create(&file).unwrap(),
                )
                .unwrap();
                assert_eq!(fs::metadata(file).unwrap().len(), size_bytes);
            }
        }
    }
    let copy = Store::open_in_repository(&path, Path::new("../../composefs/objects")).unwrap();
    assert_eq!(copy.images().unwrap().images, store.images().unwrap().images);
    assert_eq!(
        view(&image.tree(&copy).unwrap()),
        view(&image.tree(&store).unwrap())
    );

    let Content::Object { digest, .. } = copy.put_bytes(&[7; 100]).unwrap() else {
        panic!("inline");
    };
    let object = repository.join("objects").join(digest.object_path());
    assert_eq!(std::fs::read(&object).unwrap(), [7; 100]);
    copy.remove_image(&reference("a"), &Silent).unwrap();
    copy.prune(&PruneOptions { cache: true }, &Silent).unwrap();
    assert!(copy.images().unwrap().images.is_empty());
    assert!(object.exists(), "who looks after the repository removes objects");
}

#[test]
fn a_store_in_a_repository_is_made_where_there_is_none() {
    let machine = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(machine.path().join("composefs/objects")).unwrap();
    let path = machine.path().join("state/store");
    std::fs::create_dir(machine.path().join("state")).unwrap();
    for _ in 0..2 {
        let store = Store::open_in_repository(&path, Path::new("../../composefs/objects")).unwrap();
        let mut writer = store.object_writer().unwrap();
        writer.write_all(&vec![7; 3 << 20]).unwrap();
        writer.finish().unwrap();
    }
    assert_eq!(
        walk(&machine.path().join("composefs/objects")),
        1,
        "one object, in the repository"
    );
}

fn walk(directory: &Path) -> usize {
    let directories = std::fs::read_dir(directory).unwrap();
    directories
        .map(|entry| std::fs::read_dir(entry.unwrap().path()).unwrap().count())
        .sum()
}
