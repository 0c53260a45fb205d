//! What extended headers say about the next entry.

use osmith_formats::tree::Xattrs;

use super::{HeaderError, XATTR_PREFIX, pax};

/// Values that go before those of the header.
#[derive(Debug, Clone, Default)]
pub(super) struct Attributes {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size_bytes: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Xattrs,
    sparse: Sparse,
    /// What a global header says about all entries that follow.
    global: Option<Box<Attributes>>,
}

/// The values of GNU's sparse files, versions 0.0, 0.1 and 1.0.
#[derive(Debug, Clone, Default)]
struct Sparse {
    major: Option<u64>,
    size_bytes: Option<u64>,
    offset: Option<u64>,
    pieces: Option<Vec<(u64, u64)>>,
}

/// Where the pieces of a sparse file belong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SparseMap {
    /// Offsets and lengths.
    pub(super) pieces: Vec<(u64, u64)>,
    pub(super) size_bytes: u64,
    /// How many bytes of the entry's data the map itself takes.
    map_bytes: u64,
}

impl Attributes {
    /// Takes the content of an extended header of that kind.
    pub(super) fn take(&mut self, kind: u8, bytes: &[u8]) -> Result<(), HeaderError> {
        match kind {
            b'L' => self.path = Some(until_zero(bytes)),
            b'K' => self.link = Some(until_zero(bytes)),
            b'g' => {
                let mut global = self.global.take().unwrap_or_default();
                global.take_records(bytes)?;
                self.global = Some(global);
            }
            _ => self.take_records(bytes)?,
        }
        Ok(())
    }

    /// The attributes of the next entry; only the global ones stay.
    pub(super) fn next_entry(&mut self) -> Attributes {
        let global = self.global.take();
        let mut found = std::mem::take(self);
        if let Some(global) = &global {
            found.fill_from(global);
        }
        self.global = global;
        found
    }

    /// Paths and extended attributes of all files would make no sense, and the latter be a way to fill the memory.
    fn fill_from(&mut self, global: &Attributes) {
        self.uid = self.uid.or(global.uid);
        self.gid = self.gid.or(global.gid);
        self.mtime = self.mtime.or(global.mtime);
    }

    fn take_records(&mut self, bytes: &[u8]) -> Result<(), HeaderError> {
        for (key, value) in pax::parse(bytes)? {
            self.take_record(key, value)?;
        }
        Ok(())
    }

    fn take_record(&mut self, key: &[u8], value: &[u8]) -> Result<(), HeaderError> {
        if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
            self.xattrs.insert(name.into(), value.into());
            return Ok(());
        }
        let given = !value.is_empty();
        match key {
            b"path" => self.path = given.then(|| value.to_vec()),
            b"linkpath" => self.link = given.then(|| value.to_vec()),
            b"size" if given => self.size_bytes = Some(pax::parse_number(value, "size")?),
            b"uid" if given => self.uid = Some(id(value, "user ID")?),
            b"gid" if given => self.gid = Some(id(value, "group ID")?),
            b"mtime" if given => self.mtime = Some(pax::parse_time(value)?),
            b"GNU.sparse.name" => self.path = given.then(|| value.to_vec()),
            _ => {
                if let Some(field) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.take_record(field, value)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the map of a sparse file is at the start of the data.
    pub(super) fn has_sparse_data_map(&self) -> bool {
        self.sparse.major == Some(1)
    }

    /// The map of a sparse file, if it is in the extended header.
    pub(super) fn sparse_map(&self) -> Result<Option<SparseMap>, HeaderError> {
        match (&self.sparse.pieces, self.sparse.size_bytes) {
            (None, _) => Ok(None),
            (Some(_), None) => Err(HeaderError::Sparse),
            (Some(pieces), Some(size_bytes)) => Ok(Some(SparseMap {
                pieces: pieces.clone(),
                size_bytes,
                map_bytes: 0,
            })),
        }
    }

    /// The map from the blocks at the start of the data: the number of pieces, then offset and length of each, one a
    /// line.
    pub(super) fn sparse_data_map(&self, text: &[u8]) -> Result<SparseMap, HeaderError> {
        let number = |line: &[u8]| pax::parse_number(line, "sparse offset").map_err(|_| HeaderError::Sparse);
        let mut lines = text.split(|byte| *byte == b'\n');
        let mut next = || lines.next().ok_or(HeaderError::Sparse).and_then(number);
        let count = next()?;
        let mut pieces = Vec::new();
        for _ in 0..count {
            pieces.push((next()?, next()?));
        }
        Ok(SparseMap {
            pieces,
            size_bytes: self.sparse.size_bytes.ok_or(HeaderError::Sparse)?,
            map_bytes: text.len() as u64,
        })
    }
}

/// How many lines the map at the start of the data has, as its first line says; `None` if that line is not whole.
pub(super) fn sparse_data_lines(text: &[u8]) -> Result<Option<u64>, HeaderError> {
    let Some(end) = text.iter().take(20).position(|byte| *byte == b'\n') else {
        return match text.len() > 20 {
            true => Err(HeaderError::Sparse),
            false => Ok(None),
        };
    };
    let digits = text.get(..end).unwrap_or_default();
    let count = pax::parse_number(digits, "sparse offset").map_err(|_| HeaderError::Sparse)?;
    Ok(Some(count.saturating_mul(2).saturating_add(1)))
}

impl Sparse {
    fn take_record(&mut self, field: &[u8], value: &[u8]) -> Result<(), HeaderError> {
        let number = || pax::parse_number(value, "sparse offset");
        match field {
            b"major" => self.major = Some(number()?),
            b"size" | b"realsize" => self.size_bytes = Some(number()?),
            b"numblocks" => {
                self.pieces.get_or_insert_default();
            }
            b"offset" => self.offset = Some(number()?),
            b"numbytes" => {
                let offset = self.offset.take().ok_or(HeaderError::Sparse)?;
                self.pieces.get_or_insert_default().push((offset, number()?));
            }
            b"map" => self.pieces = Some(parse_map(value)?),
            _ => {}
        }
        Ok(())
    }
}

impl SparseMap {
    /// A map whose numbers may be negative, which makes no sense.
    pub(super) fn from_signed(pieces: &[(i64, i64)], size_bytes: i64) -> Result<Self, HeaderError> {
        let number = |value: i64| u64::try_from(value).map_err(|_| HeaderError::Sparse);
        let pieces = pieces
            .iter()
            .map(|(offset, length)| Ok((number(*offset)?, number(*length)?)));
        Ok(SparseMap {
            pieces: pieces.collect::<Result<_, _>>()?,
            size_bytes: number(size_bytes)?,
            map_bytes: 0,
        })
    }

    /// The map, if its pieces are in order, within the file, and exactly the data that is stored.
    pub(super) fn checked(self, stored_bytes: u64) -> Result<Self, HeaderError> {
        let mut position = 0u64;
        let mut sum = self.map_bytes;
        for (offset, length) in &self.pieces {
            let end = offset.checked_add(*length).filter(|end| *end <= self.size_bytes);
            if *offset < position {
                return Err(HeaderError::Sparse);
            }
            position = end.ok_or(HeaderError::Sparse)?;
            sum = sum.checked_add(*length).ok_or(HeaderError::Sparse)?;
        }
        match sum == stored_bytes {
            true => Ok(self),
            false => Err(HeaderError::Sparse),
        }
    }

    /// How many bytes of the file are not stored.
    pub(super) fn hole_bytes(&self) -> u64 {
        let stored: u64 = self.pieces.iter().map(|(_, length)| *length).sum();
        self.size_bytes.saturating_sub(stored)
    }
}

/// Version 0.1: offsets and lengths in turn, separated by commas.
fn parse_map(value: &[u8]) -> Result<Vec<(u64, u64)>, HeaderError> {
    let numbers: Vec<u64> = value
        .split(|byte| *byte == b',')
        .filter(|digits| !digits.is_empty())
        .map(|digits| pax::parse_number(digits, "sparse offset"))
        .collect::<Result<_, _>>()?;
    let (pairs, rest) = numbers.as_chunks::<2>();
    match rest {
        [] => Ok(pairs.iter().map(|[offset, length]| (*offset, *length)).collect()),
        _ => Err(HeaderError::Sparse),
    }
}

fn until_zero(bytes: &[u8]) -> Vec<u8> {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

fn id(value: &[u8], what: &'static str) -> Result<u32, HeaderError> {
    u32::try_from(pax::parse_number(value, what)?).map_err(|_| HeaderError::Range(what))
}
