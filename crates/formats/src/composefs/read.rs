//! Composefs images as trees: the inverse of [`super::image`].
//!
//! The bytes may be anybody's. What an overlay would not show as a file of the tree is refused, beside the marks that
//! the writer adds: the 256 devices in the root, its opaque mark, the escapes of overlay attributes and whiteouts.
//!
//! An empty file with exactly the attributes of an escaped whiteout is read as one, and a whiteout of the tree that is
//! like the 256 as one of them: the image does not tell them apart.

use std::collections::hash_map::{Entry, HashMap};
use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::inodes::{
    ESCAPED_OVERLAY, METACOPY, METACOPY_HEADER, OBJECT_DIRECTORIES, OPAQUE, OVERLAY, REDIRECT, WHITEOUT,
    WHITEOUTS, is_whiteout,
};
use super::layout::{COMPOSEFS_VERSION, HEADER_VERSION, MAGIC};
use crate::erofs::{Defect, FileType, Reader, StoredAttribute, StoredInode, is_file_name, is_target};
use crate::tree::{
    Content, Device, INLINE_MAX_BYTES, Inode, InodeId, Metadata, Node, Tree, XattrSets, Xattrs,
};
use crate::verity::{Digest, HASH_BYTES};

/// The latest format whose objects are found as in all others; trees are read of version 1 alone.
const COMPOSEFS_VERSION_MAX: u32 = 2;
/// How many bytes of extended attributes a small image may have, as several inodes share them.
const ATTRIBUTES_MIN_BYTES: u64 = 64 << 20;
/// And how many more for every byte of the image.
const ATTRIBUTES_PER_BYTE: u64 = 16;

/// An image that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("composefs image: '/{path}' {defect}")]
pub struct ReadError {
    /// The path of the inode, without a leading `/` (empty for the root and for the image as a whole); bytes that are
    /// no UTF-8 are replaced.
    pub path: String,
    /// What is wrong with it.
    pub defect: ReadDefect,
}

/// What is wrong with a composefs image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadDefect {
    /// The file system is defective.
    #[error(transparent)]
    FileSystem(#[from] Defect),
    /// There is no header of a composefs image.
    #[error("is no composefs image")]
    Magic,
    /// The format is of another version.
    #[error("has composefs version {0}, which is not supported")]
    Version(u32),
    /// The root is no directory.
    #[error("is no directory")]
    Root,
    /// A name is empty, longer than 255 bytes, or contains `/` or NUL.
    #[error("has a name that is no file name")]
    Name,
    /// A directory has the same name twice.
    #[error("is there twice")]
    SameName,
    /// A directory has several names, or contains itself.
    #[error("is a directory with several names")]
    DirectoryLinks,
    /// A link target is empty, longer than 4,095 bytes, or contains NUL.
    #[error("is a symbolic link whose target is empty, longer than 4095 bytes or contains NUL")]
    Target,
    /// Contents in the image are longer than [`INLINE_MAX_BYTES`].
    #[error("has {0} bytes in the image, which belong into an object")]
    InlineLength(u64),
    /// The attributes name no object by its SHA-512 digest, or two different ones.
    #[error("does not name one object by its fs-verity SHA-512 digest")]
    Object,
    /// A character device 0:0, which an overlay takes for a whiteout.
    #[error("is a whiteout that is not escaped")]
    Whiteout,
    /// An attribute for overlayfs that composefs images do not have.
    #[error("has overlay attribute '{0}', which composefs images do not have")]
    OverlayAttribute(String),
    /// An attribute is there twice.
    #[error("has extended attribute '{0}' twice")]
    SameAttribute(String),
    /// The attributes of all inodes are out of proportion.
    #[error("has too many extended attributes")]
    AttributeBytes,
}

/// The tree of an image of format version 1.
pub fn read(bytes: &[u8]) -> Result<Tree<Content>, ReadError> {
    let (walk, root) = Walk::open(bytes, COMPOSEFS_VERSION..=COMPOSEFS_VERSION)?;
    let tree = Tree::new(metadata(&root));
    let length_bytes = bytes.len() as u64;
    let mut reading = Reading {
        numbers: HashMap::from([(walk.reader.root_nid(), tree.root())]),
        directories: vec![tree.root()],
        tree,
        walk,
        sets: XattrSets::default(),
        attribute_bytes: ATTRIBUTES_MIN_BYTES + length_bytes.saturating_mul(ATTRIBUTES_PER_BYTE),
    };
    let mut number = 0;
    while let Some(id) = reading.directories.get(number).copied() {
        reading.read_directory(number, id)?;
        number += 1;
    }
    Ok(reading.tree)
}

/// The objects that an image needs: all that its files name. Of any format version; no tree is made.
pub fn objects(bytes: &[u8]) -> Result<BTreeSet<Digest>, ReadError> {
    let (mut walk, _) = Walk::open(bytes, 0..=COMPOSEFS_VERSION_MAX)?;
    let mut objects = BTreeSet::new();
    let mut known = HashSet::from([walk.reader.root_nid()]);
    let mut number = 0;
    while number < walk.directories.len() {
        for (name, nid) in walk.names(number)? {
            if !known.insert(nid) {
                continue;
            }
            let inode = walk.inode(number, name, nid)?;
            if inode.file_type != FileType::Regular {
                continue;
            }
            let found = walk.reader.attributes(&inode);
            let found = found.map_err(|defect| walk.refuse(number, name, defect))?;
            let digest =
                object(&mut Attributes(found)).map_err(|defect| walk.refuse(number, name, defect))?;
            objects.extend(digest);
        }
        number += 1;
    }
    Ok(objects)
}

/// A walk from directory to directory, breadth first.
struct Walk<'a> {
    reader: Reader<'a>,
    /// All that were found, each after the one that names it.
    directories: Vec<Directory<'a>>,
}

struct Directory<'a> {
    parent: usize,
    name: &'a [u8],
    inode: StoredInode<'a>,
}

impl<'a> Walk<'a> {
    fn open(
        bytes: &'a [u8],
        versions: std::ops::RangeInclusive<u32>,
    ) -> Result<(Self, StoredInode<'a>), ReadError> {
        let whole = |defect| ReadError {
            path: String::new(),
            defect,
        };
        require_header(bytes, &versions).map_err(whole)?;
        let mut reader = Reader::open(bytes).map_err(|defect| whole(defect.into()))?;
        let inode = reader
            .inode(reader.root_nid())
            .map_err(|defect| whole(defect.into()))?;
        if inode.file_type != FileType::Directory {
            return Err(whole(ReadDefect::Root));
        }
        let root = Directory {
            parent: 0,
            name: b"",
            inode,
        };
        let directories = vec![root];
        Ok((Walk { reader, directories }, inode))
    }

    /// The names in a directory, beside `.` and `..`, with the numbers of their inodes.
    fn names(&mut self, directory: usize) -> Result<Vec<(&'a [u8], u64)>, ReadError> {
        let Some(Directory { inode, .. }) = self.directories.get(directory) else {
            return Ok(Vec::new());
        };
        let names = self.reader.data(&inode.clone()).and_then(|data| data.entries());
        let mut names = names.map_err(|defect| self.refuse(directory, b"", defect))?;
        names.retain(|(name, _)| *name != b"." && *name != b"..");
        match names.iter().find(|(name, _)| !is_file_name(name)) {
            Some((name, _)) => Err(self.refuse(directory, name, ReadDefect::Name)),
            None => Ok(names),
        }
    }

    /// An inode that no name led to so far.
    fn inode(&mut self, parent: usize, name: &'a [u8], nid: u64) -> Result<StoredInode<'a>, ReadError> {
        let inode = self.reader.inode(nid);
        let inode = inode.map_err(|defect| self.refuse(parent, name, defect))?;
        if inode.file_type == FileType::Directory {
            self.directories.push(Directory { parent, name, inode });
        }
        Ok(inode)
    }

    /// The refusal of what a directory calls `name`; of the directory itself if that is empty.
    fn refuse(&self, directory: usize, name: &[u8], defect: impl Into<ReadDefect>) -> ReadError {
        let mut names = vec![name];
        let mut at = directory;
        while let Some(Directory { parent, name, .. }) = self.directories.get(at).filter(|_| at != 0) {
            names.push(name);
            at = *parent;
        }
        names.reverse();
        let path = names.join(&b'/');
        let path = path.strip_suffix(b"/").unwrap_or(&path);
        ReadError {
            path: String::from_utf8_lossy(path).into_owned(),
            defect: defect.into(),
        }
    }
}

fn require_header(bytes: &[u8], versions: &std::ops::RangeInclusive<u32>) -> Result<(), ReadDefect> {
    let (words, _) = bytes.as_chunks::<4>();
    let mut words = words.iter().map(|word| u32::from_le_bytes(*word));
    if words.next() != Some(MAGIC) || words.next() != Some(HEADER_VERSION) {
        return Err(ReadDefect::Magic);
    }
    match words.nth(1) {
        Some(version) if versions.contains(&version) => Ok(()),
        version => Err(version.map_or(ReadDefect::Magic, ReadDefect::Version)),
    }
}

/// A tree that is being read.
struct Reading<'a> {
    walk: Walk<'a>,
    tree: Tree<Content>,
    numbers: HashMap<u64, InodeId>,
    /// In the order of those of the walk.
    directories: Vec<InodeId>,
    sets: XattrSets,
    /// How many more bytes of attributes may come.
    attribute_bytes: u64,
}

impl<'a> Reading<'a> {
    fn read_directory(&mut self, number: usize, id: InodeId) -> Result<(), ReadError> {
        let mut has_whiteouts = false;
        for (name, nid) in self.walk.names(number)? {
            let Some(child) = self.child(number, name, nid)? else {
                continue;
            };
            has_whiteouts |= is_whiteout(&self.tree.inode(child).node);
            if self.tree.link(id, name, child).is_some() {
                return Err(self.walk.refuse(number, name, ReadDefect::SameName));
            }
        }
        let xattrs = self.directory_xattrs(number, has_whiteouts);
        self.tree.inode_mut(id).metadata.xattrs =
            xattrs.map_err(|defect| self.walk.refuse(number, b"", defect))?;
        Ok(())
    }

    /// The inode of a name; `None` if it is one of the 256 devices.
    fn child(&mut self, directory: usize, name: &'a [u8], nid: u64) -> Result<Option<InodeId>, ReadError> {
        if let Some(known) = self.numbers.get(&nid) {
            if self.tree.inode(*known).entries().is_some() {
                return Err(self.walk.refuse(directory, name, ReadDefect::DirectoryLinks));
            }
            return Ok(Some(*known));
        }
        let stored = self.walk.inode(directory, name, nid)?;
        let inode = self.inode(&stored);
        let inode = inode.map_err(|defect| self.walk.refuse(directory, name, defect))?;
        if stored.file_type == FileType::CharacterDevice && is_whiteout(&inode.node) {
            let is_own = directory == 0 && OBJECT_DIRECTORIES.iter().any(|own| own == name);
            return match is_own {
                true => Ok(None),
                false => Err(self.walk.refuse(directory, name, ReadDefect::Whiteout)),
            };
        }
        let is_directory = inode.entries().is_some();
        let id = self.tree.add(inode);
        self.directories.extend(is_directory.then_some(id));
        self.numbers.insert(nid, id);
        Ok(Some(id))
    }

    /// An inode; the names and attributes of a directory come later.
    fn inode(&mut self, stored: &StoredInode<'a>) -> Result<Inode<Content>, ReadDefect> {
        let mut metadata = metadata(stored);
        if stored.file_type == FileType::Directory {
            let node = Node::Directory(BTreeMap::new());
            return Ok(Inode { metadata, node });
        }
        let mut attributes = Attributes(self.walk.reader.attributes(stored)?);
        let node = match stored.file_type {
            FileType::Directory => Node::Directory(BTreeMap::new()),
            FileType::Regular => self.regular(stored, &mut attributes)?,
            FileType::Symlink => Node::Symlink(self.target(stored)?),
            FileType::CharacterDevice => Node::CharacterDevice(stored.device()),
            FileType::BlockDevice => Node::BlockDevice(stored.device()),
            FileType::Fifo => Node::Fifo,
            FileType::Socket => Node::Socket,
        };
        metadata.xattrs = self.xattrs(attributes)?;
        Ok(Inode { metadata, node })
    }

    fn regular(
        &mut self,
        stored: &StoredInode<'a>,
        attributes: &mut Attributes<'a>,
    ) -> Result<Node<Content>, ReadDefect> {
        let size_bytes = stored.size_bytes;
        if let Some(digest) = object(attributes)? {
            return Ok(Node::Regular(Content::Object { digest, size_bytes }));
        }
        if size_bytes > INLINE_MAX_BYTES as u64 {
            return Err(ReadDefect::InlineLength(size_bytes));
        }
        if size_bytes == 0 && attributes.take_all(&WHITEOUT) {
            return Ok(Node::CharacterDevice(Device { major: 0, minor: 0 }));
        }
        let data = self.walk.reader.data(stored)?;
        Ok(Node::Regular(Content::Inline(data.to_bytes())))
    }

    fn target(&mut self, stored: &StoredInode<'a>) -> Result<Box<[u8]>, ReadDefect> {
        let target = self.walk.reader.data(stored)?.to_bytes();
        is_target(&target).then_some(target).ok_or(ReadDefect::Target)
    }

    fn directory_xattrs(&mut self, number: usize, has_whiteouts: bool) -> Result<Xattrs, ReadDefect> {
        let Some(Directory { inode, .. }) = self.walk.directories.get(number) else {
            return Ok(Xattrs::new());
        };
        let mut attributes = Attributes(self.walk.reader.attributes(inode)?);
        if number == 0 {
            attributes.take_all(&[(OPAQUE, b"y")]);
        }
        if has_whiteouts {
            attributes.take_all(&WHITEOUTS);
        }
        self.xattrs(attributes)
    }

    /// The attributes as the tree has them.
    fn xattrs(&mut self, attributes: Attributes<'a>) -> Result<Xattrs, ReadDefect> {
        let lengths = attributes.0.iter().map(|one| one.name_bytes() + one.value.len());
        let left = self.attribute_bytes.checked_sub(lengths.sum::<usize>() as u64);
        self.attribute_bytes = left.ok_or(ReadDefect::AttributeBytes)?;
        let count = attributes.0.len();
        let mut found: HashMap<Vec<u8>, &[u8]> = HashMap::with_capacity(count);
        for attribute in attributes.0 {
            let name = unescape(attribute.name())?;
            match found.entry(name) {
                Entry::Vacant(place) => place.insert(attribute.value),
                Entry::Occupied(place) => return Err(ReadDefect::SameAttribute(text(place.key()))),
            };
        }
        let xattrs: Xattrs = found.into_iter().collect();
        Ok(xattrs.shared(&mut self.sets))
    }
}

/// What is left of the attributes of an inode.
struct Attributes<'a>(Vec<StoredAttribute<'a>>);

impl<'a> Attributes<'a> {
    /// Takes one attribute of that name out.
    fn take(&mut self, name: &[u8]) -> Option<&'a [u8]> {
        let position = self.0.iter().position(|one| one.has_name(name))?;
        Some(self.0.swap_remove(position).value)
    }

    /// Takes one of each out if all are there with these values. The tree may have others of the same names.
    fn take_all(&mut self, marks: &[(&[u8], &[u8])]) -> bool {
        let mut left = self.0.clone();
        for (name, value) in marks {
            let is_mark = |one: &StoredAttribute<'_>| one.has_name(name) && one.value == *value;
            let Some(position) = left.iter().position(is_mark) else {
                return false;
            };
            left.swap_remove(position);
        }
        self.0 = left;
        true
    }
}

/// Takes out the attributes that name an object, if there are any.
fn object(attributes: &mut Attributes<'_>) -> Result<Option<Digest>, ReadDefect> {
    let (metacopy, redirect) = (attributes.take(METACOPY), attributes.take(REDIRECT));
    if metacopy.is_none() && redirect.is_none() {
        return Ok(None);
    }
    let digest = metacopy
        .and_then(|value| value.strip_prefix(&METACOPY_HEADER))
        .and_then(|digest| <[u8; HASH_BYTES]>::try_from(digest).ok())
        .map(Digest::new);
    let is_named = |digest: &Digest| {
        let path = redirect.and_then(|path| path.strip_prefix(b"/"));
        path == Some(digest.object_path().as_bytes())
    };
    digest.filter(is_named).map(Some).ok_or(ReadDefect::Object)
}

/// The name that an attribute has in the tree.
fn unescape(name: Vec<u8>) -> Result<Vec<u8>, ReadDefect> {
    match name.strip_prefix(ESCAPED_OVERLAY) {
        Some(rest) => Ok([OVERLAY, rest].concat()),
        None if name.starts_with(OVERLAY) => Err(ReadDefect::OverlayAttribute(text(&name))),
        None => Ok(name),
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn metadata(stored: &StoredInode<'_>) -> Metadata {
    Metadata {
        mode: stored.permissions,
        uid: stored.uid,
        gid: stored.gid,
        mtime: stored.mtime,
        xattrs: Xattrs::new(),
    }
}

#[cfg(test)]
mod tests;
