//! More room in memory for images that are fetched: a compressed swap device in memory (zram), which a file system in memory
//! spills into.
//!
//! Source: the kernel's `Documentation/admin-guide/blockdev/zram.rst`.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use osmith_formats::gpt::Guid;
use osmith_formats::swap;
use osmith_sys::OsError;

/// The best that kernels have, and the order in which they are asked.
const ALGORITHMS: [&str; 2] = ["zstd", "lzo-rle"];
const SWAP_UUID: [u8; 16] = *b"osmith in memory";
const PAGE_BYTES: u64 = 4096;

/// Adds a compressed swap device of that length to the system whose root directory is `host`. Contents of operating systems take
/// less than half of it.
pub fn add_compressed_swap(host: &Path, size_bytes: u64) -> Result<(), OsError> {
    let control = host.join("sys/class/zram-control/hot_add");
    if !control.exists() {
        // A kernel that has it built in, or not at all, needs no module.
        let _ = Command::new("modprobe")
            .args(["zram", "num_devices=0"])
            .stdin(Stdio::null())
            .status();
    }
    let number = fs::read_to_string(&control).map_err(|error| failed("add a device by", &control, &error))?;
    let name = format!("zram{}", number.trim());
    let settings = host.join("sys/block").join(&name);
    for algorithm in ALGORITHMS {
        if fs::write(settings.join("comp_algorithm"), algorithm).is_ok() {
            break;
        }
    }
    let size_bytes = size_bytes / PAGE_BYTES * PAGE_BYTES;
    let path = settings.join("disksize");
    fs::write(&path, size_bytes.to_string()).map_err(|error| failed("write", &path, &error))?;
    let device = host.join("dev").join(&name);
    let written = swap::header(size_bytes, Guid::from_bytes(SWAP_UUID), "osmith")
        .map_err(io::Error::other)
        .and_then(|header| File::options().write(true).open(&device)?.write_all(&header));
    written.map_err(|error| failed("make a swap area on", &device, &error))?;
    osmith_sys::swap::add(&device)
}

fn failed(operation: &'static str, path: &Path, error: &io::Error) -> OsError {
    OsError::from_io(operation, path.display(), error)
}
