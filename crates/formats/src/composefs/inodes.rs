//! The inodes of a composefs image, breadth first, with the attributes that overlayfs reads.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Error, Reason};
use crate::erofs::{Attribute, Entry, FileType, Listing, Value, device_number, is_file_name, is_target};
use crate::tree::{Content, Device, INLINE_MAX_BYTES, InodeId, Metadata, Node, Tree};
use crate::verity::Digest;

const FILE_MAX_BYTES: u64 = 1 << 43;
pub(super) const METACOPY: &[u8] = b"trusted.overlay.metacopy";
/// `struct ovl_metacopy` before the digest: version, length of all, flags, algorithm 2 (SHA-512).
pub(super) const METACOPY_HEADER: [u8; 4] = [0, 68, 0, 2];
pub(super) const REDIRECT: &[u8] = b"trusted.overlay.redirect";
pub(super) const OPAQUE: &[u8] = b"trusted.overlay.opaque";
pub(super) const OVERLAY: &[u8] = b"trusted.overlay.";
pub(super) const ESCAPED_OVERLAY: &[u8] = b"trusted.overlay.overlay.";
/// What makes an empty file a whiteout for an overlay on top of the composefs, with either attribute prefix.
pub(super) const WHITEOUT: [(&[u8], &[u8]); 2] = [
    (b"trusted.overlay.overlay.whiteout", b""),
    (b"user.overlay.whiteout", b""),
];
/// What makes such an overlay look for them in a directory.
pub(super) const WHITEOUTS: [(&[u8], &[u8]); 4] = [
    (b"trusted.overlay.overlay.whiteouts", b""),
    (b"user.overlay.whiteouts", b""),
    (b"trusted.overlay.overlay.opaque", b"x"),
    (b"user.overlay.opaque", b"x"),
];
/// `00` to `ff`: the names of the directories of `objects/`.
pub(super) static OBJECT_DIRECTORIES: [[u8; 2]; 256] = object_directories();

/// An inode of the image.
pub(super) struct Inode<'a> {
    pub(super) metadata: &'a Metadata,
    pub(super) links: u32,
    /// What overlay file systems take it for, beside what [`Body`] says.
    marks: Marks,
    pub(super) body: Body<'a>,
}

/// Marks for overlay file systems.
#[derive(Debug, Clone, Copy, Default)]
struct Marks {
    /// The root of the image.
    opaque: bool,
    /// A file that stands for a whiteout of the tree.
    whiteout: bool,
    /// A directory with such files.
    whiteouts: bool,
}

impl<'a> Inode<'a> {
    /// The attributes, made when they are asked for: an image has three for every file. Those of the tree are out of
    /// overlayfs's way.
    pub(super) fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        self.named_values()
            .filter_map(|(name, value)| Attribute::new(name, value))
    }

    fn named_values(&self) -> impl Iterator<Item = (Cow<'a, [u8]>, Value<'a>)> + use<'a> {
        let object = match self.body {
            Body::Object { digest, .. } => Some([
                (METACOPY, Value::Digest(METACOPY_HEADER, digest)),
                (REDIRECT, Value::ObjectPath(digest)),
            ]),
            _ => None,
        };
        let marks = self.marks;
        let opaque = marks.opaque.then_some((OPAQUE, &b"y"[..]));
        let whiteout = WHITEOUT.into_iter().filter(move |_| marks.whiteout);
        let whiteouts = WHITEOUTS.into_iter().filter(move |_| marks.whiteouts);
        let marks = opaque.into_iter().chain(whiteout).chain(whiteouts);
        let marks = marks.map(|(name, value)| (name, Value::Bytes(value)));
        let fixed = object.into_iter().flatten().chain(marks);
        let own = self.metadata.xattrs.iter().map(|(name, value)| {
            let name = match name.strip_prefix(OVERLAY) {
                Some(rest) => [ESCAPED_OVERLAY, rest].concat().into(),
                None => Cow::Borrowed(name),
            };
            (name, Value::Bytes(value))
        });
        fixed.map(|(name, value)| (Cow::Borrowed(name), value)).chain(own)
    }
}

/// The kind of an inode, and what is stored for it.
pub(super) enum Body<'a> {
    Directory(Box<Listing<'a>>),
    Inline(&'a [u8]),
    Object { digest: &'a Digest, size_bytes: u64 },
    Symlink(&'a [u8]),
    CharacterDevice(u32),
    BlockDevice(u32),
    Fifo,
    Socket,
}

impl Body<'_> {
    pub(super) fn file_type(&self) -> FileType {
        match self {
            Body::Directory(_) => FileType::Directory,
            Body::Inline(_) | Body::Object { .. } => FileType::Regular,
            Body::Symlink(_) => FileType::Symlink,
            Body::CharacterDevice(_) => FileType::CharacterDevice,
            Body::BlockDevice(_) => FileType::BlockDevice,
            Body::Fifo => FileType::Fifo,
            Body::Socket => FileType::Socket,
        }
    }
}

/// The inodes of an image in the order of their numbers, the root first.
pub(super) struct Collected<'a> {
    pub(super) inodes: Vec<Inode<'a>>,
    /// The inode of the directory that names an inode, and the name.
    places: Vec<(u32, &'a [u8])>,
}

impl<'a> Collected<'a> {
    /// The refusal of the inode at a position.
    pub(super) fn refuse(&self, position: usize, reason: Reason) -> Error {
        let mut names = Vec::new();
        let mut at = position;
        while at != 0 {
            let (directory, name) = self.places[at];
            names.push(name);
            at = directory as usize;
        }
        names.reverse();
        Error {
            path: String::from_utf8_lossy(&names.join(&b'/')).into_owned(),
            reason,
        }
    }

    /// Takes the next number for what `directory` calls `name`.
    fn add(&mut self, directory: u32, name: &'a [u8], inode: Inode<'a>) -> u32 {
        self.inodes.push(inode);
        self.places.push((directory, name));
        (self.inodes.len() - 1) as u32
    }

    /// Refuses an inode whose attributes are too long.
    fn require_attributes(&self, position: u32) -> Result<(), Error> {
        for (name, value) in self.inodes[position as usize].named_values() {
            if Attribute::new(name.clone(), value).is_none() {
                let name = String::from_utf8_lossy(&name).into_owned();
                return Err(self.refuse(position as usize, Reason::AttributeLength(name)));
            }
        }
        Ok(())
    }
}

/// Numbers the inodes of the tree; `whiteout` is the metadata of the 256 devices in the root.
pub(super) fn collect<'a>(tree: &'a Tree<Content>, whiteout: &'a Metadata) -> Result<Collected<'a>, Error> {
    let links = tree.link_counts();
    let mut walk = Walk {
        tree,
        whiteout,
        homes: homes(tree, &links),
        links,
        positions: vec![None; tree.arena_len()],
        collected: Collected {
            inodes: Vec::new(),
            places: Vec::new(),
        },
        directories: Vec::new(),
        devices: Vec::new(),
    };
    walk.run()?;
    Ok(walk.collected)
}

/// For every inode with several names, the directory in which a depth-first walk finds it first.
fn homes(tree: &Tree<Content>, links: &[u32]) -> Vec<Option<InodeId>> {
    let mut homes = vec![None; tree.arena_len()];
    let mut entered = vec![false; tree.arena_len()];
    let mut pending = vec![(tree.root(), tree.root())];
    while let Some((directory, id)) = pending.pop() {
        if links[id.index()] > 1 {
            homes[id.index()].get_or_insert(directory);
        }
        if !std::mem::replace(&mut entered[id.index()], true) {
            let children = tree.inode(id).entries().into_iter().flat_map(BTreeMap::values);
            pending.extend(children.rev().map(|child| (id, *child)));
        }
    }
    homes
}

struct Walk<'a> {
    tree: &'a Tree<Content>,
    whiteout: &'a Metadata,
    links: Vec<u32>,
    homes: Vec<Option<InodeId>>,
    positions: Vec<Option<u32>>,
    collected: Collected<'a>,
    /// In the order of their positions.
    directories: Vec<(InodeId, u32)>,
    /// Those in the root that the tree does not have.
    devices: Vec<(&'a [u8], u32)>,
}

impl<'a> Walk<'a> {
    fn run(&mut self) -> Result<(), Error> {
        let root = self.add_named(0, b"", self.tree.root())?;
        let mut numbered = 0;
        while let Some((id, position)) = self.directories.get(numbered).copied() {
            self.number_children(id, position)?;
            numbered += 1;
        }
        for (id, position) in std::mem::take(&mut self.directories) {
            let listing = Listing::new(self.entries(id, position));
            let inode = &mut self.collected.inodes[position as usize];
            inode.links = listing.directory_count();
            inode.body = Body::Directory(Box::new(listing));
        }
        self.collected.inodes[root as usize].marks.opaque = true;
        Ok(())
    }

    /// Numbers what a directory names, in the order of the names.
    fn number_children(&mut self, id: InodeId, position: u32) -> Result<(), Error> {
        let named = self.tree.inode(id).entries().into_iter().flatten();
        let mut children: BTreeMap<&'a [u8], Option<InodeId>> =
            named.map(|(name, child)| (&**name, Some(*child))).collect();
        if position == 0 {
            for name in &OBJECT_DIRECTORIES {
                children.entry(name).or_insert(None);
            }
        }
        for (name, child) in children {
            let Some(child) = child else {
                let device = Inode {
                    metadata: self.whiteout,
                    links: 1,
                    marks: Marks::default(),
                    body: Body::CharacterDevice(0),
                };
                let added = self.collected.add(position, name, device);
                self.collected.require_attributes(added)?;
                self.devices.push((name, added));
                continue;
            };
            self.number_child(id, position, name, child)?;
            if self.is_escaped(position, name, child) {
                self.collected.inodes[position as usize].marks.whiteouts = true;
            }
        }
        Ok(())
    }

    fn number_child(
        &mut self,
        id: InodeId,
        position: u32,
        name: &'a [u8],
        child: InodeId,
    ) -> Result<(), Error> {
        let is_elsewhere = self.homes[child.index()].is_some_and(|home| home != id);
        if is_elsewhere || self.positions[child.index()].is_some() {
            return Ok(());
        }
        let added = self.add_named(position, name, child)?;
        if self.is_escaped(position, name, child) {
            let inode = &mut self.collected.inodes[added as usize];
            inode.body = Body::Inline(b"");
            inode.marks.whiteout = true;
        }
        Ok(())
    }

    /// Gives an inode of the tree the next position.
    fn add_named(&mut self, directory: u32, name: &'a [u8], id: InodeId) -> Result<u32, Error> {
        let inode = self.tree.inode(id);
        let links = self.links[id.index()];
        let (body, refused) = match body(&inode.node) {
            Ok(body) => (body, None),
            Err(reason) => (Body::Fifo, Some(reason)),
        };
        let numbered = Inode {
            metadata: &inode.metadata,
            links,
            marks: Marks::default(),
            body,
        };
        let position = self.collected.add(directory, name, numbered);
        self.positions[id.index()] = Some(position);
        let is_name = id == self.tree.root() || is_file_name(name);
        let refused = refused.or_else(|| (!is_name).then_some(Reason::Name));
        if let Some(reason) = refused.or_else(|| refuse_links(&inode.node, links)) {
            return Err(self.collected.refuse(position as usize, reason));
        }
        if inode.entries().is_some() {
            self.directories.push((id, position));
        }
        self.collected.require_attributes(position)?;
        Ok(position)
    }

    /// Whether an inode is a whiteout of the tree, not one of the 256 in the root that the image has anyway.
    fn is_escaped(&self, directory: u32, name: &[u8], id: InodeId) -> bool {
        let inode = self.tree.inode(id);
        let in_place = directory == 0 && OBJECT_DIRECTORIES.iter().any(|other| other == name);
        is_whiteout(&inode.node) && !(in_place && inode.metadata == *self.whiteout)
    }

    /// The entries of the directory at a position, every inode being numbered by now.
    fn entries(&self, id: InodeId, position: u32) -> Vec<Entry<'a>> {
        let (parent, _) = self.collected.places[position as usize];
        let own = [(&b"."[..], position), (&b".."[..], parent)];
        let named = self.tree.inode(id).entries().into_iter().flatten();
        let named = named.map(|(name, child)| (&**name, self.positions[child.index()].unwrap_or_default()));
        let devices = self.devices.iter().copied().filter(|_| position == 0);
        let all = own.into_iter().chain(named).chain(devices);
        all.map(|(name, inode)| Entry {
            name,
            inode,
            file_type: self.collected.inodes[inode as usize].body.file_type(),
        })
        .collect()
    }
}

fn body<'a>(node: &'a Node<Content>) -> Result<Body<'a>, Reason> {
    Ok(match node {
        Node::Directory(_) => Body::Directory(Box::new(Listing::new(Vec::new()))),
        Node::Regular(Content::Inline(bytes)) if bytes.len() > INLINE_MAX_BYTES => {
            return Err(Reason::InlineLength(bytes.len()));
        }
        Node::Regular(Content::Inline(bytes)) => Body::Inline(bytes),
        Node::Regular(Content::Object { size_bytes, .. }) if *size_bytes > FILE_MAX_BYTES => {
            return Err(Reason::FileSize(*size_bytes));
        }
        Node::Regular(Content::Object { digest, size_bytes }) => Body::Object {
            digest,
            size_bytes: *size_bytes,
        },
        Node::Symlink(target) if !is_target(target) => return Err(Reason::Target),
        Node::Symlink(target) => Body::Symlink(target),
        Node::CharacterDevice(device) => Body::CharacterDevice(number(*device)?),
        Node::BlockDevice(device) => Body::BlockDevice(number(*device)?),
        Node::Fifo => Body::Fifo,
        Node::Socket => Body::Socket,
    })
}

fn number(device: Device) -> Result<u32, Reason> {
    let Device { major, minor } = device;
    device_number(device).ok_or(Reason::Device { major, minor })
}

fn refuse_links(node: &Node<Content>, links: u32) -> Option<Reason> {
    match node {
        Node::Directory(_) if links > 1 => Some(Reason::DirectoryLinks),
        _ if is_whiteout(node) && links > 1 => Some(Reason::WhiteoutLinks),
        _ => None,
    }
}

pub(super) fn is_whiteout(node: &Node<Content>) -> bool {
    matches!(node, Node::CharacterDevice(Device { major: 0, minor: 0 }))
}

const fn object_directories() -> [[u8; 2]; 256] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut names = [[0; 2]; 256];
    let mut number = 0;
    while number < 256 {
        names[number] = [DIGITS[number / 16], DIGITS[number % 16]];
        number += 1;
    }
    names
}
