//! How fast files are measured, beside plain `sha2` in the same run: `cargo run --release --example verity_speed`.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use osmith_formats::verity::{BLOCK_BYTES, hash_blocks};
use sha2::{Digest as _, Sha512};

const DATA_BYTES: usize = 64 << 20;
const ROUNDS: usize = 9;

fn main() {
    let data: Vec<u8> = (0..DATA_BYTES as u32)
        .map(|at| (at.wrapping_mul(0x9e37_79b1) >> 13) as u8)
        .collect();
    let mut best = [Duration::MAX; 2];
    // In turns, so that other work on the machine slows both.
    for _ in 0..ROUNDS {
        best[0] = best[0].min(time(|| {
            let mut hashes = Vec::new();
            for block in data.chunks_exact(BLOCK_BYTES) {
                hashes.extend_from_slice(&Sha512::digest(block));
            }
            hashes
        }));
        best[1] = best[1].min(time(|| {
            let mut hashes = Vec::new();
            hash_blocks(&data, &mut hashes);
            hashes
        }));
    }
    for (name, time) in ["sha2", "hash_blocks"].iter().zip(best) {
        println!("{name}: {:.2} GB/s", DATA_BYTES as f64 / time.as_secs_f64() / 1e9);
    }
    println!("ratio: {:.2}", best[0].as_secs_f64() / best[1].as_secs_f64());
}

fn time(measure: impl FnOnce() -> Vec<u8>) -> Duration {
    let start = Instant::now();
    black_box(measure());
    start.elapsed()
}
