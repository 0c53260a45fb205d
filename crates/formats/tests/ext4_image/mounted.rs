//! The kernel's view of a file system image, compared with the tree that it was made from.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use osmith_formats::ext4::{BLOCK_BYTES, File, verity_region_bytes};
use osmith_formats::tree::{Inode, InodeId, Node, Tree, Xattrs};
use osmith_testing::oracle;
use rustix::fs::{lgetxattr, llistxattr, major, minor};
use tempfile::TempDir;

use super::contents;

/// An image that the kernel has mounted, until this is dropped.
pub(crate) struct Mount {
    directory: TempDir,
}

impl Mount {
    /// Mounts an image; `None`, said aloud, if that is not possible here.
    #[track_caller]
    pub(crate) fn of(image: &Path, options: &str) -> Option<Self> {
        if !oracle::require_root("mounting a file system") {
            return None;
        }
        let directory = TempDir::new().unwrap();
        let options = format!("loop,{options}");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "ext4", "-o", &options])
            .arg(image)
            .arg(directory.path());
        assert!(mount.status().unwrap().success(), "mounting failed");
        Some(Mount { directory })
    }

    /// The loop device.
    pub(crate) fn device(&self) -> PathBuf {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let own = fields.find(|fields| Path::new(fields[1]) == self.path()).unwrap();
        PathBuf::from(own[0])
    }

    /// Where.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.path()).status();
        assert!(
            unmounted.is_ok_and(|status| status.success()),
            "unmounting failed"
        );
    }
}

/// Compares every node below a mount point with the tree.
pub(crate) fn compare(tree: &Tree<File>, mount: &Path) {
    let names = tree.link_counts();
    let root = PathBuf::from(mount);
    let mut inode_numbers = BTreeMap::new();
    for (path, id) in tree.walk() {
        let at = root.join(std::ffi::OsStr::from_bytes(&path));
        let found = fs::symlink_metadata(&at).unwrap_or_else(|error| panic!("{at:?}: {error}"));
        let inode = tree.inode(id);
        compare_metadata(&at, inode, &found);
        compare_node(&at, inode, &found);
        assert_eq!(xattrs(&at), inode.metadata.xattrs, "{at:?}");
        let own_lost_and_found = id == tree.root() && tree.child(id, b"lost+found").is_none();
        compare_links(&at, tree, id, names[id.index()], own_lost_and_found, &found);
        let number = inode_numbers.entry(id).or_insert(found.ino());
        assert_eq!(
            *number,
            found.ino(),
            "{at:?} is another inode than its first name"
        );
    }
    let different: std::collections::BTreeSet<_> = inode_numbers.values().collect();
    assert_eq!(different.len(), inode_numbers.len());
}

fn compare_metadata(at: &Path, inode: &Inode<File>, found: &fs::Metadata) {
    let metadata = &inode.metadata;
    let of_tree = (metadata.mode, metadata.uid, metadata.gid);
    assert_eq!(
        ((found.mode() & 0o7777) as u16, found.uid(), found.gid()),
        of_tree,
        "{at:?}"
    );
    let mtime = (metadata.mtime.seconds, i64::from(metadata.mtime.nanoseconds));
    assert_eq!((found.mtime(), found.mtime_nsec()), mtime, "{at:?}");
}

fn compare_links(
    at: &Path,
    tree: &Tree<File>,
    id: InodeId,
    names: u32,
    own_lost_and_found: bool,
    found: &fs::Metadata,
) {
    let links = match tree.inode(id).entries() {
        None => u64::from(names),
        Some(entries) => {
            let is_directory = |id: &&InodeId| tree.inode(**id).entries().is_some();
            let links = 2 + entries.values().filter(is_directory).count() + usize::from(own_lost_and_found);
            if links > 65_000 { 1 } else { links as u64 }
        }
    };
    assert_eq!(found.nlink(), links, "{at:?}");
}

fn compare_node(at: &Path, inode: &Inode<File>, found: &fs::Metadata) {
    let kind = found.file_type();
    match &inode.node {
        Node::Directory(entries) => {
            assert!(kind.is_dir(), "{at:?}");
            let mut names: Vec<Vec<u8>> = fs::read_dir(at)
                .unwrap_or_else(|error| panic!("{at:?}: {error}"))
                .map(|entry| entry.unwrap().file_name().into_vec())
                .filter(|name| name != b"lost+found" || entries.contains_key(&name[..]))
                .collect();
            names.sort();
            assert!(
                names.iter().eq(entries
                    .keys()
                    .map(|name| name.to_vec())
                    .collect::<Vec<_>>()
                    .iter()),
                "{at:?}"
            );
        }
        Node::Regular(file) => compare_file(at, file, most_xattr_blocks(&inode.metadata.xattrs), found),
        Node::Symlink(target) => {
            assert!(kind.is_symlink(), "{at:?}");
            assert_eq!(
                fs::read_link(at).unwrap().as_os_str().as_bytes(),
                &target[..],
                "{at:?}"
            );
        }
        Node::CharacterDevice(device) => {
            assert!(kind.is_char_device(), "{at:?}");
            assert_eq!(
                (major(found.rdev()), minor(found.rdev())),
                (device.major, device.minor),
                "{at:?}"
            );
        }
        Node::BlockDevice(device) => {
            assert!(kind.is_block_device(), "{at:?}");
            assert_eq!(
                (major(found.rdev()), minor(found.rdev())),
                (device.major, device.minor),
                "{at:?}"
            );
        }
        Node::Fifo => assert!(kind.is_fifo(), "{at:?}"),
        Node::Socket => assert!(kind.is_socket(), "{at:?}"),
    }
}

/// How many blocks attributes count for if each has an inode of its own, and one block holds their names.
fn most_xattr_blocks(xattrs: &Xattrs) -> u64 {
    let values = xattrs.iter().map(|(_, value)| value.len() as u64);
    1 + values.map(|length| length.div_ceil(BLOCK_BYTES)).sum::<u64>()
}

fn compare_file(at: &Path, file: &File, xattr_blocks: u64, found: &fs::Metadata) {
    assert!(found.file_type().is_file(), "{at:?}");
    assert_eq!(found.len(), file.size_bytes, "{at:?}");
    let block_of = |block: u64| block * BLOCK_BYTES..((block + 1) * BLOCK_BYTES).min(file.size_bytes);
    let in_hole = |block: u64| {
        let range = block_of(block);
        file.holes
            .iter()
            .any(|hole| hole.start <= range.start && range.end <= hole.end)
    };
    let present: Vec<u64> = match file.size_bytes.div_ceil(BLOCK_BYTES) {
        blocks if blocks < 100_000 => (0..blocks).filter(|block| !in_hole(*block)).collect(),
        blocks => [0, blocks / 2, blocks - 1]
            .into_iter()
            .filter(|block| !in_hole(*block))
            .collect(),
    };
    let stored =
        present.len() as u64 + u64::from(file.verity) * verity_region_bytes(file.size_bytes) / BLOCK_BYTES;
    let used = found.blocks() / 8;
    assert!(used >= stored, "{at:?} has {used} blocks for {stored}");
    if file.size_bytes / BLOCK_BYTES < 100_000 {
        assert!(
            used <= stored + 2 + xattr_blocks + stored / 300,
            "{at:?} has {used} blocks for {stored}"
        );
    }
    compare_contents(
        at,
        file,
        &present.iter().map(|block| block_of(*block)).collect::<Vec<_>>(),
    );
}

fn compare_contents(at: &Path, file: &File, present: &[std::ops::Range<u64>]) {
    use std::os::unix::fs::FileExt;
    let opened = match fs::File::open(at) {
        Ok(opened) => opened,
        // A kernel without fs-verity refuses to open such files at all.
        Err(error) if file.verity && error.raw_os_error() == Some(95) => return,
        Err(error) => panic!("{at:?}: {error}"),
    };
    for range in present {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        opened.read_exact_at(&mut bytes, range.start).unwrap();
        assert!(
            bytes == contents(file, range.start, bytes.len()),
            "{at:?} differs at {range:?}"
        );
    }
    for hole in file.holes.iter().filter(|hole| hole.start < file.size_bytes) {
        let mut bytes = vec![1; (hole.end.min(file.size_bytes) - hole.start).min(10_000) as usize];
        opened.read_exact_at(&mut bytes, hole.start).unwrap();
        assert!(
            bytes.iter().all(|byte| *byte == 0),
            "{at:?} is not zero at {hole:?}"
        );
    }
}

fn xattrs(at: &Path) -> Xattrs {
    let mut names = vec![0; 65536];
    let length = llistxattr(at, &mut names).unwrap_or_else(|error| panic!("{at:?}: {error}"));
    let names = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 65536];
            let length = lgetxattr(at, name, &mut value).unwrap_or_else(|error| panic!("{at:?}: {error}"));
            value.truncate(length);
            (name, value)
        })
        .collect()
}
