//! Copies of file contents by the cheapest way the file systems allow, and the map of a sparse file.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::{OsError, Result};

/// How contents were copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyMethod {
    /// Both files share the blocks.
    Reflink,
    /// The kernel copied the data, holes stayed holes.
    InKernel,
    /// This process read and wrote the data, holes stayed holes.
    ReadWrite,
}

/// Copies all of `from` into the empty file `to`, leaving both positions anywhere.
pub fn copy_contents(from: &File, to: &File) -> Result<CopyMethod> {
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(CopyMethod::Reflink);
    }
    let size_bytes = from
        .metadata()
        .map_err(|error| OsError::from_io("read the size of", "the file to copy", &error))?
        .len();
    let mut method = CopyMethod::InKernel;
    for range in data_ranges(from, size_bytes)? {
        method = copy_range(from, to, range, method)?;
    }
    rustix::fs::ftruncate(to, size_bytes)
        .map_err(|errno| OsError::new("set the size of", "the copy", errno))?;
    Ok(method)
}

fn copy_range(from: &File, to: &File, range: Range<u64>, method: CopyMethod) -> Result<CopyMethod> {
    let mut at = range.start;
    while method == CopyMethod::InKernel && at < range.end {
        let (mut read_at, mut write_at) = (at, at);
        let wanted = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(1 << 30);
        match rustix::fs::copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), wanted) {
            Ok(0) => return Ok(method),
            Ok(copied_bytes) => at += copied_bytes as u64,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => break,
            Err(errno) => return Err(OsError::new("copy", "file contents", errno)),
        }
    }
    if at == range.end {
        return Ok(method);
    }
    read_and_write(from, to, at..range.end)
        .map_err(|error| OsError::from_io("copy", "file contents", &error))?;
    Ok(CopyMethod::ReadWrite)
}

fn read_and_write(from: &File, to: &File, range: Range<u64>) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    let mut at = range.start;
    while at < range.end {
        let wanted = usize::try_from(range.end - at)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read_bytes = match from.read_at(&mut buffer[..wanted], at) {
            Ok(0) => return Ok(()),
            Ok(read_bytes) => read_bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all_at(&buffer[..read_bytes], at)?;
        at += read_bytes as u64;
    }
    Ok(())
}

/// The parts of a file that are not holes, in order; all of it where the file system cannot tell.
pub fn data_ranges(file: &File, size_bytes: u64) -> Result<Vec<Range<u64>>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < size_bytes {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
            Err(errno) => return Err(OsError::new("find the data of", "a file", errno)),
        };
        let end = match rustix::fs::seek(file, SeekFrom::Hole(start)) {
            Ok(end) => end.min(size_bytes),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => size_bytes,
            Err(Errno::NXIO) => break,
            Err(errno) => return Err(OsError::new("find the holes of", "a file", errno)),
        };
        if start >= end {
            break;
        }
        ranges.push(start..end);
        at = end;
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sparse() -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[7; 5000], 1 << 20).unwrap();
        file.set_len(3 << 20).unwrap();
        file
    }

    fn contents(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn finds_the_data_of_a_sparse_file() {
        let ranges = data_ranges(&sparse(), 3 << 20).unwrap();
        let data_bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        assert!(
            ranges.iter().any(|range| range.contains(&(1 << 20))),
            "{ranges:?}"
        );
        assert!(data_bytes < 1 << 20, "{ranges:?}");
    }

    #[test]
    fn copies_are_equal_and_as_sparse() {
        use std::os::unix::fs::MetadataExt;
        let (from, to) = (sparse(), tempfile::tempfile().unwrap());
        copy_contents(&from, &to).unwrap();
        assert_eq!(contents(&from), contents(&to));
        assert!(to.metadata().unwrap().blocks() <= from.metadata().unwrap().blocks() + 8);
    }

    #[test]
    fn reading_and_writing_gives_the_same() {
        let (from, to) = (sparse(), tempfile::tempfile().unwrap());
        read_and_write(&from, &to, 0..3 << 20).unwrap();
        assert_eq!(contents(&from), contents(&to));
    }
}
