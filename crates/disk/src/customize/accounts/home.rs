//! Where accounts live, and the keys with which they are let in.

use super::super::CustomizeError;
use super::super::edit::{Attributes, Edit};

/// An account that lives somewhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resident<'a> {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// As `/etc/passwd` has it.
    pub(super) home: &'a str,
}

/// Makes a home with what is in the skeleton, if there is none; its real path, or `None` after a problem.
pub(super) fn ensure(
    edit: &mut Edit,
    key: &str,
    resident: &Resident,
    mode: u16,
    skeleton: &str,
) -> Option<String> {
    let real = edit.place(key, resident.home, true)?;
    if edit.exists(&real) {
        if !edit.is_directory(&real) {
            let reason = format!("the home '{}' is no directory", resident.home);
            edit.problem(key, reason, "choose another home");
            return None;
        }
        return Some(real);
    }
    let (uid, gid) = (resident.uid, resident.gid);
    edit.directory(&real, Attributes { uid, gid, mode });
    if uid != 0 {
        edit.copy_for(skeleton, &real, (uid, gid));
    }
    Some(real)
}

/// Adds the lines that are not there to the keys of an account whose home is there.
pub(super) fn add_keys(
    edit: &mut Edit,
    key: &str,
    resident: &Resident,
    lines: &[String],
) -> Result<(), CustomizeError> {
    let owned = |mode| Attributes {
        uid: resident.uid,
        gid: resident.gid,
        mode,
    };
    let folder = format!("{}/.ssh", resident.home.trim_end_matches('/'));
    let Some(real_folder) = edit.place(key, &folder, true) else {
        return Ok(());
    };
    edit.directory(&real_folder, owned(0o700));
    if !edit.is_directory(&real_folder) {
        edit.problem(key, format!("'{folder}' is no directory"), "choose another home");
        return Ok(());
    }
    let path = format!("{folder}/authorized_keys");
    let Some(real) = edit.place(key, &path, true) else {
        return Ok(());
    };
    let mut text = edit.text(&real)?.unwrap_or_default();
    for line in lines {
        if !text.lines().any(|other| other.trim() == line) {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(line);
            text.push('\n');
        }
    }
    edit.write(&real, text.as_bytes(), owned(0o600));
    Ok(())
}
