use proptest::prelude::*;

use super::super::golden::goldens;
use super::super::image;
use super::*;
use crate::tree::Timestamp;

/// A path, the first path of the same inode, and what is there.
type Named = (Vec<u8>, Vec<u8>, Metadata, Node<Content>);

fn names(tree: &Tree<Content>) -> Vec<Named> {
    let mut first = HashMap::new();
    let walk = tree.walk().into_iter();
    walk.map(|(path, id)| {
        let inode = tree.inode(id).clone();
        let node = match inode.node {
            Node::Directory(_) => Node::Directory(BTreeMap::new()),
            node => node,
        };
        let home = first.entry(id).or_insert_with(|| path.clone()).clone();
        (path, home, inode.metadata, node)
    })
    .collect()
}

fn is_device_of_the_root(path: &[u8], metadata: &Metadata, node: &Node<Content>) -> bool {
    is_whiteout(node) && metadata.uid == 0 && OBJECT_DIRECTORIES.iter().any(|name| name == path)
}

#[test]
fn images_are_read_as_the_trees_they_were_made_of() {
    for golden in goldens() {
        let mut expected = names(&golden.tree);
        expected.retain(|(path, _, metadata, node)| !is_device_of_the_root(path, metadata, node));
        let bytes = image(&golden.tree).unwrap();
        let tree = read(&bytes).unwrap();
        assert!(names(&tree) == expected, "{}", golden.name);
        assert!(image(&tree).unwrap() == bytes, "{}", golden.name);
        let named = golden.tree.inodes().filter_map(|inode| match inode.node {
            Node::Regular(Content::Object { digest, .. }) => Some(digest),
            _ => None,
        });
        assert_eq!(objects(&bytes), Ok(named.collect()), "{}", golden.name);
    }
}

/// A root whose only name is `a`, an inode of that kind.
fn sample(node: Node<Content>, xattrs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut tree = Tree::new(Metadata::default());
    let mtime = Timestamp {
        seconds: 1,
        nanoseconds: 0,
    };
    let id = tree.add(Inode {
        metadata: Metadata {
            mtime,
            xattrs: xattrs.iter().copied().collect(),
            ..Metadata::default()
        },
        node,
    });
    tree.link(tree.root(), b"a", id);
    image(&tree).unwrap()
}

/// Where a sequence of bytes is.
fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    let mut windows = bytes.windows(wanted.len());
    windows.position(|window| window == wanted).unwrap()
}

/// Where the inode of `a` is: its permissions are none, and its modification time needs an extended inode.
fn inode_of_a(bytes: &[u8]) -> usize {
    let entries = Reader::open(bytes).and_then(|mut reader| {
        let root = reader.inode(reader.root_nid())?;
        reader.data(&root)?.entries()
    });
    let entries = entries.unwrap();
    let entry = entries.iter().find(|(name, _)| name == b"a").unwrap();
    entry.1 as usize * 32
}

fn object_node() -> Node<Content> {
    Node::Regular(Content::Object {
        digest: Digest::of(b""),
        size_bytes: 100,
    })
}

fn inline_node() -> Node<Content> {
    Node::Regular(Content::Inline((&b"inline"[..]).into()))
}

fn defect_of(bytes: &[u8]) -> ReadDefect {
    read(bytes).unwrap_err().defect
}

fn patched(mut bytes: Vec<u8>, offset: usize, patch: &[u8]) -> Vec<u8> {
    bytes[offset..][..patch.len()].copy_from_slice(patch);
    bytes
}

#[test]
fn what_is_wrong_with_the_whole_image_is_found() {
    let bytes = || sample(inline_node(), &[]);
    let root = 1152;
    let cases = [
        (0, &b"x"[..], ReadDefect::Magic),
        (4, b"\x02", ReadDefect::Magic),
        (12, b"\x03", ReadDefect::Version(3)),
        (1024, b"x", Defect::Magic.into()),
        (1024 + 12, b"\x0d", Defect::BlockLength.into()),
        (1024 + 80, b"\x07", Defect::Features(3).into()),
        (1024 + 14, b"\xff\xff", Defect::Range.into()),
        (root, b"\x80", Defect::Format(0x80).into()),
        (root, b"\x0b", Defect::Format(0).into()),
        (root + 4, b"\xff\xff", Defect::Mode(0xffff).into()),
        (root + 4, b"\xff\x81", ReadDefect::Root),
    ];
    for (offset, patch, defect) in cases {
        let found = defect_of(&patched(bytes(), offset, patch));
        let same_kind = std::mem::discriminant(&found) == std::mem::discriminant(&defect);
        assert!(same_kind, "{offset}: {found:?} {defect:?}");
    }
    let whole = bytes();
    let ends: Vec<bool> = (0..whole.len()).map(|end| read(&whole[..end]).is_ok()).collect();
    assert!(!ends.iter().take(inode_of_a(&whole) + 64).any(|is_read| *is_read));
}

#[test]
fn what_is_wrong_with_an_inode_is_found_with_its_path() {
    let link = || Node::Symlink((&b"target"[..]).into());
    let cases: [(Node<Content>, usize, &[u8], ReadDefect); 10] = [
        (
            inline_node(),
            40,
            &1_000_000_000_u32.to_le_bytes(),
            Defect::Nanoseconds(1_000_000_000).into(),
        ),
        (inline_node(), 0, b"\x09", Defect::Layout.into()),
        (inline_node(), 0, b"\x01", Defect::Range.into()),
        (
            inline_node(),
            8,
            &65_u64.to_le_bytes(),
            ReadDefect::InlineLength(65),
        ),
        (inline_node(), 2, b"\xff\xff", Defect::Range.into()),
        (link(), 8, &0_u64.to_le_bytes(), ReadDefect::Target),
        (link(), 8, &4000_u64.to_le_bytes(), Defect::Tail.into()),
        (link(), 8, &8193_u64.to_le_bytes(), Defect::Range.into()),
        (link(), 8, &u64::MAX.to_le_bytes(), Defect::Tail.into()),
        (Node::Fifo, 4, &0o020_000_u16.to_le_bytes(), ReadDefect::Whiteout),
    ];
    for (node, offset, patch, defect) in cases {
        let bytes = sample(node, &[]);
        let inode = inode_of_a(&bytes);
        // What is in blocks is far beyond the end.
        let bytes = match defect {
            ReadDefect::Whiteout => bytes,
            _ => patched(bytes, inode + 16, &[0, 0, 0, 0x7f]),
        };
        let bytes = patched(bytes, inode + offset, patch);
        let error = read(&bytes).unwrap_err();
        let path = "a".to_owned();
        assert_eq!(error, ReadError { path, defect });
    }
}

#[test]
fn a_file_must_name_one_object() {
    let bytes = sample(object_node(), &[]);
    let digest = find(&bytes, Digest::of(b"").as_bytes());
    let path = find(&bytes, Digest::of(b"").object_path().as_bytes());
    for offset in [digest, digest - 1, path, path - 1] {
        let bytes = patched(bytes.clone(), offset, b"\0");
        assert_eq!(defect_of(&bytes), ReadDefect::Object);
        assert_eq!(objects(&bytes).unwrap_err().defect, ReadDefect::Object);
    }
    let name = find(&bytes, b"overlay.redirect");
    let bytes = patched(bytes, name, b"overlay.rediRect");
    assert_eq!(defect_of(&bytes), ReadDefect::Object);
}

#[test]
fn attributes_that_a_tree_cannot_have_are_refused() {
    let bytes = || {
        sample(
            inline_node(),
            &[(b"user.overlay.one", b"x"), (b"user.overlay.two", b"x")],
        )
    };
    let entry = find(&bytes(), b"overlay.one");
    let same = patched(bytes(), entry, b"overlay.two");
    assert_eq!(
        defect_of(&same),
        ReadDefect::SameAttribute("user.overlay.two".to_owned())
    );
    let trusted = patched(bytes(), entry - 3, b"\x04");
    let name = "trusted.overlay.one".to_owned();
    assert_eq!(defect_of(&trusted), ReadDefect::OverlayAttribute(name));
    let unknown = patched(bytes(), entry - 3, b"\x07");
    assert_eq!(defect_of(&unknown), Defect::AttributePrefix(7).into());
    for offset in [entry - 2, entry - 4] {
        let found = defect_of(&patched(bytes(), offset, b"\xc8"));
        assert_eq!(found, Defect::Attributes.into());
    }
    // More shared ones than there are words.
    let found = defect_of(&patched(bytes(), entry - 12, b"\xff"));
    assert_eq!(found, Defect::Range.into());
}

#[test]
fn attributes_shared_by_all_cannot_fill_the_memory() {
    let long = vec![b'v'; 65_000];
    let mut tree = Tree::new(Metadata::default());
    for number in 0..4_000_u32 {
        let pairs = [(&b"user.long"[..], &long[..]), (b"user.n", &number.to_le_bytes())];
        let metadata = Metadata {
            xattrs: pairs.into_iter().collect(),
            ..Metadata::default()
        };
        let node = Node::Fifo;
        let id = tree.add(Inode { metadata, node });
        tree.link(tree.root(), number.to_string().as_bytes(), id);
    }
    assert_eq!(defect_of(&image(&tree).unwrap()), ReadDefect::AttributeBytes);
}

/// An image with the directories `x` and `y`, and the offset of the entry in the root of each.
fn two_directories() -> (Vec<u8>, usize, usize) {
    let mut tree = Tree::new(Metadata::default());
    for name in [b"x", b"y"] {
        let node = Node::Directory(BTreeMap::new());
        let metadata = Metadata::default();
        let id = tree.add(Inode { metadata, node });
        tree.link(tree.root(), name, id);
    }
    let bytes = image(&tree).unwrap();
    // The last two of the root, whose names end its last block.
    let mut reader = Reader::open(&bytes).unwrap();
    let root = reader.inode(reader.root_nid()).unwrap();
    let entries = reader.data(&root).unwrap().entries().unwrap();
    let [.., x, y] = entries.as_slice() else {
        panic!("the root has names");
    };
    let places = [x, y].map(|(_, nid)| {
        // Its own `.` has the nid too, and a name behind two entries.
        let is_entry =
            |window: &[u8]| window.starts_with(&nid.to_le_bytes()) && window[8..12] != [24, 0, 2, 0];
        bytes
            .windows(12)
            .position(|window| is_entry(window) && window[10..] == [2, 0])
    });
    (bytes.clone(), places[0].unwrap(), places[1].unwrap())
}

#[test]
fn directories_with_two_names_or_names_twice_are_refused() {
    let (bytes, x, y) = two_directories();
    let nid = bytes[x..][..8].to_vec();
    let error = read(&patched(bytes.clone(), y, &nid)).unwrap_err();
    assert_eq!(
        (error.path.as_str(), error.defect),
        ("y", ReadDefect::DirectoryLinks)
    );
    let root = (1152_u64 / 32).to_le_bytes();
    let error = read(&patched(bytes.clone(), y, &root)).unwrap_err();
    assert_eq!(
        (error.path.as_str(), error.defect),
        ("y", ReadDefect::DirectoryLinks)
    );
    assert!(objects(&patched(bytes.clone(), y, &root)).is_ok());
    let names = find(&bytes, b"ffxy");
    for (name, defect) in [(b'x', ReadDefect::SameName), (b'/', ReadDefect::Name)] {
        assert_eq!(defect_of(&patched(bytes.clone(), names + 3, &[name])), defect);
    }
    // The offsets of the names: no entry at all, beyond the block, backwards.
    for offset in [0_u16, 5000, 12] {
        let found = defect_of(&patched(bytes.clone(), y + 8, &offset.to_le_bytes()));
        assert_eq!(found, Defect::Entries.into());
    }
}

#[test]
fn the_data_of_one_directory_cannot_be_that_of_many() {
    let mut tree = Tree::new(Metadata::default());
    let mut add = |parent: Option<InodeId>, name: String, node| {
        let metadata = Metadata::default();
        let id = tree.add(Inode { metadata, node });
        tree.link(parent.unwrap_or(tree.root()), name.as_bytes(), id);
        id
    };
    let wide = add(None, "a".to_owned(), Node::Directory(BTreeMap::new()));
    for number in 0..400 {
        add(Some(wide), format!("a name of some length {number}"), Node::Fifo);
        add(None, format!("other {number}"), Node::Directory(BTreeMap::new()));
    }
    let mut bytes = image(&tree).unwrap();
    let size_and_block = |inode: usize| (inode + 8..inode + 12, inode + 16..inode + 20);
    let (size, block) = size_and_block(inode_of_a(&bytes));
    let (size, block) = (bytes[size].to_vec(), bytes[block].to_vec());
    let mut reader = Reader::open(&bytes).unwrap();
    let root = reader.inode(reader.root_nid()).unwrap();
    let entries = reader.data(&root).unwrap().entries().unwrap();
    let others = entries.iter().filter(|(name, _)| name.starts_with(b"other"));
    let others: Vec<usize> = others.map(|(_, nid)| *nid as usize * 32).collect();
    for inode in others {
        let (other_size, other_block) = size_and_block(inode);
        // Whole blocks alone.
        bytes[inode] = 0;
        bytes[other_size].copy_from_slice(&[0, size[1] & 0xf0, size[2], size[3]]);
        bytes[other_block].copy_from_slice(&block);
    }
    assert_eq!(defect_of(&bytes), Defect::Overlap.into());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_bytes_are_a_tree_or_an_error(
        golden in 0..7_usize,
        patches in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        end in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut bytes = IMAGES[golden].clone();
        // Most of an image are the inodes at its start.
        for (index, byte) in patches {
            let length = bytes.len().min(1 << (11 + usize::from(byte % 6)));
            bytes[index.index(length)] = byte;
        }
        if is_cut {
            bytes.truncate(end.index(bytes.len()));
        }
        let _ = objects(&bytes);
        if let Ok(tree) = read(&bytes) && let Ok(again) = image(&tree) {
            prop_assert!(names(&read(&again).unwrap()) == names(&tree));
        }
    }
}

/// The images of small trees.
static IMAGES: std::sync::LazyLock<Vec<Vec<u8>>> = std::sync::LazyLock::new(|| {
    let images = goldens().into_iter().map(|golden| image(&golden.tree).unwrap());
    images.filter(|image| image.len() < 1 << 20).collect()
});
