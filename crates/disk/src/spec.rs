//! What is wanted.

use std::fmt;

use osmith_config::Configuration;
use osmith_formats::{qcow2, vhd, vmdk};
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
    /// What the machine is beside its image.
    pub configuration: Configuration,
}

/// An output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageType {
    /// The bytes of the disk, in a sparse file.
    Raw,
    /// For QEMU and KVM.
    Qcow2,
    /// For vSphere: a streamOptimized VMDK.
    Vmdk,
    /// For Azure: a fixed VHD.
    Vhd,
    /// For Hyper-V: a dynamic VHD.
    VhdDynamic,
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

/// How what is in an output is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// Not at all.
    None,
    /// Deflate.
    Zlib,
    /// zstd.
    Zstd,
}

/// A file that is written. Several formats may want the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputFile {
    Raw,
    Qcow2,
    Vmdk,
    Vhd,
    DynamicVhd,
}

impl ImageType {
    /// What is written for it.
    pub(crate) fn files(self) -> &'static [OutputFile] {
        match self {
            ImageType::Raw => &[OutputFile::Raw],
            ImageType::Qcow2 => &[OutputFile::Qcow2],
            ImageType::Vmdk => &[OutputFile::Vmdk],
            ImageType::Vhd => &[OutputFile::Vhd],
            ImageType::VhdDynamic => &[OutputFile::DynamicVhd],
        }
    }

    /// The largest disk that it takes.
    pub(crate) fn maximum_bytes(self) -> u64 {
        match self {
            ImageType::Raw => i64::MAX as u64,
            ImageType::Qcow2 => qcow2::MAX_VIRTUAL_BYTES,
            ImageType::Vmdk => vmdk::MAX_VIRTUAL_BYTES,
            ImageType::Vhd | ImageType::VhdDynamic => vhd::MAX_VIRTUAL_BYTES,
        }
    }
}

impl OutputFile {
    /// Where it goes below the output directory.
    pub(crate) fn path(self) -> &'static str {
        match self {
            OutputFile::Raw => "image/disk.raw",
            OutputFile::Qcow2 => "qcow2/disk.qcow2",
            OutputFile::Vmdk => "vmdk/disk.vmdk",
            OutputFile::Vhd => "vpc/disk.vhd",
            OutputFile::DynamicVhd => "vpc-dynamic/disk.vhd",
        }
    }

    /// How it is compressed, if qcow2 clusters are compressed like that.
    pub(crate) fn codec(self, of_qcow2: Compression) -> Codec {
        match self {
            OutputFile::Raw | OutputFile::Vhd | OutputFile::DynamicVhd => Codec::None,
            OutputFile::Qcow2 => of_qcow2.into(),
            OutputFile::Vmdk => Codec::Zlib,
        }
    }
}

impl From<Compression> for Codec {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => Codec::None,
            Compression::Zlib => Codec::Zlib,
            Compression::Zstd => Codec::Zstd,
        }
    }
}

impl fmt::Display for ImageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ImageType::Raw => "raw",
            ImageType::Qcow2 => "qcow2",
            ImageType::Vmdk => "vmdk",
            ImageType::Vhd => "vhd",
            ImageType::VhdDynamic => "vhd-dynamic",
        })
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Codec::None => "not compressed",
            Codec::Zlib => "zlib",
            Codec::Zstd => "zstd",
        })
    }
}
