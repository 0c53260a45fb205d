//! Writes the tree of the benchmarks: 30,000 files, 1 GB, always the same bytes.
//!
//! Sizes follow what an operating system has: most files are small, a few hold most of the bytes. Two thirds of the
//! contents compress about as well as programs and text do, the rest not at all.
//!
//! Usage: `bench-tree DIRECTORY [FILES [BYTES]]`

#![allow(clippy::print_stderr, reason = "a program")]

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

const FILES_PER_DIRECTORY: usize = 60;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some(directory) = arguments.first() else {
        eprintln!("usage: bench-tree DIRECTORY [FILES [BYTES]]");
        return ExitCode::from(2);
    };
    let number = |position: usize, default| {
        arguments
            .get(position)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    match write_tree(
        Path::new(directory),
        number(1, 30_000),
        number(2, 1_000_000_000) as u64,
    ) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-tree: {directory}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write_tree(root: &Path, files: usize, total_bytes: u64) -> io::Result<()> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let weights: Vec<f64> = (0..files).map(|_| random.weight()).collect();
    let scale = total_bytes as f64 / weights.iter().sum::<f64>();
    for (number, weight) in weights.iter().enumerate() {
        let directory = root.join(format!("d{:04}", number / FILES_PER_DIRECTORY));
        if number.is_multiple_of(FILES_PER_DIRECTORY) {
            fs::create_dir_all(&directory)?;
        }
        let bytes = random.contents((weight * scale) as usize, !number.is_multiple_of(3));
        fs::File::create(directory.join(format!("file-{number:05}")))?.write_all(&bytes)?;
    }
    Ok(())
}

/// xorshift64*: enough randomness for file contents, the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A Pareto-like weight, at most 2,000 times the smallest.
    fn weight(&mut self) -> f64 {
        let uniform = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        (1.0 - uniform).max(1e-6).powf(-0.9).min(2_000.0)
    }

    /// Bytes that do not compress, or runs of 1 to 16 taken from a small dictionary, which do by about half.
    fn contents(&mut self, length: usize, compressible: bool) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 16);
        let dictionary: [u64; 64] = std::array::from_fn(|_| self.next());
        while bytes.len() < length {
            let draw = self.next();
            match compressible && !draw.is_multiple_of(4) {
                true => bytes.extend_from_slice(&dictionary[(draw >> 8) as usize % 64].to_le_bytes()),
                false => bytes.extend_from_slice(&draw.to_le_bytes()),
            }
        }
        bytes.truncate(length);
        bytes
    }
}
