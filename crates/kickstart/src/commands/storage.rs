//! Disks as a whole, and the boot loader.

use super::layout::encryption;
use super::natural;
use crate::arguments::Arguments;
use crate::model::{
    Autopart, AutopartScheme, BootLocation, Bootloader, Clear, Clearpart, DiskChoice, Ignoredisk, Password,
    Reqpart, Zerombr,
};
use crate::reading::Reading;

pub(crate) fn zerombr(at: &Arguments<'_>, reading: &mut Reading) {
    reading.kickstart.zerombr = Some(Zerombr {
        position: at.position(),
    });
}

pub(crate) fn clearpart(at: &Arguments<'_>, reading: &mut Reading) {
    let kinds = ["--all", "--linux", "--none", "--list"];
    let clear = match at.last_of(&kinds) {
        Some("--all") => Clear::All,
        Some("--linux") => Clear::Linux,
        Some("--list") => Clear::List(at.list("--list")),
        _ => Clear::None,
    };
    let given: Vec<_> = kinds.into_iter().filter(|kind| at.has(kind)).collect();
    if let [first, second, ..] = given.as_slice() {
        let message = format!("{first} and {second} contradict each other");
        reading.unsupported(at, second, message, "keep one of them");
    }
    for option in ["--list", "--drives"] {
        if at.has(option) && at.list(option).is_empty() {
            let message = format!("{option} names nothing");
            reading.unsupported(at, option, message, "name what is meant, or leave the option out");
        }
    }
    let disklabel = at.filled("--disklabel");
    if at.has("--disklabel") && !matches!(disklabel.as_deref(), Some("gpt" | "msdos")) {
        let label = at.text("--disklabel").unwrap_or_default();
        let message = format!("osmith writes no disk label '{label}'");
        reading.unsupported(at, "--disklabel", message, "write gpt or msdos");
    }
    if at.has("--cdl") {
        reading.warning(at, "--cdl", "--cdl is ignored: it is for disks of mainframes", "");
    }
    reading.kickstart.clearpart = Some(Clearpart {
        position: at.position(),
        clear,
        drives: at.list("--drives"),
        initlabel: at.has("--initlabel"),
        disklabel,
        cdl: at.has("--cdl"),
    });
}

pub(crate) fn ignoredisk(at: &Arguments<'_>, reading: &mut Reading) {
    let disks = match (at.list("--drives"), at.list("--only-use")) {
        (drives, only) if drives.is_empty() == only.is_empty() => {
            let message = "ignoredisk needs either --drives or --only-use with names of disks";
            return reading.error(at, "", message, "write one of them");
        }
        (drives, only) if only.is_empty() => DiskChoice::AllBut(drives),
        (_, only) => DiskChoice::Only(only),
    };
    reading.kickstart.ignoredisk = Some(Ignoredisk {
        position: at.position(),
        disks,
    });
}

pub(crate) fn autopart(at: &Arguments<'_>, reading: &mut Reading) {
    let named = at.text("--type").and_then(scheme);
    let scheme = match at.last_of(&["--type", "--nolvm"]) {
        Some("--nolvm") => Some(AutopartScheme::Plain),
        _ => named,
    };
    let is_btrfs = scheme == Some(AutopartScheme::Btrfs);
    if is_btrfs || at.text("--fstype") == Some("btrfs") {
        let option = if is_btrfs { "--type" } else { "--fstype" };
        let message = "the Btrfs file system is not supported";
        return reading.error(at, option, message, "write --type=plain --fstype=xfs");
    }
    if at.has("--noswap") && at.has("--hibernation") {
        let message = "without swap space there is no hibernation";
        return reading.error(at, "--hibernation", message, "take --noswap out");
    }
    if matches!(scheme, Some(AutopartScheme::Lvm | AutopartScheme::ThinLvm)) {
        reading.unsupported(
            at,
            "--type",
            "osmith cannot make logical volumes yet",
            "write --type=plain",
        );
    }
    let Some(encryption) = encryption(at, reading) else {
        return;
    };
    super::layout::note_file_system(at, reading);
    reading.kickstart.autopart = Some(Autopart {
        position: at.position(),
        scheme,
        fstype: at.filled("--fstype"),
        nohome: at.has("--nohome"),
        noswap: at.has("--noswap"),
        noboot: at.has("--noboot"),
        hibernation: at.has("--hibernation"),
        encryption,
    });
}

fn scheme(text: &str) -> Option<AutopartScheme> {
    Some(match text {
        "lvm" => AutopartScheme::Lvm,
        "plain" | "partition" => AutopartScheme::Plain,
        "thinp" => AutopartScheme::ThinLvm,
        "btrfs" => AutopartScheme::Btrfs,
        _ => return None,
    })
}

pub(crate) fn reqpart(at: &Arguments<'_>, reading: &mut Reading) {
    reading.kickstart.reqpart = Some(Reqpart {
        position: at.position(),
        add_boot: at.has("--add-boot"),
    });
}

pub(crate) fn bootloader(at: &Arguments<'_>, reading: &mut Reading) {
    if at.text("--boot-drive").is_some_and(|drive| drive.contains(',')) {
        let message = "--boot-drive takes one disk";
        return reading.error(
            at,
            "--boot-drive",
            message,
            "name the disk that the machine starts from",
        );
    }
    if at.has("--sdboot") && at.has("--extlinux") {
        let message = "--sdboot and --extlinux are two boot loaders";
        return reading.error(at, "--extlinux", message, "take --extlinux out");
    }
    let location = at.text("--location").map(|text| match text {
        "partition" => BootLocation::Partition,
        "none" => BootLocation::None,
        _ => BootLocation::Mbr,
    });
    if location == Some(BootLocation::Partition) {
        let message = "a boot loader that another one starts is not installed";
        reading.unsupported(at, "--location", message, "leave --location out");
    }
    if at.has("--extlinux") {
        reading.unsupported(
            at,
            "--extlinux",
            "the image's own boot loader is installed",
            "leave --extlinux out",
        );
    }
    let password = password(at, reading);
    for option in ["--timeout", "--default", "--nombr"] {
        if at.has(option) {
            let message = format!("{option} is ignored: the image says how its boot menu behaves");
            reading.warning(at, option, message, "");
        }
    }
    reading.kickstart.bootloader = Some(Bootloader {
        position: at.position(),
        append: at.filled("--append"),
        boot_drive: at.filled("--boot-drive"),
        drive_order: at.list("--driveorder"),
        location,
        leave_boot_order: at.has("--leavebootorder"),
        disabled: at.has("--disabled"),
        timeout_seconds: natural(at, "--timeout", reading),
        password,
        default: at.filled("--default"),
        extlinux: at.has("--extlinux"),
        nombr: at.has("--nombr"),
        sdboot: at.has("--sdboot"),
    });
}

fn password(at: &Arguments<'_>, reading: &mut Reading) -> Option<Password> {
    let option = at.last_of(&["--password", "--md5pass"])?;
    reading.unsupported(
        at,
        option,
        "osmith cannot protect the boot menu with a password",
        "do it in the image's Containerfile",
    );
    let text = at.filled(option)?;
    Some(match option == "--md5pass" || at.has("--iscrypted") {
        true => Password::Hashed(text),
        false => Password::Plain(text),
    })
}
