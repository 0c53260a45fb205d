//! What a machine lost comes back.

use osmith_image::IntakeOptions;
use osmith_image::compression::Codec;
use osmith_image::layout::{LayoutFormat, LoadOptions, SaveOptions, load, save};
use osmith_image::store::Encoding;
use osmith_report::StepId;

use super::*;
use crate::check::{CheckOptions, Damage, DamageReason, check, deployments};
use osmith_formats::composefs::repository::manifest_stream;
use std::os::fd::AsFd;

const STEP: StepId = StepId(0);

impl Sample {
    fn damages(&self) -> Vec<Damage> {
        let physical = open_directory(self.path("sysroot")).unwrap();
        let options = CheckOptions {
            verity_required: false,
            deep: true,
        };
        let all = deployments(physical.as_fd()).unwrap();
        check(physical.as_fd(), &all, options, &Silent, STEP)
            .unwrap()
            .damages
    }

    fn object(&self, digest: &Digest) -> PathBuf {
        self.path("sysroot/composefs/objects").join(digest.object_path())
    }
}

/// A layout with the image of these files, in place of the registry.
fn layout(files: &Files) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store"), Access::ReadWrite).unwrap();
    let image = commit(&store, files);
    let options = SaveOptions {
        format: LayoutFormat::Directory,
        encoding: Encoding::of(Codec::None),
        name: None,
    };
    let path = folder.path().join("layout");
    let saved = save(&image, &store, &path, &options, &Silent, STEP).unwrap();
    assert_eq!(saved.digest, image.manifest_digest);
    folder
}

/// Fetches what the store lacks and writes what is made of the image.
fn repair(sample: &Sample, layout: &TempDir, damages: &[Damage]) -> u64 {
    let machine = sample.machine();
    let store = machine.open_store().unwrap();
    store.distrust(damages.iter().map(|damage| damage.digest));
    let deployment = machine.booted();
    let manifest = machine.origin(&deployment).unwrap().manifest_digest.unwrap();
    let image = store.image(&image_name(&manifest).unwrap()).unwrap();
    let options = LoadOptions {
        select: None,
        platform: image.config.platform(),
        names: Some(Vec::new()),
        intake: IntakeOptions {
            keep_blobs: false,
            reread: incomplete_layers(&store, &image).unwrap(),
            ..IntakeOptions::default()
        },
    };
    let path = layout.path().join("layout");
    let loaded = load(&path, &store, &options, &Silent, STEP).unwrap();
    assert!(rewrite_documents(&machine, &store, &loaded[0].image, &deployment, &Silent).unwrap());
    loaded[0].transferred.layers_fetched
}

#[test]
fn damaged_and_missing_files_are_fetched_again() {
    let sample = Sample::new();
    let layout = layout(&files("1"));
    assert_eq!(sample.damages(), []);
    let objects = [vec![1; 5000], vec![7; 65], b"1".repeat(100)].map(|bytes| Digest::of(&bytes));
    fs::write(sample.object(&objects[0]), [9; 5000]).unwrap();
    fs::write(sample.object(&objects[1]), "short").unwrap();
    fs::remove_file(sample.object(&objects[2])).unwrap();
    let damages = sample.damages();
    assert_eq!(damages.len(), 3);
    assert_eq!(repair(&sample, &layout, &damages), 1);
    assert_eq!(sample.damages(), []);
    sample.require_bootable(&sample.machine().booted());
}

#[test]
fn what_is_made_of_the_image_is_made_again() {
    let sample = Sample::new();
    let layout = layout(&files("1"));
    let booted = sample.machine().booted();
    let manifest = sample.machine().origin(&booted).unwrap().manifest_digest.unwrap();
    let name = manifest_stream(&manifest.to_string());
    let stream = fs::canonicalize(sample.path("sysroot/composefs/streams").join(name)).unwrap();
    let length = fs::metadata(&stream).unwrap().len();
    fs::write(&stream, vec![0; length as usize]).unwrap();
    let image = sample.object(&booted);
    let mut bytes = fs::read(&image).unwrap();
    bytes[2000] ^= 1;
    fs::write(&image, bytes).unwrap();
    let damages = sample.damages();
    assert!(damages.iter().any(|damage| damage.digest == booted));
    assert!(
        damages
            .iter()
            .all(|damage| matches!(damage.reason, DamageReason::Digest(_)))
    );
    assert_eq!(damages.len(), 2);
    assert_eq!(repair(&sample, &layout, &damages), 0);
    assert_eq!(sample.damages(), []);
    fs::remove_file(sample.path(&format!("sysroot/composefs/images/{booted}"))).unwrap();
    assert_eq!(repair(&sample, &layout, &sample.damages()), 0);
    assert_eq!(sample.damages(), []);
}

#[test]
fn a_deployment_of_another_program_is_left_as_it_is() {
    let sample = Sample::new();
    let machine = sample.machine();
    let store = machine.open_store().unwrap();
    let image = commit(&store, &files("1"));
    let other = Digest::of(b"other");
    assert!(!rewrite_documents(&machine, &store, &image, &other, &Silent).unwrap());
}
