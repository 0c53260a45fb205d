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
use super::{Access, Image, Store, StoreError};
use crate::compression::{Codec, compress};
use crate::digest::{Digesting, Sha256Digest};
use crate::layer::LayerId;
use crate::manifest::{Descriptor, Manifest, ManifestFormat, from_json, media_type, to_json};
use crate::progress::{Meter, Metered};

const COMPRESSED_BUFFER_BYTES: usize = 256 << 10;

/// How own layers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// The codec.
    pub codec: Codec,
    /// The level of the codec.
    pub level: i32,
}

impl Encoding {
    /// The same, or gzip where the form of a manifest has no place for another codec.
    pub(crate) fn within(self, format: ManifestFormat) -> Self {
        match (format, self.codec) {
            (ManifestFormat::Docker, Codec::Zstd) => Encoding::of(Codec::Gzip),
            _ => self,
        }
    }

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

/// A layer that is about to leave.
#[derive(Debug)]
pub(crate) enum Prepared {
    /// It is a blob, as it came or as it left before.
    Blob(Box<Descriptor>, File),
    /// It is a layer of our own that has to be made a blob.
    Own(Box<OwnLayer>),
}

/// A layer of our own.
#[derive(Debug)]
pub(crate) struct OwnLayer {
    pub(crate) id: LayerId,
    /// Its tar stream, as the image describes it.
    pub(crate) plain: Descriptor,
    /// What it left as before; that blob is gone.
    pub(crate) left_as: Option<Descriptor>,
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
pub(crate) enum CompressError {
    Store(StoreError),
    Io(io::Error),
}

impl CompressError {
    /// The error, of a file in that directory.
    pub(crate) fn at(self, directory: &Path) -> StoreError {
        match self {
            CompressError::Store(error) => error,
            CompressError::Io(error) => StoreError::io("write a compressed layer in", directory, error),
        }
    }
}

impl From<io::Error> for CompressError {
    fn from(error: io::Error) -> Self {
        CompressError::Io(error)
    }
}

impl Store {
    /// What an image's layer leaves as.
    pub(crate) fn prepare_layer(
        &self,
        descriptor: &Descriptor,
        diff_id: &Sha256Digest,
        encoding: Encoding,
    ) -> Result<Prepared, StoreError> {
        if let Some(file) = self.open_blob(&descriptor.digest)? {
            return Ok(Prepared::Blob(Box::new(descriptor.clone()), file));
        }
        // What the manifest names can only be made anew if it is the tar stream.
        if descriptor.digest != *diff_id {
            return Err(StoreError::MissingBlob(descriptor.digest));
        }
        let left_as = match self.compressed(diff_id, encoding)? {
            Some((mut compressed, file)) => {
                compressed.annotations = descriptor.annotations.clone();
                match file {
                    Some(file) => return Ok(Prepared::Blob(Box::new(compressed), file)),
                    None => Some(compressed),
                }
            }
            None => None,
        };
        let layer = self.layer_of_diff(diff_id)?;
        Ok(Prepared::Own(Box::new(OwnLayer {
            id: layer.ok_or(StoreError::MissingDiff(*diff_id))?,
            plain: descriptor.clone(),
            left_as,
        })))
    }

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
        let own = match self.prepare_layer(descriptor, diff_id, encoding)? {
            Prepared::Blob(blob, file) => {
                meter.add(descriptor.size_bytes);
                return Ok(Outgoing {
                    descriptor: *blob,
                    bytes: OutgoingBytes::File(file),
                });
            }
            Prepared::Own(own) => own,
        };
        if encoding.codec == Codec::None {
            return Ok(Outgoing {
                descriptor: own.plain,
                bytes: OutgoingBytes::Tar(own.id),
            });
        }
        let (descriptor, file) = self.compress_layer(&own, encoding, scratch, observer, meter)?;
        Ok(Outgoing {
            descriptor,
            bytes: OutgoingBytes::File(file),
        })
    }

    /// The blob that was made of a diff ID before; without a file if that is gone or was cut short.
    fn compressed(
        &self,
        diff_id: &Sha256Digest,
        encoding: Encoding,
    ) -> Result<Option<(Descriptor, Option<File>)>, StoreError> {
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
        Ok(Some((descriptor, whole)))
    }

    fn compress_layer(
        &self,
        own: &OwnLayer,
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
            .compress_to(&file, own, encoding, observer, meter)
            .map_err(|error| error.at(scratch))?;
        if let Some(new) = new {
            self.keep_own_blob(IncomingBlob(new), own, encoding, &descriptor)?;
        }
        file.rewind().map_err(failed)?;
        Ok((descriptor, file))
    }

    /// Compresses a layer to a writer; an own layer for a blob that [`Store::keep_own_blob`] takes.
    pub(crate) fn compress_to(
        &self,
        output: impl Write + Send,
        own: &OwnLayer,
        encoding: Encoding,
        observer: &dyn Observer,
        meter: &Meter,
    ) -> Result<Descriptor, CompressError> {
        let Encoding { codec, level } = encoding;
        let output = Digesting::new(io::BufWriter::with_capacity(COMPRESSED_BUFFER_BYTES, output));
        let output = compress(output, codec, level, own.plain.size_bytes, |writer| {
            let mut metered = Digesting::new(Metered { inner: writer, meter });
            self.write_tar(&own.id, &mut metered, observer)
                .map_err(CompressError::Store)?;
            match metered.finish() {
                (_, digest, _) if digest == own.plain.digest => Ok(()),
                // Other contents than at the commit: an object was changed.
                _ => Err(CompressError::Store(StoreError::Damaged {
                    what: "layer",
                    name: own.id.to_string(),
                })),
            }
        })?;
        let (mut buffered, digest, size_bytes) = output.finish();
        buffered.flush()?;
        let mut descriptor = Descriptor::new(encoding.media_type(), digest, size_bytes);
        descriptor.annotations = own.plain.annotations.clone();
        Ok(descriptor)
    }

    /// Keeps a blob that was made of a layer of our own, for the next time it leaves.
    pub(crate) fn keep_own_blob(
        &self,
        blob: IncomingBlob,
        own: &OwnLayer,
        encoding: Encoding,
        descriptor: &Descriptor,
    ) -> Result<(), StoreError> {
        self.name_blob(blob.0, &descriptor.digest)?;
        self.write(
            &compressed_path(&own.plain.digest, encoding),
            &to_json(descriptor),
        )
    }

    /// The manifest of an image whose layers leave so: as it is, unless their descriptors or its form change.
    pub(crate) fn outgoing_manifest(
        &self,
        image: &Image,
        layers: Vec<Descriptor>,
        format: ManifestFormat,
    ) -> Result<Vec<u8>, StoreError> {
        if format == image.manifest.format() && layers == image.manifest.layers {
            return self.blob_bytes(&image.manifest_digest);
        }
        if format == ManifestFormat::Docker {
            let manifest = Manifest {
                layers,
                ..image.manifest.clone()
            };
            let manifest = manifest.into_docker().ok_or(StoreError::NoDockerLayer)?;
            return Ok(manifest.to_bytes());
        }
        let mut manifest = Manifest {
            media_type: Some(media_type::MANIFEST.to_owned()),
            layers,
            ..image.manifest.clone()
        };
        manifest.config.media_type = media_type::CONFIG.to_owned();
        for layer in &mut manifest.layers {
            if let Some(media_type) = media_type::oci_layer(&layer.media_type) {
                layer.media_type = media_type.to_owned();
            }
        }
        Ok(manifest.to_bytes())
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
