//! Other people's tools: what they write is read, what is written they read.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use osmith_formats::tree::{Node, Tree};
use osmith_image::compression::Codec;
use osmith_image::layout::{LayoutFormat, LoadOptions, SaveOptions, load, load_stream, save};
use osmith_image::store::{Encoding, Image, Store};
use osmith_image::tar::Limits;
use osmith_image::{ImportOptions, IntakeOptions, Platform, RuntimeConfig, import};
use osmith_report::{Silent, StepId};
use osmith_testing::oracle;

use crate::trees::{store, view};

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    output.stdout
}

/// A directory with one of everything an ordinary program can make.
fn sample(directory: &Path) {
    let long = "n".repeat(120);
    fs::create_dir_all(directory.join("usr/lib").join(&long).join(&long)).unwrap();
    fs::write(
        directory.join("usr/lib").join(&long).join(&long).join(&long),
        b"deep",
    )
    .unwrap();
    fs::write(directory.join("empty"), b"").unwrap();
    fs::write(directory.join("small"), b"small").unwrap();
    fs::write(directory.join("large"), vec![9; 3_000_000]).unwrap();
    fs::hard_link(directory.join("large"), directory.join("large-too")).unwrap();
    fs::hard_link(directory.join("large"), directory.join("a-large-first")).unwrap();
    symlink("usr/lib", directory.join("lib")).unwrap();
    symlink("t".repeat(300), directory.join("long-link")).unwrap();
    fs::write(directory.join("name with\nnewline and \u{e4}"), b"x").unwrap();
    let program = directory.join("program");
    fs::write(&program, vec![1; 100_000]).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    let sparse = fs::File::create(directory.join("sparse")).unwrap();
    for offset in [1 << 20, 5 << 20, 7 << 20] {
        std::os::unix::fs::FileExt::write_all_at(&sparse, &[7; 5000], offset).unwrap();
    }
    sparse.set_len(9 << 20).unwrap();
    run(Command::new("mkfifo").arg(directory.join("pipe")));
    rustix::fs::setxattr(
        &program,
        "user.note",
        b"a=b\n\0c",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
}

/// What a tree and a directory have in common: everything but the store's names of contents.
type Seen = BTreeMap<Vec<u8>, (u32, u32, u32, i64, String)>;

fn seen_on_disk(root: &Path) -> Seen {
    let mut seen = Seen::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let kind = metadata.file_type();
            let content = if kind.is_dir() {
                pending.push(path.clone());
                "directory".to_owned()
            } else if kind.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else if kind.is_fifo() {
                "fifo".to_owned()
            } else {
                osmith_image::Sha256Digest::of(&fs::read(&path).unwrap()).to_string()
            };
            let name = path
                .strip_prefix(root)
                .unwrap()
                .as_os_str()
                .as_encoded_bytes()
                .to_vec();
            let mode = metadata.mode() & 0o7777;
            seen.insert(
                name,
                (mode, metadata.uid(), metadata.gid(), metadata.mtime(), content),
            );
        }
    }
    seen
}

fn seen_in(tree: &Tree, store: &Store) -> Seen {
    let entries = tree.walk().into_iter().filter(|(path, _)| !path.is_empty());
    entries
        .map(|(path, id)| {
            let inode = tree.inode(id);
            let content = match &inode.node {
                Node::Directory(_) => "directory".to_owned(),
                Node::Symlink(target) => format!("-> {}", String::from_utf8_lossy(target)),
                Node::Fifo => "fifo".to_owned(),
                Node::Regular(content) => {
                    let mut bytes = Vec::new();
                    store
                        .read_content(content)
                        .unwrap()
                        .read_to_end(&mut bytes)
                        .unwrap();
                    osmith_image::Sha256Digest::of(&bytes).to_string()
                }
                other => format!("{other:?}"),
            };
            let metadata = &inode.metadata;
            let seen = (
                u32::from(metadata.mode),
                metadata.uid,
                metadata.gid,
                metadata.mtime.seconds,
                content,
            );
            (path, seen)
        })
        .collect()
}

fn import_file(store: &Store, name: &str, archive: &Path) -> Image {
    let options = ImportOptions {
        names: vec![name.parse().unwrap()],
        architecture: "amd64".into(),
        created: Some("2026-01-01T00:00:00Z".into()),
        message: "test".into(),
        config: RuntimeConfig {
            cmd: Some(vec!["/program".into()]),
            ..RuntimeConfig::default()
        },
        limits: Limits::default(),
    };
    import(
        fs::File::open(archive).unwrap(),
        None,
        store,
        options,
        &Silent,
        StepId(0),
    )
    .unwrap()
}

#[test]
fn gnu_tar_in_every_format_and_compression() {
    let Some(tar) = oracle::require("tar") else { return };
    let (directory, store) = store();
    let work = tempfile::tempdir().unwrap();
    let root = work.path().join("root");
    fs::create_dir(&root).unwrap();
    sample(&root);
    let archive = directory.path().join("tmp/archive");
    let mut views = Vec::new();
    for options in [
        &["--format=gnu"][..],
        &["--format=pax", "--xattrs"],
        &["--format=pax", "--xattrs", "--gzip"],
        &["--format=gnu", "--sparse"],
        &["--format=pax", "--sparse", "--sparse-version=0.0", "--xattrs"],
        &["--format=pax", "--sparse", "--sparse-version=0.1", "--xattrs"],
        &["--format=pax", "--sparse", "--sparse-version=1.0", "--xattrs"],
    ] {
        run(Command::new(&tar)
            .arg("-C")
            .arg(&root)
            .arg("-cf")
            .arg(&archive)
            .args(options)
            .arg("."));
        let tree = import_file(&store, "x", &archive).tree(&store).unwrap();
        assert_eq!(seen_in(&tree, &store), seen_on_disk(&root), "{options:?}");
        let large = tree.lookup(b"large").unwrap();
        assert_eq!(tree.link_counts()[large.index()], 3);
        let program = tree.lookup(b"program").unwrap();
        let has_xattrs = !tree.inode(program).metadata.xattrs.is_empty();
        assert_eq!(has_xattrs, options.contains(&"--xattrs"), "{options:?}");
        views.push((options, view(&tree)));
    }
    // Whole seconds in GNU's format, fractions and attributes in pax: all pax archives are the same tree.
    let pax: Vec<_> = views
        .iter()
        .filter(|(options, _)| options.contains(&"--xattrs"))
        .collect();
    assert!(pax.windows(2).all(|pair| pair[0].1 == pair[1].1));
}

#[test]
fn gnu_tar_extracts_what_is_written() {
    let Some(tar) = oracle::require("tar") else { return };
    let (_directory, store) = store();
    let work = tempfile::tempdir().unwrap();
    let (root, archive, copy) = (
        work.path().join("root"),
        work.path().join("archive"),
        work.path().join("copy"),
    );
    fs::create_dir(&root).unwrap();
    fs::create_dir(&copy).unwrap();
    sample(&root);
    run(Command::new(&tar)
        .arg("-C")
        .arg(&root)
        .args(["--format=pax", "--xattrs", "-cf"])
        .arg(&archive)
        .arg("."));
    let image = import_file(&store, "x", &archive);
    let id = image.layers(&store).unwrap()[0];
    store
        .write_tar(&id, fs::File::create(&archive).unwrap(), &Silent)
        .unwrap();
    let warnings = Command::new(&tar).arg("-tvf").arg(&archive).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&warnings.stderr), "");
    run(Command::new(&tar)
        .arg("-C")
        .arg(&copy)
        .args(["-p", "--xattrs", "-xf"])
        .arg(&archive));
    assert_eq!(seen_on_disk(&copy), seen_on_disk(&root));
    let inode = |name: &str| copy.join(name).metadata().unwrap().ino();
    assert!(inode("large") == inode("large-too") && inode("large") == inode("a-large-first"));
    let mut value = [0; 16];
    let length = rustix::fs::getxattr(copy.join("program"), "user.note", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"a=b\n\0c");
}

fn load_options() -> LoadOptions {
    LoadOptions {
        select: None,
        platform: Platform::new("linux", "amd64"),
        names: None,
        intake: IntakeOptions::default(),
    }
}

/// An image of the sample in a store.
fn sample_image(work: &Path, store: &Store) -> Image {
    let (root, archive) = (work.join("root"), work.join("archive"));
    fs::create_dir(&root).unwrap();
    sample(&root);
    run(Command::new("tar")
        .arg("-C")
        .arg(&root)
        .args(["--format=pax", "--xattrs", "-cf"])
        .arg(&archive)
        .arg("."));
    import_file(store, "sample:1", &archive)
}

fn save_options(format: LayoutFormat, codec: Codec) -> SaveOptions {
    SaveOptions {
        format,
        encoding: Encoding::of(codec),
        name: Some("sample:1".parse().unwrap()),
    }
}

#[test]
fn what_is_saved_is_loaded_again_and_always_the_same() {
    let (directory, store) = store();
    let work = tempfile::tempdir().unwrap();
    let image = sample_image(work.path(), &store);
    for codec in [Codec::None, Codec::Gzip, Codec::Zstd] {
        let mut archives = Vec::new();
        for round in 0..3 {
            let archive = work.path().join(format!("{codec}-{round}.tar"));
            if round == 2 {
                // From the start, not from what was made before.
                fs::remove_dir_all(directory.path().join("compressed")).unwrap();
            }
            let options = save_options(LayoutFormat::Archive, codec);
            save(&image, &store, &archive, &options, &Silent, StepId(0)).unwrap();
            let again = save(&image, &store, &archive, &options, &Silent, StepId(0)).unwrap_err();
            assert!(again.to_string().ends_with("exists already"));
            archives.push(fs::read(&archive).unwrap());
        }
        assert!(archives.windows(2).all(|pair| pair[0] == pair[1]), "{codec}");
        let archive = work.path().join(format!("{codec}-0.tar"));
        let gzipped = zstd::encode_all(&archives[0][..], 1).unwrap();
        let (_other_directory, other) = crate::trees::store();
        let loaded = load(&archive, &other, &load_options(), &Silent, StepId(0)).unwrap();
        let name = Path::new("standard input");
        let streamed = load_stream(&gzipped[..], name, &other, &load_options(), &Silent, StepId(0)).unwrap();
        assert_eq!(
            (&loaded[0].image, &loaded[0].names),
            (&streamed[0].image, &streamed[0].names)
        );
        let (first, second) = (loaded[0].transferred, streamed[0].transferred);
        assert_eq!((first.layers_fetched, first.layers_reused), (1, 0));
        assert_eq!(
            (second.layers_fetched, second.layers_reused, second.fetched_bytes),
            (0, 1, 0)
        );
        assert_eq!(first.written_bytes + first.present_bytes, second.present_bytes);
        assert_eq!(loaded[0].names[0].to_string(), "localhost/sample:1");
        assert_eq!(loaded[0].image.id(), image.id());
        assert_eq!(
            loaded[0].image.manifest_digest == image.manifest_digest,
            codec == Codec::None
        );
        assert_eq!(
            view(&loaded[0].image.tree(&other).unwrap()),
            view(&image.tree(&store).unwrap())
        );
        // What came compressed leaves as it came, whatever is asked for.
        let back = work.path().join(format!("{codec}-back"));
        let options = save_options(LayoutFormat::Directory, Codec::Zstd);
        let saved = save(&loaded[0].image, &other, &back, &options, &Silent, StepId(0)).unwrap();
        assert_eq!(
            saved.digest == loaded[0].image.manifest_digest,
            codec != Codec::None
        );
    }
}

#[test]
fn a_second_image_joins_the_directory() {
    let (_directory, store) = store();
    let work = tempfile::tempdir().unwrap();
    let image = sample_image(work.path(), &store);
    let output = work.path().join("layout");
    fs::create_dir(&output).unwrap();
    let mut options = save_options(LayoutFormat::Directory, Codec::Zstd);
    for name in ["sample:1", "sample:2", "sample:2"] {
        options.name = Some(name.parse().unwrap());
        save(&image, &store, &output, &options, &Silent, StepId(0)).unwrap();
    }
    let (_other_directory, other) = crate::trees::store();
    let loaded = load(&output, &other, &load_options(), &Silent, StepId(0)).unwrap();
    assert_eq!(loaded.len(), 2);
    let selected = LoadOptions {
        select: Some("localhost/sample:2".into()),
        names: Some(vec!["renamed".parse().unwrap()]),
        ..load_options()
    };
    let loaded = load(&output, &other, &selected, &Silent, StepId(0)).unwrap();
    assert_eq!(loaded[0].names[0].to_string(), "localhost/renamed:latest");
    let unknown = LoadOptions {
        select: Some("other".into()),
        ..load_options()
    };
    let error = load(&output, &other, &unknown, &Silent, StepId(0)).unwrap_err();
    assert!(error.to_string().ends_with("has no image named 'other'"));
    fs::write(work.path().join("file"), b"x").unwrap();
    let refused = save(&image, &store, work.path(), &options, &Silent, StepId(0)).unwrap_err();
    assert!(
        refused
            .to_string()
            .ends_with("has other files than an OCI layout")
    );
}

/// Puts Docker's media types into a layout, and new digests where they change.
fn make_docker_layout(layout: &Path) {
    let index = fs::read_to_string(layout.join("index.json")).unwrap();
    let manifest = &osmith_image::Index::from_bytes(index.as_bytes())
        .unwrap()
        .manifests[0];
    let blob = |digest: &osmith_image::Sha256Digest| layout.join("blobs/sha256").join(digest.hex());
    let docker = fs::read_to_string(blob(&manifest.digest))
        .unwrap()
        .replace(
            "vnd.oci.image.manifest.v1+json",
            "vnd.docker.distribution.manifest.v2+json",
        )
        .replace(
            "vnd.oci.image.config.v1+json",
            "vnd.docker.container.image.v1+json",
        )
        .replace(
            "vnd.oci.image.layer.v1.tar+gzip",
            "vnd.docker.image.rootfs.diff.tar.gzip",
        );
    let digest = osmith_image::Sha256Digest::of(docker.as_bytes());
    fs::write(blob(&digest), &docker).unwrap();
    let index = index
        .replace(&manifest.digest.to_string(), &digest.to_string())
        .replace(
            &format!("\"size\":{}", manifest.size_bytes),
            &format!("\"size\":{}", docker.len()),
        );
    fs::write(layout.join("index.json"), index).unwrap();
}

#[test]
fn an_image_with_dockers_media_types_is_loaded_and_leaves_with_those_of_oci() {
    let (_directory, store) = store();
    let work = tempfile::tempdir().unwrap();
    let image = sample_image(work.path(), &store);
    let (layout, back) = (work.path().join("docker"), work.path().join("back"));
    let options = save_options(LayoutFormat::Directory, Codec::Gzip);
    let saved = save(&image, &store, &layout, &options, &Silent, StepId(0)).unwrap();
    make_docker_layout(&layout);
    let (_other_directory, other) = crate::trees::store();
    let loaded = load(&layout, &other, &load_options(), &Silent, StepId(0)).unwrap();
    let docker = &loaded[0].image;
    let media_type = docker.manifest.media_type.as_deref();
    assert_eq!(media_type, Some(osmith_image::media_type::DOCKER_MANIFEST));
    assert_eq!(
        view(&docker.tree(&other).unwrap()),
        view(&image.tree(&store).unwrap())
    );
    let again = save(docker, &other, &back, &options, &Silent, StepId(0)).unwrap();
    assert_eq!(again.digest, saved.digest);
}

#[test]
fn skopeo_reads_what_is_saved_and_what_it_writes_is_loaded() {
    let Some(skopeo) = oracle::require("skopeo") else {
        return;
    };
    let (_directory, store) = store();
    let work = tempfile::tempdir().unwrap();
    let image = sample_image(work.path(), &store);
    let expected = view(&image.tree(&store).unwrap());
    let path = |name: &str| work.path().join(name).display().to_string();
    let copy = |from: &str, to: &str, options: &[&str]| {
        run(Command::new(&skopeo)
            .args(["--insecure-policy", "copy", "-q"])
            .args(options)
            .args([from, to]));
    };
    for codec in [Codec::None, Codec::Gzip, Codec::Zstd] {
        let (directory, archive) = (path(&format!("{codec}-dir")), path(&format!("{codec}.tar")));
        save(
            &image,
            &store,
            Path::new(&directory),
            &save_options(LayoutFormat::Directory, codec),
            &Silent,
            StepId(0),
        )
        .unwrap();
        save(
            &image,
            &store,
            Path::new(&archive),
            &save_options(LayoutFormat::Archive, codec),
            &Silent,
            StepId(0),
        )
        .unwrap();
        let inspected =
            run(Command::new(&skopeo).args(["inspect", &format!("oci:{directory}:localhost/sample:1")]));
        assert!(String::from_utf8_lossy(&inspected).contains("\"amd64\""));
        // Copying decompresses and checks every layer against its diff ID.
        let copied = path(&format!("{codec}-copy"));
        copy(
            &format!("oci-archive:{archive}"),
            &format!("dir:{}", path(&format!("{codec}-plain"))),
            &["--dest-decompress"],
        );
        copy(
            &format!("oci-archive:{archive}"),
            &format!("oci:{copied}:tag"),
            &[],
        );
        for format in [
            &["--format", "v2s2"][..],
            &["--dest-compress-format", "zstd"],
            &["--dest-compress-format", "gzip"],
        ] {
            if codec == Codec::Zstd && format[1] == "v2s2" {
                // Docker's manifests know no zstd.
                continue;
            }
            let output = path(&format!("{codec}-{}.tar", format[1]));
            copy(
                &format!("oci:{copied}:tag"),
                &format!("oci-archive:{output}:localhost/again:2"),
                format,
            );
            let (_other_directory, other) = crate::trees::store();
            let loaded = load(Path::new(&output), &other, &load_options(), &Silent, StepId(0)).unwrap();
            assert_eq!(loaded[0].names[0].to_string(), "localhost/again:2");
            assert_eq!(
                view(&loaded[0].image.tree(&other).unwrap()),
                expected,
                "{codec} {format:?}"
            );
        }
    }
}

#[test]
fn buildah_layers_with_whiteouts_are_loaded() {
    let (Some(buildah), Some(skopeo)) = (oracle::require("buildah"), oracle::require("skopeo")) else {
        return;
    };
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let storage = work.path().join("storage");
    let buildah = || {
        let mut command = Command::new(&buildah);
        command
            .arg("--root")
            .arg(storage.join("root"))
            .arg("--runroot")
            .arg(storage.join("run"));
        command.args(["--storage-driver", "vfs"]);
        command
    };
    let context = work.path().join("context");
    fs::create_dir_all(context.join("d")).unwrap();
    for name in ["a", "b", "d/x", "d/y"] {
        fs::write(context.join(name), name.repeat(100)).unwrap();
    }
    let text = |output: Vec<u8>| String::from_utf8(output).unwrap().trim().to_owned();
    let container = text(run(buildah().args(["from", "scratch"])));
    run(buildah().args(["copy", &container]).arg(&context).arg("/"));
    run(buildah().args(["commit", "--rm", &container, "localhost/one"]));
    let container = text(run(buildah().args(["from", "--pull-never", "localhost/one"])));
    let mounted = text(run(buildah().args(["mount", &container])));
    let mounted = Path::new(&mounted);
    fs::remove_file(mounted.join("a")).unwrap();
    fs::remove_dir_all(mounted.join("d")).unwrap();
    fs::create_dir(mounted.join("d")).unwrap();
    fs::write(mounted.join("d/z"), b"z").unwrap();
    fs::hard_link(mounted.join("d/z"), mounted.join("z")).unwrap();
    fs::set_permissions(mounted.join("b"), fs::Permissions::from_mode(0o600)).unwrap();
    let expected = seen_on_disk(mounted);
    run(buildah().args(["umount", &container]));
    run(buildah().args(["commit", "--rm", &container, "localhost/two"]));
    let output = work.path().join("two.tar");
    let pushed = format!("oci-archive:{}:localhost/two", output.display());
    run(buildah().args(["push", "-q", "localhost/two", &pushed]));
    let (_directory, store) = store();
    let loaded = load(&output, &store, &load_options(), &Silent, StepId(0)).unwrap();
    let image = &loaded[0].image;
    assert!(image.manifest.layers.len() > 1);
    assert_eq!(seen_in(&image.tree(&store).unwrap(), &store), expected);
    let saved = work.path().join("saved");
    let options = SaveOptions {
        format: LayoutFormat::Directory,
        encoding: Encoding::of(Codec::Zstd),
        name: None,
    };
    save(image, &store, &saved, &options, &Silent, StepId(0)).unwrap();
    run(Command::new(skopeo).args(["inspect", &format!("oci:{}", saved.display())]));
}
