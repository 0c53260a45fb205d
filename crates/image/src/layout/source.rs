//! The files of a layout, in a directory or an archive.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{INDEX_FILE, LAYOUT_FILE, LayoutError, blob_path};
use crate::intake::{Blobs, IntakeError};
use crate::manifest::{Descriptor, Index, JSON_MAX_BYTES};
use crate::parallel;
use crate::tar::Listing;

/// A layout that is open for reading.
pub(super) struct Source {
    path: PathBuf,
    files: Files,
}

enum Files {
    Directory,
    Archive {
        file: File,
        places: HashMap<Vec<u8>, (u64, u64)>,
    },
}

/// A file of a layout; bytes and their number.
struct Blob<'a> {
    size_bytes: u64,
    reader: BlobReader<'a>,
}

enum BlobReader<'a> {
    File(File),
    Range {
        file: &'a File,
        offset_bytes: u64,
        left_bytes: u64,
    },
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            BlobReader::File(file) => file.read(buffer),
            BlobReader::Range {
                file,
                offset_bytes,
                left_bytes,
            } => {
                let length = buffer
                    .len()
                    .min(usize::try_from(*left_bytes).unwrap_or(usize::MAX));
                let count = file.read_at(buffer.get_mut(..length).unwrap_or_default(), *offset_bytes)?;
                *offset_bytes += count as u64;
                *left_bytes -= count as u64;
                Ok(count)
            }
        }
    }
}

impl Blobs for Source {
    type Error = LayoutError;

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, LayoutError> {
        let mut bytes = Vec::new();
        let mut blob = self.open_blob(descriptor)?;
        blob.reader
            .read_to_end(&mut bytes)
            .map_err(|error| self.read_error(descriptor, error))?;
        Ok(bytes)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, LayoutError> {
        Ok(Box::new(self.open_blob(descriptor)?.reader))
    }

    fn read_error(&self, descriptor: &Descriptor, error: io::Error) -> LayoutError {
        self.failed("read", &blob_path(&descriptor.digest), error)
    }

    fn parallel_reads(&self) -> usize {
        parallel::thread_count()
    }
}

impl Source {
    /// Opens a directory or an archive, whichever `path` is.
    pub(super) fn open(path: &Path) -> Result<Self, LayoutError> {
        let failed = |error| LayoutError::io("open", path, error);
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if !metadata.is_dir() {
            return Self::of_archive(path, File::open(path).map_err(failed)?);
        }
        let source = Source {
            path: path.to_owned(),
            files: Files::Directory,
        };
        source.require_layout()?;
        Ok(source)
    }

    /// Opens an archive; `path` is what it is called in messages.
    pub(super) fn of_archive(path: &Path, file: File) -> Result<Self, LayoutError> {
        let listing = Listing::read(&file).map_err(|source| LayoutError::Archive {
            path: path.to_owned(),
            source,
        })?;
        let source = Source {
            path: path.to_owned(),
            files: Files::Archive {
                file,
                places: listing.places,
            },
        };
        source.require_layout()?;
        Ok(source)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The top of the layout.
    pub(super) fn index(&self) -> Result<Index, LayoutError> {
        let bytes = self
            .small_file(INDEX_FILE)?
            .ok_or_else(|| LayoutError::NotALayout {
                path: self.path.clone(),
                reason: "it has no index.json",
            })?;
        let index = Index::from_bytes(&bytes).map_err(|source| IntakeError::Json {
            name: format!("'{}'", self.path.join(INDEX_FILE).display()),
            source,
        })?;
        Ok(index)
    }

    /// Opens a blob, whose length is checked.
    fn open_blob(&self, descriptor: &Descriptor) -> Result<Blob<'_>, LayoutError> {
        let digest = descriptor.digest;
        let blob = self
            .file(&blob_path(&digest))?
            .ok_or(LayoutError::MissingBlob(digest))?;
        match blob.size_bytes == descriptor.size_bytes {
            true => Ok(blob),
            false => Err(IntakeError::BlobLength {
                digest,
                expected: descriptor.size_bytes,
                found: blob.size_bytes,
            }
            .into()),
        }
    }

    fn require_layout(&self) -> Result<(), LayoutError> {
        let not_a_layout = |reason| LayoutError::NotALayout {
            path: self.path.clone(),
            reason,
        };
        if self.small_file(LAYOUT_FILE)?.is_some() {
            return Ok(());
        }
        Err(match self.file("manifest.json")? {
            Some(_) => not_a_layout("it is a Docker archive without an OCI layout"),
            None => not_a_layout("it has no file 'oci-layout'"),
        })
    }

    fn small_file(&self, name: &str) -> Result<Option<Vec<u8>>, LayoutError> {
        let Some(blob) = self.file(name)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let read = blob.reader.take(JSON_MAX_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| self.failed("read", name, error))?;
        Ok(Some(bytes))
    }

    fn file(&self, name: &str) -> Result<Option<Blob<'_>>, LayoutError> {
        match &self.files {
            Files::Directory => self.file_of_directory(name),
            Files::Archive { file, places } => {
                Ok(places
                    .get(name.as_bytes())
                    .map(|(offset_bytes, size_bytes)| Blob {
                        size_bytes: *size_bytes,
                        reader: BlobReader::Range {
                            file,
                            offset_bytes: *offset_bytes,
                            left_bytes: *size_bytes,
                        },
                    }))
            }
        }
    }

    fn file_of_directory(&self, name: &str) -> Result<Option<Blob<'_>>, LayoutError> {
        let path = self.path.join(name);
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
            _ => Err(self.failed("open", name, error)),
        };
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) => return failed(error),
        };
        // Opening a pipe would wait for somebody to write to it.
        if !metadata.is_file() {
            return Ok(None);
        }
        match File::open(&path) {
            Ok(file) => Ok(Some(Blob {
                size_bytes: metadata.len(),
                reader: BlobReader::File(file),
            })),
            Err(error) => failed(error),
        }
    }

    fn failed(&self, operation: &'static str, name: &str, error: io::Error) -> LayoutError {
        LayoutError::io(operation, self.path.join(name), error)
    }
}
