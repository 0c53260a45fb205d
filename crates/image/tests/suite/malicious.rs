//! Archives and layouts that are wrong, by accident or on purpose: each ends in its own error, and the store is as
//! before.

use std::path::Path;

use crate::archives::{Archive, Entry};
use crate::trees::store;
use osmith_image::compression::Codec;
use osmith_image::layer::{LayerError, PathError};
use osmith_image::layout::{LayoutError, LayoutFormat, LoadOptions, SaveOptions, load, save};
use osmith_image::store::{Access, Encoding, Image, Store};
use osmith_image::tar::{HeaderError, Limits, TarError};
use osmith_image::{ImportError, ImportOptions, IntakeError, IntakeOptions, Platform, RuntimeConfig, import};
use osmith_report::{Class, Failure, Silent, StepId};

fn options(name: &str) -> ImportOptions {
    ImportOptions {
        names: vec![name.parse().unwrap()],
        architecture: "amd64".into(),
        created: None,
        message: String::new(),
        config: RuntimeConfig::default(),
        limits: Limits::default(),
    }
}

fn import_bytes(store: &Store, name: &str, bytes: &[u8]) -> Result<Image, ImportError> {
    import(bytes, None, store, options(name), &Silent, StepId(0))
}

/// The error of an import, after which the store has no image, no layer and no unfinished file.
fn import_error(bytes: &[u8]) -> ImportError {
    let (directory, store) = store();
    let error = import_bytes(&store, "x", bytes).expect_err("the archive is bad");
    for part in ["images", "names", "layers", "diffs", "tmp"] {
        let left = std::fs::read_dir(directory.path().join(part)).unwrap().count();
        assert_eq!(left, 0, "{part} after {error}");
    }
    assert!(store.verify(&Silent, StepId(0)).unwrap().is_empty());
    error
}

fn entry_error(bytes: &[u8]) -> LayerError {
    match import_error(bytes) {
        ImportError::Tar(TarError::Entry { source, .. }) => source,
        ImportError::Layer(error) => error,
        other => panic!("{other:?}"),
    }
}

fn header_error(bytes: &[u8]) -> HeaderError {
    match import_error(bytes) {
        ImportError::Tar(TarError::Header { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn paths_that_leave_the_root() {
    for (name, expected) in [
        ("/etc/passwd", PathError::Absolute("/etc/passwd".into())),
        ("../x", PathError::Parent("../x".into())),
        ("a/../../x", PathError::Parent("a/../../x".into())),
    ] {
        let expected = LayerError::Path(expected);
        assert_eq!(entry_error(&Archive::default().file(name, b"x").end()), expected);
        assert_eq!(entry_error(&Archive::default().directory(name).end()), expected);
        assert_eq!(
            entry_error(
                &Archive::default()
                    .pax("path", name.as_bytes())
                    .file("ok", b"")
                    .end()
            ),
            expected
        );
        let link = Archive::default().file("ok", b"").link("link", b'1', name).end();
        assert_eq!(entry_error(&link), expected);
        let long_name = Archive::default()
            .sized("x", b'L', name.as_bytes())
            .file("ok", b"")
            .end();
        assert_eq!(entry_error(&long_name), expected);
    }
}

#[test]
fn a_symbolic_link_is_data_and_never_a_way() {
    let (_directory, store) = store();
    let target = "../../../../etc";
    let image = import_bytes(&store, "x", &Archive::default().link("etc", b'2', target).end()).unwrap();
    let tree = image.tree(&store).unwrap();
    assert!(tree.lookup(b"etc").is_some());
    let below = Archive::default()
        .link("etc", b'2', "/etc")
        .file("etc/passwd", b"root")
        .end();
    assert!(matches!(entry_error(&below), LayerError::BelowFile { .. }));
    let through_file = Archive::default().file("a", b"").file("a/b", b"").end();
    assert!(matches!(entry_error(&through_file), LayerError::BelowFile { .. }));
}

#[test]
fn hard_links_to_nothing_and_to_directories() {
    let nothing = Archive::default().link("link", b'1', "nothing").end();
    assert!(matches!(entry_error(&nothing), LayerError::LinkToNothing { .. }));
    let forward = Archive::default()
        .link("link", b'1', "later")
        .file("later", b"")
        .end();
    assert!(matches!(entry_error(&forward), LayerError::LinkToNothing { .. }));
    let itself = Archive::default().link("link", b'1', "link").end();
    assert!(matches!(entry_error(&itself), LayerError::LinkToNothing { .. }));
    let directory = Archive::default().directory("d").link("link", b'1', "d").end();
    assert!(matches!(
        entry_error(&directory),
        LayerError::LinkToDirectory { .. }
    ));
    let root = Archive::default().file("x", b"").link("./", b'1', "x").end();
    assert_eq!(entry_error(&root), LayerError::Root);
    let pipe = Archive::default().sized("./", b'6', b"").end();
    assert_eq!(entry_error(&pipe), LayerError::Root);
}

#[test]
fn devices_are_records_and_overlay_whiteouts_whiteouts() {
    let (_directory, store) = store();
    let device = |major: &'static [u8], minor: &'static [u8]| Entry {
        name: b"dev",
        kind: b'3',
        major,
        minor,
        ..Entry::default()
    };
    let archive = Archive::default()
        .header(device(b"0000001", b"0000003"))
        .file("x", b"")
        .end();
    assert!(
        import_bytes(&store, "x", &archive)
            .unwrap()
            .tree(&store)
            .unwrap()
            .lookup(b"dev")
            .is_some()
    );
    let archive = Archive::default()
        .header(device(b"0000000", b"0000000"))
        .file("x", b"")
        .end();
    assert!(
        import_bytes(&store, "x", &archive)
            .unwrap()
            .tree(&store)
            .unwrap()
            .lookup(b"dev")
            .is_none()
    );
    let archive = Archive::default()
        .header(device(b"\x80\0\0\x01\0\0\0\0", b"0"))
        .end();
    assert_eq!(header_error(&archive), HeaderError::Range("major number"));
}

#[test]
fn gigantic_headers_are_refused_before_memory_is_taken() {
    for kind in [b'x', b'g', b'L', b'K'] {
        let archive = Archive::default().header(Entry {
            size: b"77777777777",
            kind,
            ..Entry::default()
        });
        let error = import_error(&archive.end());
        assert!(
            matches!(
                &error,
                ImportError::Tar(TarError::Limit {
                    what: "extended header",
                    found: 0o77777777777,
                    ..
                })
            ),
            "{error:?}"
        );
    }
    let huge = Archive::default()
        .pax("size", b"18446744073709551615")
        .file("x", b"")
        .end();
    assert!(matches!(
        import_error(&huge),
        ImportError::Tar(TarError::Limit {
            what: "file size",
            ..
        })
    ));
    let many_xattrs = Archive::default()
        .pax("SCHILY.xattr.user.a", &vec![0; 2 << 20])
        .file("x", b"")
        .end();
    assert!(matches!(
        import_error(&many_xattrs),
        ImportError::Tar(TarError::Limit { .. })
    ));
    let holes = Archive::default()
        .pax("GNU.sparse.realsize", b"17592186044416")
        .pax("GNU.sparse.major", b"1")
        .file("x", b"0\n")
        .end();
    assert!(matches!(import_error(&holes), ImportError::Tar(_)));
}

#[test]
fn sparse_files_that_overlap_or_are_too_large() {
    for (map, real) in [
        ("0,1,0,1", "10"),
        ("5,2", "6"),
        ("1", "6"),
        ("0,3", "6"),
        ("18446744073709551615,2", "6"),
    ] {
        let record = |key: &str, value: &str| {
            let rest = key.len() + value.len() + 3;
            format!("{} {key}={value}\n", rest + 2)
        };
        let records = record("GNU.sparse.map", map) + &record("GNU.sparse.size", real);
        let archive = Archive::default()
            .sized("pax", b'x', records.as_bytes())
            .file("x", b"ab")
            .end();
        assert_eq!(header_error(&archive), HeaderError::Sparse, "{map}");
    }
}

#[test]
fn headers_that_make_no_sense() {
    let entry = |entry: Entry| Archive::default().header(entry).end();
    for (archive, expected) in [
        (
            entry(Entry {
                size: b"-0000000001",
                ..Entry::default()
            }),
            HeaderError::Number("size"),
        ),
        (
            entry(Entry {
                size: b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                ..Entry::default()
            }),
            HeaderError::Range("size"),
        ),
        (
            entry(Entry {
                mode: b"banana!",
                ..Entry::default()
            }),
            HeaderError::Number("mode"),
        ),
        (
            entry(Entry {
                kind: b'M',
                ..Entry::default()
            }),
            HeaderError::Type(b'M'),
        ),
        (
            Archive::default().pax("uid", b"4294967296").file("x", b"").end(),
            HeaderError::Range("user ID"),
        ),
        (
            Archive::default().pax("mtime", b"noon").file("x", b"").end(),
            HeaderError::Number("modification time"),
        ),
        (
            Archive::default()
                .sized("x", b'x', b"99 path=x\n")
                .file("x", b"")
                .end(),
            HeaderError::Pax,
        ),
        (
            Archive::default().file("d/.wh.", b"").end(),
            HeaderError::Whiteout,
        ),
        (
            Archive::default().file("d/.wh.a/b", b"").end(),
            HeaderError::Whiteout,
        ),
        (
            Archive::default().link(".wh./x", b'1', "y").end(),
            HeaderError::Whiteout,
        ),
        (
            Archive::default().file("d/.wh...", b"").end(),
            HeaderError::Whiteout,
        ),
        (
            Archive::default().link("l", b'2', "").end(),
            HeaderError::Range("link target"),
        ),
        (vec![b'x'; 10_240], HeaderError::Number("checksum")),
    ] {
        assert_eq!(header_error(&archive), expected);
    }
    let mut flipped = Archive::default().file("x", b"content").end();
    flipped[0] ^= 1;
    assert_eq!(header_error(&flipped), HeaderError::Checksum);
}

#[test]
fn archives_that_end_early_or_have_nothing() {
    let whole = Archive::default()
        .file("x", &[1; 5000])
        .file("y", &vec![2; 3 << 20])
        .end();
    for length in [0, 1, 511, 512, 513, 5000, 6144, 1 << 20, whole.len() - 1024] {
        let error = import_error(&whole[..length]);
        assert!(
            matches!(error, ImportError::Tar(TarError::Truncated { .. })),
            "{length}: {error:?}"
        );
        assert_eq!(error.class(), Class::Corrupt);
    }
    assert!(matches!(import_error(&[0; 1024]), ImportError::Empty));
    let mut compressed = zstd::bulk::compress(&whole, 1).unwrap();
    compressed.truncate(compressed.len() - 1);
    assert!(matches!(
        import_error(&compressed),
        ImportError::Tar(TarError::Read(_))
    ));
}

#[test]
fn a_text_is_no_archive_and_the_hint_says_so() {
    let error = import_error(&b"#!/bin/sh\necho this is no archive\n".repeat(100));
    assert_eq!(error.class(), Class::Input);
    assert!(error.to_string().contains("no tar archive"), "{error}");
    assert!(error.hints()[0].contains("give a tar archive"));
}

#[test]
fn a_request_to_stop_is_followed_and_leaves_nothing() {
    struct Stopped;
    impl osmith_report::Observer for Stopped {
        fn observe(&self, _: osmith_report::Event) {}
        fn interrupted(&self) -> bool {
            true
        }
    }
    let (directory, store) = store();
    let archive = Archive::default().file("x", &[1; 5000]).end();
    let error = import(&archive[..], None, &store, options("x"), &Stopped, StepId(0)).unwrap_err();
    assert_eq!(error.class(), Class::Interrupted);
    let image = import_bytes(&store, "x", &archive).unwrap();
    let output = directory.path().join("tmp/saved");
    for format in [LayoutFormat::Directory, LayoutFormat::Archive] {
        let options = SaveOptions {
            format,
            encoding: Encoding::of(Codec::Zstd),
            name: None,
        };
        let error = save(&image, &store, &output, &options, &Stopped, StepId(0)).unwrap_err();
        assert_eq!(error.class(), Class::Interrupted);
        assert_eq!(
            std::fs::read_dir(directory.path().join("tmp")).unwrap().count(),
            0
        );
    }
}

#[test]
fn a_full_disk_is_said_so_and_leaves_the_store_as_it_was() {
    let Some(mount) = osmith_testing::oracle::require("mount") else {
        return;
    };
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new(mount)
        .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
        .arg(directory.path())
        .status();
    assert!(mounted.unwrap().success());
    let unmount = Unmount(directory.path().to_owned());
    let store = Store::open(&directory.path().join("store"), Access::ReadWrite).unwrap();
    let small = Archive::default().file("x", &[1; 5000]).end();
    let image = import_bytes(&store, "small", &small).unwrap();
    let mut large = Archive::default();
    for seed in 0..100u8 {
        large = large.file(&format!("file-{seed}"), &vec![seed; 100_000]);
    }
    let large = large.file("big", &vec![1; 9 << 20]).end();
    let error = import_bytes(&store, "large", &large).unwrap_err();
    assert_eq!(error.class(), Class::Environment, "{error:?}");
    assert!(error.hints()[0].contains("osmith prune"), "{error:?}");
    assert_eq!(store.names().unwrap().len(), 1);
    store.prune(&Default::default(), &Silent).unwrap();
    assert!(store.verify(&Silent, StepId(0)).unwrap().is_empty());
    assert_eq!(store.image(&"small".parse().unwrap()).unwrap(), image);
    drop(store);
    drop(unmount);
}

/// Unmounts when dropped, also when the test fails.
struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}

/// An image of two layers in an OCI layout, its own layers compressed.
fn layout(codec: Codec) -> (tempfile::TempDir, std::path::PathBuf) {
    let (directory, store) = store();
    let archive = Archive::default()
        .file("etc/os-release", &[7; 3000])
        .file("x", b"1")
        .end();
    let image = import_bytes(&store, "bad", &archive).unwrap();
    let path = directory.path().parent().unwrap().join(format!(
        "osmith-malicious-{}-{codec}",
        directory.path().file_name().unwrap().to_string_lossy()
    ));
    let options = SaveOptions {
        format: LayoutFormat::Directory,
        encoding: Encoding::of(codec),
        name: Some("bad".parse().unwrap()),
    };
    save(&image, &store, &path, &options, &Silent, StepId(0)).unwrap();
    (directory, path)
}

fn load_error(path: &Path) -> LayoutError {
    let (directory, store) = store();
    let options = LoadOptions {
        select: None,
        platform: Platform::new("linux", "amd64"),
        names: None,
        intake: IntakeOptions::default(),
    };
    let error = load(path, &store, &options, &Silent, StepId(0)).expect_err("the layout is bad");
    for part in ["images", "names", "diffs", "blobs/sha256", "tmp"] {
        let left = std::fs::read_dir(directory.path().join(part)).unwrap().count();
        assert_eq!(left, 0, "{part} after {error:?}");
    }
    error
}

/// The blobs, longest first: the manifest and configuration are shorter than 1,000 bytes each, told by their JSON.
fn blobs(path: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let directory = std::fs::read_dir(path.join("blobs/sha256")).unwrap();
    let paths = directory.map(|entry| entry.unwrap().path());
    paths
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

#[test]
fn any_flipped_bit_of_any_blob_is_noticed() {
    for codec in [Codec::None, Codec::Gzip, Codec::Zstd] {
        let (_directory, path) = layout(codec);
        for (blob, bytes) in blobs(&path) {
            for at in (0..bytes.len()).step_by(bytes.len() / 23 + 1) {
                let mut flipped = bytes.clone();
                flipped[at] ^= 4;
                std::fs::write(&blob, &flipped).unwrap();
                let error = load_error(&path);
                assert!(
                    matches!(error, LayoutError::Intake(IntakeError::BlobDigest { .. })),
                    "{codec} byte {at}: {error:?}"
                );
                assert_eq!(error.class(), Class::Corrupt);
            }
            std::fs::write(&blob, &bytes[..bytes.len() - 1]).unwrap();
            assert!(matches!(
                load_error(&path),
                LayoutError::Intake(IntakeError::BlobLength { .. })
            ));
            std::fs::remove_file(&blob).unwrap();
            assert!(matches!(load_error(&path), LayoutError::MissingBlob(_)));
            std::fs::write(&blob, &bytes).unwrap();
        }
        std::fs::remove_dir_all(path).unwrap();
    }
}

#[test]
fn layouts_that_are_none() {
    let (_directory, path) = layout(Codec::None);
    let index = std::fs::read(path.join("index.json")).unwrap();
    for (name, content, expected) in [
        ("index.json", &b"{"[..], "Intake(Json"),
        ("index.json", br#"{"schemaVersion":2,"manifests":[]}"#, "NoImage"),
        ("index.json", &index, ""),
    ] {
        std::fs::write(path.join(name), content).unwrap();
        if !expected.is_empty() {
            assert!(format!("{:?}", load_error(&path)).starts_with(expected));
        }
    }
    std::fs::remove_file(path.join("oci-layout")).unwrap();
    assert!(matches!(load_error(&path), LayoutError::NotALayout { .. }));
    assert!(matches!(
        load_error(&path.join("nothing")),
        LayoutError::Io { .. }
    ));
    assert!(matches!(
        load_error(&path.join("index.json")),
        LayoutError::Archive { .. }
    ));
    std::fs::remove_dir_all(path).unwrap();
}
