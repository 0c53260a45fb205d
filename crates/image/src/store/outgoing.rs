//! Layers as blobs, when they leave the store.
//!
//! A layer that came as a blob leaves as the same blob. An own layer is compressed when it first leaves; the blob is
//! kept and found again by diff ID, codec and level.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::Path;

use osmith_report::Observer;
use osmith_sys::file::NewFile;

use super::files;
use super::images::blob_path;
use super::{Access, Store, StoreError};
use crate::compression::{Codec, compress};
use crate::digest::{Digesting, Sha256Digest};
use crate::layer::LayerId;
use crate::manifest::{Descriptor, from_json, media_type, to_json};
use crate::progress::{Meter, Metered};

/// How own layers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// The codec.
    pub codec: Codec,
    /// The level of the codec.
    pub level: i32,
}

impl Encoding {
    /// The codec with its usual level.
    pub fn of(codec: Codec) -> Self {
        Encoding {
            codec,
            level: codec.default_level(),
        }
    }

    fn media_type(self) -> &'static str {
        match self.codec {
            Codec::None => media_type::LAYER_TAR,
            Codec::Gzip => media_type::LAYER_GZIP,
            Codec::Zstd => media_type::LAYER_ZSTD,
        }
    }
}

/// A layer that leaves: its descriptor, and where its bytes are.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) descriptor: Descriptor,
    pub(crate) bytes: OutgoingBytes,
}

#[derive(Debug)]
pub(crate) enum OutgoingBytes {
    /// In a file, from its start.
    File(File),
    /// They are the tar stream of a layer; see [`Store::write_tar`].
    Tar(LayerId),
}

/// A blob without a name; dropped, it vanishes.
#[derive(Debug)]
pub(crate) struct IncomingBlob(NewFile);

impl IncomingBlob {
    /// The file, to write to.
    pub(crate) fn file(&self) -> &File {
        self.0.file()
    }
}

/// Why compressing failed: at the source, or at the file that is written.
enum CompressError {
    Store(StoreError),
    Io(io::Error),
}

impl From<io::Error> for CompressError {
    fn from(error: io::Error) -> Self {
        CompressError::Io(error)
    }
}

impl Store {
    /// The blob of an image's layer. Where the store cannot be written to, a blob that must be made is a file without
    /// a name in the directory `scratch`. The meter counts the bytes of tar streams that are compressed, and those of
    /// blobs that were there.
    pub(crate) fn outgoing(
        &self,
        descriptor: &Descriptor,
        diff_id: &Sha256Digest,
        encoding: Encoding,
        scratch: &Path,
        observer: &dyn Observer,
        meter: &Meter,
    ) -> Result<Outgoing, StoreError> {
        if let Some(file) = self.open_blob(&descriptor.digest)? {
            meter.add(descriptor.size_bytes);
            return Ok(Outgoing {
                descriptor: descriptor.clone(),
                bytes: OutgoingBytes::File(file),
            });
        }
        // What the manifest names can only be made anew if it is the tar stream.
        if descriptor.digest != *diff_id {
            return Err(StoreError::MissingBlob(descriptor.digest));
        }
        let layer = self
            .layer_of_diff(diff_id)?
            .ok_or(StoreError::MissingDiff(*diff_id))?;
        if encoding.codec == Codec::None {
            return Ok(Outgoing {
                descriptor: descriptor.clone(),
                bytes: OutgoingBytes::Tar(layer),
            });
        }
        let (mut compressed, file) = match self.compressed(diff_id, encoding)? {
            Some(found) => {
                meter.add(descriptor.size_bytes);
                found
            }
            None => self.compress_layer(&layer, descriptor, encoding, scratch, observer, meter)?,
        };
        compressed.annotations = descriptor.annotations.clone();
        Ok(Outgoing {
            descriptor: compressed,
            bytes: OutgoingBytes::File(file),
        })
    }

    /// The blob that was made of a diff ID before.
    fn compressed(
        &self,
        diff_id: &Sha256Digest,
        encoding: Encoding,
    ) -> Result<Option<(Descriptor, File)>, StoreError> {
        let Some(bytes) = self.read(&compressed_path(diff_id, encoding))? else {
            return Ok(None);
        };
        let Ok(descriptor) = from_json::<Descriptor>("descriptor", &bytes) else {
            return Ok(None);
        };
        let file = self.open_blob(&descriptor.digest)?;
        let whole = file.filter(|file| {
            file.metadata()
                .is_ok_and(|found| found.len() == descriptor.size_bytes)
        });
        Ok(whole.map(|file| (descriptor, file)))
    }

    /// Compresses the tar stream that `plain` describes.
    fn compress_layer(
        &self,
        layer: &LayerId,
        plain: &Descriptor,
        encoding: Encoding,
        scratch: &Path,
        observer: &dyn Observer,
        meter: &Meter,
    ) -> Result<(Descriptor, File), StoreError> {
        let writable = self.access() == Access::ReadWrite;
        let new = match writable {
            true => Some(self.new_file()?),
            false => None,
        };
        let failed = |error| StoreError::io("write a compressed layer in", scratch, error);
        let mut file = match &new {
            Some(new) => new.file().try_clone().map_err(failed)?,
            None => tempfile::tempfile_in(scratch).map_err(failed)?,
        };
        let descriptor = self
            .compress_to(&file, layer, plain, encoding, observer, meter)
            .map_err(|error| match error {
                CompressError::Store(error) => error,
                CompressError::Io(error) => failed(error),
            })?;
        if let Some(new) = new {
            self.keep_compressed(new, &plain.digest, encoding, &descriptor)?;
        }
        file.rewind().map_err(failed)?;
        Ok((descriptor, file))
    }

    fn compress_to(
        &self,
        file: &File,
        layer: &LayerId,
        plain: &Descriptor,
        encoding: Encoding,
        observer: &dyn Observer,
        meter: &Meter,
    ) -> Result<Descriptor, CompressError> {
        let Encoding { codec, level } = encoding;
        let output = Digesting::new(io::BufWriter::with_capacity(1 << 20, file));
        let output = compress(output, codec, level, plain.size_bytes, |writer| {
            let mut metered = Digesting::new(Metered { inner: writer, meter });
            self.write_tar(layer, &mut metered, observer)
                .map_err(CompressError::Store)?;
            match metered.finish() {
                (_, digest, _) if digest == plain.digest => Ok(()),
                // Other contents than at the commit: an object was changed.
                _ => Err(CompressError::Store(StoreError::Damaged {
                    what: "layer",
                    name: layer.to_string(),
                })),
            }
        })?;
        let (mut buffered, digest, size_bytes) = output.finish();
        buffered.flush()?;
        Ok(Descriptor::new(encoding.media_type(), digest, size_bytes))
    }

    fn keep_compressed(
        &self,
        new: NewFile,
        diff_id: &Sha256Digest,
        encoding: Encoding,
        descriptor: &Descriptor,
    ) -> Result<(), StoreError> {
        self.name_blob(new, &descriptor.digest)?;
        self.write(&compressed_path(diff_id, encoding), &to_json(descriptor))
    }

    /// A blob that comes in; see [`Store::keep_blob`].
    pub(crate) fn unnamed_blob(&self) -> Result<IncomingBlob, StoreError> {
        self.require_writable()?;
        self.new_file().map(IncomingBlob)
    }

    /// Keeps a blob that came in, whose digest was checked.
    pub(crate) fn keep_blob(&self, blob: IncomingBlob, digest: &Sha256Digest) -> Result<(), StoreError> {
        self.name_blob(blob.0, digest)
    }

    /// Gives a blob its name.
    fn name_blob(&self, mut new: NewFile, digest: &Sha256Digest) -> Result<(), StoreError> {
        let path = blob_path(digest);
        files::replace(&mut new, self.root(), &path).map_err(|error| self.io("write", &path, error))
    }

    /// The blobs that were made of what is needed.
    pub(super) fn compressed_blobs_of(
        &self,
        is_needed: impl Fn(&Sha256Digest) -> bool,
    ) -> Result<Vec<Sha256Digest>, StoreError> {
        let mut blobs = Vec::new();
        for (name, _) in self.list("compressed")? {
            let diff_id = name.get(..64).and_then(|hex| Sha256Digest::from_hex(hex).ok());
            if !diff_id.is_some_and(|diff_id| is_needed(&diff_id)) {
                continue;
            }
            let bytes = files::read(self.root(), &format!("compressed/{name}"))
                .map_err(|error| self.io("read", &name, error))?
                .unwrap_or_default();
            if let Ok(descriptor) = from_json::<Descriptor>("descriptor", &bytes) {
                blobs.push(descriptor.digest);
            }
        }
        Ok(blobs)
    }
}

fn compressed_path(diff_id: &Sha256Digest, encoding: Encoding) -> String {
    format!(
        "compressed/{}-{}-{}",
        diff_id.hex(),
        encoding.codec,
        encoding.level
    )
}
