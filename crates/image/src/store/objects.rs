//! Objects: file contents by fs-verity digest.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::PoisonError;

use osmith_formats::tree::{Content, INLINE_MAX_BYTES};
use osmith_formats::verity::{BLOCK_BYTES, Digest, Hasher, digests_of};
use osmith_sys::file::{NewFile, PageBuffer, write_all_at};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::files;
use super::{OBJECTS, ObjectOwner, Store, StoreError};

const CHUNK_BYTES: usize = 256 << 10;
/// Files up to this length are hashed in memory first, and not written at all if the object is there.
const IN_MEMORY_MAX_BYTES: usize = 1 << 20;
const OBJECT_MODE: Mode = Mode::from_raw_mode(0o644);

/// Writes one file content into the store; see [`Store::object_writer`].
#[derive(Debug)]
pub struct ObjectWriter<'a> {
    store: &'a Store,
    hasher: Hasher,
    /// What is not in the file yet.
    pending: Vec<u8>,
    file: Option<NewFile>,
    spilled_bytes: u64,
}

/// A content that was stored.
pub(super) struct Stored {
    pub(super) content: Content,
    /// Whether it was not in the store before.
    pub(super) is_new: bool,
}

impl Store {
    /// A writer for a file content of unknown length.
    pub fn object_writer(&self) -> Result<ObjectWriter<'_>, StoreError> {
        self.require_writable()?;
        Ok(ObjectWriter {
            store: self,
            hasher: Hasher::new(),
            pending: Vec::new(),
            file: None,
            spilled_bytes: 0,
        })
    }

    /// Stores a file content that is in memory.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Content, StoreError> {
        self.store_bytes(bytes).map(|stored| stored.content)
    }

    /// [`Store::put_bytes`], and whether there is a new object.
    pub(super) fn store_bytes(&self, bytes: &[u8]) -> Result<Stored, StoreError> {
        self.require_writable()?;
        match bytes.len() <= INLINE_MAX_BYTES {
            true => Ok(Stored {
                content: Content::Inline(bytes.into()),
                is_new: true,
            }),
            false => self.store_measured(bytes, Digest::of(bytes)),
        }
    }

    /// Stores what is too long to be inline and has that digest.
    fn store_measured(&self, bytes: &[u8], digest: Digest) -> Result<Stored, StoreError> {
        let content = Content::Object {
            digest,
            size_bytes: bytes.len() as u64,
        };
        let is_new = match self.contains_object(&content)? {
            true => false,
            false => {
                let mut new = self.new_file()?;
                let written = write_all_at(new.file(), bytes, 0);
                written.map_err(|error| self.io("write to", files::TMP, error))?;
                self.name_object(&mut new, &content)?
            }
        };
        Ok(Stored { content, is_new })
    }

    /// Stores the content of a file, from its start. Shares the blocks where the file system can. The buffer has
    /// [`Store::file_buffer`]'s length and serves for any number of files.
    pub fn put_file(&self, mut file: &File, buffer: &mut PageBuffer) -> Result<Content, StoreError> {
        self.require_writable()?;
        let failed = |error| StoreError::io("read", "the file to be stored", error);
        file.rewind().map_err(failed)?;
        let first = fill(&mut file, buffer).map_err(failed)?;
        if first < buffer.len() {
            return self.put_bytes(buffer.get(..first).unwrap_or_default());
        }
        let new = self.new_file()?;
        if rustix::fs::ioctl_ficlone(new.file(), file).is_ok() {
            return self.name_measured(new);
        }
        let mut hasher = Hasher::new();
        let (mut filled, mut size_bytes) = (first, 0);
        while filled > 0 {
            let piece = buffer.get(..filled).unwrap_or_default();
            hasher.update(piece);
            let written = write_sparse_at(new.file(), piece, size_bytes);
            written.map_err(|error| self.io("write to", files::TMP, error))?;
            size_bytes += filled as u64;
            filled = fill(&mut file, buffer).map_err(failed)?;
        }
        self.name_hashed(new, hasher).map(|stored| stored.content)
    }

    /// [`Store::put_file`] for several files with the lengths that they probably have, in less time than one after the
    /// other if they are small.
    pub fn put_files(
        &self,
        files: &[(&File, u64)],
        buffer: &mut PageBuffer,
    ) -> Result<Vec<Content>, StoreError> {
        self.require_writable()?;
        let mut contents = Vec::with_capacity(files.len());
        // Where in the buffer the last files are, whose contents are not stored yet.
        let mut batch: Vec<Range<usize>> = Vec::new();
        let mut used = 0;
        for (file, size_bytes) in files {
            let expected = usize::try_from(*size_bytes).unwrap_or(usize::MAX);
            if expected >= buffer.len().saturating_sub(used) {
                self.put_batch(buffer, &mut batch, &mut contents)?;
                used = 0;
            }
            let mut reader = *file;
            let space = buffer.get_mut(used..).unwrap_or_default();
            let filled = reader.rewind().and_then(|()| fill(&mut reader, space));
            let filled = filled.map_err(|error| StoreError::io("read", "the file to be stored", error))?;
            if filled < space.len() {
                batch.push(used..used + filled);
                used = (used + filled).next_multiple_of(BLOCK_BYTES);
                continue;
            }
            self.put_batch(buffer, &mut batch, &mut contents)?;
            used = 0;
            contents.push(self.put_file(file, buffer)?);
        }
        self.put_batch(buffer, &mut batch, &mut contents)?;
        Ok(contents)
    }

    fn put_batch(
        &self,
        buffer: &[u8],
        batch: &mut Vec<Range<usize>>,
        contents: &mut Vec<Content>,
    ) -> Result<(), StoreError> {
        let texts: Vec<&[u8]> = batch
            .drain(..)
            .map(|range| buffer.get(range).unwrap_or_default())
            .collect();
        let is_long = |text: &&&[u8]| text.len() > INLINE_MAX_BYTES;
        let long: Vec<&[u8]> = texts.iter().filter(is_long).copied().collect();
        let mut digests = digests_of(&long).into_iter();
        for text in &texts {
            let digest = Some(text).filter(is_long).and_then(|_| digests.next());
            contents.push(match digest {
                Some(digest) => self.store_measured(text, digest)?.content,
                None => Content::Inline((*text).into()),
            });
        }
        Ok(())
    }

    /// A buffer for [`Store::put_file`].
    pub fn file_buffer() -> PageBuffer {
        PageBuffer::new(IN_MEMORY_MAX_BYTES)
    }

    /// Makes the file `name` of `directory`, which is on the store's file system, an object: it leaves the directory,
    /// and its owner, mode and extended attributes are lost. Nobody may have the file open for writing.
    pub fn adopt_file(&self, directory: BorrowedFd<'_>, name: &OsStr) -> Result<Content, StoreError> {
        self.require_writable()?;
        let failed = |operation| {
            let name = name.to_owned();
            move |error: Errno| StoreError::io(operation, name, error)
        };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(directory, name, flags, Mode::empty()).map_err(failed("open"))?;
        let file = File::from(fd);
        let content = measure(&file).map_err(|error| StoreError::io("read", name, error))?;
        if matches!(content, Content::Inline(_)) || self.contains_object(&content)? {
            rustix::fs::unlinkat(directory, name, AtFlags::empty()).map_err(failed("remove"))?;
            return Ok(content);
        }
        strip(&file).map_err(failed("reset the attributes of"))?;
        if self.owner == ObjectOwner::Repository {
            self.protect(&file)?;
        }
        self.rename_object(directory, name, &content)?;
        Ok(content)
    }

    /// Opens an object for reading.
    pub fn read_object(&self, digest: &Digest) -> Result<File, StoreError> {
        if self.is_distrusted(digest) {
            return Err(StoreError::MissingObject(*digest));
        }
        let path = object_path(digest);
        files::open(self.root(), &path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::MissingObject(*digest),
            _ => self.io("open", &path, error),
        })
    }

    /// A reader of a file content, wherever it is.
    pub fn read_content<'a>(&self, content: &'a Content) -> Result<ContentReader<'a>, StoreError> {
        match content {
            Content::Inline(bytes) => Ok(ContentReader::Inline(bytes)),
            Content::Object { digest, .. } => self.read_object(digest).map(ContentReader::Object),
        }
    }

    /// Whether the store has a file content, in the right length.
    pub fn contains_object(&self, content: &Content) -> Result<bool, StoreError> {
        let Content::Object { digest, size_bytes } = content else {
            return Ok(true);
        };
        if self.is_distrusted(digest) {
            return Ok(false);
        }
        let path = object_path(digest);
        let found =
            files::size_bytes(self.root(), &path).map_err(|error| self.io("look for", &path, error))?;
        Ok(found == Some(*size_bytes))
    }

    /// Takes these objects for missing, although there may be something in their place, until they are written again:
    /// then the new one takes the place of the old one in one step.
    pub fn distrust(&self, digests: impl IntoIterator<Item = Digest>) {
        let mut distrusted = self.distrusted.write().unwrap_or_else(PoisonError::into_inner);
        distrusted.extend(digests);
    }

    fn is_distrusted(&self, digest: &Digest) -> bool {
        let distrusted = self.distrusted.read().unwrap_or_else(PoisonError::into_inner);
        distrusted.contains(digest)
    }

    /// The object was written.
    fn trust(&self, digest: &Digest) {
        if self.is_distrusted(digest) {
            let mut distrusted = self.distrusted.write().unwrap_or_else(PoisonError::into_inner);
            distrusted.remove(digest);
        }
    }

    pub(super) fn new_file(&self) -> Result<NewFile, StoreError> {
        files::create(self.root()).map_err(|error| self.io("create a file in", files::TMP, error))
    }

    /// Makes a new file an object that is whole but for zeros at its end.
    fn name_hashed(&self, mut new: NewFile, hasher: Hasher) -> Result<Stored, StoreError> {
        let measured = hasher.finish();
        let content = Content::Object {
            digest: measured.digest,
            size_bytes: measured.size_bytes,
        };
        let ended = new.file().set_len(measured.size_bytes);
        ended.map_err(|error| self.io("write to", files::TMP, error))?;
        let is_new = self.name_object(&mut new, &content)?;
        Ok(Stored { content, is_new })
    }

    /// Reads a new file that is whole, and makes it an object.
    fn name_measured(&self, mut new: NewFile) -> Result<Content, StoreError> {
        let content = measure(new.file()).map_err(|error| self.io("read", files::TMP, error))?;
        if !self.contains_object(&content)? {
            self.name_object(&mut new, &content)?;
        }
        Ok(content)
    }

    /// Gives an object its name, and says whether it is the first of that name. One that is there already is kept,
    /// unless a crash cut it short or it is distrusted.
    fn name_object(&self, new: &mut NewFile, content: &Content) -> Result<bool, StoreError> {
        let Content::Object { digest, .. } = content else {
            return Ok(false);
        };
        let path = object_path(digest);
        if self.owner == ObjectOwner::Repository {
            new.close_for_writing()
                .map_err(|error| self.io("close", files::TMP, error))?;
            self.protect(new.file())?;
        }
        let linked = files::with_parent(self.root(), &path, || new.create_new(self.root(), &path));
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if self.contains_object(content)? {
                    return Ok(false);
                }
                new.replace(self.root(), &path)
            }
            other => other,
        }
        .map_err(|error| self.io("write", &path, error))?;
        self.trust(digest);
        Ok(true)
    }

    /// Has the kernel enforce the contents of a file that is whole, where it can.
    fn protect(&self, file: &File) -> Result<(), StoreError> {
        match osmith_sys::verity::enable(file) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.io("protect an object in", files::TMP, io::Error::from(error.errno()))),
        }
    }

    fn rename_object(
        &self,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        content: &Content,
    ) -> Result<(), StoreError> {
        let Content::Object { digest, .. } = content else {
            return Ok(());
        };
        let path = object_path(digest);
        // `contains_object` said no: what is there is damaged, or is the same, written meanwhile.
        files::with_parent(self.root(), &path, || {
            Ok(rustix::fs::renameat_with(
                directory,
                name,
                self.root(),
                &path,
                RenameFlags::empty(),
            )?)
        })
        .map_err(|error| self.io("move a file to", &path, error))?;
        self.trust(digest);
        Ok(())
    }
}

/// Reads a file content; see [`Store::read_content`].
#[derive(Debug)]
pub enum ContentReader<'a> {
    /// What is left of an inline content.
    Inline(&'a [u8]),
    /// An object.
    Object(File),
}

impl Read for ContentReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            ContentReader::Inline(bytes) => bytes.read(buffer),
            ContentReader::Object(file) => file.read(buffer),
        }
    }
}

impl ObjectWriter<'_> {
    /// Names the object, or gives back a short content inline.
    pub fn finish(self) -> Result<Content, StoreError> {
        self.finish_stored().map(|stored| stored.content)
    }

    /// [`ObjectWriter::finish`], and whether there is a new object.
    pub(super) fn finish_stored(mut self) -> Result<Stored, StoreError> {
        let Some(new) = self.file else {
            return self.store.store_bytes(&self.pending);
        };
        self.hasher.update(&self.pending);
        write_sparse_at(new.file(), &self.pending, self.spilled_bytes)
            .map_err(|error| self.store.io("write to", files::TMP, error))?;
        self.store.name_hashed(new, self.hasher)
    }

    /// Hashes what is pending and moves it to the file.
    fn spill(&mut self) -> io::Result<()> {
        self.hasher.update(&self.pending);
        let new = match &mut self.file {
            Some(new) => new,
            None => self.file.insert(files::create(self.store.root())?),
        };
        write_sparse_at(new.file(), &self.pending, self.spilled_bytes)?;
        self.spilled_bytes += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

impl Write for ObjectWriter<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let room = IN_MEMORY_MAX_BYTES.saturating_sub(self.pending.len());
        let (taken, _) = data.split_at(room.min(data.len()));
        self.pending.extend_from_slice(taken);
        if self.pending.len() == IN_MEMORY_MAX_BYTES && taken.len() < data.len() {
            self.spill()?;
            return Ok(taken.len() + self.write(data.get(taken.len()..).unwrap_or_default())?);
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The path of an object below the store's directory.
pub(super) fn object_path(digest: &Digest) -> String {
    format!("{OBJECTS}/{}", digest.object_path())
}

/// Reads a file from its start and says what content it is.
pub(super) fn measure(mut file: &File) -> io::Result<Content> {
    file.rewind()?;
    let mut hasher = Hasher::new();
    let mut buffer = PageBuffer::new(CHUNK_BYTES);
    let mut filled = fill(&mut file, &mut buffer)?;
    if filled <= INLINE_MAX_BYTES {
        return Ok(Content::Inline(buffer.get(..filled).unwrap_or_default().into()));
    }
    while filled > 0 {
        hasher.update(buffer.get(..filled).unwrap_or_default());
        filled = fill(&mut file, &mut buffer)?;
    }
    let measured = hasher.finish();
    Ok(Content::Object {
        digest: measured.digest,
        size_bytes: measured.size_bytes,
    })
}

/// Reads until the buffer is full or the file ends. Whole blocks in one call are the hasher's fast way.
fn fill(file: &mut &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(space) = buffer.get_mut(filled..).filter(|space| !space.is_empty()) {
        match file.read(space) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes bytes at a place, or leaves a hole if they are all zero.
fn write_sparse_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    match bytes.iter().all(|byte| *byte == 0) {
        true => Ok(()),
        false => write_all_at(file, bytes, offset),
    }
}

/// Takes owner, mode and extended attributes off a file.
fn strip(file: &File) -> Result<(), Errno> {
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(file, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error),
    };
    let names = names.get(..length).unwrap_or_default();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        match rustix::fs::fremovexattr(file, name) {
            // A label of the security module belongs to the file system, not to the content.
            Ok(()) | Err(Errno::NODATA | Errno::PERM | Errno::ACCESS) => {}
            Err(error) => return Err(error),
        }
    }
    let stat = rustix::fs::fstat(file.as_fd())?;
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    if (stat.st_uid, stat.st_gid) != (uid.as_raw(), gid.as_raw()) {
        rustix::fs::fchown(file, Some(uid), Some(gid))?;
    }
    rustix::fs::fchmod(file, OBJECT_MODE)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;
    use crate::store::Access;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Access::ReadWrite).unwrap();
        (directory, store)
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i % 251) as u8).collect()
    }

    fn read(store: &Store, content: &Content) -> Vec<u8> {
        let mut bytes = Vec::new();
        store
            .read_content(content)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        bytes
    }

    fn objects(directory: &tempfile::TempDir) -> usize {
        let directories = std::fs::read_dir(directory.path().join("objects")).unwrap();
        directories
            .map(|entry| std::fs::read_dir(entry.unwrap().path()).unwrap().count())
            .sum()
    }

    #[test]
    fn contents_of_any_length_come_back() {
        let (directory, store) = store();
        for length in [
            0,
            1,
            64,
            65,
            4096,
            (1 << 20) - 1,
            1 << 20,
            (1 << 20) + 1,
            3_000_001,
        ] {
            let data = pattern(length);
            let mut writer = store.object_writer().unwrap();
            for piece in data.chunks(700_001) {
                writer.write_all(piece).unwrap();
            }
            let content = writer.finish().unwrap();
            assert_eq!(read(&store, &content), data);
            assert_eq!(store.put_bytes(&data).unwrap(), content, "{length}");
            let path = directory.path().join("file");
            std::fs::write(&path, &data).unwrap();
            let file = File::open(&path).unwrap();
            assert_eq!(store.put_file(&file, &mut Store::file_buffer()).unwrap(), content);
            assert_eq!(matches!(content, Content::Inline(_)), length <= 64);
            if let Content::Object { digest, size_bytes } = content {
                assert_eq!((digest, size_bytes), (Digest::of(&data), length as u64));
            }
        }
        assert_eq!(objects(&directory), 6);
        assert_eq!(
            std::fs::read_dir(directory.path().join("tmp")).unwrap().count(),
            0
        );
    }

    #[test]
    fn a_distrusted_object_is_written_again_once() {
        let (directory, store) = store();
        for length in [100, 3_000_001] {
            let data = pattern(length);
            let write = || {
                let mut writer = store.object_writer().unwrap();
                writer.write_all(&data).unwrap();
                writer.finish_stored().unwrap()
            };
            let Stored { content, .. } = write();
            let Content::Object { digest, .. } = &content else {
                panic!("inline")
            };
            let path = directory.path().join(object_path(digest));
            std::fs::write(&path, vec![b'?'; length]).unwrap();
            assert!(!write().is_new);
            store.distrust([*digest]);
            assert!(!store.contains_object(&content).unwrap());
            assert!(store.read_object(digest).is_err());
            // What is there stays until there is a new one.
            assert_eq!(std::fs::read(&path).unwrap(), vec![b'?'; length]);
            assert!(write().is_new);
            assert!(store.contains_object(&content).unwrap());
            assert_eq!(read(&store, &content), data);
            assert!(!write().is_new);
        }
    }

    #[test]
    fn zeros_take_no_space() {
        let (_directory, store) = store();
        let mut data = vec![0; 8 << 20];
        data[(4 << 20) + 5] = 1;
        let mut writer = store.object_writer().unwrap();
        writer.write_all(&data).unwrap();
        let content = writer.finish().unwrap();
        assert_eq!(read(&store, &content), data);
        let Content::Object { digest, .. } = content else {
            panic!("inline")
        };
        assert!(store.read_object(&digest).unwrap().metadata().unwrap().blocks() * 512 <= 2 << 20);
    }

    #[test]
    fn an_adopted_file_moves_and_loses_its_attributes() {
        let (directory, store) = store();
        let work = store.work_directory().unwrap();
        let work_fd = File::open(work.path()).unwrap();
        let data = pattern(100_000);
        for round in 0..2 {
            let path = work.path().join("file");
            std::fs::write(&path, &data).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o4711)).unwrap();
            let file = File::open(&path).unwrap();
            rustix::fs::fsetxattr(&file, "user.x", b"1", rustix::fs::XattrFlags::empty()).unwrap();
            let inode = file.metadata().unwrap().ino();
            let content = store.adopt_file(work_fd.as_fd(), OsStr::new("file")).unwrap();
            assert!(!path.exists());
            let Content::Object { digest, .. } = content else {
                panic!("inline")
            };
            let object = store.read_object(&digest).unwrap();
            assert_eq!(object.metadata().unwrap().ino() == inode, round == 0);
            assert_eq!(object.metadata().unwrap().mode() & 0o7777, 0o644);
            let mut value = [0; 8];
            assert!(rustix::fs::fgetxattr(&object, "user.x", &mut value[..]).is_err());
        }
        assert_eq!(objects(&directory), 1);
        std::fs::write(work.path().join("small"), b"x").unwrap();
        let content = store.adopt_file(work_fd.as_fd(), OsStr::new("small")).unwrap();
        assert_eq!(content, Content::Inline(b"x"[..].into()));
        assert!(!work.path().join("small").exists());
    }

    #[test]
    fn an_object_cut_short_by_a_crash_is_written_again() {
        let (directory, store) = store();
        let data = pattern(5000);
        let Content::Object { digest, .. } = store.put_bytes(&data).unwrap() else {
            panic!("inline")
        };
        let path = directory.path().join(object_path(&digest));
        for length in [0, 4096] {
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(length)
                .unwrap();
            let content = store.put_bytes(&data).unwrap();
            assert_eq!(read(&store, &content), data);
        }
    }

    #[test]
    fn files_of_any_lengths_come_back_together() {
        let (directory, store) = store();
        let lengths = [
            10,
            70,
            0,
            4096,
            200_000,
            5000,
            IN_MEMORY_MAX_BYTES,
            300,
            900_000,
            200_000,
            3 << 20,
            64,
            65,
        ];
        let mut buffer = Store::file_buffer();
        let mut files = Vec::new();
        for (number, length) in lengths.into_iter().enumerate() {
            let data: Vec<u8> = (0..length).map(|at| (at * 7 + number * 31) as u8).collect();
            let path = directory.path().join(format!("file{number}"));
            std::fs::write(&path, &data).unwrap();
            files.push((data, File::open(path).unwrap()));
        }
        // The second time, what is said of the lengths is wrong.
        for says in [|length: usize| length as u64, |_| 100, |_| 1 << 40] {
            let given: Vec<_> = files
                .iter()
                .map(|(data, file)| (file, says(data.len())))
                .collect();
            let contents = store.put_files(&given, &mut buffer).unwrap();
            assert_eq!(contents.len(), files.len());
            for ((data, _), content) in files.iter().zip(&contents) {
                assert_eq!(content, &store.put_bytes(data).unwrap());
                assert_eq!(&read(&store, content), data);
            }
        }
    }

    #[test]
    fn a_missing_object_and_a_store_for_reading_are_said_so() {
        let (directory, store) = store();
        let digest = Digest::of(b"nothing");
        assert!(
            matches!(store.read_object(&digest), Err(StoreError::MissingObject(found)) if found == digest)
        );
        let reader = Store::open(directory.path(), Access::ReadOnly).unwrap();
        assert!(matches!(reader.put_bytes(b"x"), Err(StoreError::ReadOnly(_))));
        assert!(matches!(reader.object_writer(), Err(StoreError::ReadOnly(_))));
    }
}
