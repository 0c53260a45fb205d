//! Requests for space: what partitions, logical volumes and arrays have in common, and `part` and `mount`.

use super::{natural, positive};
use crate::arguments::{Arguments, WORD};
use crate::model::{Encryption, Mount, Partition, Reformat, Storage, Target};
use crate::reading::Reading;

/// The file systems that osmith makes, and what else a request may be.
const FILE_SYSTEMS: [&str; 8] = [
    "ext4", "vfat", "efi", "swap", "biosboot", "prepboot", "lvmpv", "mdmember",
];
/// Those that others have where the boot loader reads: it becomes FAT, whatever is said.
const OF_BOOT: [&str; 3] = ["ext2", "ext3", "xfs"];

pub(crate) fn part(at: &Arguments<'_>, reading: &mut Reading) {
    if !is_consistent(at, reading) {
        return;
    }
    let word = at.word().unwrap_or_default();
    if word.starts_with("btrfs.") || at.text("--fstype") == Some("btrfs") {
        let option = if word.starts_with("btrfs.") {
            ""
        } else {
            "--fstype"
        };
        let message = "the Btrfs file system is not supported";
        return reading.error(at, option, message, "write --fstype=xfs or --fstype=ext4");
    }
    if at.has("--resize") && !at.has("--onpart") {
        return reading.error(
            at,
            "--resize",
            "--resize needs --onpart",
            "say which partition gets another size",
        );
    }
    if at.has("--resize") && at.integer("--size").is_none_or(|size| size == 0) {
        return reading.error(at, "--resize", "--resize needs --size", "say the new size in MiB");
    }
    if at.text("--fstype") == Some("tmpfs")
        && (at.has("--grow") || at.integer("--maxsize").is_some_and(|size| size != 0))
    {
        let message = "a file system in memory has no --grow and no --maxsize";
        return reading.error(at, "--fstype", message, "write --size");
    }
    let on_partition = at
        .filled("--onpart")
        .map(|name| name.strip_prefix("/dev/").unwrap_or(&name).to_owned());
    if at.has("--noformat") && on_partition.is_none() {
        let message = "--noformat without --onpart: a new partition must be formatted";
        reading.unsupported(
            at,
            "--noformat",
            message,
            "add --onpart=PARTITION, or take it out",
        );
    }
    let Some(storage) = storage(at, reading) else {
        return;
    };
    let Some(target) = target(at, reading) else { return };
    note_target(&target, at, reading);
    reading.kickstart.partitions.push(Partition {
        position: at.position(),
        target,
        storage,
        on_disk: at.filled("--ondisk"),
        on_partition,
        on_bios_disk: at.filled("--onbiosdisk"),
        as_primary: at.has("--asprimary"),
    });
}

pub(crate) fn mount(at: &Arguments<'_>, reading: &mut Reading) {
    let mut words = at.words.iter().map(|word| word.text.as_str());
    let device = words.next().unwrap_or_default().to_owned();
    let place = words.next().unwrap_or_default();
    let is_nowhere = place.eq_ignore_ascii_case("none");
    if !is_nowhere && !place.starts_with('/') {
        let message = format!("'{place}' is no mount point");
        return reading.error(at, "", message, "write an absolute path, or none");
    }
    if at.filled("--mkfsoptions").is_some() && !at.has("--reformat") {
        let message = "--mkfsoptions needs --reformat";
        return reading.error(at, "--mkfsoptions", message, "add --reformat, or take it out");
    }
    let reformat = match (at.has("--reformat"), at.filled("--reformat")) {
        (false, _) => Reformat::No,
        (true, None) => Reformat::Same,
        (true, Some(kind)) => {
            note_known_file_system(&kind, "--reformat", at, reading);
            Reformat::As(kind)
        }
    };
    if device.is_empty() {
        reading.unsupported(at, "", "the device has no name", "name a device");
    }
    let mount_point = match is_nowhere {
        true => None,
        false => normalised(place).inspect(|path| {
            note_target(&Target::Path(path.clone()), at, reading);
        }),
    };
    if !is_nowhere && mount_point.is_none() {
        let message = format!("'{place}' is no mount point");
        reading.unsupported(at, "", message, "write a path without '.' and '..'");
    }
    if reading.is_used_again("mount", &device) {
        reading.warning(
            at,
            "",
            format!("there is a mount of {device} already"),
            "keep one of them",
        );
    }
    let message = "osmith installs onto whole disks: no file system that is there is kept";
    reading.unsupported(at, "", message, "write part, which makes a new one");
    reading.kickstart.mounts.push(Mount {
        position: at.position(),
        device,
        mount_point,
        reformat,
        mkfs_options: at.filled("--mkfsoptions"),
        mount_options: at.filled("--mountoptions"),
    });
}

/// Checks what holds for every request with a file system.
pub(super) fn is_consistent(at: &Arguments<'_>, reading: &mut Reading) -> bool {
    if at.filled("--mkfsoptions").is_none() {
        return true;
    }
    if at.filled("--fsprofile").is_some() {
        let message = "--mkfsoptions and --fsprofile exclude each other";
        reading.error(at, "--mkfsoptions", message, "keep one of them");
        return false;
    }
    if at.has("--noformat") {
        let message = "--mkfsoptions with --noformat: nothing is formatted";
        reading.error(at, "--mkfsoptions", message, "keep one of them");
        return false;
    }
    true
}

/// Sizes and contents of a request; `None` if they contradict each other.
pub(super) fn storage(at: &Arguments<'_>, reading: &mut Reading) -> Option<Storage> {
    note_file_system(at, reading);
    let encryption = encryption(at, reading)?;
    let size_mib = positive(at, "--size", reading);
    let max_size_mib = positive(at, "--maxsize", reading);
    if let (Some(size), Some(max)) = (size_mib, max_size_mib)
        && size > max
    {
        let message = format!("--maxsize={max} is less than --size={size}");
        reading.unsupported(at, "--maxsize", message, "make it larger, or take it out");
    }
    Some(Storage {
        size_mib,
        grow: at.has("--grow"),
        max_size_mib,
        recommended: at.has("--recommended"),
        hibernation: at.has("--hibernation"),
        fstype: at.filled("--fstype"),
        label: at.filled("--label"),
        mount_options: at.filled("--fsoptions"),
        mkfs_options: at.filled("--mkfsoptions"),
        fs_profile: at.filled("--fsprofile"),
        noformat: at.has("--noformat"),
        resize: at.has("--resize"),
        encryption,
    })
}

/// Notes a file system that nobody knows.
pub(super) fn note_file_system(at: &Arguments<'_>, reading: &mut Reading) {
    if let Some(kind) = at.text("--fstype") {
        let kind = kind.to_owned();
        note_known_file_system(&kind, "--fstype", at, reading);
    }
}

fn note_known_file_system(kind: &str, option: &str, at: &Arguments<'_>, reading: &mut Reading) {
    let place = at.words.first().map(|word| word.text.as_str());
    let is_of_boot = place.is_some_and(|path| path.starts_with("/boot")) && OF_BOOT.contains(&kind);
    if !FILE_SYSTEMS.contains(&kind) && !is_of_boot {
        let message = format!("osmith makes no file system '{kind}'");
        reading.unsupported(at, option, message, "write ext4, or take the option out");
    }
}

/// The options of encryption; `None` if they contradict each other, and nothing in it if there is no encryption.
pub(super) fn encryption(at: &Arguments<'_>, reading: &mut Reading) -> Option<Option<Encryption>> {
    let is_set = |option: &str| at.integer(option).is_some_and(|number| number != 0);
    if is_set("--pbkdf-time") && is_set("--pbkdf-iterations") {
        let message = "--pbkdf-time and --pbkdf-iterations exclude each other";
        reading.error(at, "--pbkdf-iterations", message, "keep one of them");
        return None;
    }
    if at.has("--escrowcert") {
        let message = "osmith keeps no passphrases for others";
        reading.unsupported(at, "--escrowcert", message, "leave --escrowcert out");
    }
    if !at.has("--encrypted") {
        if at.has("--passphrase") {
            let message = "--passphrase without --encrypted: nothing is encrypted";
            reading.warning(at, "--passphrase", message, "take it out");
        }
        return Some(None);
    }
    reading.unsupported(
        at,
        "--encrypted",
        "osmith cannot encrypt disks yet",
        "leave --encrypted out",
    );
    let encryption = Encryption {
        passphrase: at.secret("--passphrase"),
        luks_version: at.filled("--luks-version"),
        cipher: at.filled("--cipher"),
        pbkdf: at.filled("--pbkdf"),
        pbkdf_memory_kib: natural(at, "--pbkdf-memory", reading),
        pbkdf_time_ms: natural(at, "--pbkdf-time", reading),
        pbkdf_iterations: natural(at, "--pbkdf-iterations", reading),
        escrowcert: at.filled("--escrowcert"),
        backuppassphrase: at.has("--backuppassphrase"),
    };
    if encryption.passphrase.is_some() {
        reading.is_used_again("passphrase", "");
    } else if !reading.is_used("passphrase", "") {
        let message = "no passphrase is known, and nobody is there to type one";
        reading.unsupported(at, "--encrypted", message, "add --passphrase=…");
    }
    for (option, value, known) in [
        ("--luks-version", &encryption.luks_version, ["luks1", "luks2", ""]),
        ("--pbkdf", &encryption.pbkdf, ["pbkdf2", "argon2i", "argon2id"]),
    ] {
        if let Some(value) = value
            && !known.contains(&value.as_str())
        {
            let message = format!("{option}: '{value}' is not known");
            reading.unsupported(at, option, message, "leave it out");
        }
    }
    Some(Some(encryption))
}

/// What a request is for; nonsense is noted.
pub(super) fn target(at: &Arguments<'_>, reading: &mut Reading) -> Option<Target> {
    let word = at.word().unwrap_or_default();
    let target = match word {
        "swap" => Target::Swap,
        "biosboot" => Target::BiosBoot,
        "prepboot" => Target::PrepBoot,
        _ if word.eq_ignore_ascii_case("none") => Target::Nothing,
        _ if is_member(word, "pv.") => Target::PhysicalVolume(word.to_owned()),
        _ if is_member(word, "raid.") => Target::RaidMember(word.to_owned()),
        _ if is_member(word, "btrfs.") => Target::BtrfsMember(word.to_owned()),
        _ => match normalised(word) {
            Some(path) => Target::Path(path),
            None => {
                let message = format!("'{word}' is no mount point");
                let remedy = "write an absolute path, swap, pv.N, raid.N, biosboot, prepboot or none";
                reading.unsupported(at, WORD, message, remedy);
                return None;
            }
        },
    };
    Some(target)
}

/// Whether a word is the prefix and something more.
fn is_member(word: &str, prefix: &str) -> bool {
    word.strip_prefix(prefix).is_some_and(|name| !name.is_empty())
}

/// An absolute path without doubled and final slashes; `None` for others, and for one with `.` or `..` in it.
fn normalised(path: &str) -> Option<String> {
    if !path.starts_with('/') || path.chars().any(char::is_control) {
        return None;
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| matches!(*part, "." | "..")) {
        return None;
    }
    Some(format!("/{}", parts.join("/")))
}

/// Notes what two requests cannot both be for.
pub(super) fn note_target(target: &Target, at: &Arguments<'_>, reading: &mut Reading) {
    match target {
        Target::Path(path) => {
            if reading.is_used_again("path", path) {
                let message = format!("there is a request for {path} already");
                reading.unsupported(at, WORD, message, "keep one of them");
            }
        }
        Target::PhysicalVolume(name) | Target::RaidMember(name) | Target::BtrfsMember(name) => {
            if reading.is_used_again("member", name) {
                let message = format!("there is a request for {name} already");
                reading.unsupported(at, WORD, message, "give each its own name");
            }
            if matches!(target, Target::PhysicalVolume(_)) {
                let message = "osmith cannot make logical volumes yet";
                reading.unsupported(at, WORD, message, "use part with mount points");
            } else {
                let message = "osmith cannot make arrays of disks yet";
                reading.unsupported(
                    at,
                    WORD,
                    message,
                    "use part with mount points, or RAID in hardware",
                );
            }
        }
        Target::Swap | Target::BiosBoot | Target::PrepBoot | Target::Nothing => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_normalised() {
        for (path, expected) in [
            ("/", Some("/")),
            ("//boot", Some("/boot")),
            ("/var//log/", Some("/var/log")),
            ("boot", None),
            ("/a/../b", None),
            ("", None),
        ] {
            assert_eq!(normalised(path).as_deref(), expected, "{path}");
        }
    }
}
