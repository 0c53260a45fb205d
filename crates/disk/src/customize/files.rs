//! Directories and files, as they are written out.

use osmith_config::{Configuration, Directory, File, FileContents, Owner};

use super::CustomizeError;
use super::accounts::Names;
use super::edit::{Attributes, Edit, split};

/// Makes the directories, then the files.
pub(super) fn apply(edit: &mut Edit, configuration: &Configuration) -> Result<(), CustomizeError> {
    if configuration.directories.is_empty() && configuration.files.is_empty() {
        return Ok(());
    }
    let names = Names::read(edit)?;
    for directory in &configuration.directories {
        make_directory(edit, directory, &names);
    }
    for file in &configuration.files {
        make_file(edit, file, &names);
    }
    Ok(())
}

fn make_directory(edit: &mut Edit, directory: &Directory, names: &Names) {
    let key = format!("{}.path", directory.key);
    let owner = (directory.user.as_ref(), directory.group.as_ref());
    let Some((uid, gid)) = owners(edit, &directory.key, owner, names) else {
        return;
    };
    let Some(real) = edit.place(&key, &directory.path, true) else {
        return;
    };
    let before = edit.attributes(&real);
    if before.is_some() && !edit.is_directory(&real) {
        edit.problem(
            &key,
            format!("'{}' is a file of the image", directory.path),
            "choose another path",
        );
        return;
    }
    if !directory.ensure_parents && !has_parent(edit, &key, &directory.path, &real) {
        return;
    }
    let before = before.unwrap_or(Attributes::of_root(0o755));
    let attributes = Attributes {
        uid: uid.unwrap_or(before.uid),
        gid: gid.unwrap_or(before.gid),
        mode: directory.mode.unwrap_or(before.mode),
    };
    edit.directory(&real, attributes);
    edit.set_attributes(&real, attributes);
}

fn make_file(edit: &mut Edit, file: &File, names: &Names) {
    let key = format!("{}.path", file.key);
    let Some((uid, gid)) = owners(edit, &file.key, (file.user.as_ref(), file.group.as_ref()), names) else {
        return;
    };
    // A link is replaced, not followed: what it leads to may be in memory only, as that of /etc/resolv.conf.
    let Some(real) = edit.place(&key, &file.path, false) else {
        return;
    };
    if edit.link_target(&real).is_none() && edit.is_directory(&real) {
        edit.problem(
            &key,
            format!("'{}' is a directory of the image", file.path),
            "choose another path",
        );
        return;
    }
    ensure_root_home(edit, &real);
    // Elsewhere no directories can be asked for, so those on the way are made.
    if file.path.starts_with("/etc/") && !has_parent(edit, &key, &file.path, &real) {
        return;
    }
    let attributes = Attributes {
        uid: uid.unwrap_or(0),
        gid: gid.unwrap_or(0),
        mode: file.mode.unwrap_or(0o644),
    };
    match &file.contents {
        FileContents::Bytes(bytes) => edit.write(&real, bytes, attributes),
        FileContents::Local(path) => {
            let key = format!("{}.uri", file.key);
            edit.problem(
                &key,
                format!("'{path}' was not read"),
                "write what is in it as data",
            );
        }
    }
}

/// The home of root need not be in the image.
fn ensure_root_home(edit: &mut Edit, real: &str) {
    const HOME: &str = "var/roothome";
    if real.strip_prefix(HOME).is_some_and(|rest| rest.starts_with('/')) {
        edit.directory(HOME, Attributes::of_root(0o700));
    }
}

fn has_parent(edit: &mut Edit, key: &str, path: &str, real: &str) -> bool {
    let (parent, _) = split(real);
    let is_there = edit.is_directory(parent);
    if !is_there {
        let (parent, _) = split(path);
        let reason = format!("the directory '{parent}' does not exist");
        let remedy = format!("make it with directories: path = \"{parent}\", ensure_parents = true");
        edit.problem(key, reason, remedy);
    }
    is_there
}

/// The numbers of both, where there is one; `None` if one has a name that nobody has.
fn owners(
    edit: &mut Edit,
    key: &str,
    (user, group): (Option<&Owner>, Option<&Owner>),
    names: &Names,
) -> Option<(Option<u32>, Option<u32>)> {
    let uid = owner(
        edit,
        &format!("{key}.user"),
        user,
        |name| names.uid(name),
        "account",
    )?;
    let gid = owner(
        edit,
        &format!("{key}.group"),
        group,
        |name| names.gid(name),
        "group",
    )?;
    Some((uid, gid))
}

fn owner(
    edit: &mut Edit,
    key: &str,
    owner: Option<&Owner>,
    id_of: impl Fn(&str) -> Option<u32>,
    kind: &str,
) -> Option<Option<u32>> {
    match owner {
        None => Some(None),
        Some(Owner::Id(id)) => Some(Some(*id)),
        Some(Owner::Name(name)) => {
            let id = id_of(name);
            if id.is_none() {
                let reason =
                    format!("there is no {kind} '{name}', neither in the image nor in the configuration");
                edit.problem(key, reason, "write another name, or a number");
            }
            id.map(Some)
        }
    }
}
