//! ISO 9660, the file system of optical discs: descriptors and directories that point at data which is there already.
//!
//! Source: ECMA-119, 4th edition (the fields of descriptors and records), the Joliet specification of 1995 (a second
//! tree with Unicode names, which both Linux and Windows prefer) and the El Torito specification 1.0 with the UEFI
//! specification 2.10, section 13.3.2 (the boot catalogue). Sectors of 2,048 bytes.
//!
//! ```text
//! sector 0–15  not part of it            20   boot catalogue
//!          16  primary descriptor        ...  path tables: plain names (two byte orders), Unicode names (two)
//!          17  boot record               ...  directories with plain names
//!          18  Joliet descriptor         ...  directories with Unicode names
//!          19  end of the descriptors
//! ```
//!
//! Where the data is, the caller says: [`plan`] makes the sectors from 16 up to [`Layout::end_bytes`], no more. Of the
//! boot catalogue's one entry, for UEFI, the length is not given, as its field ends at 32 MiB: firmware then reads up to
//! the end of the volume, and the file system there knows its own length.
//!
//! A plain name has capital letters, digits and underscores, 30 at most, and is made of the Unicode one. [`find`]
//! reads a volume, one that another program has made too.
//!
//! Left out: Rock Ridge, files of 4 GiB and more, boot entries for BIOS; directories may be deeper than 8 levels.

mod directory;
mod name;
mod reader;
#[cfg(test)]
mod tests;

use crate::calendar::civil_date;
use crate::tree::{Timestamp, Tree};

use directory::{Collected, NameKind};
pub use reader::{Extent, FindError, find};

/// The length of a sector.
pub const SECTOR_BYTES: u64 = 2048;
/// Where the descriptors begin.
pub const START_BYTES: u64 = 16 * SECTOR_BYTES;
/// The longest file.
pub const MAX_FILE_BYTES: u64 = u32::MAX as u64;
/// The longest name, in UTF-16 units.
pub const NAME_MAX_UNITS: usize = 64;

const BOOT_CATALOGUE_SECTOR: u32 = 20;
const TABLES_SECTOR: u32 = 21;
const TYPE_BOOT: u8 = 0;
const TYPE_PRIMARY: u8 = 1;
const TYPE_SUPPLEMENTARY: u8 = 2;
const TYPE_END: u8 = 255;
/// Joliet level 3: UCS-2, as a set of characters that ISO 2022 switches to.
const JOLIET_ESCAPE: &[u8; 3] = b"%/E";

/// A file whose data is on the medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where: a multiple of 2 KiB.
    pub offset_bytes: u64,
    /// How much.
    pub size_bytes: u64,
}

/// The volume as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The name of the volume: 16 characters at most; with plain names it is in capitals.
    pub label: String,
    /// When the volume was made. Linux shows this as its UUID.
    pub time: Timestamp,
    /// The length of the medium; whole sectors of it are the volume.
    pub size_bytes: u64,
    /// Where UEFI firmware finds the FAT file system to start from, a multiple of 2 KiB.
    pub boot_image_offset_bytes: u64,
}

/// A volume that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The label is longer than 16 UTF-16 units.
    #[error("'{0}' is longer than the 16 characters of a label for ISO 9660")]
    Label(String),
    /// The medium is too small for the descriptors, or larger than 8 TiB.
    #[error("{0} bytes are no size for an ISO 9660 file system")]
    Size(u64),
    /// A place is not at the start of a sector, or beyond 8 TiB.
    #[error(
        "'{path}' begins at byte {offset_bytes}, which is not the start of a sector of an ISO 9660 file system"
    )]
    Offset {
        /// The path from the root of the tree.
        path: String,
        /// Where it was to be.
        offset_bytes: u64,
    },
    /// A file is longer than [`MAX_FILE_BYTES`].
    #[error("'{0}' is longer than 4 GiB, more than a file can be here in ISO 9660")]
    FileTooLong(String),
    /// An inode is neither a directory nor a regular file, or a directory has several names.
    #[error("'{0}' is neither a file nor a directory with one name, and ISO 9660 has nothing else")]
    Kind(String),
    /// A name is empty, no UTF-8, longer than [`NAME_MAX_UNITS`], or has a control character or one of `*/:;?\`.
    #[error("'{0}' cannot be a name in ISO 9660")]
    Name(String),
    /// More than 65,535 directories.
    #[error("{0} directories are more than ISO 9660 can number")]
    TooManyDirectories(usize),
}

/// A volume that is planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    bytes: Vec<u8>,
}

impl Layout {
    /// What belongs at [`START_BYTES`].
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where it ends on the medium. That depends on names alone, not on where the files are.
    pub fn end_bytes(&self) -> u64 {
        START_BYTES + self.bytes.len() as u64
    }
}

/// Plans a volume that shows the tree.
pub fn plan(tree: &Tree<File>, options: &Options) -> Result<Layout, Error> {
    let label_units: Vec<u16> = options.label.encode_utf16().collect();
    if label_units.len() > 16 {
        return Err(Error::Label(options.label.clone()));
    }
    let sectors =
        u32::try_from(options.size_bytes / SECTOR_BYTES).map_err(|_| Error::Size(options.size_bytes))?;
    let boot_image = sector("the boot image", options.boot_image_offset_bytes)?;
    let mut plain = Collected::of(tree, NameKind::Plain)?;
    let mut unicode = Collected::of(tree, NameKind::Unicode)?;
    let tables_end = TABLES_SECTOR + 2 * (plain.table_sectors() + unicode.table_sectors());
    let unicode_start = plain.place(tables_end);
    let end = unicode.place(unicode_start);
    if u64::from(end) > u64::from(sectors) {
        return Err(Error::Size(options.size_bytes));
    }
    let plain_label = name::plain_label(&options.label);
    let unicode_label: Vec<u8> = label_units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
    let unicode_table = TABLES_SECTOR + 2 * plain.table_sectors();

    let mut bytes = Vec::new();
    let primary = Descriptor {
        kind: TYPE_PRIMARY,
        fill: b' ',
        label: plain_label.as_bytes(),
        escape: &[],
        first_table: TABLES_SECTOR,
        tree: &plain,
    };
    bytes.extend(primary.to_bytes(sectors, options.time));
    bytes.extend(boot_record());
    let joliet = Descriptor {
        kind: TYPE_SUPPLEMENTARY,
        fill: 0,
        label: &unicode_label,
        escape: JOLIET_ESCAPE,
        first_table: unicode_table,
        tree: &unicode,
    };
    bytes.extend(joliet.to_bytes(sectors, options.time));
    bytes.extend(descriptor_start(TYPE_END));
    fill_sector(&mut bytes);
    bytes.extend(boot_catalogue(boot_image));
    fill_sector(&mut bytes);
    for tree in [&plain, &unicode] {
        for number in [u32::to_le_bytes as fn(u32) -> [u8; 4], u32::to_be_bytes] {
            tree.append_table(number, &mut bytes);
            fill_sector(&mut bytes);
        }
    }
    for collected in [&plain, &unicode] {
        collected.append_directories(tree, &mut bytes)?;
    }
    Ok(Layout { bytes })
}

/// The sector that begins there.
fn sector(path: &str, offset_bytes: u64) -> Result<u32, Error> {
    let whole = offset_bytes.is_multiple_of(SECTOR_BYTES);
    let sector = u32::try_from(offset_bytes / SECTOR_BYTES).ok();
    sector.filter(|_| whole).ok_or_else(|| Error::Offset {
        path: path.to_owned(),
        offset_bytes,
    })
}

fn fill_sector(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(SECTOR_BYTES as usize), 0);
}

fn descriptor_start(kind: u8) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(b"CD001\x01");
    bytes
}

/// The descriptor of a tree: plain or Unicode names.
struct Descriptor<'a> {
    kind: u8,
    /// What texts are filled up with.
    fill: u8,
    label: &'a [u8],
    escape: &'a [u8],
    first_table: u32,
    tree: &'a Collected<'a>,
}

impl Descriptor<'_> {
    fn to_bytes(&self, sectors: u32, time: Timestamp) -> Vec<u8> {
        let mut bytes = descriptor_start(self.kind);
        bytes.push(0);
        self.append_text(b"", 32, &mut bytes);
        self.append_text(self.label, 32, &mut bytes);
        bytes.extend_from_slice(&[0; 8]);
        append_both32(sectors, &mut bytes);
        bytes.extend_from_slice(self.escape);
        bytes.resize(120, 0);
        for number in [1, 1, SECTOR_BYTES as u16] {
            append_both16(number, &mut bytes);
        }
        append_both32(self.tree.table_bytes() as u32, &mut bytes);
        let second_table = self.first_table + self.tree.table_sectors();
        bytes.extend_from_slice(&self.first_table.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&second_table.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        self.tree.append_root(&mut bytes);
        for length in [128; 4] {
            self.append_text(b"", length, &mut bytes);
        }
        for length in [37; 3] {
            self.append_text(b"", length, &mut bytes);
        }
        let made = long_date(time);
        bytes.extend_from_slice(&made);
        bytes.extend_from_slice(&made);
        for _ in 0..2 {
            bytes.extend_from_slice(b"0000000000000000\0");
        }
        bytes.push(1);
        fill_sector(&mut bytes);
        bytes
    }

    fn append_text(&self, text: &[u8], length: usize, out: &mut Vec<u8>) {
        let end = out.len() + length;
        out.extend_from_slice(text);
        match self.fill {
            0 => {
                // Unicode texts are filled with spaces of two bytes.
                while out.len() + 2 <= end {
                    out.extend_from_slice(&[0, b' ']);
                }
                out.resize(end, 0);
            }
            fill => out.resize(end, fill),
        }
    }
}

fn boot_record() -> Vec<u8> {
    let mut bytes = descriptor_start(TYPE_BOOT);
    bytes.extend_from_slice(b"EL TORITO SPECIFICATION");
    bytes.resize(71, 0);
    bytes.extend_from_slice(&BOOT_CATALOGUE_SECTOR.to_le_bytes());
    fill_sector(&mut bytes);
    bytes
}

/// A validation entry for UEFI (platform EF), whose 16-bit words add up to 0, and the entry to start.
fn boot_catalogue(boot_image: u32) -> Vec<u8> {
    const PLATFORM_EFI: u8 = 0xef;
    const BOOTABLE: u8 = 0x88;
    let mut bytes = vec![1, PLATFORM_EFI];
    bytes.resize(30, 0);
    bytes.extend_from_slice(&[0x55, 0xaa]);
    let (words, _) = bytes.as_chunks::<2>();
    let sum = words
        .iter()
        .fold(0_u16, |sum, word| sum.wrapping_add(u16::from_le_bytes(*word)));
    bytes[28..30].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
    // No emulation, no load segment, no system type; a length of 0 stands for all up to the end of the volume.
    bytes.extend_from_slice(&[BOOTABLE, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(&boot_image.to_le_bytes());
    bytes.resize(64, 0);
    bytes
}

fn append_both16(number: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&number.to_be_bytes());
}

fn append_both32(number: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&number.to_be_bytes());
}

/// Year to second, from 1970 to 2155, as both forms of dates have them.
fn parts(time: Timestamp) -> [i64; 6] {
    const LAST: i64 = 5_869_583_999;
    let seconds = time.seconds.clamp(0, LAST);
    let (year, month, day) = civil_date(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    [year, month, day, of_day / 3600, of_day / 60 % 60, of_day % 60]
}

/// A date in digits, in UTC.
fn long_date(time: Timestamp) -> [u8; 17] {
    let [year, month, day, hour, minute, second] = parts(time);
    let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}00");
    let mut bytes = [0; 17];
    bytes
        .iter_mut()
        .zip(text.bytes())
        .for_each(|(to, from)| *to = from);
    bytes
}

/// A date as records have it, in UTC.
fn short_date(time: Timestamp) -> [u8; 7] {
    let [year, month, day, hour, minute, second] = parts(time);
    [
        (year - 1900) as u8,
        month as u8,
        day as u8,
        hour as u8,
        minute as u8,
        second as u8,
        0,
    ]
}
