//! A small image that boots nothing, but has everything a disk needs.

use std::path::Path;

use osmith_config::Configuration;
use osmith_disk::{Compression, ImageType, Spec};
use osmith_formats::tree::{Content, Metadata, Timestamp};
use osmith_image::layer::{LayerBuilder, LayerNode, LayerPath};
use osmith_image::store::{Access, ImageParts, LayerSource, Store};
use osmith_image::{ImageConfig, Reference};
use osmith_report::Silent;

pub(crate) const NAME: &str = "localhost/sample:1";
pub(crate) const MTIME: Timestamp = Timestamp {
    seconds: 1_700_000_000,
    nanoseconds: 0,
};

/// An image in the making.
pub(crate) struct Sample<'a> {
    pub(crate) store: &'a Store,
    layer: LayerBuilder,
}

impl<'a> Sample<'a> {
    /// Directories only.
    pub(crate) fn new(store: &'a Store) -> Self {
        let mut sample = Sample {
            store,
            layer: LayerBuilder::new(),
        };
        for directory in ["boot", "etc", "run", "sysroot", "tmp", "usr", "var"] {
            sample.directory(directory);
        }
        sample
    }

    /// What a disk needs, and files of all kinds.
    pub(crate) fn bootable(store: &'a Store) -> Self {
        let mut sample = Sample::new(store);
        sample.file(
            "usr/lib/os-release",
            b"ID=sample\nVERSION_ID=1\nPRETTY_NAME=\"Sample OS 1\"\n",
        );
        sample.file("usr/lib/modules/6.12.1/vmlinuz", &noise(1, 3_000_001));
        sample.file("usr/lib/modules/6.12.1/initramfs.img", &noise(2, 5_555_555));
        sample.file("usr/lib/systemd/boot/efi/systemd-bootx64.efi", &text(3, 120_000));
        sample.file("etc/hostname", b"sample\n");
        sample.file("etc/long", &text(4, 10_000));
        sample.file("var/lib/empty", b"");
        sample.file("var/lib/seed", &noise(5, 512));
        for number in 0..200_u64 {
            let length = (number * number * 97 % 70_000) as usize;
            sample.file(&format!("usr/share/doc/{number}"), &text(100 + number, length));
        }
        sample.file("usr/lib/large", &text(6, 7_654_321));
        sample.file(
            "usr/lib/sparse",
            &[vec![1; 5000], vec![0; 3 << 20], vec![2; 70_000]].concat(),
        );
        sample.file("usr/lib/block", &text(7, 4096));
        sample.file("usr/lib/more-than-a-block", &text(8, 4097));
        sample
    }

    pub(crate) fn directory(&mut self, path: &str) {
        self.layer
            .add(
                parse(path),
                metadata(0o755),
                LayerNode::Directory { opaque: false },
            )
            .unwrap();
    }

    pub(crate) fn file(&mut self, path: &str, bytes: &[u8]) -> Content {
        let content = self.store.put_bytes(bytes).unwrap();
        self.layer
            .add(parse(path), metadata(0o644), LayerNode::Regular(content.clone()))
            .unwrap();
        content
    }

    #[allow(dead_code, reason = "not every test has links")]
    pub(crate) fn symlink(&mut self, path: &str, target: &str) {
        let node = LayerNode::Symlink(target.as_bytes().into());
        self.layer.add(parse(path), metadata(0o777), node).unwrap();
    }

    /// Makes the image.
    pub(crate) fn commit(self) {
        self.commit_for("amd64");
    }

    /// Makes the image for a processor.
    pub(crate) fn commit_for(self, architecture: &str) {
        let layer = self.store.put_layer(&self.layer.finish()).unwrap();
        let parts = ImageParts {
            config: ImageConfig::new(architecture, "linux"),
            layers: vec![LayerSource::Own(layer)],
            annotations: Default::default(),
            format: osmith_image::ManifestFormat::Oci,
        };
        self.store.commit_image(parts, &[reference()], &Silent).unwrap();
    }
}

pub(crate) fn reference() -> Reference {
    NAME.parse().unwrap()
}

/// A store in a directory.
pub(crate) fn open(directory: &Path) -> Store {
    Store::open(directory, Access::ReadWrite).unwrap()
}

/// What is asked for, unless a test says otherwise.
pub(crate) fn spec(types: &[ImageType]) -> Spec {
    Spec {
        image: reference(),
        types: types.to_vec(),
        size_bytes: None,
        seed: 0,
        compression: Compression::Zstd,
        kernel_arguments: vec!["console=ttyS0".to_owned()],
        platform: None,
        follows: reference(),
        configuration: Configuration::default(),
    }
}

/// Bytes that no compressor shrinks.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed << 1 | 1;
    let next = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Bytes that a compressor shrinks to about a half.
pub(crate) fn text(seed: u64, length: usize) -> Vec<u8> {
    noise(seed, length)
        .into_iter()
        .map(|byte| b'a' + (byte & 15))
        .collect()
}

fn parse(path: &str) -> LayerPath {
    LayerPath::parse(path.as_bytes()).unwrap()
}

fn metadata(mode: u16) -> Metadata {
    Metadata {
        mode,
        mtime: MTIME,
        ..Metadata::default()
    }
}
