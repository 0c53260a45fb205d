//! The 512 bytes of a header.

use super::{BLOCK_BYTES, HeaderError};

/// A header block.
pub(super) type Block = [u8; BLOCK_BYTES];

/// The fields of a header that is written.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) prefix: &'a [u8],
    pub(super) name: &'a [u8],
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size_bytes: u64,
    pub(super) mtime_seconds: u64,
    pub(super) kind: u8,
    pub(super) link: &'a [u8],
    pub(super) major: u32,
    pub(super) minor: u32,
}

/// The largest number in a field of that many octal digits.
pub(super) const fn octal_max(digits: u32) -> u64 {
    (1 << (3 * digits)) - 1
}

impl Fields<'_> {
    /// The header. Texts and numbers fit; the caller has put those that do not into an extended header.
    pub(super) fn to_block(&self) -> Block {
        let mut block = [0; BLOCK_BYTES];
        put(&mut block, 0, self.name);
        put_octal(&mut block, 100, 7, u64::from(self.mode));
        put_octal(&mut block, 108, 7, u64::from(self.uid));
        put_octal(&mut block, 116, 7, u64::from(self.gid));
        put_octal(&mut block, 124, 11, self.size_bytes);
        put_octal(&mut block, 136, 11, self.mtime_seconds);
        put(&mut block, 148, b"        ");
        put(&mut block, 156, &[self.kind]);
        put(&mut block, 157, self.link);
        put(&mut block, 257, b"ustar\x0000");
        put_octal(&mut block, 329, 7, u64::from(self.major));
        put_octal(&mut block, 337, 7, u64::from(self.minor));
        put(&mut block, 345, self.prefix);
        let sum = checksum(&block);
        put_octal(&mut block, 148, 6, sum);
        put(&mut block, 154, b"\0 ");
        block
    }
}

fn put(block: &mut Block, at: usize, bytes: &[u8]) {
    for (target, byte) in block.iter_mut().skip(at).zip(bytes) {
        *target = *byte;
    }
}

fn put_octal(block: &mut Block, at: usize, digits: usize, number: u64) {
    put(block, at, format!("{number:0digits$o}").as_bytes());
}

fn checksum(block: &Block) -> u64 {
    block.iter().map(|byte| u64::from(*byte)).sum()
}

/// A header that is read.
#[derive(Debug)]
pub(super) struct Header<'a>(&'a Block);

impl<'a> Header<'a> {
    /// Checks the checksum, which is over the block with blanks in its own place; old archives summed signed bytes.
    pub(super) fn parse(block: &'a Block) -> Result<Self, HeaderError> {
        let header = Header(block);
        let stored = header.number(148, 8, "checksum")?;
        let rest = || {
            block
                .iter()
                .enumerate()
                .filter(|(at, _)| !(148..156).contains(at))
        };
        let unsigned: i64 = rest().map(|(_, byte)| i64::from(*byte)).sum::<i64>() + 8 * 32;
        let signed: i64 = rest().map(|(_, byte)| i64::from(*byte as i8)).sum::<i64>() + 8 * 32;
        if stored != unsigned && stored != signed {
            return Err(HeaderError::Checksum);
        }
        Ok(header)
    }

    pub(super) fn kind(&self) -> u8 {
        self.field(156, 1).first().copied().unwrap_or_default()
    }

    /// Prefix and name; the prefix is only there in a POSIX header, GNU's has other things in its place.
    pub(super) fn path(&self) -> Vec<u8> {
        let name = text(self.field(0, 100));
        let prefix = match self.field(257, 6) {
            b"ustar\0" => text(self.field(345, 155)),
            _ => b"",
        };
        match prefix {
            b"" => name.to_vec(),
            prefix => [prefix, b"/", name].concat(),
        }
    }

    pub(super) fn link(&self) -> &'a [u8] {
        text(self.field(157, 100))
    }

    pub(super) fn mode(&self) -> Result<i64, HeaderError> {
        self.number(100, 8, "mode")
    }

    pub(super) fn uid(&self) -> Result<i64, HeaderError> {
        self.number(108, 8, "user ID")
    }

    pub(super) fn gid(&self) -> Result<i64, HeaderError> {
        self.number(116, 8, "group ID")
    }

    pub(super) fn size_bytes(&self) -> Result<i64, HeaderError> {
        self.number(124, 12, "size")
    }

    pub(super) fn mtime_seconds(&self) -> Result<i64, HeaderError> {
        self.number(136, 12, "modification time")
    }

    pub(super) fn major(&self) -> Result<i64, HeaderError> {
        self.number(329, 8, "major number")
    }

    pub(super) fn minor(&self) -> Result<i64, HeaderError> {
        self.number(337, 8, "minor number")
    }

    pub(super) fn gnu_sparse(&self) -> Result<GnuSparse, HeaderError> {
        Ok(GnuSparse {
            pieces: gnu_sparse_pieces(self.field(386, 96))?,
            more: self.field(482, 1) != [0],
            size_bytes: self.number(483, 12, "size")?,
        })
    }

    fn number(&self, at: usize, length: usize, what: &'static str) -> Result<i64, HeaderError> {
        number(self.field(at, length), what)
    }

    fn field(&self, at: usize, length: usize) -> &'a [u8] {
        self.0.get(at..at + length).unwrap_or_default()
    }
}

/// What the header of an old GNU sparse file says.
pub(super) struct GnuSparse {
    /// Offset and length of up to four pieces.
    pub(super) pieces: Vec<(i64, i64)>,
    /// Whether blocks with more pieces follow.
    pub(super) more: bool,
    /// The length of the file with its holes.
    pub(super) size_bytes: i64,
}

/// Offsets and lengths of a sparse file's pieces, 12 bytes each; an empty one ends them.
pub(super) fn gnu_sparse_pieces(bytes: &[u8]) -> Result<Vec<(i64, i64)>, HeaderError> {
    let pairs = bytes.chunks_exact(24).map(|pair| pair.split_at(12));
    pairs
        .take_while(|(offset, length)| offset.first() != Some(&0) || length.first() != Some(&0))
        .map(|(offset, length)| Ok((number(offset, "sparse offset")?, number(length, "sparse length")?)))
        .collect()
}

/// The bytes before the first zero.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Octal digits between blanks and zeros; or, as GNU has it, a big-endian number with the highest bit set.
fn number(field: &[u8], what: &'static str) -> Result<i64, HeaderError> {
    match field.split_first() {
        Some((0x80, rest)) => binary(rest, 0).ok_or(HeaderError::Range(what)),
        Some((0xff, rest)) => binary(rest, -1).ok_or(HeaderError::Range(what)),
        _ => {
            let field = text(field).trim_ascii();
            let digits = std::str::from_utf8(field).map_err(|_| HeaderError::Number(what))?;
            match digits {
                "" => Ok(0),
                _ if !digits.bytes().all(|byte| byte.is_ascii_digit()) => Err(HeaderError::Number(what)),
                _ => i64::from_str_radix(digits, 8).map_err(|_| HeaderError::Number(what)),
            }
        }
    }
}

fn binary(bytes: &[u8], sign: i64) -> Option<i64> {
    bytes.iter().try_fold(sign, |number, byte| {
        number.checked_mul(256).map(|number| number | i64::from(*byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back() {
        let block = Fields {
            prefix: b"some/where",
            name: b"file",
            mode: 0o4755,
            uid: octal_max(7) as u32,
            gid: 7,
            size_bytes: octal_max(11),
            mtime_seconds: 1,
            kind: b'1',
            link: b"target",
            major: 8,
            minor: 1,
        }
        .to_block();
        let header = Header::parse(&block).unwrap();
        assert_eq!(header.path(), b"some/where/file");
        assert_eq!(
            (header.mode(), header.uid(), header.gid()),
            (Ok(0o4755), Ok(0o7777777), Ok(7))
        );
        assert_eq!(header.size_bytes(), Ok(0o77777777777));
        assert_eq!(
            (header.mtime_seconds(), header.kind(), header.link()),
            (Ok(1), b'1', &b"target"[..])
        );
        assert_eq!((header.major(), header.minor()), (Ok(8), Ok(1)));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let block = Fields {
            name: b"file",
            ..Fields::default()
        }
        .to_block();
        for bit in 0..BLOCK_BYTES * 8 {
            let mut flipped = block;
            flipped[bit / 8] ^= 1 << (bit % 8);
            // A blank for a leading zero, or another end of the number, is the same checksum.
            let same_number = (148..156).contains(&(bit / 8));
            assert!(same_number || Header::parse(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn numbers() {
        for (field, expected) in [
            (&b"0000644\0"[..], Ok(0o644)),
            (b"   644 \0", Ok(0o644)),
            (b"\0\0\0\0\0\0\0\0", Ok(0)),
            (b"\x80\0\0\0\x01\0\0\0", Ok(1 << 24)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Ok(-2)),
            (
                b"\x80\xff\xff\xff\xff\xff\xff\xff\xff",
                Err(HeaderError::Range("x")),
            ),
            (b"-1", Err(HeaderError::Number("x"))),
            (b"+7", Err(HeaderError::Number("x"))),
            (b"8", Err(HeaderError::Number("x"))),
            (b"0x1", Err(HeaderError::Number("x"))),
        ] {
            assert_eq!(number(field, "x"), expected, "{field:?}");
        }
    }
}
