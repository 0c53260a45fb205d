//! Headers of tar archives whose members are disks: ustar, and the sparse members of old GNU tar.
//!
//! Sources: POSIX.1 `pax` (ustar), the manual of GNU tar, "Basic Tar Format" and "Storing Sparse Files". Blocks of 512 bytes;
//! numbers are octal text, in GNU's headers binary if they are too large for that.
//!
//! ```text
//! header │ contents, whole blocks │ next header ... │ zeros, up to a whole record
//! header with 4 places │ blocks with 21 further places each │ data of all places, one behind the other
//! ```
//!
//! Left out: owners (root has all), links, directories, long names.

use std::ops::Range;

/// The unit of an archive.
pub const BLOCK_BYTES: u64 = 512;
/// An archive is a multiple of this.
pub const RECORD_BYTES: u64 = 20 * BLOCK_BYTES;
/// The largest member of a ustar archive: eleven octal digits.
pub const MAX_USTAR_BYTES: u64 = (1 << 33) - 1;

const BLOCK: usize = BLOCK_BYTES as usize;
const MODE: u64 = 0o644;
const NAME: Range<usize> = 0..100;
const SPARSE_PLACES: usize = 386;
const SPARSE_PLACES_IN_HEADER: usize = 4;
const SPARSE_IS_EXTENDED: usize = 482;
const SPARSE_REAL_SIZE: usize = 483;
const SPARSE_PLACES_IN_BLOCK: usize = 21;
const SPARSE_BLOCK_IS_EXTENDED: usize = 504;
const PLACE_BYTES: usize = 24;
const NUMBER_BYTES: usize = 12;

/// A member that no header can describe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TarError {
    /// The name is empty or too long.
    #[error("a member of a tar archive cannot have the name '{0}'")]
    Name(String),
    /// The member is too long.
    #[error("a member of a ustar archive cannot have {0} bytes")]
    Size(u64),
    /// A piece of a sparse file is empty, out of order, or ends within a block before the end of the file.
    #[error("a sparse file cannot have a piece of {len_bytes} bytes at {offset_bytes}")]
    Piece {
        /// Where it begins.
        offset_bytes: u64,
        /// How long it is.
        len_bytes: u64,
    },
}

/// The header of a member of a ustar archive.
pub fn ustar_header(name: &str, size_bytes: u64, mtime_seconds: i64) -> Result<Vec<u8>, TarError> {
    if size_bytes > MAX_USTAR_BYTES {
        return Err(TarError::Size(size_bytes));
    }
    let mut header = basic_header(name, size_bytes, mtime_seconds)?;
    put(&mut header, 156, b"0");
    put(&mut header, 257, b"ustar\x0000");
    put_checksum(&mut header);
    Ok(header)
}

/// The headers of a sparse member of an archive of old GNU tar. Its contents are those of the pieces, in this order; what lies
/// between them is zeros.
pub fn gnu_sparse_header(
    name: &str,
    real_bytes: u64,
    pieces: &[Range<u64>],
    mtime_seconds: i64,
) -> Result<Vec<u8>, TarError> {
    require_pieces(real_bytes, pieces)?;
    let stored_bytes = pieces.iter().map(|piece| piece.end - piece.start).sum();
    let mut places: Vec<(u64, u64)> = pieces
        .iter()
        .map(|piece| (piece.start, piece.end - piece.start))
        .collect();
    if pieces.last().is_none_or(|last| last.end < real_bytes) {
        // Says where the file ends.
        places.push((real_bytes, 0));
    }
    let (first, further) = places.split_at(places.len().min(SPARSE_PLACES_IN_HEADER));
    let mut header = basic_header(name, stored_bytes, mtime_seconds)?;
    put(&mut header, 156, b"S");
    put(&mut header, 257, b"ustar  \0");
    put_places(&mut header, SPARSE_PLACES, first);
    put(&mut header, SPARSE_IS_EXTENDED, &[u8::from(!further.is_empty())]);
    put(&mut header, SPARSE_REAL_SIZE, &gnu_number(real_bytes));
    put_checksum(&mut header);
    let mut blocks = further.chunks(SPARSE_PLACES_IN_BLOCK).peekable();
    while let Some(places) = blocks.next() {
        let mut block = vec![0; BLOCK];
        put_places(&mut block, 0, places);
        put(
            &mut block,
            SPARSE_BLOCK_IS_EXTENDED,
            &[u8::from(blocks.peek().is_some())],
        );
        header.extend(block);
    }
    Ok(header)
}

/// The zeros that follow so many bytes of an archive, the last member of which is not padded yet.
pub fn end_bytes(archive_bytes: u64) -> u64 {
    let padded = archive_bytes.next_multiple_of(BLOCK_BYTES);
    (padded + 2 * BLOCK_BYTES).next_multiple_of(RECORD_BYTES) - archive_bytes
}

fn require_pieces(real_bytes: u64, pieces: &[Range<u64>]) -> Result<(), TarError> {
    let mut end = 0;
    for piece in pieces {
        let is_last = piece.end == real_bytes;
        let is_sound = piece.start >= end
            && piece.start < piece.end
            && piece.end <= real_bytes
            && piece.start.is_multiple_of(BLOCK_BYTES)
            && (piece.end.is_multiple_of(BLOCK_BYTES) || is_last);
        if !is_sound {
            return Err(TarError::Piece {
                offset_bytes: piece.start,
                len_bytes: piece.end.saturating_sub(piece.start),
            });
        }
        end = piece.end;
    }
    Ok(())
}

/// What all headers have.
fn basic_header(name: &str, size_bytes: u64, mtime_seconds: i64) -> Result<Vec<u8>, TarError> {
    if name.is_empty() || name.len() >= NAME.len() {
        return Err(TarError::Name(name.to_owned()));
    }
    let mut header = vec![0; BLOCK];
    put(&mut header, NAME.start, name.as_bytes());
    put(&mut header, 100, &octal(MODE, 7));
    put(&mut header, 108, &octal(0, 7));
    put(&mut header, 116, &octal(0, 7));
    put(&mut header, 124, &gnu_number(size_bytes));
    let mtime = u64::try_from(mtime_seconds).unwrap_or(0).min(MAX_USTAR_BYTES);
    put(&mut header, 136, &octal(mtime, 11));
    put(&mut header, 265, b"root");
    put(&mut header, 297, b"root");
    Ok(header)
}

fn put(block: &mut [u8], at: usize, bytes: &[u8]) {
    for (target, byte) in block.iter_mut().skip(at).zip(bytes) {
        *target = *byte;
    }
}

fn put_places(block: &mut [u8], at: usize, places: &[(u64, u64)]) {
    for (index, (offset, length)) in places.iter().enumerate() {
        let at = at + index * PLACE_BYTES;
        put(block, at, &gnu_number(*offset));
        put(block, at + NUMBER_BYTES, &gnu_number(*length));
    }
}

/// The sum of all bytes, of which those of the sum count as blanks.
fn put_checksum(header: &mut [u8]) {
    put(header, 148, b"        ");
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    put(header, 148, &octal(sum, 6));
    put(header, 154, b"\0 ");
}

/// So many digits, and a zero byte.
fn octal(number: u64, digits: usize) -> Vec<u8> {
    format!("{number:0digits$o}\0").into_bytes()
}

/// Octal if that is enough, else binary, which a first byte of 0x80 tells.
fn gnu_number(number: u64) -> Vec<u8> {
    if number <= MAX_USTAR_BYTES {
        return octal(number, NUMBER_BYTES - 1);
    }
    let mut field = vec![0x80, 0, 0, 0];
    field.extend_from_slice(&number.to_be_bytes());
    field
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "a piece is a range")]
mod tests {
    use std::io::Write;
    use std::process::Command;

    use osmith_testing::oracle;

    use super::*;

    /// What GNU tar makes of an archive of one member.
    fn extracted(archive: &[u8], name: &str) -> Option<Vec<u8>> {
        let tar = oracle::require("tar")?;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive.tar");
        std::fs::File::create(&path).unwrap().write_all(archive).unwrap();
        let mut command = Command::new(tar);
        command.arg("-xf").arg(&path).arg("-C").arg(folder.path());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{said}");
        Some(std::fs::read(folder.path().join(name)).unwrap())
    }

    fn finish(archive: &mut Vec<u8>) {
        archive.resize(archive.len() + end_bytes(archive.len() as u64) as usize, 0);
        assert!(archive.len().is_multiple_of(10_240));
    }

    #[test]
    fn tar_reads_a_plain_member() {
        let contents = b"some text\n".repeat(100);
        let mut archive = ustar_header("disk.ovf", contents.len() as u64, 1_700_000_000).unwrap();
        assert_eq!(archive[257..265], *b"ustar\x0000");
        archive.extend(&contents);
        finish(&mut archive);
        let Some(found) = extracted(&archive, "disk.ovf") else {
            return;
        };
        assert_eq!(found, contents);
    }

    #[test]
    fn tar_reads_sparse_members_with_few_and_many_pieces() {
        for count in [0, 1, 3, 4, 5, 24, 25, 26, 60] {
            for ends_with_data in [true, false] {
                let real_bytes = count * 8192 + 4096;
                let mut pieces: Vec<_> = (0..count)
                    .map(|at| at * 8192..at * 8192 + 512 * (at % 7 + 1))
                    .collect();
                if ends_with_data {
                    pieces.push(real_bytes - 1024..real_bytes);
                }
                let mut archive = gnu_sparse_header("disk.raw", real_bytes, &pieces, 0).unwrap();
                assert_eq!(archive[257..265], *b"ustar  \0");
                let mut expected = vec![0; real_bytes as usize];
                for (piece, byte) in pieces.iter().zip(1..) {
                    let contents = vec![byte; (piece.end - piece.start) as usize];
                    archive.extend(&contents);
                    expected[piece.start as usize..piece.end as usize].copy_from_slice(&contents);
                }
                finish(&mut archive);
                let Some(found) = extracted(&archive, "disk.raw") else {
                    return;
                };
                assert!(found == expected, "{count} {ends_with_data}");
            }
        }
    }

    #[test]
    fn large_numbers_are_binary() {
        assert_eq!(gnu_number(MAX_USTAR_BYTES), b"77777777777\0");
        assert_eq!(gnu_number(1 << 33), [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
        let tebibyte = 1 << 40;
        let header = gnu_sparse_header("disk.raw", tebibyte, &[tebibyte - 512..tebibyte], 0).unwrap();
        assert_eq!(header[386..398], gnu_number(tebibyte - 512));
        assert_eq!(header[483..495], gnu_number(tebibyte));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(matches!(ustar_header("", 0, 0), Err(TarError::Name(_))));
        assert!(ustar_header(&"n".repeat(99), 0, 0).is_ok());
        assert!(ustar_header(&"n".repeat(100), 0, 0).is_err());
        assert_eq!(ustar_header("a", 1 << 33, 0), Err(TarError::Size(1 << 33)));
        let refused = |pieces: &[Range<u64>]| gnu_sparse_header("a", 10_000, pieces, 0).is_err();
        assert!(refused(&[1..512]));
        assert!(refused(&[0..512, 511..1024]));
        assert!(refused(&[0..513]));
        assert!(refused(&[512..512]));
        assert!(refused(&[9728..10_001]));
        assert!(!refused(&[0..512, 9728..10_000]));
    }
}
