//! Images for registries, and clients that are quick to try again.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use osmith_image::registry::{Client, RetryPolicy, Settings};
use osmith_image::store::{Access, Image, Store};
use osmith_image::tar::Limits;
use osmith_image::{ImportOptions, Platform, Reference, RuntimeConfig, import};
use osmith_report::{Silent, StepId};

pub(crate) const STEP: StepId = StepId(0);

/// A store that vanishes with the directory.
pub(crate) fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Access::ReadWrite).unwrap();
    (directory, store)
}

pub(crate) fn platform() -> Platform {
    Platform::new("linux", "amd64")
}

/// Settings for a registry without TLS, with waits too short to notice.
pub(crate) fn settings() -> Settings {
    Settings {
        tls_verify: Some(false),
        retry: RetryPolicy {
            retries: 3,
            first_wait: Duration::from_millis(5),
            longest_wait: Duration::from_millis(2500),
        },
        ..Settings::default()
    }
}

pub(crate) fn client() -> Client {
    Client::new(settings())
}

pub(crate) fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// An image of one layer with files that compress badly, some of them long.
pub(crate) fn sample(store: &Store, name: &str, seed: u32) -> Image {
    let tree = tempfile::tempdir().unwrap();
    for (file, size_bytes) in [
        ("etc/hostname", 10),
        ("usr/bin/program", 3_000_000),
        ("usr/lib/text", 70_000),
    ] {
        let path = tree.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, noise(size_bytes, seed)).unwrap();
    }
    let mut archive = tempfile::tempfile().unwrap();
    archive.write_all(&tar_of(tree.path())).unwrap();
    std::io::Seek::rewind(&mut archive).unwrap();
    let options = ImportOptions {
        names: vec![reference(name)],
        architecture: "amd64".to_owned(),
        created: Some("2026-01-01T00:00:00Z".to_owned()),
        message: "test".to_owned(),
        config: RuntimeConfig::default(),
        limits: Limits::default(),
    };
    import(archive, None, store, options, &Silent, STEP).unwrap()
}

fn tar_of(directory: &Path) -> Vec<u8> {
    let output = Command::new("tar")
        .arg("-C")
        .arg(directory)
        .args([
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--mtime=@1700000000",
            "-cf",
            "-",
            ".",
        ])
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}

pub(crate) fn noise(size_bytes: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_add(1);
    let bytes = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    bytes.take(size_bytes).collect()
}

/// Runs a program that must succeed, and gives back what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
