//! Any bytes are a tree, or an error; a tree leads through its image back to itself.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use osmith_formats::composefs;
use osmith_formats::tree::{Content, Device, Inode, InodeId, Metadata, Node, Timestamp, Tree};
use osmith_formats::verity::Digest;

/// An image, described by its tree and by what is changed in its bytes.
#[derive(Debug, Arbitrary)]
enum Input {
    Image {
        names: Vec<(u8, u8, Kind)>,
        patches: Vec<(u16, u8)>,
        cut: Option<u16>,
    },
    Any(Vec<u8>),
}

#[derive(Debug, Arbitrary)]
enum Kind {
    Directory,
    Inline([u8; 5]),
    Object(u16),
    Link(u8),
    Device(u8),
    Fifo,
    /// Another name of the inode of that number.
    Again(u8),
}

fuzz_target!(|input: Input| {
    let bytes = match input {
        Input::Any(bytes) => bytes,
        Input::Image { names, patches, cut } => {
            let Ok(mut bytes) = composefs::image(&tree(&names)) else {
                return;
            };
            for (at, byte) in patches {
                let length = bytes.len();
                bytes[usize::from(at) % length] = byte;
            }
            bytes.truncate(cut.map_or(bytes.len(), usize::from));
            bytes
        }
    };
    let _ = composefs::objects(&bytes);
    let Ok(read) = composefs::read(&bytes) else {
        return;
    };
    if let Ok(image) = composefs::image(&read) {
        let again = composefs::read(&image).expect("an own image is read");
        assert_eq!(composefs::image(&again).as_ref(), Ok(&image));
    }
});

fn tree(names: &[(u8, u8, Kind)]) -> Tree<Content> {
    let mut tree = Tree::new(Metadata::default());
    let mut directories = vec![tree.root()];
    let mut leaves: Vec<InodeId> = Vec::new();
    for (parent, name, kind) in names {
        let parent = directories[usize::from(*parent) % directories.len()];
        let name = [b"0123456789abcdef"[usize::from(name % 16)], b'a' + name / 16];
        if tree.child(parent, &name).is_some() {
            continue;
        }
        let id = match kind {
            Kind::Again(_) if leaves.is_empty() => continue,
            Kind::Again(leaf) => leaves[usize::from(*leaf) % leaves.len()],
            kind => tree.add(Inode {
                metadata: metadata(kind),
                node: node(kind),
            }),
        };
        match kind {
            Kind::Directory => directories.push(id),
            _ => leaves.push(id),
        }
        tree.link(parent, &name, id);
    }
    tree
}

fn node(kind: &Kind) -> Node<Content> {
    match kind {
        Kind::Directory => Node::Directory(Default::default()),
        Kind::Inline(bytes) => Node::Regular(Content::Inline(bytes[..].into())),
        Kind::Object(size) => Node::Regular(Content::Object {
            digest: Digest::new([*size as u8; 64]),
            size_bytes: u64::from(*size) + 65,
        }),
        Kind::Link(length) => Node::Symlink(vec![b't'; usize::from(*length) + 1].into()),
        Kind::Device(minor) => Node::CharacterDevice(Device {
            major: 0,
            minor: u32::from(*minor),
        }),
        Kind::Fifo | Kind::Again(_) => Node::Fifo,
    }
}

fn metadata(kind: &Kind) -> Metadata {
    let seed = match kind {
        Kind::Inline([seed, ..]) => *seed,
        _ => 0,
    };
    let names: [&[u8]; 4] = [
        b"user.a",
        b"security.b",
        b"trusted.overlay.c",
        b"user.overlay.whiteout",
    ];
    let names = names.into_iter().enumerate();
    let chosen = names.filter(|(bit, _)| seed & (1 << bit) != 0);
    Metadata {
        mtime: Timestamp {
            seconds: i64::from(seed / 16),
            nanoseconds: 0,
        },
        xattrs: chosen.map(|(_, name)| (name, &b""[..])).collect(),
        ..Metadata::default()
    }
}
