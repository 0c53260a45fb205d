//! Commands that compare a machine with its image.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::ExitCode;

use osmith_machine::check::{CheckError, CheckOptions, Damage, check, deployments};
use osmith_machine::drift::{Drift, EtcDrift, UsrDrift, drift as machine_drift, is_verity_required};
use osmith_machine::etc::{Change, ChangeKind, diff, etc_of_image, etc_of_machine};
use osmith_machine::machine::keeps_etc;
use osmith_machine::status::AccessMode;
use osmith_report::{Class, Event, Failure, Observer, Severity, printable};
use osmith_sys::file::open_directory;
use serde_json::{Value, json};

use super::images::{json_text, print};
use super::single_step;
use crate::args::{DriftArgs, EtcDiffArgs, FsckArgs, Global, ReportFormat};
use crate::failure::{CommandFailure, CommandResult};

const ROOT: &str = "/";
const PHYSICAL_ROOT: &str = "/sysroot";
const ETC_IS_TRANSIENT: &str = "/etc is kept in memory: the next start brings the image's back";
/// The exit status that tells a program of drift.
const DRIFT_FOUND: u8 = 3;

pub(crate) fn drift(args: &DriftArgs, observer: &dyn Observer) -> Result<ExitCode, Box<dyn Failure>> {
    let title = "compare this machine with its image".to_owned();
    let found = single_step(observer, title, |step| {
        Ok(machine_drift(Path::new(ROOT), args.deep, observer, step)?)
    })?;
    match args.format {
        ReportFormat::Json => print(&json_text(&drift_json(&found))?)?,
        ReportFormat::Text => print(&drift_text(&found, args.all))?,
    }
    Ok(match found.is_none() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(DRIFT_FOUND),
    })
}

/// Whether `osmith fsck` is about the machine.
pub(crate) fn is_machine_checked(args: &FsckArgs, global: &Global) -> bool {
    let is_machine = || Path::new(PHYSICAL_ROOT).join("composefs").is_dir();
    args.machine || (global.store.is_none() && is_machine())
}

/// Checks the repository of this machine.
pub(crate) fn fsck(observer: &dyn Observer) -> CommandResult {
    let damages = check_repository(observer)?;
    if damages.is_empty() {
        return print("Nothing is damaged\n");
    }
    print(&damage_lines(&damages))?;
    let failure = damaged(&damages).hint("'osmith fsck --repair' fetches what is damaged from the registry");
    Err(failure.into())
}

/// What is damaged of what the deployments of this machine need.
pub(super) fn check_repository(observer: &dyn Observer) -> Result<Vec<Damage>, Box<dyn Failure>> {
    let options = CheckOptions {
        verity_required: is_verity_required(Path::new(ROOT))?,
        deep: true,
    };
    let physical = open_directory(PHYSICAL_ROOT).map_err(CheckError::from)?;
    let all = deployments(physical.as_fd())?;
    let title = format!("check {PHYSICAL_ROOT}/composefs");
    let checked = single_step(observer, title, |step| {
        Ok(check(physical.as_fd(), &all, options, observer, step)?)
    })?;
    Ok(checked.damages)
}

/// That there is damage.
pub(super) fn damaged(damages: &[Damage]) -> CommandFailure {
    let what = match damages.len() {
        1 => "one object is".to_owned(),
        count => format!("{count} objects are"),
    };
    CommandFailure::new(
        Class::Corrupt,
        format!("{what} damaged in the repository '{PHYSICAL_ROOT}/composefs'"),
    )
}

pub(super) fn damage_lines(damages: &[Damage]) -> String {
    damages.iter().map(|damage| format!("{damage}\n")).collect()
}

/// The differences, a line each; those that are expected only if `all` are asked for.
fn drift_text(found: &Drift, all: bool) -> String {
    let mut text = String::new();
    if let Some(UsrDrift { overlay, changes }) = &found.usr {
        let access = match overlay.access_mode {
            AccessMode::ReadWrite => "can be written to",
            AccessMode::ReadOnly => "is covered",
        };
        text += &format!(
            "/usr {access} until the next start\n{}",
            change_lines("/usr", changes)
        );
    }
    for EtcDrift { change, expected_by } in &found.etc {
        let line = change_line("/etc", change);
        text += &match expected_by {
            None => format!("{line}\n"),
            Some(name) if all => format!("{line} [expected by {}]\n", printable(name)),
            Some(_) => continue,
        };
    }
    if found.etc_is_transient && !text.is_empty() {
        text += &format!("{ETC_IS_TRANSIENT}\n");
    }
    text += &damage_lines(&found.objects);
    let expected = found.etc.iter().filter(|drift| drift.expected_by.is_some());
    match (found.is_none(), expected.count()) {
        (true, 0) => "Nothing is different from the image\n".to_owned(),
        (true, count) if !all => {
            format!(
                "Nothing is different from the image but what is expected: {}\n",
                counted(count)
            )
        }
        (false, count) if !all && count > 0 => text + &format!("Expected: {}\n", counted(count)),
        _ => text,
    }
}

/// How many changes are not shown.
fn counted(changes: usize) -> String {
    match changes {
        1 => "1 change; --all shows it".to_owned(),
        _ => format!("{changes} changes; --all shows them"),
    }
}

fn drift_json(found: &Drift) -> Value {
    let usr = found.usr.as_ref().map(|usr| {
        json!({
            "accessMode": usr.overlay.access_mode,
            "persistence": usr.overlay.persistence,
            "changes": changes_json("/usr", &usr.changes),
        })
    });
    let objects = found.objects.iter().map(|damage| {
        json!({
            "digest": damage.digest.to_string(),
            "reason": damage.reason.to_string(),
            "path": damage.path,
        })
    });
    let etc = found.etc.iter().map(|drift| {
        let mut value = change_json("/etc", &drift.change);
        value["expected"] = drift.expected_by.is_some().into();
        if let Some(name) = &drift.expected_by {
            value["expectedBy"] = json!(name);
        }
        value
    });
    json!({
        "deployment": found.deployment.to_string(),
        "drift": !found.is_none(),
        "usr": usr,
        "etc": etc.collect::<Vec<_>>(),
        "etcTransient": found.etc_is_transient,
        "objects": objects.collect::<Vec<_>>(),
    })
}

pub(crate) fn etc_diff(args: &EtcDiffArgs, observer: &dyn Observer) -> CommandResult {
    let (base, current) = (etc_of_image(Path::new(ROOT))?, etc_of_machine(Path::new(ROOT))?);
    let changes = diff(base.as_fd(), current.as_fd())?;
    if !keeps_etc(Path::new(ROOT))? {
        observer.observe(Event::Message {
            severity: Severity::Note,
            text: ETC_IS_TRANSIENT.to_owned(),
        });
    }
    match args.format {
        ReportFormat::Json => print(&json_text(&changes_json("/etc", &changes))?),
        ReportFormat::Text if changes.is_empty() => print("Nothing in /etc was changed\n"),
        ReportFormat::Text => print(&change_lines("/etc", &changes)),
    }
}

/// A line a change, below `folder`.
fn change_lines(folder: &str, changes: &[Change]) -> String {
    let lines = changes.iter().map(|change| change_line(folder, change) + "\n");
    lines.collect()
}

fn change_line(folder: &str, change: &Change) -> String {
    let letter = match change.change {
        ChangeKind::Added => 'A',
        ChangeKind::Modified => 'M',
        ChangeKind::Removed => 'D',
    };
    let aspects: Vec<_> = change.aspects.iter().map(|aspect| aspect.name()).collect();
    let aspects = match aspects.is_empty() {
        true => String::new(),
        false => format!(" ({})", aspects.join(", ")),
    };
    format!("{letter} {}{aspects}", printable(&path(folder, change)))
}

fn changes_json(folder: &str, changes: &[Change]) -> Value {
    changes.iter().map(|change| change_json(folder, change)).collect()
}

fn change_json(folder: &str, change: &Change) -> Value {
    let mut value = json!({ "path": path(folder, change), "change": change.change });
    if !change.aspects.is_empty() {
        value["aspects"] = json!(change.aspects);
    }
    value
}

fn path(folder: &str, change: &Change) -> String {
    format!("{folder}/{}", change.path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use osmith_formats::verity::Digest;
    use osmith_machine::check::DamageReason;
    use osmith_machine::etc::Aspect;
    use osmith_machine::status::{Persistence, UsrOverlay};

    fn changes() -> Vec<Change> {
        let change = |path: &str, change, aspects: &[Aspect]| Change {
            path: path.into(),
            change,
            aspects: aspects.to_vec(),
        };
        vec![
            change("new\n\x1b[2Jname", ChangeKind::Added, &[]),
            change(
                "ssh/config",
                ChangeKind::Modified,
                &[Aspect::Content, Aspect::Mode],
            ),
            change("gone", ChangeKind::Removed, &[]),
        ]
    }

    #[test]
    fn changes_are_lines_and_values() {
        let changes = changes();
        assert_eq!(
            change_lines("/etc", &changes),
            "A /etc/new\\n\\u{1b}[2Jname\nM /etc/ssh/config (content, mode)\nD /etc/gone\n"
        );
        assert_eq!(
            change_json("/etc", &changes[1]),
            json!({"path": "/etc/ssh/config", "change": "modified", "aspects": ["content", "mode"]})
        );
    }

    fn etc(expected_by: Option<&str>) -> Vec<EtcDrift> {
        let changes = changes().split_off(2).into_iter().map(|change| EtcDrift {
            change,
            expected_by: expected_by.map(str::to_owned),
        });
        changes.collect()
    }

    #[test]
    fn what_is_expected_is_counted_and_shown_if_asked_for() {
        let mut found = Drift {
            deployment: Digest::of(b"x"),
            usr: None,
            etc: etc(Some("10-image.conf")),
            etc_is_transient: false,
            objects: Vec::new(),
        };
        assert_eq!(
            drift_text(&found, false),
            "Nothing is different from the image but what is expected: 1 change; --all shows it\n"
        );
        let line = "D /etc/gone [expected by 10-image.conf]\n";
        assert_eq!(drift_text(&found, true), line);
        let json = drift_json(&found);
        assert_eq!(json["drift"], false);
        let expected = json!([{"path": "/etc/gone", "change": "removed", "expected": true, "expectedBy": "10-image.conf"}]);
        assert_eq!(json["etc"], expected);
        found.etc.extend(etc(Some("20-own.conf")));
        found.etc.extend(etc(None));
        assert_eq!(
            drift_text(&found, false),
            "D /etc/gone\nExpected: 2 changes; --all shows them\n"
        );
        assert_eq!(drift_text(&found, true).lines().count(), 3);
        assert_eq!(drift_json(&found)["drift"], true);
    }

    #[test]
    fn drift_is_told_in_full() {
        let digest = Digest::of(b"x");
        let nothing = Drift {
            deployment: digest,
            usr: None,
            etc: Vec::new(),
            etc_is_transient: false,
            objects: Vec::new(),
        };
        assert_eq!(
            drift_text(&nothing, false),
            "Nothing is different from the image\n"
        );
        assert_eq!(drift_json(&nothing)["drift"], false);
        let all = Drift {
            deployment: digest,
            usr: Some(UsrDrift {
                overlay: UsrOverlay {
                    access_mode: AccessMode::ReadWrite,
                    persistence: Persistence::Transient,
                },
                changes: changes().split_off(2),
            }),
            etc: etc(None),
            etc_is_transient: true,
            objects: vec![Damage {
                digest,
                reason: DamageReason::Missing,
                deployments: vec![digest],
                path: Some("/usr/file".into()),
            }],
        };
        let expected = format!(
            "/usr can be written to until the next start\nD /usr/gone\nD /etc/gone\n\
             /etc is kept in memory: the next start brings the image's back\n\
             object {digest} is missing; needed by deployment {digest}; its file /usr/file\n"
        );
        assert_eq!(drift_text(&all, false), expected);
        let expected = json!({
            "deployment": digest.to_string(),
            "drift": true,
            "usr": {
                "accessMode": "readWrite",
                "persistence": "transient",
                "changes": [{"path": "/usr/gone", "change": "removed"}],
            },
            "etc": [{"path": "/etc/gone", "change": "removed", "expected": false}],
            "etcTransient": true,
            "objects": [{"digest": digest.to_string(), "reason": "is missing", "path": "/usr/file"}],
        });
        assert_eq!(drift_json(&all), expected);
    }
}
