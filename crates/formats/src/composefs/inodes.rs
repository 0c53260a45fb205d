//! The inodes of a composefs image, breadth first, with the attributes that overlayfs reads.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use super::{Error, Reason};
use crate::erofs::{Attribute, Attributes, Entry, FileType, Listing, Value};
use crate::tree::{Content, Device, INLINE_MAX_BYTES, InodeId, Metadata, Node, Tree};
use crate::verity::Digest;

const NAME_MAX_BYTES: usize = 255;
const TARGET_MAX_BYTES: usize = 4095;
const FILE_MAX_BYTES: u64 = 1 << 43;
const METACOPY: &[u8] = b"trusted.overlay.metacopy";
const REDIRECT: &[u8] = b"trusted.overlay.redirect";
const OVERLAY: &[u8] = b"trusted.overlay.";
const ESCAPED_OVERLAY: &[u8] = b"trusted.overlay.overlay.";
/// What makes an empty file a whiteout for an overlay on top of the composefs, with either attribute prefix.
const WHITEOUT: [(&[u8], &[u8]); 2] = [
    (b"trusted.overlay.overlay.whiteout", b""),
    (b"user.overlay.whiteout", b""),
];
/// What makes such an overlay look for them in a directory.
const WHITEOUTS: [(&[u8], &[u8]); 4] = [
    (b"trusted.overlay.overlay.whiteouts", b""),
    (b"user.overlay.whiteouts", b""),
    (b"trusted.overlay.overlay.opaque", b"x"),
    (b"user.overlay.opaque", b"x"),
];
/// `00` to `ff`: the names of the directories of `objects/`.
static OBJECT_DIRECTORIES: [[u8; 2]; 256] = object_directories();

/// An inode of the image.
pub(super) struct Inode<'a> {
    pub(super) metadata: &'a Metadata,
    pub(super) attributes: Attributes<'a>,
    pub(super) links: u32,
    pub(super) body: Body<'a>,
}

/// The kind of an inode, and what is stored for it.
pub(super) enum Body<'a> {
    Directory(Listing<'a>),
    Inline(&'a [u8]),
    Object { size_bytes: u64 },
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
    places: Vec<(usize, &'a [u8])>,
}

impl<'a> Collected<'a> {
    /// The refusal of the inode at a position.
    pub(super) fn refuse(&self, position: usize, reason: Reason) -> Error {
        let mut names = Vec::new();
        let mut at = position;
        while at != 0 {
            let (directory, name) = self.places[at];
            names.push(name);
            at = directory;
        }
        names.reverse();
        Error {
            path: String::from_utf8_lossy(&names.join(&b'/')).into_owned(),
            reason,
        }
    }

    /// Takes the next number for what `directory` calls `name`.
    fn add(
        &mut self,
        directory: usize,
        name: &'a [u8],
        links: u32,
        metadata: &'a Metadata,
        body: Body<'a>,
    ) -> usize {
        self.inodes.push(Inode {
            metadata,
            attributes: Attributes::default(),
            links,
            body,
        });
        self.places.push((directory, name));
        self.inodes.len() - 1
    }

    fn add_attribute(
        &mut self,
        position: usize,
        name: impl Into<Cow<'a, [u8]>>,
        value: Value<'a>,
    ) -> Result<(), Error> {
        let name = name.into();
        let Some(attribute) = Attribute::new(name.clone(), value) else {
            let name = String::from_utf8_lossy(&name).into_owned();
            return Err(self.refuse(position, Reason::AttributeLength(name)));
        };
        self.inodes[position].attributes.add(attribute);
        Ok(())
    }

    /// Adds the attributes of the tree, out of overlayfs's way.
    fn add_own_attributes(&mut self, position: usize) -> Result<(), Error> {
        let metadata = self.inodes[position].metadata;
        for (name, value) in &metadata.xattrs {
            let value = Value::Bytes(value);
            match name.strip_prefix(OVERLAY) {
                Some(rest) => self.add_attribute(position, [ESCAPED_OVERLAY, rest].concat(), value)?,
                None => self.add_attribute(position, name, value)?,
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
        pending: VecDeque::new(),
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

/// What a name stands for before every inode has a position.
#[derive(Clone, Copy)]
enum Target {
    Position(usize),
    /// Numbered in a directory that is yet to come.
    Later(InodeId),
}

struct Walk<'a> {
    tree: &'a Tree<Content>,
    whiteout: &'a Metadata,
    links: Vec<u32>,
    homes: Vec<Option<InodeId>>,
    positions: Vec<Option<usize>>,
    collected: Collected<'a>,
    pending: VecDeque<(InodeId, usize)>,
}

impl<'a> Walk<'a> {
    fn run(&mut self) -> Result<(), Error> {
        let root = self.add_named(0, b"", self.tree.root())?;
        let mut listings = Vec::new();
        while let Some((id, position)) = self.pending.pop_front() {
            listings.push((position, self.number_children(id, position)?));
        }
        for (position, names) in listings {
            let listing = Listing::new(self.entries(position, names));
            self.collected.inodes[position].links = listing.directory_count();
            self.collected.inodes[position].body = Body::Directory(listing);
        }
        self.collected
            .add_attribute(root, &b"trusted.overlay.opaque"[..], Value::Bytes(b"y"))
    }

    /// Numbers what a directory names, in the order of the names.
    fn number_children(&mut self, id: InodeId, position: usize) -> Result<Vec<(&'a [u8], Target)>, Error> {
        let named = self.tree.inode(id).entries().into_iter().flatten();
        let mut children: BTreeMap<&'a [u8], Option<InodeId>> =
            named.map(|(name, child)| (&**name, Some(*child))).collect();
        if position == 0 {
            for name in &OBJECT_DIRECTORIES {
                children.entry(name).or_insert(None);
            }
        }
        let mut names = Vec::with_capacity(children.len());
        let mut has_whiteout = false;
        for (name, child) in children {
            let target = match child {
                None => Target::Position(self.collected.add(
                    position,
                    name,
                    1,
                    self.whiteout,
                    Body::CharacterDevice(0),
                )),
                Some(child) => self.number_child(id, position, name, child)?,
            };
            if child.is_none() {
                self.collected
                    .add_own_attributes(self.collected.inodes.len() - 1)?;
            }
            has_whiteout |= child.is_some_and(|child| self.is_escaped(position, name, child));
            names.push((name, target));
        }
        if has_whiteout {
            for (name, value) in WHITEOUTS {
                self.collected
                    .add_attribute(position, name, Value::Bytes(value))?;
            }
        }
        Ok(names)
    }

    fn number_child(
        &mut self,
        id: InodeId,
        position: usize,
        name: &'a [u8],
        child: InodeId,
    ) -> Result<Target, Error> {
        if let Some(position) = self.positions[child.index()] {
            return Ok(Target::Position(position));
        }
        if self.homes[child.index()].is_some_and(|home| home != id) {
            return Ok(Target::Later(child));
        }
        let added = self.add_named(position, name, child)?;
        if self.is_escaped(position, name, child) {
            self.collected.inodes[added].body = Body::Inline(b"");
            for (name, value) in WHITEOUT {
                self.collected.add_attribute(added, name, Value::Bytes(value))?;
            }
        }
        Ok(Target::Position(added))
    }

    /// Gives an inode of the tree the next position.
    fn add_named(&mut self, directory: usize, name: &'a [u8], id: InodeId) -> Result<usize, Error> {
        let inode = self.tree.inode(id);
        let links = self.links[id.index()];
        let (body, refused) = match body(&inode.node) {
            Ok(body) => (body, None),
            Err(reason) => (Body::Fifo, Some(reason)),
        };
        let position = self.collected.add(directory, name, links, &inode.metadata, body);
        self.positions[id.index()] = Some(position);
        let is_name = id == self.tree.root() || is_file_name(name);
        let refused = refused.or_else(|| (!is_name).then_some(Reason::Name));
        if let Some(reason) = refused.or_else(|| refuse_links(&inode.node, links)) {
            return Err(self.collected.refuse(position, reason));
        }
        match &inode.node {
            Node::Directory(_) => self.pending.push_back((id, position)),
            Node::Regular(Content::Object { digest, .. }) => self.add_object(position, digest)?,
            _ => {}
        }
        self.collected.add_own_attributes(position)?;
        Ok(position)
    }

    fn add_object(&mut self, position: usize, digest: &'a Digest) -> Result<(), Error> {
        // struct ovl_metacopy: version, length of all, flags, algorithm 2 (SHA-512), digest.
        let metacopy = Value::Digest([0, 68, 0, 2], digest);
        self.collected.add_attribute(position, METACOPY, metacopy)?;
        let redirect = Value::ObjectPath(digest);
        self.collected.add_attribute(position, REDIRECT, redirect)
    }

    /// Whether an inode is a whiteout of the tree, not one of the 256 in the root that the image has anyway.
    fn is_escaped(&self, directory: usize, name: &[u8], id: InodeId) -> bool {
        let inode = self.tree.inode(id);
        let in_place = directory == 0 && OBJECT_DIRECTORIES.iter().any(|other| other == name);
        is_whiteout(&inode.node) && !(in_place && inode.metadata == *self.whiteout)
    }

    /// The entries of the directory at a position, every inode being numbered by now.
    fn entries(&self, position: usize, names: Vec<(&'a [u8], Target)>) -> Vec<Entry<'a>> {
        let (parent, _) = self.collected.places[position];
        let own = [
            (&b"."[..], Target::Position(position)),
            (&b".."[..], Target::Position(parent)),
        ];
        let all = own.into_iter().chain(names);
        all.map(|(name, target)| {
            let inode = match target {
                Target::Position(position) => position,
                Target::Later(id) => self.positions[id.index()].unwrap_or_default(),
            };
            let file_type = self.collected.inodes[inode].body.file_type();
            Entry {
                name,
                inode,
                file_type,
            }
        })
        .collect()
    }
}

fn body<'a>(node: &'a Node<Content>) -> Result<Body<'a>, Reason> {
    Ok(match node {
        Node::Directory(_) => Body::Directory(Listing::new(Vec::new())),
        Node::Regular(Content::Inline(bytes)) if bytes.len() > INLINE_MAX_BYTES => {
            return Err(Reason::InlineLength(bytes.len()));
        }
        Node::Regular(Content::Inline(bytes)) => Body::Inline(bytes),
        Node::Regular(Content::Object { size_bytes, .. }) if *size_bytes > FILE_MAX_BYTES => {
            return Err(Reason::FileSize(*size_bytes));
        }
        Node::Regular(Content::Object { size_bytes, .. }) => Body::Object {
            size_bytes: *size_bytes,
        },
        Node::Symlink(target) if !is_target(target) => return Err(Reason::Target),
        Node::Symlink(target) => Body::Symlink(target),
        Node::CharacterDevice(device) => Body::CharacterDevice(device_number(*device)?),
        Node::BlockDevice(device) => Body::BlockDevice(device_number(*device)?),
        Node::Fifo => Body::Fifo,
        Node::Socket => Body::Socket,
    })
}

fn refuse_links(node: &Node<Content>, links: u32) -> Option<Reason> {
    match node {
        Node::Directory(_) if links > 1 => Some(Reason::DirectoryLinks),
        _ if is_whiteout(node) && links > 1 => Some(Reason::WhiteoutLinks),
        _ => None,
    }
}

fn is_whiteout(node: &Node<Content>) -> bool {
    matches!(node, Node::CharacterDevice(Device { major: 0, minor: 0 }))
}

fn is_file_name(name: &[u8]) -> bool {
    let special = name.is_empty() || name == b"." || name == b"..";
    !special && name.len() <= NAME_MAX_BYTES && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

fn is_target(target: &[u8]) -> bool {
    !target.is_empty() && target.len() <= TARGET_MAX_BYTES && !target.contains(&0)
}

/// The kernel's 32-bit form: 8 low bits of the minor number, 12 of the major, 12 more of the minor.
fn device_number(device: Device) -> Result<u32, Reason> {
    let Device { major, minor } = device;
    if major >= 1 << 12 || minor >= 1 << 20 {
        return Err(Reason::Device { major, minor });
    }
    Ok((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12))
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
