//! GRUB for BIOS machines (`i386-pc`): the code of the boot sector and the core image behind it, put together from the
//! files that a distribution ships in `/usr/lib/grub/i386-pc`.
//!
//! Source: what GRUB 2.06 to 2.12 itself reads at these places (`include/grub/offsets.h`, `include/grub/kernel.h`).
//! Numbers are little-endian, sectors have 512 bytes.
//!
//! ```text
//! boot sector   boot.img: at 0x5c the sector of the core image, at 0x64 the drive, at 0x66 the check of the drive
//! core image    diskboot.img: in its last 12 bytes the sector that follows, how many, where in memory
//!               lzma_decompress.img: at 8 and 12 the lengths with and without compression
//!               LZMA, neither header nor end marker, lc 3, lp 0, pb 2:
//!                 the sections of kernel.img as they stand in memory
//!                 "mimg", offset, length of the modules; then each: type, length, contents, to 4 bytes
//! ```
//!
//! Left out: Reed-Solomon codes, which protect a core image that lies in sectors that others use; block lists of more
//! than one part; other platforms.

mod archive;
mod core_image;
mod dependencies;
mod kernel;

pub use archive::{ArchiveError, archive};
pub use core_image::{CoreImage, CoreParts, boot_code};
pub use dependencies::Dependencies;

/// How much of the boot sector is code; then come the disk's signature and the partition table.
pub const BOOT_CODE_BYTES: usize = 440;

/// Files of GRUB that make no core image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrubError {
    /// A file has not the length that is fixed for it.
    #[error("'{file}' has {found} bytes, not {expected}")]
    Length {
        /// The name of the file.
        file: &'static str,
        /// Its length.
        found: usize,
        /// The length that is expected.
        expected: usize,
    },
    /// The boot sector has no signature.
    #[error("'boot.img' is no boot sector: it does not end with 55 AA")]
    NoBootSector,
    /// `diskboot.img` expects to be loaded elsewhere.
    #[error("'diskboot.img' has no block list for the i386-pc platform at its end")]
    NoBlockList,
    /// `lzma_decompress.img` is no program for that place.
    #[error("'lzma_decompress.img' is malformed: {0}")]
    Decompressor(&'static str),
    /// `kernel.img` is no ELF file as expected.
    #[error("'kernel.img' is malformed: {0}")]
    Kernel(&'static str),
    /// A module is no ELF file.
    #[error("the module '{0}' is no ELF object for i386")]
    Module(String),
    /// A line of `moddep.lst` has no colon.
    #[error("line {0} of 'moddep.lst' names no module before a colon")]
    DependencyLine(usize),
    /// A module is not listed.
    #[error("'moddep.lst' knows no module '{0}'")]
    UnknownModule(String),
    /// A module needs itself.
    #[error("the module '{0}' depends on itself")]
    Cycle(String),
    /// The compression failed.
    #[error("the core image cannot be compressed: {0}")]
    Compression(String),
    /// The image does not fit into the memory below 480 KiB.
    #[error("the core image of {found_bytes} bytes is too large: {max_bytes} are possible")]
    TooLarge {
        /// The length of the image.
        found_bytes: usize,
        /// The greatest possible.
        max_bytes: usize,
    },
}
