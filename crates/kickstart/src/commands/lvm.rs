//! Volume groups, logical volumes and arrays: typed, though osmith cannot make them yet.

use super::layout::{is_consistent, note_target, storage, target};
use super::natural;
use crate::arguments::Arguments;
use crate::model::{CacheMode, LogicalVolume, Raid, RaidLevel, VolumeGroup};
use crate::reading::Reading;

const NO_LVM: &str = "osmith cannot make logical volumes yet";
const NO_RAID: &str = "osmith cannot make arrays of disks yet";
const USE_PART: &str = "use part with mount points";
/// What a volume group's extents have unless it says otherwise.
const EXTENT_KIB: u64 = 4096;

pub(crate) fn volgroup(at: &Arguments<'_>, reading: &mut Reading) {
    let mut words = at.words.iter().map(|word| word.text.clone());
    let name = words.next().unwrap_or_default();
    let physical_volumes: Vec<_> = words.collect();
    let use_existing = at.has("--useexisting") || at.has("--noformat");
    if !use_existing && physical_volumes.is_empty() {
        let message = "volgroup needs the physical volumes it consists of";
        return reading.error(at, "", message, "write volgroup NAME pv.1 …");
    }
    if use_existing && !physical_volumes.is_empty() {
        let message = "a volume group that exists has its physical volumes";
        return reading.error(at, "", message, "take the volumes out, or --useexisting");
    }
    if at
        .integer("--reserved-percent")
        .is_some_and(|percent| !(1..=99).contains(&percent))
    {
        let message = "--reserved-percent is between 1 and 99";
        return reading.error(at, "--reserved-percent", message, "");
    }
    let extent_kib = match at.integer("--pesize") {
        None | Some(0) => EXTENT_KIB,
        Some(_) => natural(at, "--pesize", reading).unwrap_or(EXTENT_KIB),
    };
    if reading.is_used_again("volume group", &name) {
        let message = format!("there is a volume group {name} already");
        reading.warning(at, "", message, "give each its own name");
    }
    reading.unsupported(at, "", NO_LVM, USE_PART);
    let volume_group = VolumeGroup {
        position: at.position(),
        name,
        physical_volumes,
        extent_kib,
        reserved_mib: natural(at, "--reserved-space", reading),
        reserved_percent: natural(at, "--reserved-percent", reading),
        use_existing,
    };
    reading.kickstart.volume_groups.push(volume_group);
}

pub(crate) fn logvol(at: &Arguments<'_>, reading: &mut Reading) {
    if !is_consistent(at, reading) || !has_size(at, reading) || !is_consistent_pool(at, reading) {
        return;
    }
    if at.text("--fstype") == Some("btrfs") {
        let message = "the Btrfs file system is not supported";
        return reading.error(at, "--fstype", message, "write --fstype=xfs or --fstype=ext4");
    }
    let cache_mode = match at.text("--cachemode") {
        Some("writeback") => Some(CacheMode::Writeback),
        Some("writethrough") => Some(CacheMode::Writethrough),
        _ => None,
    };
    let Some(storage) = storage(at, reading) else {
        return;
    };
    let Some(target) = target(at, reading) else { return };
    note_target(&target, at, reading);
    let name = at.text("--name").unwrap_or_default().to_owned();
    let volume_group = at.text("--vgname").unwrap_or_default().to_owned();
    if reading.is_used_again("logical volume", &format!("{volume_group}/{name}")) {
        let message = format!("there is a logical volume {name} in {volume_group} already");
        reading.warning(at, "--name", message, "give each its own name");
    }
    reading.unsupported(at, "", NO_LVM, USE_PART);
    let volume = LogicalVolume {
        position: at.position(),
        target,
        volume_group,
        name,
        storage,
        percent: natural(at, "--percent", reading),
        use_existing: at.has("--useexisting"),
        thin_pool: at.has("--thinpool"),
        thin: at.has("--thin"),
        pool: at.filled("--poolname"),
        chunk_kib: natural(at, "--chunksize", reading),
        metadata_mib: natural(at, "--metadatasize", reading),
        profile: at.filled("--profile"),
        cache_mib: natural(at, "--cachesize", reading),
        cache_mode,
        cache_physical_volumes: at.list("--cachepvs"),
    };
    reading.kickstart.logical_volumes.push(volume);
}

/// Whether an option has a number other than 0, which counts as none.
fn is_set(at: &Arguments<'_>, option: &str) -> bool {
    at.integer(option).is_some_and(|number| number != 0)
}

fn has_size(at: &Arguments<'_>, reading: &mut Reading) -> bool {
    if at
        .integer("--percent")
        .is_some_and(|percent| !(0..=100).contains(&percent))
    {
        reading.error(at, "--percent", "--percent is between 0 and 100", "");
        return false;
    }
    if is_set(at, "--size") && is_set(at, "--percent") {
        let message = "--size and --percent exclude each other";
        reading.error(at, "--percent", message, "keep one of them");
        return false;
    }
    let is_sized = is_set(at, "--size")
        || is_set(at, "--percent")
        || ["--useexisting", "--noformat", "--recommended", "--hibernation"]
            .iter()
            .any(|option| at.has(option));
    if !is_sized {
        reading.error(
            at,
            "",
            "the logical volume has no size",
            "add --size=MIB or --percent=N",
        );
        return false;
    }
    if at.has("--resize") && !at.has("--useexisting") {
        let message = "--resize needs --useexisting";
        reading.error(at, "--resize", message, "only what exists gets another size");
        return false;
    }
    if at.has("--resize") && !is_set(at, "--size") {
        let message = "--resize needs --size";
        reading.error(at, "--resize", message, "say the new size in MiB");
        return false;
    }
    true
}

fn is_consistent_pool(at: &Arguments<'_>, reading: &mut Reading) -> bool {
    let mut refuse = |option: &str, message: &str, remedy: &str| {
        reading.error(at, option, message, remedy);
        false
    };
    if at.has("--thin") && at.has("--thinpool") {
        return refuse(
            "--thin",
            "--thin and --thinpool exclude each other",
            "a pool is not in a pool",
        );
    }
    if at.has("--thin") && at.filled("--poolname").is_none() {
        return refuse(
            "--thin",
            "--thin needs --poolname",
            "say in which pool the volume is",
        );
    }
    let pool_only = ["--chunksize", "--metadatasize"];
    if !at.has("--thinpool")
        && let Some(option) = pool_only.iter().find(|option| is_set(at, option))
    {
        return refuse(
            option,
            "--chunksize and --metadatasize are for pools",
            "add --thinpool",
        );
    }
    let has_volumes = !at.list("--cachepvs").is_empty();
    let has_size = is_set(at, "--cachesize");
    let has_mode = at.filled("--cachemode").is_some();
    if !has_volumes && (has_size || has_mode) {
        return refuse(
            "--cachesize",
            "a cache needs --cachepvs",
            "say which volumes it is on",
        );
    }
    if has_volumes && !has_size {
        return refuse("--cachepvs", "a cache needs --cachesize", "say its size in MiB");
    }
    if has_mode && !matches!(at.text("--cachemode"), Some("writeback" | "writethrough")) {
        return refuse(
            "--cachemode",
            "unknown mode of a cache",
            "write writeback or writethrough",
        );
    }
    true
}

pub(crate) fn raid(at: &Arguments<'_>, reading: &mut Reading) {
    let level = at.text("--level").and_then(level);
    if !is_consistent(at, reading) {
        return;
    }
    let members: Vec<_> = at.words.iter().skip(1).map(|word| word.text.clone()).collect();
    let use_existing = at.has("--useexisting") || at.has("--noformat");
    if use_existing && !members.is_empty() {
        let message = "an array that exists has its members";
        return reading.error(at, "", message, "take the members out, or --useexisting");
    }
    if !use_existing && members.is_empty() {
        let message = "raid needs the members it consists of";
        return reading.error(at, "", message, "write raid MOUNT-POINT raid.1 raid.2 …");
    }
    if !use_existing && level.is_none() {
        return reading.error(at, "", "raid needs --level", "write --level=1");
    }
    if at.text("--fstype") == Some("btrfs") && reading.dialect == crate::Dialect::Rhel9 {
        let message = "the Btrfs file system is not supported";
        return reading.error(at, "--fstype", message, "write --fstype=xfs or --fstype=ext4");
    }
    let Some(storage) = storage(at, reading) else {
        return;
    };
    let Some(target) = target(at, reading) else { return };
    note_target(&target, at, reading);
    let device = at.text("--device").unwrap_or_default();
    let device = device.strip_prefix("/dev/").unwrap_or(device).to_owned();
    if device.is_empty() {
        reading.unsupported(at, "--device", "the array has no name", "write --device=md0");
    }
    if reading.is_used_again("array", &device) {
        let message = format!("there is an array {device} already");
        reading.warning(at, "--device", message, "give each its own name");
    }
    reading.unsupported(at, "", NO_RAID, USE_PART);
    let raid = Raid {
        position: at.position(),
        target,
        device,
        level,
        members,
        spares: natural(at, "--spares", reading).unwrap_or(0),
        chunk_kib: natural(at, "--chunksize", reading),
        storage,
        use_existing,
    };
    reading.kickstart.raids.push(raid);
}

fn level(text: &str) -> Option<RaidLevel> {
    Some(match text.strip_prefix("raid").unwrap_or(text) {
        "0" => RaidLevel::Raid0,
        "1" => RaidLevel::Raid1,
        "4" => RaidLevel::Raid4,
        "5" => RaidLevel::Raid5,
        "6" => RaidLevel::Raid6,
        "10" => RaidLevel::Raid10,
        _ => return None,
    })
}
