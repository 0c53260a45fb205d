//! Archives of ordinary files, as those of an OCI layout: written from a list, read by place.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use super::entry::Attributes;
use super::header::{Block, Fields, Header, octal_max};
use super::write::{PAX_NAME, PLAIN_MODE};
use super::{BLOCK_BYTES, HeaderError, Limits, TarError, pax};
use crate::layer::LayerPath;

/// Writes an archive of files with the mode 0644, directories with 0755, all of root and the epoch.
pub(crate) struct PlainArchive<W> {
    writer: W,
}

impl<W: Write> PlainArchive<W> {
    pub(crate) fn new(writer: W) -> Self {
        PlainArchive { writer }
    }

    /// A directory; the name has at most 99 bytes and no final slash.
    pub(crate) fn directory(&mut self, name: &str) -> io::Result<()> {
        let fields = Fields {
            name: format!("{name}/").as_bytes(),
            mode: 0o755,
            kind: b'5',
            ..Fields::default()
        }
        .to_block();
        self.writer.write_all(&fields)
    }

    /// A file of exactly `size_bytes`, which `write` writes; the name has at most 100 bytes.
    pub(crate) fn file<E: From<io::Error>>(
        &mut self,
        name: &str,
        size_bytes: u64,
        write: impl FnOnce(&mut W) -> Result<(), E>,
    ) -> Result<(), E> {
        let fits = size_bytes <= octal_max(11);
        if !fits {
            self.size_record(size_bytes)?;
        }
        let header = Fields {
            name: name.as_bytes(),
            mode: PLAIN_MODE,
            size_bytes: if fits { size_bytes } else { 0 },
            kind: b'0',
            ..Fields::default()
        };
        self.writer.write_all(&header.to_block())?;
        write(&mut self.writer)?;
        self.pad(size_bytes)?;
        Ok(())
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.writer.write_all(&[0; 2 * BLOCK_BYTES])?;
        self.writer.flush()?;
        Ok(self.writer)
    }

    fn size_record(&mut self, size_bytes: u64) -> io::Result<()> {
        let mut records = Vec::new();
        pax::push(&mut records, b"size", size_bytes.to_string().as_bytes());
        let header = Fields {
            name: PAX_NAME,
            mode: PLAIN_MODE,
            size_bytes: records.len() as u64,
            kind: b'x',
            ..Fields::default()
        };
        self.writer.write_all(&header.to_block())?;
        self.writer.write_all(&records)?;
        self.pad(records.len() as u64)
    }

    fn pad(&mut self, length: u64) -> io::Result<()> {
        let padding = length.next_multiple_of(BLOCK_BYTES as u64) - length;
        self.writer
            .write_all([0; BLOCK_BYTES].get(..padding as usize).unwrap_or_default())
    }
}

/// Where the regular files of an archive are.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Offset and length by path.
    pub(crate) places: HashMap<Vec<u8>, (u64, u64)>,
}

impl Listing {
    /// Reads the headers of an archive. Everything but regular files is passed over.
    pub(crate) fn read(file: &File) -> Result<Listing, TarError> {
        let limits = Limits::default();
        let length = file.metadata().map_err(TarError::Read)?.len();
        let mut reader = file;
        let mut offset_bytes = 0;
        let mut listing = Listing::default();
        let mut attributes = Attributes::default();
        while offset_bytes < length {
            let at = |reason| TarError::Header { offset_bytes, reason };
            reader
                .seek(SeekFrom::Start(offset_bytes))
                .map_err(TarError::Read)?;
            let block = read_block(reader, offset_bytes)?;
            if block.iter().all(|byte| *byte == 0) {
                return Ok(listing);
            }
            let header = Header::parse(&block).map_err(at)?;
            let stored = u64::try_from(header.size_bytes().map_err(at)?)
                .map_err(|_| at(HeaderError::Range("size")))?;
            let is_extended = matches!(header.kind(), b'x' | b'g' | b'L' | b'K');
            let content_bytes = match is_extended {
                true => {
                    let bytes = extended_header(reader, stored, offset_bytes, &limits)?;
                    attributes.take(header.kind(), &bytes).map_err(at)?;
                    stored
                }
                false => listing.note(&header, attributes.next_entry(), stored, offset_bytes)?,
            };
            let end = offset_bytes.checked_add(BLOCK_BYTES as u64).and_then(|start| {
                start.checked_add(content_bytes.checked_next_multiple_of(BLOCK_BYTES as u64)?)
            });
            offset_bytes = match end {
                Some(end) if end <= length.next_multiple_of(BLOCK_BYTES as u64) => end,
                _ => return Err(TarError::Truncated { offset_bytes: length }),
            };
        }
        Err(TarError::Truncated { offset_bytes: length })
    }

    /// Notes an entry and says how long its content is.
    fn note(
        &mut self,
        header: &Header,
        found: Attributes,
        stored: u64,
        offset_bytes: u64,
    ) -> Result<u64, TarError> {
        let size_bytes = match header.kind() {
            b'0' | 0 | b'7' | b'S' => found.size_bytes.unwrap_or(stored),
            _ => 0,
        };
        if matches!(header.kind(), b'0' | 0 | b'7') {
            let name = found.path.unwrap_or_else(|| header.path());
            let path = LayerPath::parse(&name).map_err(|error| TarError::Entry {
                offset_bytes,
                source: error.into(),
            })?;
            let start = offset_bytes + BLOCK_BYTES as u64;
            self.places.insert(path.as_bytes().to_vec(), (start, size_bytes));
        }
        Ok(size_bytes)
    }
}

fn read_block(mut reader: impl Read, offset_bytes: u64) -> Result<Block, TarError> {
    let mut block = [0; BLOCK_BYTES];
    match reader.read_exact(&mut block) {
        Ok(()) => Ok(block),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(TarError::Truncated { offset_bytes })
        }
        Err(error) => Err(TarError::Read(error)),
    }
}

fn extended_header(
    reader: impl Read,
    length: u64,
    offset_bytes: u64,
    limits: &Limits,
) -> Result<Vec<u8>, TarError> {
    if length > limits.extended_header_bytes {
        return Err(TarError::Limit {
            offset_bytes,
            what: "extended header",
            found: length,
            limit: limits.extended_header_bytes,
        });
    }
    let mut bytes = Vec::new();
    reader
        .take(length)
        .read_to_end(&mut bytes)
        .map_err(TarError::Read)?;
    match bytes.len() as u64 == length {
        true => Ok(bytes),
        false => Err(TarError::Truncated { offset_bytes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_where_they_are() {
        let mut archive = PlainArchive::new(tempfile::tempfile().unwrap());
        archive.directory("blobs").unwrap();
        for (name, content) in [("a", &b""[..]), ("blobs/b", b"content"), ("c", &[1; 512])] {
            archive
                .file(name, content.len() as u64, |writer| writer.write_all(content))
                .unwrap();
        }
        let file = archive.finish().unwrap();
        let listing = Listing::read(&file).unwrap();
        let expected = [("a", (1024, 0)), ("blobs/b", (1536, 7)), ("c", (2560, 512))];
        assert_eq!(listing.places.len(), 3);
        for (name, place) in expected {
            assert_eq!(listing.places[name.as_bytes()], place, "{name}");
        }
        file.set_len(2560 + 100).unwrap();
        assert!(matches!(Listing::read(&file), Err(TarError::Truncated { .. })));
        file.set_len(2560 + 512).unwrap();
        assert!(
            matches!(Listing::read(&file), Err(TarError::Truncated { .. })),
            "no end"
        );
    }

    #[test]
    fn a_file_too_long_for_the_header_is_found() {
        let mut file = tempfile::tempfile().unwrap();
        let size_bytes = 1 << 34;
        PlainArchive::new(&mut file)
            .file("big", size_bytes, |_| Ok::<_, io::Error>(()))
            .unwrap();
        // The content is a hole.
        file.set_len(1536 + size_bytes + 1024).unwrap();
        assert_eq!(
            Listing::read(&file).unwrap().places[&b"big"[..]],
            (1536, size_bytes)
        );
    }
}
