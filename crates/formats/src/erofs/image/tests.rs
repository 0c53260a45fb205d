use std::collections::BTreeMap;

use super::*;
use crate::tree::{Inode, InodeId, Metadata, Node};

fn add(tree: &mut Tree<File>, directory: InodeId, name: &[u8], node: Node<File>) -> InodeId {
    let id = tree.add(Inode {
        metadata: Metadata::default(),
        node,
    });
    tree.link(directory, name, id);
    id
}

fn file(source: u32, size_bytes: u64, storage: Storage) -> Node<File> {
    Node::Regular(File {
        source,
        size_bytes,
        storage,
    })
}

fn root() -> (Tree<File>, InodeId) {
    let tree = Tree::new(Metadata::default());
    let root = tree.root();
    (tree, root)
}

fn options(cluster_bytes: u32) -> Options {
    Options {
        cluster_bytes,
        ..Options::default()
    }
}

#[test]
fn small_files_share_clusters_in_the_order_of_their_sources() {
    let (mut tree, root) = root();
    add(&mut tree, root, b"a", file(2, 5000, Storage::Compressed));
    add(&mut tree, root, b"b", file(1, 4000, Storage::Compressed));
    add(&mut tree, root, b"c", file(3, 7000, Storage::Compressed));
    add(&mut tree, root, b"again", file(1, 4000, Storage::Compressed));
    let packing = pack(&tree, &options(8192)).unwrap();
    let segments = |cluster: &Cluster| -> Vec<(u32, u64, u32)> {
        let segments = cluster.segments.iter();
        segments
            .map(|segment| (segment.source, segment.file_offset_bytes, segment.len_bytes))
            .collect()
    };
    let found: Vec<_> = packing.clusters().iter().map(segments).collect();
    assert_eq!(
        found,
        [
            vec![(1, 0, 4000), (2, 0, 4192)],
            vec![(2, 4192, 808), (3, 0, 7000)]
        ]
    );
}

#[test]
fn no_cluster_has_a_block_or_less() {
    for size_bytes in (1..60_000)
        .step_by(77)
        .chain([8192, 8193, 12_288, 12_289, 16_384])
    {
        let (mut tree, root) = root();
        add(&mut tree, root, b"a", file(0, size_bytes, Storage::Compressed));
        let packing = pack(&tree, &options(8192)).unwrap();
        let lengths: Vec<u32> = packing
            .clusters()
            .iter()
            .map(|cluster| cluster.len_bytes)
            .collect();
        assert_eq!(
            lengths.iter().map(|length| u64::from(*length)).sum::<u64>(),
            size_bytes
        );
        let (last, others) = lengths.split_last().unwrap();
        assert!(others.iter().all(|length| *length == 8192));
        assert!(
            *last <= 12_288 && (*last > 4096 || others.is_empty()),
            "{lengths:?}"
        );
    }
}

#[test]
fn what_does_not_compress_is_plain() {
    let (mut tree, root) = root();
    add(&mut tree, root, b"a", file(7, 20_000, Storage::Compressed));
    let packing = pack(&tree, &options(8192)).unwrap();
    let plain = packing.plan(&[8300, 12_000]).unwrap();
    let data: Vec<Piece> = plain
        .pieces()
        .filter(|piece| !matches!(piece, Piece::Bytes { .. }))
        .collect();
    assert!(
        matches!(
            data[..],
            [Piece::Data {
                source: 7,
                len_bytes: 20_000,
                ..
            }]
        ),
        "{data:?}"
    );
    let compressed = packing.plan(&[8300, 5]).unwrap();
    let ends = compressed.pieces().filter_map(|piece| match piece {
        Piece::Cluster {
            offset_bytes,
            len_bytes,
            ..
        } => Some(offset_bytes + u64::from(len_bytes)),
        _ => None,
    });
    let ends: Vec<u64> = ends.collect();
    assert_eq!(ends.len(), 2);
    assert!(ends.iter().all(|end| end % 4096 == 0), "{ends:?}");
    assert_eq!(ends[1], compressed.size_bytes());
}

#[test]
fn a_placed_file_takes_no_room() {
    let (mut tree, root) = root();
    add(&mut tree, root, b"a", file(7, 20_000, Storage::Compressed));
    let options = Options {
        first_block: 10,
        placed: BTreeMap::from([(7, 5)]),
        ..Options::default()
    };
    let packing = pack(&tree, &options).unwrap();
    assert!(packing.clusters().is_empty());
    let layout = packing.plan(&[]).unwrap();
    assert!(layout.pieces().all(|piece| matches!(piece, Piece::Bytes { .. })));
    assert_eq!(layout.size_bytes(), 11 * 4096);
}

#[test]
fn pieces_ascend_and_do_not_overlap() {
    let (mut tree, root) = root();
    for number in 0..50u32 {
        let storage = if number % 2 == 0 {
            Storage::Plain
        } else {
            Storage::Compressed
        };
        let node = file(number, u64::from(number) * 777, storage);
        add(&mut tree, root, format!("{number}").as_bytes(), node);
    }
    let packing = pack(&tree, &options(8192)).unwrap();
    let lengths = vec![100; packing.clusters().len()];
    let layout = packing.plan(&lengths).unwrap();
    let mut end = 0;
    for piece in layout.pieces() {
        assert!(piece.offset_bytes() >= end, "{piece:?}");
        let len_bytes = match &piece {
            Piece::Bytes { bytes, .. } => bytes.len() as u64,
            Piece::Data { len_bytes, .. } => *len_bytes,
            Piece::Cluster { len_bytes, .. } => u64::from(*len_bytes),
        };
        assert!(len_bytes > 0);
        end = piece.offset_bytes() + len_bytes;
    }
    assert!(end <= layout.size_bytes());
}

#[test]
fn what_cannot_be_stored_is_refused() {
    let refusal = |node: Node<File>, name: &[u8]| {
        let (mut tree, root) = root();
        let directory = add(&mut tree, root, b"d", Node::Directory(BTreeMap::new()));
        add(&mut tree, directory, name, node);
        pack(&tree, &Options::default()).unwrap_err().to_string()
    };
    require_part(
        &refusal(Node::Fifo, b".."),
        "'/d/..' has a name that is no file name",
    );
    require_part(
        &refusal(Node::Symlink(Box::default()), b"l"),
        "'/d/l' is a symbolic link whose target is empty",
    );
    let (mut tree, root) = root();
    tree.link(root, b"self", root);
    let error = pack(&tree, &Options::default()).unwrap_err().to_string();
    require_part(&error, "'/self' is a directory with several names");
}

#[track_caller]
fn require_part(message: &str, part: &str) {
    assert!(message.contains(part), "{message}");
}

#[test]
fn options_without_meaning_are_refused() {
    let (tree, _) = root();
    for refused in [
        Options {
            first_block: 0,
            ..Options::default()
        },
        Options {
            volume_name: "seventeen letters".into(),
            ..Options::default()
        },
        options(0),
        options(4097),
        options(1 << 20),
    ] {
        assert!(
            matches!(pack(&tree, &refused), Err(Error::Option { .. })),
            "{refused:?}"
        );
    }
    let packing = pack(&tree, &Options::default()).unwrap();
    assert!(matches!(
        packing.plan(&[1]),
        Err(Error::Lengths {
            expected: 0,
            found: 1
        })
    ));
}
