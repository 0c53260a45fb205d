//! Which disk is installed onto. osmith takes a whole disk, and only one that the file clearly means: on another machine it
//! would be somebody's data.

use osmith_kickstart::{Clear, Clearpart, DiskChoice, Kickstart, Position};

use super::problems::Problems;
use crate::disks::{self, Disk, DiskContents, UNKNOWN_CONTENTS};

/// A disk that a command names.
struct Named<'a> {
    command: &'static str,
    name: &'a str,
    position: &'a Position,
}

/// The disk, if the file means one, and may have it.
pub(super) fn choose<'a>(
    kickstart: &Kickstart,
    disks: &'a [Disk],
    problems: &mut Problems,
) -> Option<&'a Disk> {
    let usable = usable(kickstart, disks, problems)?;
    let (demanded, cleared) = named(kickstart);
    let mut wanted = resolve(&demanded, &usable, disks, problems)?;
    if wanted.is_empty() {
        wanted = resolve(&cleared, &usable, disks, problems)?;
    }
    let place = place(kickstart);
    let chosen = match (wanted.as_slice(), usable.as_slice()) {
        ([one], _) | ([], [one]) => *one,
        ([], []) => {
            let message = "there is no disk to install onto";
            problems.refuse(place, message, disks::list(disks));
            return None;
        }
        ([], several) => {
            let message = format!(
                "{} disks could be installed onto, and nothing says which one",
                several.len()
            );
            let remedy = format!(
                "write ignoredisk --only-use=NAME; {}",
                disks::list(&several.iter().map(|disk| (*disk).clone()).collect::<Vec<_>>())
            );
            problems.refuse(place, message, remedy);
            return None;
        }
        (several, _) => {
            let names: Vec<_> = several.iter().map(|disk| disk.name.as_str()).collect();
            let message = format!(
                "partitions on several disks ({}): osmith installs onto one",
                names.join(", ")
            );
            problems.refuse(
                place,
                message,
                "name one disk everywhere; %post can set up the others",
            );
            return None;
        }
    };
    require_free(kickstart, chosen, problems)?;
    warn_of_others(kickstart, chosen, &usable, problems);
    Some(chosen)
}

/// Where problems with the choice are shown.
fn place(kickstart: &Kickstart) -> Option<&Position> {
    let clearpart = kickstart.clearpart.as_ref().map(|command| &command.position);
    let autopart = kickstart.autopart.as_ref().map(|command| &command.position);
    let part = kickstart.partitions.first().map(|command| &command.position);
    clearpart.or(autopart).or(part)
}

/// The disks that are not ignored. A name that is no disk's is a mistake: the wrong disk may be left.
fn usable<'a>(kickstart: &Kickstart, disks: &'a [Disk], problems: &mut Problems) -> Option<Vec<&'a Disk>> {
    let installable = disks.iter().filter(|disk| !disk.is_medium);
    let Some(command) = &kickstart.ignoredisk else {
        return Some(installable.collect());
    };
    let (names, is_only) = match &command.disks {
        DiskChoice::Only(names) => (names, true),
        DiskChoice::AllBut(names) => (names, false),
    };
    let mut all_known = true;
    for name in names {
        if !disks.iter().any(|disk| disk.is_called(name)) {
            let message = format!("disk \"{name}\" given in ignoredisk command does not exist");
            problems.refuse(Some(&command.position), message, disks::list(disks));
            all_known = false;
        }
    }
    let is_named = |disk: &&Disk| names.iter().any(|name| disk.is_called(name));
    all_known.then(|| installable.filter(|disk| is_named(disk) == is_only).collect())
}

/// What must be the disk, and what may be erased.
fn named(kickstart: &Kickstart) -> (Vec<Named<'_>>, Vec<Named<'_>>) {
    let parts = kickstart.partitions.iter().filter_map(|part| {
        Some(Named {
            command: "part",
            name: part.on_disk.as_deref()?,
            position: &part.position,
        })
    });
    let boot = kickstart.bootloader.iter().filter_map(|command| {
        Some(Named {
            command: "bootloader",
            name: command.boot_drive.as_deref()?,
            position: &command.position,
        })
    });
    let clear = kickstart.clearpart.iter().flat_map(|command| {
        command.drives.iter().map(|name| Named {
            command: "clearpart",
            name,
            position: &command.position,
        })
    });
    (parts.chain(boot).collect(), clear.collect())
}

/// The disks that are named, each once.
fn resolve<'a>(
    named: &[Named<'_>],
    usable: &[&'a Disk],
    disks: &[Disk],
    problems: &mut Problems,
) -> Option<Vec<&'a Disk>> {
    let mut found: Vec<&Disk> = Vec::new();
    let mut all_known = true;
    for Named {
        command,
        name,
        position,
    } in named
    {
        let meant: Vec<_> = usable.iter().filter(|disk| disk.is_called(name)).collect();
        if meant.is_empty() {
            let known = disks.iter().find(|disk| disk.is_called(name));
            let message = match known {
                Some(disk) if disk.is_medium => {
                    format!("disk \"{name}\" given in {command} command is the installation medium")
                }
                Some(_) => format!("disk \"{name}\" given in {command} command is ignored by ignoredisk"),
                None => format!("disk \"{name}\" given in {command} command does not exist"),
            };
            problems.refuse(Some(position), message, disks::list(disks));
            all_known = false;
        }
        for disk in meant {
            if !found.iter().any(|other| other.name == disk.name) {
                found.push(disk);
            }
        }
    }
    all_known.then_some(found)
}

/// Makes sure that the file gives up what is on the disk.
fn require_free(kickstart: &Kickstart, disk: &Disk, problems: &mut Problems) -> Option<()> {
    let clearpart = kickstart.clearpart.as_ref();
    let initialises = kickstart.zerombr.is_some() || clearpart.is_some_and(|command| command.initlabel);
    let place = place(kickstart);
    let name = &disk.name;
    let (message, remedy) = match disk.contents {
        DiskContents::Blank if initialises => return Some(()),
        DiskContents::Blank => (
            format!("disk {name} has no partition table"),
            "write zerombr, or clearpart --all --initlabel, so that it gets one",
        ),
        DiskContents::Table if clears_all(clearpart, disk) => return Some(()),
        DiskContents::Table => (
            format!(
                "disk {name} has partitions that are not cleared: {}",
                disk.partitions.join(", ")
            ),
            "osmith installs onto whole disks: write clearpart --all --initlabel to give up all that is on it",
        ),
        DiskContents::Other(what)
            if initialises && (what == UNKNOWN_CONTENTS || gives_up_all(clearpart, disk)) =>
        {
            return Some(());
        }
        DiskContents::Other(what) => {
            problems.refuse(
                place,
                format!("disk {name} is not empty: it has {what}"),
                "write clearpart --all --initlabel to give up all that is on it",
            );
            return None;
        }
    };
    problems.refuse(place, message, remedy);
    None
}

/// Whether the file gives up whatever is on the disk.
fn gives_up_all(clearpart: Option<&Clearpart>, disk: &Disk) -> bool {
    clearpart.is_some_and(|command| {
        let names = &command.drives;
        command.clear == Clear::All && (names.is_empty() || names.iter().any(|name| disk.is_called(name)))
    })
}

/// Whether the file gives up all partitions of the disk, one by one if need be.
fn clears_all(clearpart: Option<&Clearpart>, disk: &Disk) -> bool {
    let is_listed = |partition: &String| match clearpart.map(|command| &command.clear) {
        Some(Clear::List(names)) => names
            .iter()
            .any(|name| name.trim_start_matches("/dev/") == partition),
        _ => false,
    };
    gives_up_all(clearpart, disk) || disk.partitions.iter().all(is_listed)
}

/// Says of which disks Kickstart elsewhere would erase that they are left alone.
fn warn_of_others(kickstart: &Kickstart, chosen: &Disk, usable: &[&Disk], problems: &mut Problems) {
    let Some(command) = kickstart
        .clearpart
        .as_ref()
        .filter(|command| command.clear == Clear::All)
    else {
        return;
    };
    let is_meant =
        |disk: &Disk| command.drives.is_empty() || command.drives.iter().any(|name| disk.is_called(name));
    let others = usable
        .iter()
        .filter(|disk| disk.name != chosen.name && is_meant(disk));
    let others: Vec<_> = others
        .filter(|disk| disk.contents != DiskContents::Blank)
        .map(|disk| disk.name.as_str())
        .collect();
    if !others.is_empty() {
        let message = format!(
            "only {} is erased; {} stay as they are",
            chosen.name,
            others.join(", ")
        );
        problems.warn(
            Some(&command.position),
            message,
            "erase them in %pre if nothing may start from them",
        );
    }
}
