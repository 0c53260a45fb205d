//! The core image, and the boot sector that loads it.

use std::io::Write;

use lzma_rust2::{EncodeMode, LzmaOptions, LzmaWriter, MfType};

use super::kernel::{image, is_module, read_u16, read_u32};
use super::{BOOT_CODE_BYTES, GrubError};

const SECTOR_BYTES: usize = 512;
const BOOT_SIGNATURE: [u8; 2] = [0x55, 0xaa];
/// Where the boot sector has the first sector of the core image, the drive, and the jump over the check of the drive.
const CORE_LBA_OFFSET: usize = 0x5c;
const DRIVE_OFFSET: usize = 0x64;
const DRIVE_CHECK_OFFSET: usize = 0x66;
/// The drive that the firmware started from.
const BOOT_DRIVE: u8 = 0xff;
const NO_OPERATION: u8 = 0x90;
/// Where `diskboot.img` has its first block list entry, and its parts: 8 bytes sector, 2 bytes count, 2 bytes segment.
const BLOCK_LIST_OFFSET: usize = SECTOR_BYTES - 12;
/// The segment behind `diskboot.img`, which the boot sector puts at 0x8000.
const LOAD_SEGMENT: u16 = 0x820;
const COMPRESSED_BYTES_OFFSET: usize = 8;
const UNCOMPRESSED_BYTES_OFFSET: usize = 12;
const REED_SOLOMON_OFFSET: usize = 0x10;
/// The decompressor is loaded to 0x8200, and the kernel comes to 0x9000.
const DECOMPRESSOR_MAX_BYTES: usize = 0x9000 - 0x8200;
/// The image is loaded below 0x78000, counted as `grub-mkimage` does.
const CORE_MAX_BYTES: usize = 0x78000 - 0x9000;

const MODULES_MAGIC: &[u8; 4] = b"mimg";
const MODULES_HEADER_BYTES: usize = 12;
const OBJECT_HEADER_BYTES: usize = 8;
const DICTIONARY_BYTES: u32 = 1 << 16;

/// The types of objects.
const ELF: u32 = 0;
const MEMORY_DISK: u32 = 1;
const CONFIGURATION: u32 = 2;
const PREFIX: u32 = 3;

/// What a core image is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CoreParts {
    /// `diskboot.img`.
    pub diskboot: Vec<u8>,
    /// `lzma_decompress.img`.
    pub decompressor: Vec<u8>,
    /// `kernel.img`.
    pub kernel: Vec<u8>,
    /// The modules, name and file, each after what it needs.
    pub modules: Vec<(String, Vec<u8>)>,
    /// The contents of `(memdisk)`; none if empty.
    pub memory_disk: Vec<u8>,
    /// Commands that run before everything else; none if empty.
    pub configuration: String,
    /// Where GRUB looks for its files.
    pub prefix: String,
}

/// A core image that does not know yet where it will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreImage {
    bytes: Vec<u8>,
}

impl CoreImage {
    /// Puts an image together.
    pub fn new(parts: &CoreParts) -> Result<Self, GrubError> {
        require_diskboot(&parts.diskboot)?;
        require_decompressor(&parts.decompressor)?;
        let contents = contents(parts)?;
        let compressed = compress(&contents)?;
        let mut bytes = parts.diskboot.clone();
        bytes.extend_from_slice(&parts.decompressor);
        bytes.extend_from_slice(&compressed);
        let len_bytes = bytes.len() - SECTOR_BYTES;
        if len_bytes > CORE_MAX_BYTES {
            return Err(GrubError::TooLarge {
                found_bytes: len_bytes,
                max_bytes: CORE_MAX_BYTES,
            });
        }
        put_u32(
            &mut bytes,
            SECTOR_BYTES + COMPRESSED_BYTES_OFFSET,
            compressed.len(),
        );
        put_u32(
            &mut bytes,
            SECTOR_BYTES + UNCOMPRESSED_BYTES_OFFSET,
            contents.len(),
        );
        bytes.resize(bytes.len().next_multiple_of(SECTOR_BYTES), 0);
        Ok(CoreImage { bytes })
    }

    /// How long it is, in whole sectors.
    pub fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The bytes for the sectors from `lba` on.
    pub fn at(mut self, lba: u64) -> Vec<u8> {
        // At most 65535 sectors: there is room for no more in the memory.
        let sectors = (self.bytes.len() / SECTOR_BYTES - 1) as u16;
        let entry = self.bytes.get_mut(BLOCK_LIST_OFFSET..SECTOR_BYTES);
        for (byte, new) in entry.into_iter().flatten().zip(
            (lba.saturating_add(1).to_le_bytes().into_iter())
                .chain(sectors.to_le_bytes())
                .chain(LOAD_SEGMENT.to_le_bytes()),
        ) {
            *byte = new;
        }
        self.bytes
    }
}

/// The code of a boot sector that loads the core image at the sector `core_lba`, made of `boot.img`.
pub fn boot_code(boot_image: &[u8], core_lba: u64) -> Result<[u8; BOOT_CODE_BYTES], GrubError> {
    require_sector("boot.img", boot_image)?;
    let mut code = [0; BOOT_CODE_BYTES];
    match boot_image.split_first_chunk::<BOOT_CODE_BYTES>() {
        Some((first, rest)) if rest.ends_with(&BOOT_SIGNATURE) => code.copy_from_slice(first),
        _ => return Err(GrubError::NoBootSector),
    }
    code[CORE_LBA_OFFSET..CORE_LBA_OFFSET + 8].copy_from_slice(&core_lba.to_le_bytes());
    code[DRIVE_OFFSET] = BOOT_DRIVE;
    // Firmware that names no hard disk means the first one.
    code[DRIVE_CHECK_OFFSET..DRIVE_CHECK_OFFSET + 2].fill(NO_OPERATION);
    Ok(code)
}

/// What is compressed: the kernel and the modules.
fn contents(parts: &CoreParts) -> Result<Vec<u8>, GrubError> {
    let mut contents = image(&parts.kernel)?;
    let start = contents.len();
    contents.resize(start + MODULES_HEADER_BYTES, 0);
    for (name, module) in &parts.modules {
        if !is_module(module) {
            return Err(GrubError::Module(name.clone()));
        }
        put_object(&mut contents, ELF, module, 4);
    }
    if !parts.memory_disk.is_empty() {
        put_object(&mut contents, MEMORY_DISK, &parts.memory_disk, SECTOR_BYTES);
    }
    if !parts.configuration.is_empty() {
        put_object(&mut contents, CONFIGURATION, &terminated(&parts.configuration), 4);
    }
    put_object(&mut contents, PREFIX, &terminated(&parts.prefix), 4);
    let len_bytes = contents.len() - start;
    if let Some(magic) = contents.get_mut(start..start + 4) {
        magic.copy_from_slice(MODULES_MAGIC);
    }
    put_u32(&mut contents, start + 4, MODULES_HEADER_BYTES);
    put_u32(&mut contents, start + 8, len_bytes);
    Ok(contents)
}

fn terminated(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

fn put_object(contents: &mut Vec<u8>, kind: u32, object: &[u8], multiple_bytes: usize) {
    let padded_bytes = object.len().next_multiple_of(multiple_bytes);
    let len_bytes = (padded_bytes + OBJECT_HEADER_BYTES) as u32;
    contents.extend_from_slice(&kind.to_le_bytes());
    contents.extend_from_slice(&len_bytes.to_le_bytes());
    contents.extend_from_slice(object);
    contents.resize(contents.len() + padded_bytes - object.len(), 0);
}

/// `value` is below 2³²: it is a length in an image that is far smaller.
fn put_u32(bytes: &mut [u8], offset: usize, value: usize) {
    if let Some(field) = bytes.get_mut(offset..offset + 4) {
        field.copy_from_slice(&(value as u32).to_le_bytes());
    }
}

fn compress(contents: &[u8]) -> Result<Vec<u8>, GrubError> {
    let options = LzmaOptions {
        dict_size: DICTIONARY_BYTES,
        lc: 3,
        lp: 0,
        pb: 2,
        mode: EncodeMode::Normal,
        nice_len: 273,
        mf: MfType::Bt4,
        depth_limit: 0,
        preset_dict: None,
    };
    let compressed = LzmaWriter::new_no_header(Vec::new(), &options, false).and_then(|mut writer| {
        writer.write_all(contents)?;
        writer.finish()
    });
    compressed.map_err(|error| GrubError::Compression(error.to_string()))
}

fn require_sector(file: &'static str, bytes: &[u8]) -> Result<(), GrubError> {
    match bytes.len() {
        SECTOR_BYTES => Ok(()),
        found => Err(GrubError::Length {
            file,
            found,
            expected: SECTOR_BYTES,
        }),
    }
}

fn require_diskboot(bytes: &[u8]) -> Result<(), GrubError> {
    require_sector("diskboot.img", bytes)?;
    match read_u16(bytes, BLOCK_LIST_OFFSET + 10) {
        Some(LOAD_SEGMENT) => Ok(()),
        _ => Err(GrubError::NoBlockList),
    }
}

fn require_decompressor(bytes: &[u8]) -> Result<(), GrubError> {
    let field = |offset| read_u32(bytes, offset);
    let unset = [
        COMPRESSED_BYTES_OFFSET,
        UNCOMPRESSED_BYTES_OFFSET,
        REED_SOLOMON_OFFSET,
    ];
    if bytes.len() > DECOMPRESSOR_MAX_BYTES {
        return Err(GrubError::Decompressor("it is longer than 3584 bytes"));
    }
    match unset.iter().all(|offset| field(*offset) == Some(0)) {
        true => Ok(()),
        false => Err(GrubError::Decompressor("its fields for lengths are not empty")),
    }
}

#[cfg(test)]
mod tests;
