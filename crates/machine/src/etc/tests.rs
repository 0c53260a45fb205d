use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use osmith_formats::tree::Xattrs;
use osmith_sys::file::{open_beneath, open_directory, read_attribute, set_attribute};
use osmith_sys::mount::{Layer, enter_namespace, tmpfs};
use osmith_testing::oracle;
use proptest::prelude::*;
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};

use super::apply::Merge;
use super::folder::Folder;
use super::merge::{Operation, merged};
use super::*;
use crate::writable;

/// What tests put into a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Thing {
    Folder { mode: u16 },
    File { mode: u16, text: String },
    Link { target: String },
}

type Things = BTreeMap<PathBuf, Thing>;

fn file(text: &str) -> Thing {
    Thing::File {
        mode: 0o644,
        text: text.to_owned(),
    }
}

fn link(target: &str) -> Thing {
    Thing::Link {
        target: target.to_owned(),
    }
}

const FOLDER: Thing = Thing::Folder { mode: 0o755 };

/// Makes `path` a thing, in the place of what is in its way.
fn put(things: &mut Things, path: &Path, thing: Thing) {
    for parent in path
        .ancestors()
        .skip(1)
        .filter(|path| !path.as_os_str().is_empty())
    {
        if !matches!(things.get(parent), Some(Thing::Folder { .. })) {
            things.insert(parent.to_owned(), FOLDER);
        }
    }
    if !matches!(thing, Thing::Folder { .. }) {
        take(things, path);
    }
    things.insert(path.to_owned(), thing);
}

fn take(things: &mut Things, path: &Path) {
    things.retain(|other, _| !other.starts_with(path));
}

fn things(list: &[(&str, Thing)]) -> Things {
    let mut things = Things::new();
    for (path, thing) in list {
        put(&mut things, Path::new(path), thing.clone());
    }
    things
}

fn item(thing: &Thing) -> Item {
    let (mode, kind) = match thing {
        Thing::Folder { mode } => (*mode, ItemKind::Directory),
        Thing::File { mode, text } => {
            let fingerprint = Sha256::digest(text).into();
            (*mode, ItemKind::Regular { fingerprint })
        }
        Thing::Link { target } => {
            let target = target.as_bytes().into();
            (0, ItemKind::Symlink { target })
        }
    };
    Item {
        mode,
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        xattrs: Xattrs::new(),
        kind,
    }
}

fn items(things: &Things) -> Snapshot {
    let items = things.iter().map(|(path, thing)| (path.clone(), item(thing)));
    items.collect()
}

/// A folder with these things.
fn folder(things: &Things) -> (tempfile::TempDir, OwnedFd) {
    let directory = tempfile::tempdir().unwrap();
    for (path, thing) in things {
        let path = directory.path().join(path);
        let mode = match thing {
            Thing::Folder { mode } => {
                fs::create_dir(&path).unwrap();
                *mode
            }
            Thing::File { mode, text } => {
                fs::write(&path, text).unwrap();
                *mode
            }
            Thing::Link { target } => {
                symlink(target, &path).unwrap();
                continue;
            }
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode.into())).unwrap();
    }
    let open = open_directory(directory.path()).unwrap();
    (directory, open)
}

fn read(folder: &OwnedFd) -> Snapshot {
    snapshot(folder.as_fd()).unwrap()
}

/// The list of changes as text: `M a content`.
fn texts(changes: &[Change]) -> Vec<String> {
    let texts = changes.iter().map(|change| {
        let letter = format!("{:?}", change.change);
        let aspects: Vec<_> = change.aspects.iter().map(|aspect| aspect.name()).collect();
        format!("{} {} {}", &letter[..1], change.path.display(), aspects.join(","))
    });
    texts.map(|text| text.trim_end().to_owned()).collect()
}

#[test]
fn a_diff_says_what_changed_and_in_what() {
    let base = things(&[
        ("same", file("same")),
        ("content", file("before")),
        ("mode", file("mode")),
        ("gone/file", file("gone")),
        ("kind", file("kind")),
        ("link", link("before")),
        ("closed", FOLDER),
    ]);
    let mut current = base.clone();
    put(&mut current, Path::new("content"), file("after!"));
    let mode = Thing::File {
        mode: 0o600,
        text: "mode".to_owned(),
    };
    put(&mut current, Path::new("mode"), mode);
    take(&mut current, Path::new("gone"));
    put(&mut current, Path::new("kind"), link("same"));
    put(&mut current, Path::new("link"), link("after"));
    put(&mut current, Path::new("new/file"), file("new"));
    put(&mut current, Path::new("closed"), Thing::Folder { mode: 0o700 });
    let (_base, base) = folder(&base);
    let (directory, current) = folder(&current);
    fs::write(directory.path().join(".updated"), "").unwrap();
    let fifo = directory.path().join("fifo");
    rustix::fs::mknodat(&current, "fifo", rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(fifo.exists());
    // Times are not compared.
    fs::File::open(directory.path().join("same"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    assert_eq!(
        texts(&diff(base.as_fd(), current.as_fd()).unwrap()),
        [
            "M closed mode",
            "M content content",
            "R gone",
            "R gone/file",
            "M kind kind",
            "M link content",
            "M mode mode",
            "A new",
            "A new/file",
        ]
    );
}

#[test]
fn owners_and_attributes_are_compared_and_copied() {
    if !oracle::require_root("another owner of a file") {
        return;
    }
    let base = things(&[("owner", file("x")), ("attribute", file("x")), ("folder", FOLDER)]);
    let (_base, base_folder) = folder(&base);
    let (directory, current) = folder(&base);
    let path = |name: &str| directory.path().join(name);
    std::os::unix::fs::chown(path("owner"), Some(7), Some(8)).unwrap();
    fs::set_permissions(path("owner"), fs::Permissions::from_mode(0o4755)).unwrap();
    // cap_net_raw, which a change of the owner would take away.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    set_attribute(path("owner"), b"security.capability", &capability).unwrap();
    set_attribute(path("attribute"), b"trusted.a", b"1").unwrap();
    set_attribute(path("folder"), b"trusted.b", b"2").unwrap();
    let found = texts(&diff(base_folder.as_fd(), current.as_fd()).unwrap());
    let expected = [
        "M attribute attributes",
        "M folder attributes",
        "M owner mode,owner,attributes",
    ];
    assert_eq!(found, expected);
    let (new_directory, new) = folder(&base);
    set_attribute(new_directory.path().join("folder"), b"trusted.c", b"3").unwrap();
    let plan = plan(base_folder.as_fd(), current.as_fd(), new.as_fd()).unwrap();
    plan.apply(current.as_fd(), new.as_fd()).unwrap();
    assert_eq!(read(&new), read(&current));
    let name = c"security.capability";
    let copied = read_attribute(new_directory.path().join("owner"), name).unwrap();
    assert_eq!(copied.as_deref(), Some(&capability[..]));
}

/// The plan, and what it makes of the new folder.
fn merge(base: &Things, current: &Things, new: &Things) -> (MergePlan, Result<Snapshot>) {
    let [(_a, base), (_b, current), (_c, new)] = [base, current, new].map(folder);
    let plan = plan(base.as_fd(), current.as_fd(), new.as_fd()).unwrap();
    let applied = plan.apply(current.as_fd(), new.as_fd());
    (plan, applied.map(|()| read(&new)))
}

fn paths(paths: &[PathBuf]) -> Vec<&str> {
    paths.iter().map(|path| path.to_str().unwrap()).collect()
}

#[test]
fn local_changes_win_and_all_else_follows_the_image() {
    let base = things(&[
        ("kept", file("1")),
        ("edited", file("1")),
        ("both", file("1")),
        ("dropped", file("1")),
        ("removed/a", file("1")),
        ("old.d/x", file("1")),
        ("turned.d/x", file("1")),
    ]);
    let mut current = base.clone();
    put(&mut current, Path::new("edited"), file("local"));
    put(&mut current, Path::new("both"), file("local"));
    put(&mut current, Path::new("dropped"), file("local"));
    take(&mut current, Path::new("removed"));
    put(&mut current, Path::new("old.d/local"), file("local"));
    put(&mut current, Path::new("turned.d"), link("elsewhere"));
    put(&mut current, Path::new("added/deep/file"), file("local"));
    let mut new = base.clone();
    put(&mut new, Path::new("kept"), file("2"));
    put(&mut new, Path::new("both"), file("2"));
    take(&mut new, Path::new("dropped"));
    put(&mut new, Path::new("removed/b"), file("2"));
    take(&mut new, Path::new("old.d"));
    put(&mut new, Path::new("turned.d/y"), file("2"));
    put(&mut new, Path::new("brought"), file("2"));
    let expected = things(&[
        ("kept", file("2")),
        ("edited", file("local")),
        ("both", file("local")),
        ("dropped", file("local")),
        ("old.d/local", file("local")),
        ("turned.d", link("elsewhere")),
        ("added/deep/file", file("local")),
        ("brought", file("2")),
    ]);
    let (plan, merged) = merge(&base, &current, &new);
    assert_eq!(merged.unwrap(), items(&expected));
    assert_eq!(
        paths(&plan.shadowed),
        ["both", "dropped", "removed/b", "turned.d/y"]
    );
}

#[test]
fn what_turned_between_file_and_folder_on_both_sides_is_a_conflict() {
    type Listed<'a> = &'a [(&'a str, Thing)];
    let cases: [(Listed, Listed, Listed, &[&str]); 5] = [
        // Changed here, a folder there.
        (
            &[("a", file("1"))],
            &[("a", file("2"))],
            &[("a/b", file("1"))],
            &["a"],
        ),
        // New on both sides.
        (&[], &[("a", file("1"))], &[("a", FOLDER)], &["a"]),
        // A file where something was added here.
        (
            &[("a", FOLDER)],
            &[("a/b", file("1"))],
            &[("a", file("1"))],
            &["a"],
        ),
        // What was only removed here is no loss.
        (&[("a/b", file("1"))], &[("a", FOLDER)], &[("a", file("1"))], &[]),
        // The image stayed what it was.
        (
            &[("a/b", file("1"))],
            &[("a", file("1"))],
            &[("a/c", file("1"))],
            &[],
        ),
    ];
    for (base, current, new, expected) in cases {
        let (plan, merged) = merge(&things(base), &things(current), &things(new));
        let found: Vec<_> = plan
            .conflicts
            .iter()
            .map(|conflict| conflict.path.clone())
            .collect();
        assert_eq!(paths(&found), expected);
        match merged {
            Ok(_) => assert!(expected.is_empty()),
            Err(error) => {
                let text = "cannot merge /etc: /etc/a is ";
                assert!(
                    !expected.is_empty() && error.to_string().starts_with(text),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn an_apply_copies_times_and_removes_the_note_of_systemd() {
    let (_base, base) = folder(&Things::new());
    let (directory, current) = folder(&things(&[("a", file("text"))]));
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000, 5);
    fs::File::open(directory.path().join("a"))
        .unwrap()
        .set_modified(time)
        .unwrap();
    let (new_directory, new) = folder(&things(&[(".updated", file(""))]));
    let plan = plan(base.as_fd(), current.as_fd(), new.as_fd()).unwrap();
    plan.apply(current.as_fd(), new.as_fd()).unwrap();
    let copied = fs::metadata(new_directory.path().join("a")).unwrap();
    assert_eq!((copied.modified().unwrap(), copied.nlink()), (time, 1));
    assert_eq!(fs::read_dir(new_directory.path()).unwrap().count(), 1);
}

#[test]
fn links_lead_nowhere() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "outside").unwrap();
    let target = outside.path().to_str().unwrap();
    // The image turned a folder into a link, and something was changed in the folder.
    let base = things(&[("a/file", file("1"))]);
    let current = things(&[("a/file", file("local"))]);
    let new = things(&[("a", link(target))]);
    let (plan, merged) = merge(&base, &current, &new);
    assert!(merged.is_err() && plan.conflicts.len() == 1);
    // The same behind the back of the plan.
    let [(_current, current), (_new, new)] = [&current, &new].map(folder);
    let merge = Merge {
        current: Folder::etc(current.as_fd()),
        new: Folder::etc(new.as_fd()),
    };
    let error = merge.carry_out(&Operation::Copy("a/file".into())).unwrap_err();
    assert!(matches!(error, EtcError::System(_)), "{error}");
    // There is nothing of that path.
    merge.carry_out(&Operation::Remove("a/file".into())).unwrap();
    let text = fs::read_to_string(outside.path().join("file")).unwrap();
    assert_eq!(text, "outside");
}

#[test]
fn the_etc_of_the_image_is_seen_below_that_of_the_machine() {
    if !oracle::require_root("mounting") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    fs::create_dir_all(path("etc")).unwrap();
    fs::create_dir_all(path("proc/self")).unwrap();
    fs::write(path("etc/hostname"), "image").unwrap();
    let error = etc_of_image(root.path()).unwrap_err();
    assert!(error.to_string().contains("mountinfo"), "{error}");
    fs::write(
        path("proc/self/mountinfo"),
        "22 1 254:2 / / rw - ext4 /dev/vda2 rw\n",
    )
    .unwrap();
    assert!(matches!(etc_of_image(root.path()), Err(EtcError::NoDeployment)));
    let digest = osmith_formats::verity::Digest::of(b"image");
    let line = format!("30 22 0:27 / / ro - overlay composefs:{digest} ro\n");
    fs::write(path("proc/self/mountinfo"), line).unwrap();
    // The thread alone gets another view.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            enter_namespace().unwrap();
            let machine = open_directory(root.path()).unwrap();
            tmpfs("etc", "0755", None)
                .unwrap()
                .attach(machine, "etc")
                .unwrap();
            fs::write(path("etc/hostname"), "machine").unwrap();
            fs::create_dir(path("etc/below")).unwrap();
            let machine = open_directory(root.path()).unwrap();
            tmpfs("below", "0755", None)
                .unwrap()
                .attach(machine, "etc/below")
                .unwrap();
            fs::write(path("etc/below/file"), "").unwrap();
            let base = etc_of_image(root.path()).unwrap();
            let current = etc_of_machine(root.path()).unwrap();
            let found = diff(base.as_fd(), current.as_fd()).unwrap();
            assert_eq!(texts(&found), ["A below", "M hostname content"]);
        });
    });
}

fn any_thing() -> impl Strategy<Value = Thing> {
    prop_oneof![
        2 => prop_oneof![Just(0o755), Just(0o700)].prop_map(|mode| Thing::Folder { mode }),
        4 => (prop_oneof![Just(0o644), Just(0o600)], "[xy]").prop_map(|(mode, text)| Thing::File { mode, text }),
        1 => "[xy]".prop_map(|target| Thing::Link { target }),
    ]
}

/// A path, and what to make of it: nothing, to take it away.
fn edit() -> impl Strategy<Value = (PathBuf, Option<Thing>)> {
    let path = proptest::collection::vec("[abc]|a!", 1..4);
    let path = path.prop_map(|names| names.iter().collect());
    (path, proptest::option::weighted(0.7, any_thing()))
}

fn edited(mut things: Things, edits: Vec<(PathBuf, Option<Thing>)>) -> Things {
    for (path, thing) in edits {
        match thing {
            Some(thing) => put(&mut things, &path, thing),
            None => take(&mut things, &path),
        }
    }
    things
}

/// Base, current and new, which have much in common.
fn three() -> impl Strategy<Value = (Things, Things, Things)> {
    let edits = |most| proptest::collection::vec(edit(), 0..most);
    (edits(14), edits(5), edits(5)).prop_map(|(base, here, there)| {
        let base = edited(Things::new(), base);
        let current = edited(base.clone(), here);
        let new = edited(base.clone(), there);
        (base, current, new)
    })
}

/// What the rules say of one path: it is as here if it was changed here, or is below what was turned from a folder
/// into something else or removed here; it is as in the new image otherwise, unless something kept is below it.
fn expected(base: &Snapshot, current: &Snapshot, new: &Snapshot) -> Snapshot {
    let is_changed = |path: &Path| base.get(path) != current.get(path);
    let closed = |path: &Path| is_changed(path) && !current.get(path).is_some_and(Item::is_directory);
    let is_kept = |path: &Path| is_changed(path) && current.contains_key(path);
    let all: BTreeSet<&PathBuf> = [base, current, new]
        .into_iter()
        .flat_map(BTreeMap::keys)
        .collect();
    let mut merged = Snapshot::new();
    for path in &all {
        let is_local = is_changed(path) || path.ancestors().skip(1).any(closed);
        let is_way = all.iter().any(|other| other.starts_with(path) && is_kept(other));
        let item = match (is_local, new.get(*path)) {
            (true, _) => current.get(*path),
            (false, None) if is_way => current.get(*path),
            (false, item) => item,
        };
        merged.extend(item.map(|item| ((*path).clone(), item.clone())));
    }
    merged
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    #[test]
    fn plans_follow_the_rules((base, current, new) in three()) {
        let [base, current, new] = [&base, &current, &new].map(items);
        let plan = MergePlan::new(&base, &current, &new);
        if plan.conflicts.is_empty() {
            let changes = changes(&base, &current);
            let merged = merged(&changes, &current, &new);
            prop_assert_eq!(&merged, &expected(&base, &current, &new));
            for path in merged.keys() {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                let is_there = parent.is_none_or(|parent| merged.get(parent).is_some_and(Item::is_directory));
                prop_assert!(is_there, "{path:?} has no folder");
            }
            for path in &plan.shadowed {
                prop_assert!(base.get(path) != new.get(path) && merged.get(path) != new.get(path));
            }
        }
        let unchanged = MergePlan::new(&base, &base, &new);
        prop_assert!(unchanged.operations.is_empty() && unchanged.conflicts.is_empty());
        let same_image = MergePlan::new(&base, &current, &base);
        prop_assert!(same_image.conflicts.is_empty() && same_image.shadowed.is_empty());
        prop_assert_eq!(expected(&base, &current, &base), current);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn an_interrupted_merge_is_completed_by_another((base, current, new) in three()) {
        let [(_a, base), (_b, current)] = [&base, &current].map(folder);
        let operations = {
            let (_c, new) = folder(&new);
            plan(base.as_fd(), current.as_fd(), new.as_fd()).unwrap().operations.len()
        };
        for done in 0..=operations {
            let (directory, new) = folder(&new);
            let wanted = expected(&read(&base), &read(&current), &read(&new));
            let first = plan(base.as_fd(), current.as_fd(), new.as_fd()).unwrap();
            if !first.conflicts.is_empty() {
                return Ok(());
            }
            let merge = Merge { current: Folder::etc(current.as_fd()), new: Folder::etc(new.as_fd()) };
            for operation in &first.operations[..done] {
                merge.carry_out(operation).unwrap();
            }
            // A copy that was not complete.
            let copied = first.operations.get(done).and_then(|operation| match operation {
                Operation::Copy(path) => Some(path).filter(|path| !wanted[*path].is_directory()),
                Operation::Remove(_) => None,
            });
            if let Some(path) = copied {
                let parent = directory.path().join(path.parent().unwrap());
                fs::write(parent.join(".osmith-merge.tmp"), "half").unwrap();
            }
            let again = plan(base.as_fd(), current.as_fd(), new.as_fd()).unwrap();
            for plan in [&first, &again] {
                plan.apply(current.as_fd(), new.as_fd()).unwrap();
                prop_assert_eq!(&read(&new), &wanted);
            }
            let left = Folder::etc(new.as_fd()).walk(Path::new("")).unwrap();
            prop_assert_eq!(left.len(), wanted.len());
        }
    }
}

/// What is seen of a merge that was made as a layer over `new`.
fn merged_as_layer(base: &Things, current: &Things, new: &Things) -> Result<Snapshot> {
    let [(_a, base), (_b, current), (_c, new)] = [base, current, new].map(folder);
    let scratch = tempfile::tempdir().unwrap();
    let state = open_directory(scratch.path()).unwrap();
    let layer = writable::ensure_upper(&state, &new).unwrap();
    let plan = plan(base.as_fd(), current.as_fd(), new.as_fd())?;
    plan.apply_as_layer(current.as_fd(), new.as_fd(), layer.as_fd())?;
    let mounted = writable::over(Layer::Attached(new.as_fd()), &state, scratch.path()).unwrap();
    // Walking needs more than a place.
    let seen = open_beneath(&mounted, ".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    snapshot(seen.as_fd())
}

#[test]
fn a_merge_as_a_layer_hides_and_covers_what_is_below() {
    if !oracle::require_root("mounting") {
        return;
    }
    let base = things(&[
        ("a/gone", file("1")),
        ("a/kept", file("1")),
        ("folder/x", file("1")),
        ("file", file("1")),
        ("all/of/it", file("1")),
        (".updated", file("1")),
    ]);
    let mut current = base.clone();
    for path in ["a/gone", "all"] {
        take(&mut current, Path::new(path));
    }
    put(&mut current, Path::new("a/kept"), file("mine"));
    put(&mut current, Path::new("folder"), link("elsewhere"));
    put(&mut current, Path::new("file/x"), file("mine"));
    put(&mut current, Path::new("a"), Thing::Folder { mode: 0o700 });
    let mut new = base.clone();
    put(&mut new, Path::new("a/fresh"), file("2"));
    put(&mut new, Path::new("all/fresh"), file("2"));
    let seen = merged_as_layer(&base, &current, &new).unwrap();
    let mut expected = current.clone();
    put(&mut expected, Path::new("a/fresh"), file("2"));
    take(&mut expected, Path::new(".updated"));
    assert_eq!(seen, items(&expected));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn a_merge_as_a_layer_is_the_merge((base, current, new) in three()) {
        if !oracle::require_root("mounting") {
            return Ok(());
        }
        let [mut plain, mut layered] = [merge(&base, &current, &new).1, merged_as_layer(&base, &current, &new)];
        for answer in [&mut plain, &mut layered] {
            if let Err(EtcError::Conflicts(_)) = answer {
                *answer = Ok(Snapshot::new());
            }
        }
        prop_assert_eq!(layered.unwrap(), plain.unwrap());
    }
}
