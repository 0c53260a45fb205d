//! What is wanted.

use std::fmt;

use osmith_image::Reference;
use serde::Serialize;

/// A disk that is wanted.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The image.
    pub image: Reference,
    /// The formats, all written in one pass.
    pub types: Vec<ImageType>,
    /// The size of the disk, rounded up to whole MiB; `None` for the contents and a quarter more, 1 GiB at least.
    pub size_bytes: Option<u64>,
    /// What identifiers are derived from, together with the image: another seed, another disk.
    pub seed: u64,
    /// How qcow2 clusters are compressed.
    pub compression: Compression,
    /// Kernel arguments beside those of the image.
    pub kernel_arguments: Vec<String>,
    /// What the machine follows for updates.
    pub follows: Reference,
}

/// An output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageType {
    /// The bytes of the disk, in a sparse file.
    Raw,
    /// For QEMU and KVM.
    Qcow2,
}

/// How qcow2 clusters are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// Not at all.
    None,
    /// Deflate, which every qcow2 program reads.
    Zlib,
    /// zstd: faster and smaller; QEMU 5.1 and newer.
    #[default]
    Zstd,
}

impl ImageType {
    /// Where the output goes below the output directory: the directory and the file name.
    pub fn path(self) -> (&'static str, &'static str) {
        match self {
            ImageType::Raw => ("image", "disk.raw"),
            ImageType::Qcow2 => ("qcow2", "disk.qcow2"),
        }
    }
}

impl fmt::Display for ImageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ImageType::Raw => "raw",
            ImageType::Qcow2 => "qcow2",
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::None => "not compressed",
            Compression::Zlib => "zlib",
            Compression::Zstd => "zstd",
        })
    }
}
