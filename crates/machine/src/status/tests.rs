use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use osmith_formats::composefs::repository::{config_ref, config_stream, manifest_stream};
use osmith_formats::splitstream::{ContentType, Writer};
use osmith_image::{Descriptor, ImageConfig, Manifest, Sha256Digest, media_type};
use tempfile::TempDir;

use super::*;
use crate::origin::ImageSource;

const VERSION: &str = "org.opencontainers.image.version";

/// A machine's root directory with the files that are looked at.
struct Sample {
    root: TempDir,
}

impl Sample {
    fn new(booted: &Digest) -> Self {
        let sample = Sample {
            root: tempfile::tempdir().unwrap(),
        };
        sample.write("proc/cmdline", format!("root=UUID=1 rw composefs={booted}\n"));
        let mountinfo = format!("30 1 0:27 / / ro - overlay composefs:{booted} ro\n");
        sample.write("proc/self/mountinfo", mountinfo);
        let name: Vec<u8> = "systemd-boot 257\0"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let variable = [&[6, 0, 0, 0], name.as_slice()].concat();
        sample.write(&format!("sys/firmware/efi/efivars/{LOADER_INFO}"), variable);
        fs::create_dir_all(sample.path("sysroot")).unwrap();
        fs::create_dir_all(sample.path("boot/loader/entries")).unwrap();
        sample
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, data: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, data).unwrap();
    }

    /// Adds a deployment, with its boot entry in `folder`.
    fn deploy(&self, digest: &Digest, version: &str, folder: &str, sort_key: &str) {
        let version_of = |version: &str| [(VERSION.to_owned(), version.to_owned())].into();
        self.deploy_with(digest, version_of(version), version_of("label"), folder, sort_key);
    }

    fn deploy_with(
        &self,
        digest: &Digest,
        annotations: BTreeMap<String, String>,
        labels: BTreeMap<String, String>,
        folder: &str,
        sort_key: &str,
    ) {
        let version = annotations.get(VERSION).cloned().unwrap_or("0".to_owned());
        let mut config = ImageConfig::new("amd64", "linux");
        config.created = Some("2026-03-04T05:06:07Z".to_owned());
        config.config.labels = labels;
        let config = config.to_bytes();
        let mut manifest = Manifest::new(Descriptor::of(media_type::CONFIG, &config), Vec::new());
        manifest.annotations = annotations;
        let manifest = manifest.to_bytes();
        let manifest_digest = Sha256Digest::of(&manifest);
        let config_digest = Sha256Digest::of(&config).to_string();
        self.stream(&config_stream(&config_digest), ContentType::CONFIG, &config, "");
        let name = manifest_stream(&manifest_digest.to_string());
        self.stream(
            &name,
            ContentType::MANIFEST,
            &manifest,
            &config_ref(&config_digest),
        );
        let origin = Origin {
            source: ImageSource::registry("registry.example.org/os:1"),
            boot_type: BootType::Bls,
            boot_digest: Some("ab".repeat(32)),
            manifest_digest: Some(manifest_digest),
            pinned: false,
        };
        self.write(
            &format!("sysroot/state/deploy/{digest}/{digest}.origin"),
            origin.to_text(),
        );
        let entry = format!(
            "title x\nversion {version}\nlinux /x\noptions composefs={digest}\nsort-key {sort_key}\n"
        );
        self.write(&format!("boot/loader/{folder}/{version}.conf"), entry);
    }

    fn stream(&self, name: &str, content_type: ContentType, document: &[u8], reference: &str) {
        let object = Digest::of(document);
        self.write(
            &format!("sysroot/composefs/objects/{}", object.object_path()),
            document,
        );
        let mut writer = Writer::new(content_type).unwrap();
        if !reference.is_empty() {
            writer.named_ref(reference, &Digest::of(b"config"));
        }
        writer.object(&object, document.len() as u64).unwrap();
        self.write(
            &format!("sysroot/composefs/streams/{name}"),
            writer.finish().unwrap(),
        );
    }

    fn status(&self) -> Status {
        status(self.root.path()).unwrap()
    }
}

fn digests() -> [Digest; 4] {
    [b"1", b"2", b"3", b"4"].map(|seed| Digest::of(seed))
}

#[test]
fn the_json_is_that_of_bootc() {
    let [booted, ..] = digests();
    let sample = Sample::new(&booted);
    sample.deploy(&booted, "12.2", "entries", "bootc-x-0");
    let status = sample.status();
    assert_eq!(status.notes, Vec::<String>::new());
    let manifest = status
        .host
        .status
        .booted
        .as_ref()
        .unwrap()
        .image
        .as_ref()
        .unwrap();
    let manifest = &manifest.image_digest;
    let boot_digest = "ab".repeat(32);
    let expected = format!(
        concat!(
            r#"{{"apiVersion":"org.containers.bootc/v1","kind":"BootcHost","metadata":{{"name":"host"}},"#,
            r#""spec":{{"bootOrder":"default","image":{{"image":"registry.example.org/os:1","transport":"registry"}}}},"#,
            r#""status":{{"booted":{{"cachedUpdate":null,"composefs":{{"bootDigest":"{boot_digest}","bootType":"Bls","#,
            r#""bootloader":"systemd","missingVerityAllowed":false,"verity":"{booted}"}},"downloadOnly":false,"#,
            r#""image":{{"architecture":"amd64","image":{{"image":"registry.example.org/os:1","transport":"registry"}},"#,
            r#""imageDigest":"{manifest}","timestamp":"2026-03-04T05:06:07Z","version":"12.2"}},"incompatible":false,"#,
            r#""ostree":null,"pinned":false,"softRebootCapable":false,"store":null}},"readOnly":false,"#,
            r#""rollback":null,"rollbackQueued":false,"staged":null,"type":"bootcHost","usrOverlay":null}}}}"#
        ),
        boot_digest = boot_digest,
        booted = booted,
        manifest = manifest
    );
    assert_eq!(status.host.to_json().unwrap(), expected);
}

#[test]
fn keys_are_sorted_at_every_level() {
    let [booted, other, ..] = digests();
    let sample = Sample::new(&booted);
    sample.deploy(&booted, "1", "entries", "bootc-x-0");
    sample.deploy(&other, "2", "entries", "bootc-x-1");
    let mut host = sample.status().host;
    host.status.usr_overlay = Some(UsrOverlay {
        access_mode: AccessMode::ReadWrite,
        persistence: Persistence::Transient,
    });
    host.status.other_deployments = host.status.rollback.clone().into_iter().collect();
    let value: serde_json::Value = serde_json::from_str(&host.to_json().unwrap()).unwrap();
    let mut pending = vec![&value];
    while let Some(value) = pending.pop() {
        if let Some(object) = value.as_object() {
            assert!(object.keys().is_sorted(), "{object:?}");
            pending.extend(object.values());
        }
        pending.extend(value.as_array().into_iter().flatten());
    }
}

#[test]
fn every_deployment_finds_its_place() {
    let [booted, staged, rollback, other] = digests();
    let sample = Sample::new(&booted);
    sample.deploy(&booted, "12.2", "entries", "bootc-x-0");
    sample.deploy(&other, "12.0", "entries", "bootc-x-2");
    sample.deploy(&rollback, "12.1", "entries", "bootc-x-1");
    sample.deploy(&staged, "12.3", "entries.staged", "bootc-x-0");
    let note = format!(r#"{{"depl_id":"{staged}","finalization_locked":true}}"#);
    sample.write("run/composefs/staged-deployment", note);
    let status = sample.status().host.status;
    let version = |deployment: &DeploymentStatus| deployment.image.as_ref().unwrap().version.clone().unwrap();
    assert_eq!(status.booted.as_ref().map(version).as_deref(), Some("12.2"));
    assert_eq!(status.rollback.as_ref().map(version).as_deref(), Some("12.1"));
    assert_eq!(status.staged.as_ref().map(version).as_deref(), Some("12.3"));
    assert!(status.staged.is_some_and(|staged| staged.download_only));
    assert_eq!(
        status.other_deployments.iter().map(version).collect::<Vec<_>>(),
        ["12.0"]
    );
    assert!(!status.rollback_queued);
}

#[test]
fn the_first_entry_starts_next() {
    let [booted, other, ..] = digests();
    let sample = Sample::new(&booted);
    sample.deploy(&booted, "2", "entries", "bootc-x-1");
    sample.deploy(&other, "1", "entries", "bootc-x-0");
    let host = sample.status().host;
    assert!(host.status.rollback_queued);
    assert_eq!(host.spec.boot_order, BootOrder::Rollback);
}

#[test]
fn the_version_is_an_annotation_or_else_a_label() {
    let [booted, ..] = digests();
    for (annotation, label, expected) in [
        (Some("1"), Some("2"), Some("1")),
        (None, Some("2"), Some("2")),
        (None, None, None),
    ] {
        let map = |value: Option<&str>| {
            value
                .map(|value| (VERSION.to_owned(), value.to_owned()))
                .into_iter()
        };
        let sample = Sample::new(&booted);
        sample.deploy_with(
            &booted,
            map(annotation).collect(),
            map(label).collect(),
            "entries",
            "x-0",
        );
        let image = sample.status().host.status.booted.unwrap().image.unwrap();
        assert_eq!(image.version.as_deref(), expected);
    }
}

#[test]
fn what_cannot_be_read_becomes_a_note() {
    let [booted, ..] = digests();
    let sample = Sample::new(&booted);
    sample.deploy(&booted, "12.2", "entries", "bootc-x-0");
    fs::remove_dir_all(sample.path("sysroot/composefs")).unwrap();
    fs::remove_dir_all(sample.path("boot/loader")).unwrap();
    let status = sample.status();
    assert_eq!(status.notes.len(), 2, "{:?}", status.notes);
    let image = status.host.status.booted.unwrap().image.unwrap();
    assert_eq!(image.image.image, "registry.example.org/os:1");
    assert_eq!(image.version, None);
}

#[test]
fn what_is_damaged_becomes_a_note_and_the_rest_is_shown() {
    let [booted, other, ..] = digests();
    let sample = Sample::new(&booted);
    sample.deploy(&booted, "12.2", "entries", "bootc-x-0");
    sample.deploy(&other, "12.1", "entries", "bootc-x-1");
    let origin = sample.path(&format!("sysroot/state/deploy/{other}/{other}.origin"));
    let failures = sample.path("sysroot/state/osmith/failures.json");
    let staged = sample.path("run/composefs/staged-deployment");
    for path in [&origin, &failures, &staged] {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"{\"failed\": [{\xff\0").unwrap();
    }
    let status = sample.status();
    let told = |what: &str| status.notes.iter().any(|note| note.contains(what));
    for what in [
        &format!("deployment {other} has no readable origin"),
        "which deployments failed",
        "what is staged",
    ] {
        assert!(told(what), "{what}: {:?}", status.notes);
    }
    let shown = status.host.status;
    assert_eq!(
        shown.booted.unwrap().image.unwrap().version.as_deref(),
        Some("12.2")
    );
    assert!(shown.rollback.is_some() && shown.failed_deployments.is_empty());
}

#[test]
fn a_machine_without_image_says_so() {
    let [booted, ..] = digests();
    let sample = Sample::new(&booted);
    sample.write("proc/self/mountinfo", "22 1 254:2 / / rw - ext4 /dev/vda2 rw\n");
    let status = sample.status();
    assert_eq!(status.host.status.booted, None);
    assert!(render(&status.host).starts_with("No image was installed"));
}

#[test]
fn the_text_is_aligned() {
    let [booted, other, ..] = digests();
    let sample = Sample::new(&booted);
    sample.deploy(&booted, "12.2", "entries", "bootc-x-0");
    sample.deploy(&other, "12.1", "entries", "bootc-x-1");
    let text = render(&sample.status().host);
    let colons: Vec<_> = text
        .lines()
        .map(|line| line.chars().position(|c| c == ':'))
        .collect();
    assert_eq!(
        colons,
        [14, 14, 14, 14]
            .map(Some)
            .into_iter()
            .chain([None])
            .chain([16; 4].map(Some))
            .collect::<Vec<_>>()
    );
    assert!(
        text.starts_with("● Booted image: registry.example.org/os:1\n"),
        "{text}"
    );
    assert!(
        text.contains("       Version: 12.2 (2026-03-04T05:06:07Z)\n"),
        "{text}"
    );
}

#[test]
fn what_failed_is_told_with_its_reason() {
    let [booted, failed, older, _] = digests();
    let sample = Sample::new(&booted);
    sample.deploy(&booted, "1", "entries", "bootc-x-0");
    sample.deploy(&failed, "2", "entries", "bootc-x-1");
    sample.deploy(&older, "0", "entries", "bootc-x-2");
    let folder = sample.path("boot/loader/entries");
    fs::rename(folder.join("2.conf"), folder.join("2+0-3.conf")).unwrap();
    let mut failures = crate::failures::Failures::default();
    failures.record(crate::failures::FailedDeployment {
        check: Some("10-units".to_owned()),
        deployment: failed.to_string(),
        image: Some("/srv/os.tar".to_owned()),
        transport: Some("oci-archive".to_owned()),
        manifest_digest: Some(Sha256Digest::of(b"2")),
        reason: "health check '10-units' failed".to_owned(),
        time: "2026-03-04T05:06:07Z".to_owned(),
        tries: 3,
    });
    fs::create_dir_all(sample.path("sysroot/state/osmith")).unwrap();
    let path = sample.path("sysroot/state/osmith/failures.json");
    failures.write(&path).unwrap();
    let status = sample.status();
    assert_eq!(status.notes, Vec::<String>::new());
    // It is no deployment to go back to.
    let rollback = status.host.status.rollback.as_ref();
    let verity = rollback.and_then(|rollback| Some(rollback.composefs.as_ref()?.verity.clone()));
    assert_eq!(verity, Some(older.to_string()));
    let text = render(&status.host);
    let expected = format!(
        "\n  Failed image: oci-archive:/srv/os.tar\n        Digest: {}\n        Verity: {failed}\n\
         \x20       Reason: health check '10-units' failed\n         Tries: 3\n          Time: 2026-03-04T05:06:07Z\n",
        Sha256Digest::of(b"2")
    );
    assert!(text.ends_with(&expected), "{text}");
    let json = status.host.to_json().unwrap();
    let expected = r#""reason":"health check '10-units' failed","time":"2026-03-04T05:06:07Z","transport":"oci-archive","tries":3}],"otherDeployments":"#;
    assert!(json.contains(expected), "{json}");
    fs::write(path, "nonsense").unwrap();
    assert_eq!(sample.status().notes.len(), 1);
}

#[test]
fn who_cannot_read_the_boot_entries_is_told_what_was_published() {
    let [booted, other, ..] = digests();
    let sample = Sample::new(&booted);
    sample.deploy(&booted, "2", "entries", "a");
    sample.deploy(&other, "1", "entries", "b");
    publish(sample.root.path()).unwrap();
    let published = sample.status();
    assert!(published.host.status.rollback.is_some());
    fs::rename(sample.path("boot"), sample.path("hidden")).unwrap();
    assert_eq!(sample.status(), published);
    // Another start, of which nothing was published.
    let mountinfo = format!("30 1 0:27 / / ro - overlay composefs:{other} ro\n");
    sample.write("proc/self/mountinfo", mountinfo);
    let unknown = sample.status();
    assert!(unknown.host.status.rollback.is_none());
    assert!(unknown.notes[0].contains("cannot be read"), "{:?}", unknown.notes);
}
