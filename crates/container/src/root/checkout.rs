//! A tree in a directory, brought from one tree to the next by their difference.
//!
//! A name stays if it names the same in both trees: a directory, or a file of the same kind, metadata and contents
//! that also has the same other names. All else is removed and made anew. Writing a tree is the difference to nothing.
//!
//! Left out is what a file system may refuse to a user namespace and what no layer of a command can have: devices,
//! owners without an id there, attributes other than file capabilities and `user.*`.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{fchown, lchown, symlink};
use std::path::{Path, PathBuf};

use osmith_formats::tree::{Content, Inode, InodeId, Metadata, Name, Node, Timestamp, Tree};
use osmith_image::layer::is_kept_attribute;
use osmith_image::store::Store;
use osmith_sys::OsError;
use osmith_sys::file::{copy_contents, remove_attribute, set_attribute, set_file_attribute};
use osmith_sys::mount::Attributes;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, makedev};
use rustix::io::Errno;

use super::RootError;

/// What a regular file becomes.
pub(super) trait WriteContents {
    /// Fills the empty file at `path`.
    fn write(&self, content: &Content, file: &File, path: &Path) -> Result<(), RootError>;
}

/// Files without contents, with the attributes by which overlayfs finds the object.
pub(super) struct Stubs {
    /// Which attributes.
    pub(super) attributes: Attributes,
}

impl WriteContents for Stubs {
    fn write(&self, content: &Content, file: &File, path: &Path) -> Result<(), RootError> {
        match content {
            Content::Inline(bytes) => write_all(file, bytes, path),
            Content::Object { digest, size_bytes } => {
                file.set_len(*size_bytes)
                    .map_err(|error| OsError::from_io("set the size of", path.display(), &error))?;
                let (metacopy, redirect): (&[u8], &[u8]) = match self.attributes {
                    Attributes::Trusted => (b"trusted.overlay.metacopy", b"trusted.overlay.redirect"),
                    Attributes::User => (b"user.overlay.metacopy", b"user.overlay.redirect"),
                };
                set_file_attribute(file, path, metacopy, b"")?;
                let object = format!("/{}", digest.object_path());
                Ok(set_file_attribute(file, path, redirect, object.as_bytes())?)
            }
        }
    }
}

/// Copies of the objects, sharing their blocks where the file system can.
pub(super) struct Copies<'a> {
    /// Where the objects are.
    pub(super) store: &'a Store,
}

impl WriteContents for Copies<'_> {
    fn write(&self, content: &Content, file: &File, path: &Path) -> Result<(), RootError> {
        match content {
            Content::Inline(bytes) => write_all(file, bytes, path),
            Content::Object { digest, .. } => {
                copy_contents(&self.store.read_object(digest)?, file)?;
                Ok(())
            }
        }
    }
}

fn write_all(mut file: &File, bytes: &[u8], path: &Path) -> Result<(), RootError> {
    file.write_all(bytes)
        .map_err(|error| OsError::from_io("write", path.display(), &error).into())
}

/// Makes `directory`, which shows `old`, show `new`; without `old` it is empty. After an error it is of no use.
pub(super) fn update(
    directory: &Path,
    old: Option<&Tree<Content>>,
    new: &Tree<Content>,
    contents: &dyn WriteContents,
) -> Result<(), RootError> {
    let nothing = Tree::new(Metadata::default());
    let mut update = Update {
        old: Names::of(old.unwrap_or(&nothing)),
        new: Names::of(new),
        first_names: HashMap::new(),
        contents,
    };
    let root = update.old.tree.root();
    update.directory(directory, old.map(|_| root), new.root())
}

/// Writes a tree, its files as copies, into the empty directory.
pub fn write_tree(directory: &Path, tree: &Tree<Content>, store: &Store) -> Result<(), RootError> {
    update(directory, None, tree, &Copies { store })
}

/// A tree, and the names of each inode that has several.
struct Names<'t> {
    tree: &'t Tree<Content>,
    linked: HashMap<InodeId, Vec<Vec<u8>>>,
}

impl<'t> Names<'t> {
    fn of(tree: &'t Tree<Content>) -> Self {
        let counts = tree.link_counts();
        let mut linked: HashMap<_, Vec<_>> = HashMap::new();
        if counts.iter().any(|count| *count > 1) {
            for (path, id) in tree.walk() {
                if counts.get(id.index()).is_some_and(|count| *count > 1) {
                    linked.entry(id).or_default().push(path);
                }
            }
        }
        Names { tree, linked }
    }
}

struct Update<'t> {
    old: Names<'t>,
    new: Names<'t>,
    /// Where a new file with several names was made.
    first_names: HashMap<InodeId, PathBuf>,
    contents: &'t dyn WriteContents,
}

impl<'t> Update<'t> {
    /// Brings one directory, and all below it, from what it was to what it is to be; `None` was just made.
    fn directory(&mut self, path: &Path, was: Option<InodeId>, id: InodeId) -> Result<(), RootError> {
        let was = was.map(|was| self.old.tree.inode(was));
        let inode = self.new.tree.inode(id);
        let nothing = BTreeMap::new();
        let before = was.and_then(Inode::entries).unwrap_or(&nothing);
        let after = inode.entries().unwrap_or(&nothing);
        let mut is_touched = was.is_none_or(|was| was.metadata != inode.metadata);
        for (name, child) in before {
            if !after.get(name).is_some_and(|new| self.stays(*child, *new)) {
                remove(&path.join(OsStr::from_bytes(name)), self.old.tree.inode(*child))?;
                is_touched = true;
            }
        }
        for (name, child) in after {
            match before.get(name).filter(|old| self.stays(**old, *child)) {
                None => {
                    self.create(path, name, *child)?;
                    is_touched = true;
                }
                Some(old) if self.new.tree.inode(*child).entries().is_some() => {
                    self.directory(&path.join(OsStr::from_bytes(name)), Some(*old), *child)?;
                }
                Some(_) => {}
            }
        }
        if is_touched {
            // What is made in a directory changes its time, and may need its mode.
            remove_attributes(path, was.map(|was| &was.metadata), &inode.metadata)?;
            set_metadata(path, inode)?;
        }
        Ok(())
    }

    fn stays(&self, old: InodeId, new: InodeId) -> bool {
        let (was, is) = (self.old.tree.inode(old), self.new.tree.inode(new));
        match (&was.node, &is.node) {
            (Node::Directory(_), Node::Directory(_)) => true,
            _ => was == is && self.old.linked.get(&old) == self.new.linked.get(&new),
        }
    }

    fn create(&mut self, directory: &Path, name: &Name, id: InodeId) -> Result<(), RootError> {
        let path = directory.join(OsStr::from_bytes(name));
        if let Some(first) = self.first_names.get(&id) {
            return fs::hard_link(first, &path)
                .map_err(|error| OsError::from_io("link", path.display(), &error).into());
        }
        let inode = self.new.tree.inode(id);
        let made = make(inode, &path, self.contents)?;
        if inode.entries().is_some() {
            return self.directory(&path, None, id);
        }
        match made {
            Made::LeftOut => return Ok(()),
            Made::Opened(file) => set_file_metadata(&file, &path, &inode.metadata)?,
            Made::Named => set_metadata(&path, inode)?,
        }
        if self.new.linked.contains_key(&id) {
            self.first_names.insert(id, path);
        }
        Ok(())
    }
}

fn remove(path: &Path, inode: &Inode<Content>) -> Result<(), OsError> {
    let answer = match inode.node {
        Node::Directory(_) => fs::remove_dir_all(path),
        _ => fs::remove_file(path),
    };
    match answer {
        // It may have been left out.
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_device(&inode.node) => Ok(()),
        answer => answer.map_err(|error| OsError::from_io("remove", path.display(), &error)),
    }
}

fn is_device(node: &Node<Content>) -> bool {
    matches!(node, Node::CharacterDevice(_) | Node::BlockDevice(_))
}

/// What came of a file that was to be made.
enum Made {
    /// Nothing: this file system refuses it.
    LeftOut,
    /// It has its name.
    Named,
    /// It is open besides.
    Opened(File),
}

/// Makes the file without its metadata.
fn make(inode: &Inode<Content>, path: &Path, contents: &dyn WriteContents) -> Result<Made, RootError> {
    let made = match &inode.node {
        Node::Directory(_) => fs::create_dir(path),
        Node::Regular(content) => {
            let file =
                File::create_new(path).map_err(|error| OsError::from_io("create", path.display(), &error))?;
            return contents.write(content, &file, path).map(|()| Made::Opened(file));
        }
        Node::Symlink(target) => symlink(OsStr::from_bytes(target), path),
        Node::CharacterDevice(device) => {
            let number = makedev(device.major, device.minor);
            return make_device(path, FileType::CharacterDevice, number);
        }
        Node::BlockDevice(device) => {
            let number = makedev(device.major, device.minor);
            return make_device(path, FileType::BlockDevice, number);
        }
        Node::Fifo => make_node(path, FileType::Fifo, 0),
        Node::Socket => make_node(path, FileType::Socket, 0),
    };
    made.map_err(|error| OsError::from_io("create", path.display(), &error))?;
    Ok(Made::Named)
}

fn make_device(path: &Path, kind: FileType, number: u64) -> Result<Made, RootError> {
    match make_node(path, kind, number) {
        Ok(()) => Ok(Made::Named),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Made::LeftOut),
        Err(error) => Err(OsError::from_io("create", path.display(), &error).into()),
    }
}

fn make_node(path: &Path, kind: FileType, number: u64) -> io::Result<()> {
    Ok(rustix::fs::mknodat(
        CWD,
        path,
        kind,
        Mode::from_raw_mode(0o600),
        number,
    )?)
}

/// Takes away the attributes that `after` does not have.
fn remove_attributes(path: &Path, before: Option<&Metadata>, after: &Metadata) -> Result<(), OsError> {
    let attributes = before.into_iter().flat_map(|before| &before.xattrs);
    attributes
        .filter(|(name, _)| is_kept_attribute(name) && after.xattrs.get(name).is_none())
        .try_for_each(|(name, _)| remove_attribute(path, name))
}

/// Gives a file its owner, mode, attributes and time, in this order: each takes away what may be lost by the one
/// before.
pub fn set_metadata(path: &Path, inode: &Inode<Content>) -> Result<(), OsError> {
    let metadata = &inode.metadata;
    owned(lchown(path, Some(metadata.uid), Some(metadata.gid)), path)?;
    let is_link = matches!(inode.node, Node::Symlink(_));
    if !is_link {
        rustix::fs::chmod(path, Mode::from_raw_mode(metadata.mode.into()))
            .map_err(|errno| OsError::new("change the mode of", path.display(), errno))?;
    }
    let may_have_user_attributes = matches!(inode.node, Node::Regular(_) | Node::Directory(_));
    for (name, value) in &metadata.xattrs {
        if is_kept_attribute(name) && (may_have_user_attributes || !name.starts_with(b"user.")) {
            set_attribute(path, name, value)?;
        }
    }
    rustix::fs::utimensat(CWD, path, &times(metadata), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| OsError::new("set the time of", path.display(), errno))
}

/// [`set_metadata`] of a regular file that is open, for which its path need not be walked each time.
fn set_file_metadata(file: &File, path: &Path, metadata: &Metadata) -> Result<(), OsError> {
    owned(fchown(file, Some(metadata.uid), Some(metadata.gid)), path)?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(metadata.mode.into()))
        .map_err(|errno| OsError::new("change the mode of", path.display(), errno))?;
    for (name, value) in metadata.xattrs.iter().filter(|(name, _)| is_kept_attribute(name)) {
        set_file_attribute(file, path, name, value)?;
    }
    rustix::fs::futimens(file, &times(metadata))
        .map_err(|errno| OsError::new("set the time of", path.display(), errno))
}

fn owned(answer: io::Result<()>, path: &Path) -> Result<(), OsError> {
    match answer {
        // The user namespace has no such id.
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(()),
        answer => answer.map_err(|error| OsError::from_io("change the owner of", path.display(), &error)),
    }
}

fn times(metadata: &Metadata) -> Timestamps {
    let time = timespec(metadata.mtime);
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn timespec(time: Timestamp) -> Timespec {
    Timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanoseconds.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use osmith_formats::verity::Digest;
    use osmith_sys::file::read_attributes;
    use proptest::prelude::*;
    use std::os::unix::fs::MetadataExt;

    /// What happens at a path of three names at most.
    #[derive(Debug, Clone)]
    struct Act {
        path: Vec<u8>,
        kind: Kind,
        metadata: Metadata,
    }

    #[derive(Debug, Clone)]
    enum Kind {
        Directory,
        File(u8),
        Object(u8),
        Link(u8),
        Fifo,
        Device,
        SameAs(Vec<u8>),
        Gone,
    }

    fn path() -> impl Strategy<Value = Vec<u8>> {
        let name = || prop::sample::select(vec![b"a".as_slice(), b"b", b"c"]);
        prop::collection::vec(name(), 1..=3).prop_map(|names| names.join(&b'/'))
    }

    fn metadata() -> impl Strategy<Value = Metadata> {
        let mode = prop::sample::select(vec![0o644_u16, 0o4755, 0o2755, 0o000]);
        let names = [
            &b"user.a"[..],
            b"user.b",
            b"user.overlay.opaque",
            b"security.selinux",
        ];
        let xattrs = prop::sample::subsequence(names.to_vec(), 0..=2);
        (mode, 0..3_u32, 0..2_i64, xattrs).prop_map(|(mode, uid, seconds, xattrs)| Metadata {
            mode,
            uid,
            gid: uid,
            mtime: Timestamp {
                seconds,
                nanoseconds: 0,
            },
            xattrs: xattrs.into_iter().map(|name| (name, b"y".as_slice())).collect(),
        })
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let kind = prop_oneof![
            4 => Just(Kind::Directory),
            2 => (0..3_u8).prop_map(Kind::File),
            2 => (0..3_u8).prop_map(Kind::Object),
            1 => (0..2_u8).prop_map(Kind::Link),
            1 => Just(Kind::Fifo),
            1 => Just(Kind::Device),
            3 => path().prop_map(Kind::SameAs),
            2 => Just(Kind::Gone),
        ];
        let act = (path(), kind, metadata()).prop_map(|(path, kind, metadata)| Act { path, kind, metadata });
        prop::collection::vec(act, 0..25)
    }

    fn perform(tree: &mut Tree<Content>, acts: &[Act]) {
        for Act { path, kind, metadata } in acts {
            let slash = path.iter().rposition(|byte| *byte == b'/');
            let (parent, name) = slash.map_or((&b""[..], &path[..]), |at| (&path[..at], &path[at + 1..]));
            let Some(parent) = tree
                .lookup(parent)
                .filter(|id| tree.inode(*id).entries().is_some())
            else {
                continue;
            };
            let node = match kind {
                Kind::Directory => Node::Directory(BTreeMap::new()),
                Kind::File(n) => Node::Regular(Content::Inline(vec![*n; 5].into())),
                Kind::Object(n) => Node::Regular(Content::Object {
                    digest: Digest::of(&[*n]),
                    size_bytes: 100 + u64::from(*n),
                }),
                Kind::Link(n) => Node::Symlink(vec![b'x' + n].into()),
                Kind::Fifo => Node::Fifo,
                Kind::Device => Node::CharacterDevice(osmith_formats::tree::Device { major: 1, minor: 3 }),
                Kind::SameAs(other) => {
                    if let Some(id) = tree
                        .lookup(other)
                        .filter(|id| tree.inode(*id).entries().is_none())
                    {
                        tree.link(parent, name, id);
                    }
                    continue;
                }
                Kind::Gone => {
                    tree.unlink(parent, name);
                    continue;
                }
            };
            let id = tree.add(Inode {
                metadata: metadata.clone(),
                node,
            });
            tree.link(parent, name, id);
        }
    }

    /// All that can be seen of a directory.
    fn seen(directory: &Path) -> Vec<String> {
        let mut lines = Vec::new();
        let mut first_names: HashMap<u64, PathBuf> = HashMap::new();
        let mut pending = vec![directory.to_owned()];
        while let Some(path) = pending.pop() {
            let stat = fs::symlink_metadata(&path).unwrap();
            if stat.is_dir() {
                pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                pending.sort();
            }
            let first = first_names.entry(stat.ino()).or_insert_with(|| path.clone());
            let content = if stat.is_file() {
                fs::read(&path).unwrap()
            } else {
                Vec::new()
            };
            let mut attributes = read_attributes(&path).unwrap();
            attributes.sort();
            lines.push(format!(
                "{:?} {:?} {:o} {} {}:{} {} {} {:?} {:?} {attributes:?} {content:?}",
                path.strip_prefix(directory).unwrap(),
                first.strip_prefix(directory).unwrap(),
                stat.mode(),
                if stat.is_dir() { 0 } else { stat.len() },
                stat.uid(),
                stat.gid(),
                stat.nlink(),
                stat.mtime(),
                stat.rdev(),
                fs::read_link(&path).ok(),
            ));
        }
        lines
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn brought_up_to_date_is_as_written_anew(
            before in acts(),
            between in acts(),
            is_other_tree in any::<bool>(),
            roots in [metadata(), metadata()],
        ) {
            if !rustix::process::getuid().is_root() {
                return Ok(());
            }
            let mut old = Tree::new(roots[0].clone());
            perform(&mut old, &before);
            let mut new = if is_other_tree { Tree::new(roots[1].clone()) } else { old.clone() };
            perform(&mut new, &between);
            let (kept, anew) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let stubs = Stubs { attributes: Attributes::Trusted };
            update(kept.path(), None, &old, &stubs).unwrap();
            update(kept.path(), Some(&old), &new, &stubs).unwrap();
            update(anew.path(), None, &new, &stubs).unwrap();
            prop_assert_eq!(seen(kept.path()), seen(anew.path()));
        }
    }
}
