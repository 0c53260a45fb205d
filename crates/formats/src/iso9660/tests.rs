use std::collections::BTreeMap;
use std::io;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::tree::{Inode, InodeId, Metadata, Node};

const TIME: Timestamp = Timestamp {
    seconds: 1_700_000_000,
    nanoseconds: 0,
};

fn options() -> Options {
    Options {
        label: "Medium".to_owned(),
        time: TIME,
        size_bytes: 1 << 30,
        boot_image_offset_bytes: 1 << 20,
    }
}

fn add(tree: &mut Tree<File>, directory: InodeId, name: &str, node: Node<File>) -> InodeId {
    let id = tree.add(Inode {
        metadata: Metadata {
            mtime: TIME,
            ..Metadata::default()
        },
        node,
    });
    tree.link(directory, name.as_bytes(), id);
    id
}

fn file(sector: u64, size_bytes: u64) -> Node<File> {
    Node::Regular(File {
        offset_bytes: sector * SECTOR_BYTES,
        size_bytes,
    })
}

fn directory() -> Node<File> {
    Node::Directory(BTreeMap::new())
}

fn empty() -> Tree<File> {
    Tree::new(Metadata::default())
}

fn image(tree: &Tree<File>) -> Vec<u8> {
    let layout = plan(tree, &options()).unwrap();
    let mut image = vec![0; START_BYTES as usize];
    image.extend_from_slice(layout.bytes());
    assert_eq!(image.len() as u64, layout.end_bytes());
    image
}

fn find_in_bytes(image: &[u8], path: &str) -> Result<Extent, FindError> {
    let read_at = |offset: u64, buffer: &mut [u8]| {
        let end = io::Error::from(io::ErrorKind::UnexpectedEof);
        let start = usize::try_from(offset).ok();
        let bytes = start.and_then(|start| image.get(start..)?.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(end)?);
        Ok(())
    };
    find(read_at, path)
}

#[test]
fn files_are_found_by_either_kind_of_name() {
    let mut tree = empty();
    let root = tree.root();
    let boot = add(&mut tree, root, "boot", directory());
    add(&mut tree, boot, "initrd.img", file(700, 10));
    add(&mut tree, root, "Größe.TXT", file(800, 20));
    add(&mut tree, root, "nothing", file(0, 0));
    let mut image = image(&tree);
    let at = |image: &[u8], path: &str| find_in_bytes(image, path).map(|extent| extent.offset_bytes).ok();
    assert_eq!(at(&image, "/boot/initrd.img"), Some(700 * SECTOR_BYTES));
    assert_eq!(at(&image, "Größe.TXT"), Some(800 * SECTOR_BYTES));
    assert_eq!(at(&image, "/boot/INITRD.IMG"), None);
    assert!(matches!(
        find_in_bytes(&image, "boot"),
        Err(FindError::NotFound(_))
    ));
    assert!(matches!(
        find_in_bytes(&image, "nothing/else"),
        Err(FindError::NotFound(_))
    ));
    // Without the Joliet descriptor, the plain names are left.
    image[18 * SECTOR_BYTES as usize] = 3;
    assert_eq!(at(&image, "/boot/initrd.img"), Some(700 * SECTOR_BYTES));
    assert_eq!(at(&image, "GR__E.TXT"), Some(800 * SECTOR_BYTES));
    image[16 * SECTOR_BYTES as usize + 1] = b'X';
    assert!(matches!(
        find_in_bytes(&image, "boot/initrd.img"),
        Err(FindError::NoVolume)
    ));
}

#[test]
fn large_and_deep_directories_are_found() {
    let mut tree = empty();
    let mut at = tree.root();
    for number in 0..700 {
        let name = format!("a rather long name of file number {number}");
        add(&mut tree, at, &name, file(number, 1));
    }
    let mut path = String::new();
    for depth in 0..20 {
        let name = format!("directory {depth}");
        path += &format!("/{name}");
        at = add(&mut tree, at, &name, directory());
    }
    add(&mut tree, at, "end", file(77, 1));
    let image = image(&tree);
    assert_eq!(
        find_in_bytes(&image, &format!("{path}/end"))
            .unwrap()
            .offset_bytes,
        77 * SECTOR_BYTES
    );
    for number in 0..700 {
        let path = format!("a rather long name of file number {number}");
        assert_eq!(
            find_in_bytes(&image, &path).unwrap().offset_bytes,
            number * SECTOR_BYTES
        );
    }
}

#[test]
fn plain_names_of_a_directory_differ() {
    let mut taken = std::collections::BTreeSet::new();
    let mut plain = |text: &str| String::from_utf8(name::plain(text, false, &mut taken)).unwrap();
    assert_eq!(plain("vmlinuz-6.12"), "VMLINUZ_6.12;1");
    assert_eq!(plain("vmlinuz+6.12"), "VMLINUZ_61.12;1");
    assert_eq!(plain("ks"), "KS.;1");
    assert_eq!(plain(&"x".repeat(60)).len(), 30 + 3);
    assert_eq!(plain(&"x".repeat(61)).len(), 30 + 3);
}

#[test]
fn what_does_not_fit_is_refused() {
    let refusal = |name: &str, node: Node<File>| {
        let mut tree = empty();
        let root = tree.root();
        add(&mut tree, root, name, node);
        plan(&tree, &options()).unwrap_err()
    };
    assert_eq!(refusal("a:b", file(1, 1)), Error::Name("a:b".into()));
    let long = "n".repeat(65);
    assert_eq!(refusal(&long, file(1, 1)), Error::Name(long.clone()));
    assert_eq!(refusal("f", Node::Fifo), Error::Kind("f".into()));
    assert_eq!(refusal("f", file(1, 1 << 32)), Error::FileTooLong("f".into()));
    let node = Node::Regular(File {
        offset_bytes: 100,
        size_bytes: 1,
    });
    assert!(matches!(
        refusal("f", node),
        Error::Offset {
            offset_bytes: 100,
            ..
        }
    ));
    let mut tree = empty();
    let root = tree.root();
    tree.link(root, b"self", root);
    assert_eq!(plan(&tree, &options()), Err(Error::Kind("self".into())));
    let label = Options {
        label: "seventeen letters".into(),
        ..options()
    };
    assert!(matches!(plan(&empty(), &label), Err(Error::Label(_))));
    let small = Options {
        size_bytes: 1 << 14,
        ..options()
    };
    assert_eq!(plan(&empty(), &small), Err(Error::Size(1 << 14)));
}

#[test]
fn dates_are_those_of_the_calendar() {
    assert_eq!(&long_date(TIME), b"2023111422132000\0");
    assert_eq!(short_date(TIME), [123, 11, 14, 22, 13, 20, 0]);
}

proptest! {
    #[test]
    fn any_volume_has_a_file_or_not(
        patches in vec((0..60_000_usize, any::<u8>()), 0..200),
        length in 0..60_000_usize,
    ) {
        let mut tree = empty();
        let root = tree.root();
        let boot = add(&mut tree, root, "boot", directory());
        add(&mut tree, boot, "initrd.img", file(700, 10));
        let mut image = image(&tree);
        for (at, byte) in patches {
            let at = START_BYTES as usize + at % (image.len() - START_BYTES as usize);
            image[at] = byte;
        }
        image.truncate(length.max(START_BYTES as usize));
        let _ = find_in_bytes(&image, "boot/initrd.img");
    }
}
