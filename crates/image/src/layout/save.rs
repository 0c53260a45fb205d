//! Writes an image of the store as an OCI layout.
//!
//! The layout gets its name when it is whole. An image is added to a directory that is a layout already: blobs first,
//! then the new index in the place of the old one. The same image with the same options gives the same bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use osmith_report::{Observer, StepId};

use super::error::WRITE_INTO;
use super::{INDEX_FILE, LAYOUT_FILE, LAYOUT_VERSION, LayoutError, NAME_ANNOTATION, blob_path};
use crate::digest::{Digesting, Sha256Digest};
use crate::layer::LayerId;
use crate::manifest::{Descriptor, Index, ManifestFormat, media_type};
use crate::parallel;
use crate::progress::Meter;
use crate::reference::Reference;
use crate::store::{Encoding, Image, ImageIndex, OutgoingBytes, Store, StoreError};
use crate::tar::{PlainArchive, TarError};

/// What [`save`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayoutFormat {
    /// A directory.
    Directory,
    /// A tar archive.
    Archive,
}

/// How [`save`] writes an image.
#[derive(Debug, Clone)]
pub struct SaveOptions {
    /// The form of the layout.
    pub format: LayoutFormat,
    /// How own layers are compressed. Layers that came compressed stay as they are.
    pub encoding: Encoding,
    /// The name of the image in the layout.
    pub name: Option<Reference>,
}

/// Writes an image to `output`. Progress counts the bytes of layers.
///
/// Returns the descriptor of the manifest that was written, which has another digest than the image's if own layers
/// are compressed.
pub fn save(
    image: &Image,
    store: &Store,
    output: &Path,
    options: &SaveOptions,
    observer: &dyn Observer,
    step: StepId,
) -> Result<Descriptor, LayoutError> {
    let existing = existing(output, options.format)?;
    let meter = Meter::new(observer, step, Some(total_bytes(image)));
    let leaving = Leaving::prepare(image, store, options, parent(output), observer, &meter)?;
    leaving.write(store, output, existing, options, observer)
}

/// [`save`], of an index with all its images. Returns the descriptor of the index that was written.
pub fn save_index(
    index: &ImageIndex,
    store: &Store,
    output: &Path,
    options: &SaveOptions,
    observer: &dyn Observer,
    step: StepId,
) -> Result<Descriptor, LayoutError> {
    let existing = existing(output, options.format)?;
    let images = index.images(store)?;
    let meter = Meter::new(observer, step, Some(images.iter().map(total_bytes).sum()));
    let mut left_as = index.index.clone();
    left_as.media_type = Some(media_type::INDEX.to_owned());
    let mut parts = Vec::new();
    for (image, entry) in images.iter().zip(&mut left_as.manifests) {
        let part = Leaving::prepare(image, store, options, parent(output), observer, &meter)?;
        *entry = Descriptor {
            media_type: part.descriptor.media_type.clone(),
            digest: part.descriptor.digest,
            size_bytes: part.descriptor.size_bytes,
            ..entry.clone()
        };
        parts.push(part);
    }
    let leaving = Leaving::of_parts(parts, &left_as);
    leaving.write(store, output, existing, options, observer)
}

/// What is where a layout is to be, if one can be made there.
fn existing(output: &Path, format: LayoutFormat) -> Result<Existing, LayoutError> {
    require_writable(parent(output))?;
    match format {
        LayoutFormat::Archive if output.symlink_metadata().is_ok() => {
            Err(LayoutError::Exists(output.to_owned()))
        }
        LayoutFormat::Archive => Ok(Existing::Nothing),
        LayoutFormat::Directory => existing_layout(output),
    }
}

enum Existing {
    Nothing,
    Layout(Index),
}

/// What is at the place of a directory that is to be written: nothing, an empty directory, or a layout.
fn existing_layout(output: &Path) -> Result<Existing, LayoutError> {
    let mut entries = match std::fs::read_dir(output) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Existing::Nothing),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(LayoutError::Exists(output.to_owned()));
        }
        Err(error) => return Err(LayoutError::io("read", output, error)),
    };
    if entries.next().is_none() {
        return Ok(Existing::Nothing);
    }
    match super::source::Source::open(output) {
        Ok(source) => source.index().map(Existing::Layout),
        Err(LayoutError::NotALayout { .. }) => Err(LayoutError::OtherFiles(output.to_owned())),
        Err(error) => Err(error),
    }
}

/// For own layers the length of the tar stream, for others that of the blob.
fn total_bytes(image: &Image) -> u64 {
    image.manifest.layers.iter().map(|layer| layer.size_bytes).sum()
}

/// An image, or an index with its images, on its way out.
struct Leaving {
    /// By digest; blobs that occur twice leave once.
    layers: BTreeMap<Sha256Digest, (u64, OutgoingBytes)>,
    /// Configurations, manifests, the index.
    documents: BTreeMap<Sha256Digest, Vec<u8>>,
    /// Of the manifest or the index.
    descriptor: Descriptor,
}

impl Leaving {
    fn prepare(
        image: &Image,
        store: &Store,
        options: &SaveOptions,
        scratch: &Path,
        observer: &dyn Observer,
        meter: &Meter,
    ) -> Result<Self, LayoutError> {
        let diff_ids = image.config.rootfs.diff_ids.iter();
        let pairs: Vec<_> = image.manifest.layers.iter().zip(diff_ids).collect();
        let outgoing = parallel::map(&pairs, |(descriptor, diff_id)| {
            store.outgoing(descriptor, diff_id, options.encoding, scratch, observer, meter)
        })?;
        let config = store.blob_bytes(&image.id())?;
        let descriptors = outgoing.iter().map(|layer| layer.descriptor.clone()).collect();
        let manifest_bytes = store.outgoing_manifest(image, descriptors, ManifestFormat::Oci)?;
        let mut manifest = Descriptor::of(media_type::MANIFEST, &manifest_bytes);
        let documents = BTreeMap::from([(image.id(), config), (manifest.digest, manifest_bytes)]);
        manifest.platform =
            Some(image.config.platform()).filter(|platform| !platform.architecture.is_empty());
        let layers = outgoing.into_iter().map(|layer| {
            (
                layer.descriptor.digest,
                (layer.descriptor.size_bytes, layer.bytes),
            )
        });
        Ok(Leaving {
            layers: layers.collect(),
            documents,
            descriptor: manifest,
        })
    }

    fn of_parts(parts: Vec<Leaving>, index: &Index) -> Self {
        let bytes = index.to_bytes();
        let descriptor = Descriptor::of(media_type::INDEX, &bytes);
        let mut leaving = Leaving {
            layers: BTreeMap::new(),
            documents: BTreeMap::from([(descriptor.digest, bytes)]),
            descriptor,
        };
        for part in parts {
            leaving.layers.extend(part.layers);
            leaving.documents.extend(part.documents);
        }
        leaving
    }

    /// Writes everything; what has the name of the options is found by it.
    fn write(
        mut self,
        store: &Store,
        output: &Path,
        existing: Existing,
        options: &SaveOptions,
        observer: &dyn Observer,
    ) -> Result<Descriptor, LayoutError> {
        if let Some(name) = &options.name {
            let name = name.qualified().to_string();
            let annotations = &mut self.descriptor.annotations;
            annotations.insert(NAME_ANNOTATION.to_owned(), name);
        }
        match (options.format, existing) {
            (LayoutFormat::Archive, _) => self.write_archive(store, output, observer)?,
            (_, Existing::Layout(index)) => self.add_to(store, output, index, observer)?,
            (_, Existing::Nothing) => self.write_directory(store, output, observer)?,
        }
        Ok(self.descriptor)
    }

    fn write_directory(
        &self,
        store: &Store,
        output: &Path,
        observer: &dyn Observer,
    ) -> Result<(), LayoutError> {
        let failed = |error| LayoutError::io("write", output, error);
        let work = tempfile::Builder::new()
            .prefix(".osmith-save-")
            .tempdir_in(parent(output))
            .map_err(failed)?;
        std::fs::set_permissions(work.path(), std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
        std::fs::create_dir_all(work.path().join("blobs/sha256")).map_err(failed)?;
        self.write_blobs(store, work.path(), output, observer)?;
        write_file(work.path(), LAYOUT_FILE, &layout_bytes())?;
        write_file(work.path(), INDEX_FILE, &self.index(None).to_bytes())?;
        sync(work.path()).map_err(failed)?;
        // Takes the place of an empty directory, but of nothing else.
        std::fs::rename(work.path(), output).map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory => {
                LayoutError::Exists(output.to_owned())
            }
            _ => failed(error),
        })?;
        let _ = work.keep();
        sync(parent(output)).map_err(failed)
    }

    fn add_to(
        &self,
        store: &Store,
        output: &Path,
        index: Index,
        observer: &dyn Observer,
    ) -> Result<(), LayoutError> {
        let failed = |error| LayoutError::io("write", output, error);
        std::fs::create_dir_all(output.join("blobs/sha256")).map_err(failed)?;
        self.write_blobs(store, output, output, observer)?;
        sync(output).map_err(failed)?;
        write_file(output, INDEX_FILE, &self.index(Some(index)).to_bytes())?;
        sync(output).map_err(failed)
    }

    /// Writes the blobs below `directory`, which is or becomes `output`.
    fn write_blobs(
        &self,
        store: &Store,
        directory: &Path,
        output: &Path,
        observer: &dyn Observer,
    ) -> Result<(), LayoutError> {
        let layers: Vec<_> = self.layers.iter().collect();
        parallel::map(&layers, |(digest, (size_bytes, bytes))| {
            let path = directory.join(blob_path(digest));
            // A blob of a layout is named by its digest; one of the right length is taken for whole.
            if path
                .metadata()
                .is_ok_and(|found| found.is_file() && found.len() == *size_bytes)
            {
                return Ok(());
            }
            write_atomically(&path, |file| {
                copy(store, digest, *size_bytes, bytes, file, observer).map_err(|error| error.at(output))
            })
        })?;
        for (digest, bytes) in &self.documents {
            write_file(directory, &blob_path(digest), bytes)?;
        }
        Ok(())
    }

    fn write_archive(
        &self,
        store: &Store,
        output: &Path,
        observer: &dyn Observer,
    ) -> Result<(), LayoutError> {
        let failed = |error| LayoutError::io("write", output, error);
        let work = tempfile::Builder::new()
            .prefix(".osmith-save-")
            .permissions(std::fs::Permissions::from_mode(0o644))
            .tempfile_in(parent(output))
            .map_err(failed)?;
        let mut archive = PlainArchive::new(io::BufWriter::with_capacity(1 << 20, work.as_file()));
        archive.directory("blobs").map_err(failed)?;
        archive.directory("blobs/sha256").map_err(failed)?;
        let mut small = |name: &str, bytes: &[u8]| {
            archive
                .file(name, bytes.len() as u64, |writer| writer.write_all(bytes))
                .map_err(failed)
        };
        small(LAYOUT_FILE, &layout_bytes())?;
        small(INDEX_FILE, &self.index(None).to_bytes())?;
        for (digest, bytes) in &self.documents {
            small(&blob_path(digest), bytes)?;
        }
        for (digest, (size_bytes, bytes)) in &self.layers {
            archive
                .file(&blob_path(digest), *size_bytes, |writer| {
                    copy(store, digest, *size_bytes, bytes, writer, observer)
                })
                .map_err(|error| error.at(output))?;
        }
        archive.finish().map_err(failed)?;
        work.as_file().sync_all().map_err(failed)?;
        work.persist_noclobber(output)
            .map_err(|error| match error.error.kind() {
                io::ErrorKind::AlreadyExists => LayoutError::Exists(output.to_owned()),
                _ => failed(error.error),
            })?;
        sync(parent(output)).map_err(failed)
    }

    /// The layout's index with this image; an image that had the name before loses its entry.
    fn index(&self, existing: Option<Index>) -> Index {
        let mut index = existing.unwrap_or_else(|| Index::new(Vec::new()));
        let own = &self.descriptor;
        let name = own.annotations.get(NAME_ANNOTATION);
        index.manifests.retain(|manifest| {
            let same_name = manifest.annotations.get(NAME_ANNOTATION) == name;
            !(same_name && (name.is_some() || manifest.digest == own.digest))
        });
        index.manifests.push(own.clone());
        index
    }
}

/// Copies the bytes of a layer, and checks that they are the right ones.
fn copy(
    store: &Store,
    digest: &Sha256Digest,
    size_bytes: u64,
    bytes: &OutgoingBytes,
    writer: &mut dyn Write,
    observer: &dyn Observer,
) -> Result<(), CopyError> {
    let mut digesting = Digesting::new(writer);
    match bytes {
        OutgoingBytes::File(file) => copy_file(file, &mut digesting, observer)?,
        OutgoingBytes::Tar(layer) => write_tar(store, layer, &mut digesting, observer)?,
    }
    match digesting.finish() {
        (_, found, length) if found == *digest && length == size_bytes => Ok(()),
        (_, found, _) => Err(CopyError::Layout(LayoutError::BlobDigest {
            expected: *digest,
            found,
        })),
    }
}

fn write_tar(
    store: &Store,
    layer: &LayerId,
    writer: &mut impl Write,
    observer: &dyn Observer,
) -> Result<(), CopyError> {
    let buffered = io::BufWriter::with_capacity(256 << 10, writer);
    store
        .write_tar(layer, buffered, observer)
        .map_err(|error| match error {
            StoreError::Tar {
                source: TarError::Write(error),
                ..
            } => CopyError::Io(error),
            error => CopyError::Layout(error.into()),
        })
}

/// Reads by position: the file may be read elsewhere, too.
fn copy_file(file: &File, writer: &mut impl Write, observer: &dyn Observer) -> Result<(), CopyError> {
    use std::os::unix::fs::FileExt;
    let failed = |error| CopyError::Layout(LayoutError::io("read", "a layer", error));
    let mut buffer = vec![0; 1 << 20];
    let mut offset_bytes = 0;
    loop {
        observer
            .require_running()
            .map_err(|interrupted| CopyError::Layout(interrupted.into()))?;
        let count = match file.read_at(&mut buffer, offset_bytes) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        writer.write_all(buffer.get(..count).unwrap_or_default())?;
        offset_bytes += count as u64;
    }
}

/// Why copying a layer failed.
enum CopyError {
    Layout(LayoutError),
    Io(io::Error),
}

impl From<io::Error> for CopyError {
    fn from(error: io::Error) -> Self {
        CopyError::Io(error)
    }
}

impl CopyError {
    fn at(self, path: &Path) -> LayoutError {
        match self {
            CopyError::Layout(error) => error,
            CopyError::Io(error) => LayoutError::io("write", path, error),
        }
    }
}

fn write_file(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), LayoutError> {
    let path = directory.join(name);
    write_atomically(&path, |file| {
        file.write_all(bytes)
            .map_err(|error| LayoutError::io("write", &path, error))
    })
}

/// Writes a file that gets its name, in the place of an older one, when it is whole.
fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), LayoutError>,
) -> Result<(), LayoutError> {
    let failed = |error| LayoutError::io("write", path, error);
    let mut file = tempfile::Builder::new()
        .prefix(".osmith-save-")
        .permissions(std::fs::Permissions::from_mode(0o644))
        .tempfile_in(parent(path))
        .map_err(failed)?;
    write(file.as_file_mut())?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

fn layout_bytes() -> Vec<u8> {
    format!("{{\"imageLayoutVersion\":\"{LAYOUT_VERSION}\"}}").into_bytes()
}

/// The directory that a path is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Fails before the work, not after it, where nothing can be written.
fn require_writable(directory: &Path) -> Result<(), LayoutError> {
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK)
        .map_err(|errno| LayoutError::io(WRITE_INTO, directory, errno))
}

/// Waits until everything on the file system of the directory is on the disk.
fn sync(directory: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(directory)?)?)
}
