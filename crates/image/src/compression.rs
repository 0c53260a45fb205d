//! Compression of layers and archives.
//!
//! What is read is told by its first bytes, never by a name: gzip (RFC 1952, any number of members), zstd (RFC 8878,
//! any number of frames), xz and bzip2. What is written is gzip or zstd, and for the same input, codec and level the
//! same bytes, whatever the number of processors:
//!
//! * zstd: one frame in the library's multi-threaded mode, whose jobs depend on the level alone, with the length of the
//!   content and a checksum;
//! * gzip: one member, made of blocks of 1 MiB that are deflated on their own and end at a byte.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use flate2::{Compress, Compression, FlushCompress, Status};

use crate::parallel;

/// A way to write layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// Not compressed.
    None,
    /// gzip, which every tool reads.
    Gzip,
    /// zstd, smaller and several times faster.
    Zstd,
}

/// A text that names no codec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no compression: none, gzip and zstd are known")]
pub struct CodecError(String);

impl Codec {
    /// The level that is used if none is asked for: the one at which layers are about as small as podman's.
    pub fn default_level(self) -> i32 {
        match self {
            Codec::None => 0,
            Codec::Gzip => 6,
            Codec::Zstd => 2,
        }
    }

    /// The levels that make sense.
    pub fn levels(self) -> std::ops::RangeInclusive<i32> {
        match self {
            Codec::None => 0..=0,
            Codec::Gzip => 1..=9,
            Codec::Zstd => 1..=19,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Zstd => "zstd",
        })
    }
}

impl FromStr for Codec {
    type Err = CodecError;

    fn from_str(text: &str) -> Result<Self, CodecError> {
        match text {
            "none" => Ok(Codec::None),
            "gzip" => Ok(Codec::Gzip),
            "zstd" => Ok(Codec::Zstd),
            _ => Err(CodecError(text.to_owned())),
        }
    }
}

/// Whether bytes that begin so are compressed in a way that [`decompressed`] knows.
pub fn is_compressed(start: &[u8]) -> bool {
    Format::of(start).is_some()
}

enum Format {
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

impl Format {
    fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0x1f, 0x8b, ..] => Some(Format::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Format::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Format::Xz),
            [b'B', b'Z', b'h', ..] => Some(Format::Bzip2),
            _ => None,
        }
    }
}

/// The bytes behind whatever compression `reader` has; the bytes themselves if it has none.
pub fn decompressed<'a>(mut reader: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut start = Vec::new();
    reader.by_ref().take(6).read_to_end(&mut start)?;
    let whole = io::Cursor::new(start.clone()).chain(reader);
    Ok(match Format::of(&start) {
        Some(Format::Gzip) => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        Some(Format::Zstd) => Box::new(zstd::Decoder::new(whole)?),
        Some(Format::Xz) => Box::new(lzma_rust2::XzReader::new(whole, true)),
        Some(Format::Bzip2) => Box::new(bzip2::read::MultiBzDecoder::new(whole)),
        None => Box::new(whole),
    })
}

/// Runs `write` with a writer whose bytes come to `output` compressed. Returns `output`.
pub(crate) fn compress<W: Write + Send, E: From<io::Error> + Send>(
    output: W,
    codec: Codec,
    level: i32,
    size_bytes: u64,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<W, E> {
    match codec {
        Codec::None => {
            let mut output = output;
            write(&mut output)?;
            Ok(output)
        }
        Codec::Zstd => {
            let mut encoder = zstd::Encoder::new(output, level)?;
            // At least one worker: without any, the output is another one.
            encoder.multithread(parallel::thread_count().clamp(1, 16) as u32)?;
            encoder.set_pledged_src_size(Some(size_bytes))?;
            encoder.include_checksum(true)?;
            write(&mut encoder)?;
            Ok(encoder.finish()?)
        }
        Codec::Gzip => compress_gzip(output, level, write),
    }
}

const GZIP_BLOCK_BYTES: usize = 1 << 20;
/// Magic, deflate, no name, no time, unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// An empty last block of fixed codes: the end of a deflate stream.
const DEFLATE_END: [u8; 2] = [0x03, 0x00];

/// A block on its way: the compressor sends what it made of it.
type Deflated = io::Result<DeflatedBlock>;

struct DeflatedBlock {
    bytes: Vec<u8>,
    checksum: crc32fast::Hasher,
    size_bytes: u32,
}

/// Deflates blocks on several threads; a thread of its own writes them in order.
fn compress_gzip<W: Write + Send, E: From<io::Error> + Send>(
    output: W,
    level: i32,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<W, E> {
    let workers = parallel::thread_count();
    let (to_output, in_order) = sync_channel::<Receiver<Deflated>>(2 * workers);
    let (to_workers, jobs) = sync_channel::<(Vec<u8>, SyncSender<Deflated>)>(workers);
    let jobs = std::sync::Mutex::new(jobs);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let next = || {
                    jobs.lock()
                        .unwrap_or_else(|poisoned| poisoned.into_inner())
                        .recv()
                };
                while let Ok((block, result)) = next() {
                    let _ = result.send(deflate(&block, level));
                }
            });
        }
        let writer = scope.spawn(move || write_gzip(output, &in_order));
        let mut blocks = GzipBlocks {
            pending: Vec::with_capacity(GZIP_BLOCK_BYTES),
            to_workers,
            to_output,
        };
        let written = write(&mut blocks).and_then(|()| Ok(blocks.flush_block()?));
        drop(blocks);
        let output = writer
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // A writer that failed is why the blocks could not be taken.
        match (output, written) {
            (Err(error), _) => Err(error.into()),
            (Ok(_), Err(error)) => Err(error),
            (Ok(output), Ok(())) => Ok(output),
        }
    })
}

struct GzipBlocks {
    pending: Vec<u8>,
    to_workers: SyncSender<(Vec<u8>, SyncSender<Deflated>)>,
    to_output: SyncSender<Receiver<Deflated>>,
}

impl GzipBlocks {
    fn flush_block(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let block = std::mem::replace(&mut self.pending, Vec::with_capacity(GZIP_BLOCK_BYTES));
        let (sender, receiver) = sync_channel(1);
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.to_output.send(receiver).map_err(|_| gone())?;
        self.to_workers.send((block, sender)).map_err(|_| gone())
    }
}

impl Write for GzipBlocks {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let room = GZIP_BLOCK_BYTES - self.pending.len();
        let (taken, _) = data.split_at(room.min(data.len()));
        self.pending.extend_from_slice(taken);
        if self.pending.len() == GZIP_BLOCK_BYTES {
            self.flush_block()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_gzip<W: Write>(mut output: W, in_order: &Receiver<Receiver<Deflated>>) -> io::Result<W> {
    output.write_all(&GZIP_HEADER)?;
    let mut checksum = crc32fast::Hasher::new();
    // The length modulo 2^32, as the format has it.
    let mut size_bytes = 0u32;
    for block in in_order {
        let deflated = block
            .recv()
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))??;
        output.write_all(&deflated.bytes)?;
        size_bytes = size_bytes.wrapping_add(deflated.size_bytes);
        checksum.combine(&deflated.checksum);
    }
    output.write_all(&DEFLATE_END)?;
    output.write_all(&checksum.finalize().to_le_bytes())?;
    output.write_all(&size_bytes.to_le_bytes())?;
    Ok(output)
}

/// Deflates a block so that others can follow it.
fn deflate(block: &[u8], level: i32) -> Deflated {
    let level = Compression::new(level.clamp(1, 9) as u32);
    let mut compress = Compress::new(level, false);
    let mut bytes = Vec::with_capacity(block.len() / 2 + 1024);
    loop {
        let taken = compress.total_in() as usize;
        let rest = block.get(taken..).unwrap_or_default();
        let status = compress
            .compress_vec(rest, &mut bytes, FlushCompress::Sync)
            .map_err(io::Error::other)?;
        let all_taken = compress.total_in() as usize == block.len();
        if all_taken && bytes.len() < bytes.capacity() {
            break;
        }
        if status == Status::StreamEnd {
            return Err(io::Error::other("the deflate stream ended early"));
        }
        bytes.reserve(block.len() / 4 + 1024);
    }
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(block);
    Ok(DeflatedBlock {
        bytes,
        checksum,
        size_bytes: block.len() as u32,
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    fn data(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        (0..length)
            .map(|i| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if i % 7 < 3 {
                    (state >> 24) as u8
                } else {
                    (i / 1000) as u8
                }
            })
            .collect()
    }

    fn compressed(data: &[u8], codec: Codec, level: i32, piece: usize) -> Vec<u8> {
        compress(
            Vec::new(),
            codec,
            level,
            data.len() as u64,
            |writer| -> io::Result<()> { data.chunks(piece).try_for_each(|piece| writer.write_all(piece)) },
        )
        .unwrap()
    }

    fn plain(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut found = Vec::new();
        decompressed(bytes)?.read_to_end(&mut found)?;
        Ok(found)
    }

    #[test]
    fn what_is_compressed_comes_back_and_is_always_the_same() {
        for length in [0, 1, 1 << 20, (1 << 20) + 1, 2_500_001] {
            let data = data(length);
            for (codec, level) in [
                (Codec::None, 0),
                (Codec::Gzip, 1),
                (Codec::Gzip, 9),
                (Codec::Zstd, 3),
            ] {
                let bytes = compressed(&data, codec, level, 1 << 30);
                assert_eq!(plain(&bytes).unwrap(), data, "{codec} of {length} bytes");
                assert_eq!(
                    compressed(&data, codec, level, 10_007),
                    bytes,
                    "{codec} of {length} bytes"
                );
            }
        }
    }

    #[test]
    fn zstd_is_one_frame_that_says_its_length() {
        let data = data(3_000_001);
        let bytes = compressed(&data, Codec::Zstd, 3, 100_000);
        assert_eq!(
            zstd::zstd_safe::find_frame_compressed_size(&bytes).unwrap(),
            bytes.len()
        );
        assert_eq!(
            zstd::zstd_safe::get_frame_content_size(&bytes).unwrap(),
            Some(3_000_001)
        );
    }

    #[test]
    fn the_usual_programs_agree() {
        let data = data(1_200_001);
        for (program, bytes) in [
            ("gzip", compressed(&data, Codec::Gzip, 6, 4096)),
            ("zstd", compressed(&data, Codec::Zstd, 3, 4096)),
        ] {
            let Some(path) = osmith_testing::oracle::require(program) else {
                continue;
            };
            assert_eq!(filter(&path, &["-d", "-c"], &bytes), data, "{program}");
        }
        for program in ["gzip", "bzip2", "xz", "zstd"] {
            let Some(path) = osmith_testing::oracle::require(program) else {
                continue;
            };
            let bytes = filter(&path, &["-c"], &data);
            assert_eq!(plain(&bytes).unwrap(), data, "{program}");
            assert_eq!(
                plain(&[bytes.clone(), bytes.clone()].concat()).unwrap().len(),
                2 * data.len(),
                "{program}"
            );
            assert!(plain(&bytes[..bytes.len() - 9]).is_err(), "{program}: cut off");
            let mut flipped = bytes;
            let middle = flipped.len() / 2;
            flipped[middle] ^= 1;
            assert!(plain(&flipped).is_err(), "{program}: flipped");
        }
    }

    fn filter(program: &std::path::Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(input).unwrap());
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success());
            output.stdout
        })
    }

    #[test]
    fn an_output_that_fails_is_said_so() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, data: &[u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(data.len()).ok_or(io::ErrorKind::StorageFull)?;
                Ok(data.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let data = data(8_000_000);
        for codec in [Codec::None, Codec::Gzip, Codec::Zstd] {
            let level = codec.default_level();
            let failed = compress(Full(100_000), codec, level, data.len() as u64, |writer| {
                writer.write_all(&data)
            });
            assert_eq!(
                failed.err().unwrap().kind(),
                io::ErrorKind::StorageFull,
                "{codec}"
            );
        }
    }

    proptest! {
        #[test]
        fn damaged_bytes_are_an_error_or_bytes_but_no_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            start in 0..5usize,
        ) {
            let magic: [&[u8]; 5] = [b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh9", b""];
            let _ = plain(&[magic[start], &bytes].concat());
        }
    }
}
