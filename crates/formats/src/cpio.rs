//! A cpio archive in the form that the kernel unpacks as an initramfs ("newc").
//!
//! Source: the kernel's `Documentation/driver-api/early-userspace/buffer-format.rst`. A header of 110 bytes, all of it
//! text, then the name with a NUL, then the contents; header and name, and the contents, are filled up to a multiple of
//! four bytes. A last entry is called `TRAILER!!!`. Archives may follow each other, with zeros between them; so an
//! archive can be written into an area that is longer ([`Writer::into_padded`]).
//!
//! Left out: hard links, devices, reading.

/// A last entry of this name ends an archive.
const TRAILER: &str = "TRAILER!!!";
const ALIGNMENT: usize = 4;
const KIND_DIRECTORY: u32 = 0o040_000;
const KIND_REGULAR: u32 = 0o100_000;
const KIND_SYMLINK: u32 = 0o120_000;

/// An entry that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A path is empty, begins with `/`, is `TRAILER!!!`, or has a NUL.
    #[error("'{0}' cannot be a path in a cpio archive")]
    Path(String),
    /// Contents of 4 GiB or more.
    #[error("'{0}' is longer than 4 GiB, more than a file can be in a cpio archive")]
    TooLong(String),
    /// The archive is longer than the area it is to fill.
    #[error("the cpio archive has {archive_bytes} bytes, its place {area_bytes}")]
    NoRoom {
        /// The length of the archive.
        archive_bytes: usize,
        /// The length of the area.
        area_bytes: usize,
    },
}

/// Writes an archive. Everything belongs to root and is of the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    bytes: Vec<u8>,
    entries: u32,
    mtime: u32,
}

impl Writer {
    /// An empty archive; `mtime` is the modification time of all entries, in seconds since 1970.
    pub fn new(mtime: u32) -> Self {
        Writer {
            bytes: Vec::new(),
            entries: 0,
            mtime,
        }
    }

    /// Adds a directory. The kernel makes no parents: they come first.
    pub fn directory(&mut self, path: &str, permissions: u16) -> Result<(), Error> {
        self.entry(path, KIND_DIRECTORY | u32::from(permissions & 0o7777), &[])
    }

    /// Adds a regular file.
    pub fn file(&mut self, path: &str, permissions: u16, contents: &[u8]) -> Result<(), Error> {
        self.entry(path, KIND_REGULAR | u32::from(permissions & 0o7777), contents)
    }

    /// Adds a regular file of `len_bytes`, a multiple of four, whose contents the caller writes behind what
    /// [`Writer::take_bytes`] gives then.
    pub fn begin_file(&mut self, path: &str, permissions: u16, len_bytes: u64) -> Result<(), Error> {
        let too_long = || Error::TooLong(path.to_owned());
        let len_bytes = u32::try_from(len_bytes).map_err(|_| too_long())?;
        self.header(path, KIND_REGULAR | u32::from(permissions & 0o7777), len_bytes)
    }

    /// The archive so far, which goes on behind it.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<(), Error> {
        self.entry(path, KIND_SYMLINK | 0o777, target.as_bytes())
    }

    /// The archive, a multiple of four bytes.
    pub fn into_bytes(mut self) -> Vec<u8> {
        self.append(TRAILER, 0, 0, 0);
        self.bytes
    }

    /// The archive, filled up with zeros to `area_bytes`.
    pub fn into_padded(self, area_bytes: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = self.into_bytes();
        if bytes.len() > area_bytes {
            return Err(Error::NoRoom {
                archive_bytes: bytes.len(),
                area_bytes,
            });
        }
        bytes.resize(area_bytes, 0);
        Ok(bytes)
    }

    fn entry(&mut self, path: &str, mode: u32, contents: &[u8]) -> Result<(), Error> {
        let len_bytes = u32::try_from(contents.len()).map_err(|_| Error::TooLong(path.to_owned()))?;
        self.header(path, mode, len_bytes)?;
        self.bytes.extend_from_slice(contents);
        self.align();
        Ok(())
    }

    fn header(&mut self, path: &str, mode: u32, len_bytes: u32) -> Result<(), Error> {
        if path.is_empty() || path.starts_with('/') || path == TRAILER || path.contains('\0') {
            return Err(Error::Path(path.to_owned()));
        }
        self.entries += 1;
        self.append(path, self.entries, mode, len_bytes);
        Ok(())
    }

    fn append(&mut self, path: &str, number: u32, mode: u32, len_bytes: u32) {
        let links = if mode & KIND_DIRECTORY == KIND_DIRECTORY {
            2
        } else {
            1
        };
        let fields = [
            number,
            mode,
            0,
            0,
            links,
            self.mtime,
            len_bytes,
            0,
            0,
            0,
            0,
            path.len() as u32 + 1,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use osmith_testing::oracle;

    use super::*;

    #[test]
    fn cpio_unpacks_what_is_there_and_ignores_the_padding() {
        let mut writer = Writer::new(1_700_000_000);
        writer.directory("etc", 0o755).unwrap();
        writer.file("etc/ks.cfg", 0o600, b"text\n").unwrap();
        writer.file("etc/empty", 0o644, b"").unwrap();
        writer.symlink("link", "etc/ks.cfg").unwrap();
        let padded = writer.clone().into_padded(8192).unwrap();
        assert_eq!(padded.len(), 8192);
        assert_eq!(writer.clone().into_bytes().len() % 4, 0);
        let room = writer.into_padded(100).unwrap_err();
        assert!(matches!(room, Error::NoRoom { area_bytes: 100, .. }));
        let Some(busybox) = oracle::require("busybox") else {
            return;
        };
        let directory = tempfile::tempdir().unwrap();
        let mut unpack = Command::new(busybox)
            .args(["cpio", "-idm"])
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        unpack.stdin.take().unwrap().write_all(&padded).unwrap();
        assert!(unpack.wait().unwrap().success());
        assert_eq!(
            std::fs::read(directory.path().join("etc/ks.cfg")).unwrap(),
            b"text\n"
        );
        assert_eq!(std::fs::read(directory.path().join("link")).unwrap(), b"text\n");
        assert_eq!(std::fs::read(directory.path().join("etc/empty")).unwrap(), b"");
    }

    #[test]
    fn paths_that_the_kernel_would_misunderstand_are_refused() {
        for path in ["", "/etc", TRAILER, "a\0b"] {
            assert_eq!(Writer::new(0).file(path, 0, b""), Err(Error::Path(path.into())));
        }
    }
}
