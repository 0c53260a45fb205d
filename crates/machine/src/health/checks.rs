//! Which health checks and hooks a machine has.
//!
//! ```text
//! usr/lib/osmith/health.d/                       executables, in the order of their names
//! etc/osmith/health.d/                           the same; replaces one of the same name, a link to /dev/null masks it
//! {usr/lib,etc}/greenboot/check/required.d/      greenboot's: scripts (*.sh, run by bash) and executables
//! {usr/lib,etc}/greenboot/check/wanted.d/        the same; a failure is only warned of
//! {usr/lib,etc}/greenboot/{green,red}.d/         hooks: run after a machine was found healthy, or not
//! ```
//!
//! Source for the folders of greenboot: its documentation and its program. Not taken from it: its configuration file,
//! and its watchdog.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::HealthError;
use crate::drop_in;

/// A program that says by its exit status whether a machine is healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The name of its file.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Whether the machine is unhealthy if it fails.
    pub required: bool,
    /// Whether bash has to read it.
    pub is_script: bool,
}

/// What a machine has in the folders.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checks {
    /// In the order in which they are run.
    pub checks: Vec<Check>,
    /// Files in these folders that cannot be run.
    pub left_out: Vec<PathBuf>,
}

/// Hooks that are run after the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hooks {
    /// The machine is healthy.
    Green,
    /// It is not.
    Red,
}

/// The checks of the machine whose root directory is `root`.
pub fn find(root: &Path) -> Result<Checks, HealthError> {
    let mut found = Checks::default();
    let mut own = BTreeMap::new();
    for base in drop_in::BASES {
        for file in files(&root.join(base).join("osmith/health.d"))? {
            own.insert(file.name.clone(), file);
        }
    }
    for file in own.into_values() {
        found.add(file, true, false);
    }
    for (folder, required) in [("check/required.d", true), ("check/wanted.d", false)] {
        found.add_greenboot(root, folder, required)?;
    }
    Ok(found)
}

/// The hooks of the machine whose root directory is `root`.
pub(super) fn find_hooks(root: &Path, hooks: Hooks) -> Result<Checks, HealthError> {
    let mut found = Checks::default();
    let folder = match hooks {
        Hooks::Green => "green.d",
        Hooks::Red => "red.d",
    };
    found.add_greenboot(root, folder, false)?;
    Ok(found)
}

impl Checks {
    fn add_greenboot(&mut self, root: &Path, folder: &str, required: bool) -> Result<(), HealthError> {
        for base in drop_in::BASES {
            for file in files(&root.join(base).join("greenboot").join(folder))? {
                let is_script = file.name.ends_with(".sh");
                self.add(file, required, is_script);
            }
        }
        Ok(())
    }

    fn add(&mut self, file: Found, required: bool, is_script: bool) {
        match file.kind {
            Kind::Masked => {}
            Kind::Other if !is_script => self.left_out.push(file.path),
            _ => self.checks.push(Check {
                name: file.name,
                path: file.path,
                required,
                is_script,
            }),
        }
    }
}

struct Found {
    name: String,
    path: PathBuf,
    kind: Kind,
}

#[derive(PartialEq, Eq)]
enum Kind {
    Executable,
    Masked,
    Other,
}

/// The files of a folder by name, without hidden ones, what editors leave, and folders; there need be no folder.
fn files(folder: &Path) -> Result<Vec<Found>, HealthError> {
    let failed = |source| HealthError::Folder {
        path: folder.to_owned(),
        source,
    };
    let files = drop_in::files(folder).map_err(failed)?.into_iter();
    let files = files.filter(|(name, _)| !name.ends_with('~'));
    let found = files.map(|(name, path)| Found {
        kind: kind(&path),
        name,
        path,
    });
    Ok(found.collect())
}

fn kind(path: &Path) -> Kind {
    if fs::read_link(path).is_ok_and(|target| target == Path::new("/dev/null")) {
        return Kind::Masked;
    }
    match fs::metadata(path) {
        Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => Kind::Executable,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(root: &Path, path: &str, mode: u32) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn found(root: &Path, checks: &Checks) -> Vec<(String, bool)> {
        let checks = checks.checks.iter();
        let path = |check: &Check| check.path.strip_prefix(root).unwrap().display().to_string();
        checks.map(|check| (path(check), check.required)).collect()
    }

    #[test]
    fn own_checks_come_by_name_and_can_be_replaced_and_masked() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert_eq!(find(root).unwrap(), Checks::default());
        for path in [
            "usr/lib/osmith/health.d/10-units",
            "usr/lib/osmith/health.d/20-web",
            "usr/lib/osmith/health.d/30-unwanted",
            "etc/osmith/health.d/20-web",
            "etc/osmith/health.d/15-own",
            "etc/osmith/health.d/15-own~",
            "etc/osmith/health.d/.hidden",
            "etc/osmith/health.d/folder/x",
        ] {
            write(root, path, 0o755);
        }
        write(root, "etc/osmith/health.d/README", 0o644);
        symlink("/dev/null", root.join("etc/osmith/health.d/30-unwanted")).unwrap();
        let checks = find(root).unwrap();
        let expected = [
            "usr/lib/osmith/health.d/10-units",
            "etc/osmith/health.d/15-own",
            "etc/osmith/health.d/20-web",
        ];
        assert_eq!(found(root, &checks), expected.map(|path| (path.to_owned(), true)));
        assert_eq!(checks.left_out, [root.join("etc/osmith/health.d/README")]);
    }

    #[test]
    fn the_folders_of_greenboot_are_looked_into() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, "etc/greenboot/check/required.d/b.sh", 0o644);
        write(root, "etc/greenboot/check/required.d/program", 0o755);
        write(root, "etc/greenboot/check/required.d/notes", 0o644);
        write(root, "usr/lib/greenboot/check/required.d/b.sh", 0o755);
        write(root, "usr/lib/greenboot/check/wanted.d/a.sh", 0o755);
        write(root, "usr/lib/greenboot/green.d/g.sh", 0o755);
        write(root, "etc/greenboot/red.d/r.sh", 0o644);
        let checks = find(root).unwrap();
        let expected = [
            ("usr/lib/greenboot/check/required.d/b.sh", true),
            ("etc/greenboot/check/required.d/b.sh", true),
            ("etc/greenboot/check/required.d/program", true),
            ("usr/lib/greenboot/check/wanted.d/a.sh", false),
        ];
        assert_eq!(
            found(root, &checks),
            expected.map(|(path, required)| (path.to_owned(), required))
        );
        let scripts: Vec<_> = checks.checks.iter().map(|check| check.is_script).collect();
        assert_eq!(scripts, [true, true, false, true]);
        assert_eq!(checks.left_out.len(), 1);
        for (hooks, path) in [
            (Hooks::Green, "usr/lib/greenboot/green.d/g.sh"),
            (Hooks::Red, "etc/greenboot/red.d/r.sh"),
        ] {
            let hooks = find_hooks(root, hooks).unwrap();
            assert_eq!(found(root, &hooks), [(path.to_owned(), false)]);
        }
    }
}
