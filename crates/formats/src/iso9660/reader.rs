//! Finding a file in a volume: foreign bytes, so every number is checked and the work is bounded.

use std::io;

use super::{JOLIET_ESCAPE, SECTOR_BYTES, TYPE_END, TYPE_PRIMARY, TYPE_SUPPLEMENTARY};

const FIRST_DESCRIPTOR: u64 = 16;
/// How many descriptors are looked at; a volume has three or four.
const DESCRIPTORS_MAX: u64 = 32;
/// How long a directory may be.
const DIRECTORY_MAX_BYTES: u32 = 16 << 20;
const FLAG_DIRECTORY: u8 = 0x02;
const FLAG_FURTHER_EXTENTS: u8 = 0x80;
const RECORD_BYTES: usize = 33;

/// Where a file is on the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins.
    pub offset_bytes: u64,
    /// Its length.
    pub size_bytes: u64,
}

/// A file that was not found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The medium could not be read.
    #[error("reading an ISO 9660 file system")]
    Read(#[from] io::Error),
    /// There are no descriptors.
    #[error("this is no ISO 9660 file system")]
    NoVolume,
    /// A directory is cut off or has a record that cannot be.
    #[error("the directory of an ISO 9660 file system is malformed")]
    Malformed,
    /// There is no file of that name.
    #[error("'{0}' is not in this ISO 9660 file system")]
    NotFound(String),
    /// The file has several parts.
    #[error("'{0}' is not in one part")]
    SeveralExtents(String),
}

/// Where a file is. `read_at` fills a buffer with the bytes from an offset of the medium on; `path` is separated by `/`.
///
/// The Unicode names are looked at, if the volume has such; else the plain ones, where case does not count.
pub fn find(
    mut read_at: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
    path: &str,
) -> Result<Extent, FindError> {
    let (mut at, names) = root(&mut read_at)?;
    let not_found = || FindError::NotFound(path.to_owned());
    for name in path.split('/').filter(|name| !name.is_empty()) {
        if at.flags & FLAG_DIRECTORY == 0 {
            return Err(not_found());
        }
        at = find_in(&mut read_at, at, name, names)?.ok_or_else(not_found)?;
    }
    match at.flags {
        flags if flags & FLAG_DIRECTORY != 0 => Err(not_found()),
        flags if flags & FLAG_FURTHER_EXTENTS != 0 => Err(FindError::SeveralExtents(path.to_owned())),
        _ => Ok(Extent {
            offset_bytes: u64::from(at.sector) * SECTOR_BYTES,
            size_bytes: at.size_bytes.into(),
        }),
    }
}

/// Which names a directory has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Plain,
    Unicode,
}

/// What a record says.
#[derive(Debug, Clone, Copy)]
struct Record {
    sector: u32,
    size_bytes: u32,
    flags: u8,
}

impl Record {
    /// Of the bytes of a record, which may be longer.
    fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Record {
            sector: u32::from_le_bytes(*bytes.get(2..)?.first_chunk()?),
            size_bytes: u32::from_le_bytes(*bytes.get(10..)?.first_chunk()?),
            flags: *bytes.get(25)?,
        })
    }
}

/// The root directory of the better tree.
fn root(read_at: &mut impl FnMut(u64, &mut [u8]) -> io::Result<()>) -> Result<(Record, Names), FindError> {
    let mut plain = None;
    for number in 0..DESCRIPTORS_MAX {
        let mut sector = [0; SECTOR_BYTES as usize];
        read_at((FIRST_DESCRIPTOR + number) * SECTOR_BYTES, &mut sector)?;
        let [kind, rest @ ..] = &sector;
        if !rest.starts_with(b"CD001") {
            break;
        }
        let root = || {
            sector
                .get(156..)
                .and_then(Record::parse)
                .ok_or(FindError::Malformed)
        };
        match *kind {
            TYPE_PRIMARY if plain.is_none() => plain = Some(root()?),
            TYPE_SUPPLEMENTARY if is_joliet(&sector) => return Ok((root()?, Names::Unicode)),
            TYPE_END => break,
            _ => {}
        }
    }
    plain.map(|root| (root, Names::Plain)).ok_or(FindError::NoVolume)
}

/// Any of the three levels of Joliet.
fn is_joliet(sector: &[u8]) -> bool {
    let escape = sector.get(88..91).unwrap_or_default();
    escape == JOLIET_ESCAPE || escape == b"%/@" || escape == b"%/C"
}

fn find_in(
    read_at: &mut impl FnMut(u64, &mut [u8]) -> io::Result<()>,
    directory: Record,
    name: &str,
    names: Names,
) -> Result<Option<Record>, FindError> {
    if directory.size_bytes > DIRECTORY_MAX_BYTES {
        return Err(FindError::Malformed);
    }
    let sectors = u64::from(directory.size_bytes).div_ceil(SECTOR_BYTES);
    for number in 0..sectors {
        let mut sector = [0; SECTOR_BYTES as usize];
        read_at((u64::from(directory.sector) + number) * SECTOR_BYTES, &mut sector)?;
        let mut rest = &sector[..];
        // A length of 0 ends the sector.
        while let Some(length) = rest
            .first()
            .copied()
            .map(usize::from)
            .filter(|length| *length > 0)
        {
            let record = rest.get(..length).ok_or(FindError::Malformed)?;
            let name_bytes = record.get(RECORD_BYTES - 1).copied().map(usize::from);
            let identifier = name_bytes.and_then(|length| record.get(RECORD_BYTES..)?.get(..length));
            if is_name(identifier.ok_or(FindError::Malformed)?, name, names) {
                return Record::parse(record).map(Some).ok_or(FindError::Malformed);
            }
            rest = rest.get(length..).unwrap_or_default();
        }
    }
    Ok(None)
}

/// Whether an identifier, perhaps with a version, is that name.
fn is_name(identifier: &[u8], name: &str, names: Names) -> bool {
    if let [0 | 1] = identifier {
        return false;
    }
    match names {
        Names::Unicode => {
            let (units, _) = identifier.as_chunks::<2>();
            let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
            let stored = String::from_utf16_lossy(&units);
            without_version(&stored) == name
        }
        Names::Plain => {
            let stored = String::from_utf8_lossy(identifier);
            let stored = without_version(&stored);
            let stored = stored.strip_suffix('.').unwrap_or(stored);
            stored.eq_ignore_ascii_case(name)
        }
    }
}

fn without_version(name: &str) -> &str {
    match name.rsplit_once(';') {
        Some((name, version)) if version.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => name,
    }
}
