//! The inodes of an image in the order of their numbers: depth first, the packed inode last.

use std::collections::BTreeMap;

use super::super::{Attribute, Entry, FileType, Listing, Value, device_number, is_file_name, is_target};
use super::cluster::Contents;
use super::{Error, File, Options, Reason};
use crate::tree::{Device, InodeId, Node, Timestamp, Tree, Xattrs};

/// An inode of the image.
#[derive(Debug)]
pub(super) struct Inode<'a> {
    /// `0o7777` at most.
    pub(super) permissions: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Timestamp,
    xattrs: Option<&'a Xattrs>,
    /// The position of the directory that names it first, and the name.
    place: (u32, &'a [u8]),
    pub(super) links: u32,
    pub(super) body: Body<'a>,
}

/// The kind of an inode, and what is stored for it.
#[derive(Debug)]
pub(super) enum Body<'a> {
    Directory(Listing<'a>),
    Empty,
    /// A file that is not empty: its position among the stored contents.
    Regular(usize),
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
            Body::Empty | Body::Regular(_) => FileType::Regular,
            Body::Symlink(_) => FileType::Symlink,
            Body::CharacterDevice(_) => FileType::CharacterDevice,
            Body::BlockDevice(_) => FileType::BlockDevice,
            Body::Fifo => FileType::Fifo,
            Body::Socket => FileType::Socket,
        }
    }
}

impl<'a> Inode<'a> {
    /// The refusal of this one among the inodes.
    pub(super) fn refuse(&self, inodes: &[Inode<'_>], reason: Reason) -> Error {
        refuse(inodes, self.place, reason)
    }

    /// Those whose length was found to fit.
    pub(super) fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        let pairs = self.xattrs.into_iter().flat_map(|xattrs| xattrs.iter());
        pairs.filter_map(|(name, value)| Attribute::new(name, Value::Bytes(value)))
    }
}

/// Numbers the inodes of the tree.
pub(super) fn collect<'a>(
    tree: &'a Tree<File>,
    contents: &Contents,
    options: &Options,
) -> Result<Vec<Inode<'a>>, Error> {
    let mut walk = Walk {
        tree,
        contents,
        links: tree.link_counts(),
        positions: vec![None; tree.arena_len()],
        inodes: Vec::new(),
        directories: Vec::new(),
    };
    walk.number()?;
    walk.list();
    if let Some(position) = contents.packed {
        walk.inodes.push(Inode {
            permissions: 0,
            uid: 0,
            gid: 0,
            mtime: options.build_time,
            xattrs: None,
            place: (0, b""),
            links: 1,
            body: Body::Regular(position),
        });
    }
    Ok(walk.inodes)
}

struct Walk<'a, 'c> {
    tree: &'a Tree<File>,
    contents: &'c Contents,
    links: Vec<u32>,
    positions: Vec<Option<u32>>,
    inodes: Vec<Inode<'a>>,
    /// Every directory, its position and that of its parent.
    directories: Vec<(InodeId, u32, u32)>,
}

impl<'a> Walk<'a, '_> {
    fn number(&mut self) -> Result<(), Error> {
        let mut pending = vec![((0, &b""[..]), self.tree.root())];
        while let Some((place, id)) = pending.pop() {
            let entries = self.tree.inode(id).entries();
            if self.positions[id.index()].is_some() {
                if entries.is_some() {
                    return Err(refuse(&self.inodes, place, Reason::DirectoryLinks));
                }
                continue;
            }
            let position = u32::try_from(self.inodes.len()).map_err(|_| Error::TreeSize)?;
            self.positions[id.index()] = Some(position);
            let added = self.inode(id, place);
            self.inodes
                .push(added.map_err(|reason| refuse(&self.inodes, place, reason))?);
            let Some(entries) = entries else {
                continue;
            };
            self.directories.push((id, position, place.0));
            for (name, child) in entries.iter().rev() {
                if !is_file_name(name) {
                    return Err(refuse(&self.inodes, (position, name), Reason::Name));
                }
                pending.push(((position, name), *child));
            }
        }
        Ok(())
    }

    fn inode(&self, id: InodeId, place: (u32, &'a [u8])) -> Result<Inode<'a>, Reason> {
        let inode = self.tree.inode(id);
        let metadata = &inode.metadata;
        for (name, value) in metadata.xattrs.iter() {
            if Attribute::new(name, Value::Bytes(value)).is_none() {
                return Err(Reason::AttributeLength(
                    String::from_utf8_lossy(name).into_owned(),
                ));
            }
        }
        Ok(Inode {
            permissions: metadata.mode & 0o7777,
            uid: metadata.uid,
            gid: metadata.gid,
            mtime: metadata.mtime,
            xattrs: Some(&metadata.xattrs),
            place,
            links: self.links[id.index()],
            body: self.body(&inode.node)?,
        })
    }

    fn body(&self, node: &'a Node<File>) -> Result<Body<'a>, Reason> {
        let number = |device: Device| device_number(device).ok_or(Reason::Device);
        Ok(match node {
            Node::Directory(_) => Body::Directory(Listing::new(Vec::new())),
            Node::Regular(file) => self.contents.position(file).map_or(Body::Empty, Body::Regular),
            Node::Symlink(target) if !is_target(target) => return Err(Reason::Target),
            Node::Symlink(target) => Body::Symlink(target),
            Node::CharacterDevice(device) => Body::CharacterDevice(number(*device)?),
            Node::BlockDevice(device) => Body::BlockDevice(number(*device)?),
            Node::Fifo => Body::Fifo,
            Node::Socket => Body::Socket,
        })
    }

    /// Lists the entries of every directory, everything being numbered by now.
    fn list(&mut self) {
        for (id, position, parent) in std::mem::take(&mut self.directories) {
            let own = [(&b"."[..], position), (&b".."[..], parent)];
            let named = self.tree.inode(id).entries().into_iter().flat_map(BTreeMap::iter);
            let named =
                named.map(|(name, child)| (&**name, self.positions[child.index()].unwrap_or_default()));
            let entries = own.into_iter().chain(named).map(|(name, inode)| Entry {
                name,
                inode,
                file_type: self.inodes[inode as usize].body.file_type(),
            });
            let listing = Listing::new(entries.collect());
            let inode = &mut self.inodes[position as usize];
            inode.links = listing.directory_count();
            inode.body = Body::Directory(listing);
        }
    }
}

/// The refusal of what a directory names so.
fn refuse(inodes: &[Inode<'_>], place: (u32, &[u8]), reason: Reason) -> Error {
    let mut names = vec![place.1];
    let mut directory = place.0;
    while let Some(inode) = inodes.get(directory as usize).filter(|_| directory != 0) {
        names.push(inode.place.1);
        directory = inode.place.0;
    }
    names.reverse();
    Error::Node {
        path: String::from_utf8_lossy(&names.join(&b'/')).into_owned(),
        reason,
    }
}
