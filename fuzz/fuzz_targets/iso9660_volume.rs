//! Any bytes are a volume that has a file, or not: a volume that was written, with bytes changed and cut off anywhere.
#![no_main]

use std::collections::BTreeMap;
use std::io;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use osmith_formats::iso9660::{File, FindError, Options, START_BYTES, find, plan};
use osmith_formats::tree::{Inode, Metadata, Node, Timestamp, Tree};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    /// Names of files, and whether they are in a directory.
    names: Vec<(&'a str, bool)>,
    patches: Vec<(u16, u8)>,
    cut: Option<u16>,
    path: &'a str,
}

fn tree(names: &[(&str, bool)]) -> Tree<File> {
    let mut tree = Tree::new(Metadata::default());
    let inode = |node| Inode {
        metadata: Metadata::default(),
        node,
    };
    let directory = tree.add(inode(Node::Directory(BTreeMap::new())));
    tree.link(tree.root(), b"directory", directory);
    for (name, is_inside) in names {
        let id = tree.add(inode(Node::Regular(File {
            offset_bytes: 1 << 20,
            size_bytes: 1,
        })));
        let parent = if *is_inside { directory } else { tree.root() };
        tree.link(parent, name.as_bytes(), id);
    }
    tree
}

fuzz_target!(|input: Input<'_>| {
    let options = Options {
        label: String::new(),
        time: Timestamp::default(),
        size_bytes: 1 << 30,
        boot_image_offset_bytes: 1 << 20,
    };
    let Ok(layout) = plan(&tree(&input.names), &options) else {
        return;
    };
    let mut bytes = layout.bytes().to_vec();
    for (at, byte) in &input.patches {
        let at = usize::from(*at) % bytes.len();
        bytes[at] = *byte;
    }
    bytes.truncate(input.cut.map_or(bytes.len(), usize::from));
    let read_at = |offset: u64, buffer: &mut [u8]| {
        let start = offset.checked_sub(START_BYTES).and_then(|start| usize::try_from(start).ok());
        let found = start.and_then(|start| bytes.get(start..)?.get(..buffer.len()));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    };
    let found = find(read_at, input.path);
    if input.patches.is_empty() && input.cut.is_none() {
        for (name, is_inside) in &input.names {
            let path = if *is_inside { format!("directory/{name}") } else { (*name).to_owned() };
            // A later name may be that of the directory.
            assert!(matches!(find(read_at, &path), Ok(_) | Err(FindError::NotFound(_))));
        }
        assert!(!matches!(found, Err(FindError::NoVolume | FindError::Malformed | FindError::Read(_))));
    }
});
