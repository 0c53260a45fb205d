//! What is wanted.

use std::fmt;

use osmith_config::Configuration;
use osmith_formats::{qcow2, vhd, vmdk};
use osmith_image::{Platform, Reference};
use serde::Serialize;

use crate::bytes::GRAIN_BYTES;

/// A disk that is wanted.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The image.
    pub image: Reference,
    /// For which kind of machine, if the name stands for several; if none is given, for one like this.
    pub platform: Option<Platform>,
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
    /// For Amazon EC2: a raw disk, and what to tell EC2 of it.
    Ami,
    /// For Google Compute Engine: the raw disk in an archive. Its size is whole GiB.
    Gce,
    /// For vSphere: a virtual machine with its disk.
    Ova,
    /// The bytes of the disk, compressed with zstd.
    #[serde(rename = "raw.zst")]
    RawZst,
    /// The bytes of the disk, compressed with xz.
    #[serde(rename = "raw.xz")]
    RawXz,
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
    /// LZMA2.
    Xz,
}

/// A file that is written. Several formats may want the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputFile {
    Raw,
    Qcow2,
    Vmdk,
    Vhd,
    DynamicVhd,
    AmiDescription,
    Gce,
    Ova,
    RawZst,
    RawXz,
}

impl ImageType {
    /// Every format.
    pub const ALL: [ImageType; 10] = [
        ImageType::Raw,
        ImageType::Qcow2,
        ImageType::Vmdk,
        ImageType::Vhd,
        ImageType::VhdDynamic,
        ImageType::Ami,
        ImageType::Gce,
        ImageType::Ova,
        ImageType::RawZst,
        ImageType::RawXz,
    ];

    /// What is written for it.
    pub(crate) fn files(self) -> &'static [OutputFile] {
        match self {
            ImageType::Raw => &[OutputFile::Raw],
            ImageType::Qcow2 => &[OutputFile::Qcow2],
            ImageType::Vmdk => &[OutputFile::Vmdk],
            ImageType::Vhd => &[OutputFile::Vhd],
            ImageType::VhdDynamic => &[OutputFile::DynamicVhd],
            ImageType::Ami => &[OutputFile::Raw, OutputFile::AmiDescription],
            ImageType::Gce => &[OutputFile::Gce],
            ImageType::Ova => &[OutputFile::Ova],
            ImageType::RawZst => &[OutputFile::RawZst],
            ImageType::RawXz => &[OutputFile::RawXz],
        }
    }

    /// The largest disk that it takes.
    pub(crate) fn maximum_bytes(self) -> u64 {
        match self {
            ImageType::Raw | ImageType::Ami | ImageType::Gce | ImageType::RawZst | ImageType::RawXz => {
                i64::MAX as u64
            }
            ImageType::Qcow2 => qcow2::MAX_VIRTUAL_BYTES,
            ImageType::Vmdk | ImageType::Ova => vmdk::MAX_VIRTUAL_BYTES,
            ImageType::Vhd | ImageType::VhdDynamic => vhd::MAX_VIRTUAL_BYTES,
        }
    }

    /// What the size of the disk must be a multiple of.
    pub(crate) fn size_grain_bytes(self) -> u64 {
        match self {
            ImageType::Gce => 1 << 30,
            _ => GRAIN_BYTES,
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
            OutputFile::AmiDescription => "image/ami.json",
            OutputFile::Gce => "gce/image.tar.gz",
            OutputFile::Ova => "archive/image.ova",
            OutputFile::RawZst => "image/disk.raw.zst",
            OutputFile::RawXz => "image/disk.raw.xz",
        }
    }

    /// How it is compressed, if qcow2 clusters are compressed like that.
    pub(crate) fn codec(self, of_qcow2: Compression) -> Codec {
        match self {
            OutputFile::Raw | OutputFile::Vhd | OutputFile::DynamicVhd | OutputFile::AmiDescription => {
                Codec::None
            }
            OutputFile::Qcow2 => of_qcow2.into(),
            OutputFile::Vmdk | OutputFile::Ova | OutputFile::Gce => Codec::Zlib,
            OutputFile::RawZst => Codec::Zstd,
            OutputFile::RawXz => Codec::Xz,
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
            ImageType::Ami => "ami",
            ImageType::Gce => "gce",
            ImageType::Ova => "ova",
            ImageType::RawZst => "raw.zst",
            ImageType::RawXz => "raw.xz",
        })
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Codec::None => "not compressed",
            Codec::Zlib => "zlib",
            Codec::Zstd => "zstd",
            Codec::Xz => "xz",
        })
    }
}
