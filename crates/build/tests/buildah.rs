//! COPY and ADD beside buildah: the same instructions on the same context give the same tree.
//!
//! Needs root (buildah with chroot isolation and the vfs driver) and buildah; skipped, visibly, without.

mod site;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use osmith_formats::tree::{Content, Node, Tree};
use osmith_image::store::Store;
use osmith_testing::oracle;
use site::Site;

/// Type, mode, owner, and contents or target, by path.
type Listing = BTreeMap<String, String>;

const CONTAINERFILE: &str = "\
FROM scratch AS source
COPY --chown=11:12 dir /from/dir
COPY --chown=13 --chmod=4755 a /from/suid

FROM scratch
COPY a /file/x
COPY a /slash/
COPY dir /contents
COPY dir/ /contents2/
COPY a dir/b /several/
COPY dir sub /merged/
COPY *.txt /pattern/
COPY d?r/[bc] /pattern2/
COPY d*/s*/c /pattern3/
COPY link /followed
COPY dirlink /followed-dir
COPY dirlink/b /through-link
COPY links /links
COPY suid /suid
COPY dir/sub/../b /dots
COPY ./dir/./b /dots2
COPY [\"with space\", \"/with space/\"]
COPY --chown=5 a /owner/one
COPY --chown=5:6 dir /owner/two
COPY --chmod=0600 a /mode/file
COPY --chmod=0700 dir /mode/dir
COPY empty /empty
COPY hard /hard

COPY dir /replace
COPY sub /replace/
COPY over /replace/
COPY links /target
COPY a /target/absolute
COPY a /target/dirlink/into
COPY one.txt /target/dirlink

ADD plain.tar /tar/plain
ADD gzip.tar.gz /tar/gzip/
ADD bzip2.tar.bz2 /tar/bzip2/
ADD xz.tar.xz /tar/xz/
ADD zstd.tar.zst /tar/zstd/
ADD misnamed.txt /tar/misnamed/
ADD a.gz /tar/none/
ADD --chown=9:9 plain.tar /tar/owned/
ADD dir /tar/dir/

COPY --from=source / /stage/all
COPY --from=source /from/suid /stage/one
COPY --from=source --chown=0:0 /from/dir /stage/owned
COPY --from=source /from/* /stage/pattern/

WORKDIR /srv/here
COPY a .
COPY a relative
COPY dir ./below/
COPY a ../up
COPY a /srv/here
";

fn make_context(site: &Site) {
    for (name, text) in [
        ("a", "A"),
        ("dir/b", "B"),
        ("dir/c", "C"),
        ("dir/sub/c", "CC"),
        ("sub/sub/d", "D"),
        ("sub/b", "other B"),
        ("one.txt", "1"),
        ("two.txt", "2"),
        ("with space/file name", "S"),
        ("suid", "set-uid"),
        ("links/file", "F"),
        ("hard/one", "linked"),
        // A file in the place of a directory, and the other way round.
        ("over/sub", "now a file"),
        ("over/c/now", "a directory"),
    ] {
        site.write(name, text);
    }
    let context = &site.context;
    std::fs::create_dir(context.join("empty")).unwrap();
    std::fs::create_dir(context.join("links/dir")).unwrap();
    std::fs::hard_link(context.join("hard/one"), context.join("hard/two")).unwrap();
    for (target, name) in [
        ("a", "link"),
        ("dir", "dirlink"),
        ("file", "links/relative"),
        ("/target/file", "links/absolute"),
        ("nothing", "links/dangling"),
        ("dir", "links/dirlink"),
    ] {
        symlink(target, context.join(name)).unwrap();
    }
    for (name, mode) in [
        ("suid", 0o6755),
        ("dir/sub", 0o750),
        ("dir/b", 0o600),
        ("sub/sub", 0o1777),
        ("empty", 0o711),
    ] {
        std::fs::set_permissions(context.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    std::os::unix::fs::chown(context.join("dir/b"), Some(77), Some(78)).unwrap();
    run(Command::new("tar")
        .args([
            "-cf",
            "plain.tar",
            "--owner=21",
            "--group=22",
            "dir",
            "link",
            "hard",
        ])
        .current_dir(context));
    for (program, name) in [
        ("gzip", "gzip.tar.gz"),
        ("bzip2", "bzip2.tar.bz2"),
        ("xz", "xz.tar.xz"),
        ("zstd", "zstd.tar.zst"),
    ] {
        let output = Command::new(program)
            .arg("-c")
            .arg(context.join("plain.tar"))
            .output()
            .unwrap();
        std::fs::write(context.join(name), output.stdout).unwrap();
    }
    std::fs::copy(context.join("gzip.tar.gz"), context.join("misnamed.txt")).unwrap();
    let output = Command::new("gzip")
        .arg("-c")
        .arg(context.join("a"))
        .output()
        .unwrap();
    std::fs::write(context.join("a.gz"), output.stdout).unwrap();
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
    String::from_utf8(output.stdout).unwrap()
}

/// What buildah makes of it.
fn oracle_listing(buildah: &Path, site: &Site) -> Listing {
    let work = tempfile::tempdir().unwrap();
    let path = |name: &str| work.path().join(name);
    std::fs::write(path("Containerfile"), CONTAINERFILE).unwrap();
    let storage = format!(
        "[storage]\ndriver = \"vfs\"\ngraphroot = {:?}\nrunroot = {:?}\n",
        path("graph"),
        path("run")
    );
    std::fs::write(path("storage.conf"), storage).unwrap();
    let command = || {
        let mut command = Command::new(buildah);
        command.env("CONTAINERS_STORAGE_CONF", path("storage.conf"));
        command
    };
    run(command()
        .args([
            "bud",
            "--isolation",
            "chroot",
            "--layers=false",
            "-t",
            "oracle",
            "-f",
        ])
        .arg(path("Containerfile"))
        .arg(&site.context));
    let container = run(command().args(["from", "oracle"]));
    let mounted = run(command().arg("mount").arg(container.trim()));
    let mut listing = Listing::new();
    walk(Path::new(mounted.trim()), "", &mut listing);
    run(command().arg("umount").arg(container.trim()));
    listing
}

fn walk(root: &Path, path: &str, listing: &mut Listing) {
    for entry in std::fs::read_dir(root.join(path)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if path.is_empty() {
            name
        } else {
            format!("{path}/{name}")
        };
        let metadata = entry.metadata().unwrap();
        let what = match metadata.file_type() {
            kind if kind.is_dir() => "/".to_owned(),
            kind if kind.is_symlink() => {
                format!("-> {}", std::fs::read_link(entry.path()).unwrap().display())
            }
            _ => describe(&std::fs::read(entry.path()).unwrap()),
        };
        listing.insert(
            path.clone(),
            entry_text(metadata.mode(), metadata.uid(), metadata.gid(), &what),
        );
        if metadata.is_dir() {
            walk(root, &path, listing);
        }
    }
}

fn entry_text(mode: u32, uid: u32, gid: u32, what: &str) -> String {
    // The mode of a link means nothing.
    let mode = if what.starts_with("->") {
        0o777
    } else {
        mode & 0o7777
    };
    format!("{mode:04o} {uid}:{gid} {what}")
}

fn describe(bytes: &[u8]) -> String {
    format!(
        "{} bytes {:?}",
        bytes.len(),
        String::from_utf8_lossy(&bytes[..bytes.len().min(40)])
    )
}

fn own_listing(store: &Store, tree: &Tree<Content>) -> Listing {
    let mut listing = Listing::new();
    for (path, id) in tree.walk().into_iter().skip(1) {
        let inode = tree.inode(id);
        let what = match &inode.node {
            Node::Directory(_) => "/".to_owned(),
            Node::Symlink(target) => format!("-> {}", String::from_utf8_lossy(target)),
            Node::Regular(content) => {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut store.read_content(content).unwrap(), &mut bytes).unwrap();
                describe(&bytes)
            }
            other => format!("{other:?}"),
        };
        let metadata = &inode.metadata;
        let text = entry_text(u32::from(metadata.mode), metadata.uid, metadata.gid, &what);
        listing.insert(String::from_utf8(path).unwrap(), text);
    }
    listing
}

#[test]
fn the_same_tree_as_buildah() {
    let Some(buildah) = oracle::require("buildah") else {
        return;
    };
    if !oracle::require_root("buildah with its vfs driver") {
        return;
    }
    let site = Site::new(&[]);
    make_context(&site);
    let built = site.build(CONTAINERFILE);
    let own = own_listing(&site.store, &built.image.tree(&site.store).unwrap());
    let expected = oracle_listing(&buildah, &site);
    let mut differences = Vec::new();
    for path in expected
        .keys()
        .chain(own.keys())
        .collect::<std::collections::BTreeSet<_>>()
    {
        let (theirs, ours) = (expected.get(path), own.get(path));
        if theirs != ours {
            differences.push(format!("{path}: buildah {theirs:?}, osmith {ours:?}"));
        }
    }
    assert!(own.len() > 100, "{}", own.len());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
