//! File systems and partitions.

use super::rules::{absolute_path, guid, is_below};
use super::{Fields, Seen, Text};
use crate::model::{Disk, Mount, Partition, PartitionContents, Storage};
use crate::problem::Problems;
use crate::value::below;

/// Directories that are links on a machine, and where they lead.
const LINKS: [(&str, &str); 6] = [
    ("/home", "/var/home"),
    ("/root", "/var/roothome"),
    ("/srv", "/var/srv"),
    ("/mnt", "/var/mnt"),
    ("/opt", "/var/opt"),
    ("/usr/local", "/var/usrlocal"),
];

/// Where the EFI system partition is mounted.
const ESP: &str = "/boot/efi";
/// Where the boot loader finds kernels and boot entries, if not on the EFI system partition.
const BOOT: &str = "/boot";
/// Directories that the machine itself fills, or that are its image. Whether another one is there, the image tells.
const RESERVED: [&str; 13] = [
    "/bin", "/dev", "/etc", "/lib", "/lib64", "/ostree", "/proc", "/run", "/sbin", "/sys", "/sysroot",
    "/tmp", "/usr",
];
/// UTF-16 units of a name in the partition table.
const NAME_MAX_UNITS: usize = 36;

pub(super) fn read(customizations: &Fields, problems: &mut Problems) -> Option<Storage> {
    if customizations.has("filesystem") && customizations.has("disk") {
        let reason = "disk and filesystem cannot be used together";
        let remedy = "write the file systems as partitions of disk, each with its mountpoint";
        let path = below(&customizations.path, "filesystem");
        problems.add(customizations.key_span("filesystem"), &path, reason, remedy);
    }
    if customizations.has("disk") {
        return Some(Storage::Disk(disk(&customizations.table("disk"), problems)));
    }
    let tables = customizations.tables("filesystem");
    let mut seen = Seen::new();
    let mounts: Vec<_> = tables
        .iter()
        .filter_map(|table| mount(table, &mut seen, problems))
        .collect();
    (!mounts.is_empty()).then_some(Storage::Mounts(mounts))
}

fn mount<'a>(table: &Fields<'a>, seen: &mut Seen<&'a str>, problems: &mut Problems) -> Option<Mount> {
    match (table.has("minsize"), table.has("size")) {
        (true, true) => {
            let path = below(&table.path, "size");
            let reason = "size is another name of minsize, which is there too";
            problems.add(table.key_span("size"), &path, reason, "take size away");
        }
        (false, false) => {
            let remedy = "add it; it takes a size such as \"10 GiB\"";
            problems.add(table.span(), &table.path, "the key 'minsize' is missing", remedy);
        }
        _ => {}
    }
    let name = if table.has("minsize") { "minsize" } else { "size" };
    let min_bytes = not_zero(table, name, problems);
    let mountpoint = table.text("mountpoint")?;
    if check_mountpoint(&mountpoint, false, seen, problems) && mountpoint.text == ESP {
        let reason = "the EFI system partition is there anyway";
        mountpoint.wrong(
            problems,
            reason,
            "take it away here; disk.partitions can say how large it is",
        );
    }
    Some(Mount {
        key: table.path.clone(),
        mountpoint: mountpoint.text.to_owned(),
        min_bytes: min_bytes?,
    })
}

fn not_zero(table: &Fields, name: &str, problems: &mut Problems) -> Option<u64> {
    let size = table.size(name)?;
    if size == 0 {
        let path = below(&table.path, name);
        problems.add(
            table.key_span(name),
            &path,
            "a size of 0 is no size",
            "write a size such as \"10 GiB\"",
        );
    }
    Some(size)
}

/// Whether something can be mounted there, and nothing else is.
fn check_mountpoint<'a>(
    mountpoint: &Text<'a>,
    is_of_disk: bool,
    seen: &mut Seen<&'a str>,
    problems: &mut Problems,
) -> bool {
    if !absolute_path(mountpoint, problems) {
        return false;
    }
    let path = mountpoint.text;
    if let Some(first) = seen.before(path, &mountpoint.path) {
        let reason = format!("'{path}' is a mount point already, in {first}");
        mountpoint.wrong(problems, reason, "take one of them away");
        return false;
    }
    if path.contains([' ', '\\']) {
        mountpoint.wrong(
            problems,
            format!("the mount point '{path}' has a blank or a '\\'"),
            "choose another",
        );
        return false;
    }
    let is_in_run = ["/var/run", "/var/lock"]
        .iter()
        .any(|link| path == *link || is_below(path, link));
    if is_in_run {
        let reason =
            format!("nothing can be mounted at '{path}': it is a link into /run, which is in memory");
        mountpoint.wrong(problems, reason, "choose another mount point below /var");
        return false;
    }
    let is_fixed = ["/", BOOT, ESP, "/var"].contains(&path) || is_below(path, "/var");
    let is_reserved = |path: &str| {
        let mut reserved = RESERVED.iter().chain([&BOOT]);
        reserved.any(|reserved| path == *reserved || is_below(path, reserved))
    };
    let is_possible = is_fixed || (is_of_disk && !is_reserved(path));
    if !is_possible {
        let reason = format!("nothing can be mounted at '{path}'");
        let link = LINKS
            .iter()
            .find(|(link, _)| path == *link || is_below(path, link));
        let remedy = match link {
            Some((link, target)) => format!(
                "'{link}' is a link: write '{target}{}'",
                path.strip_prefix(link).unwrap_or_default()
            ),
            None => "'/', '/boot', '/var' and what is below /var can be mount points; the rest is the image"
                .to_owned(),
        };
        mountpoint.wrong(problems, reason, remedy);
    }
    is_possible
}

fn disk(table: &Fields, problems: &mut Problems) -> Disk {
    if let Some(kind) = table.text("type") {
        match kind.text {
            "gpt" => {}
            "dos" | "mbr" => kind.wrong(
                problems,
                "a dos partition table is not made: every machine that osmith's disks start reads gpt, BIOS ones too",
                "write type = \"gpt\"",
            ),
            other => kind.wrong(
                problems,
                format!("there is no partition table '{other}'"),
                "write type = \"gpt\"",
            ),
        }
    }
    if let Some(bytes) = table.size("sector_size").filter(|bytes| *bytes != 512) {
        let reason = match bytes.is_power_of_two() {
            true => format!("sectors of {bytes} bytes are not made: they are 512 bytes long"),
            false => format!("{bytes} bytes is no size of a sector: it is no power of two"),
        };
        let path = below(&table.path, "sector_size");
        problems.add(
            table.key_span("sector_size"),
            &path,
            reason,
            "write 512, or take it away",
        );
    }
    let tables = table.tables("partitions");
    let mut unique = Unique {
        mountpoints: Seen::new(),
        guids: Seen::new(),
    };
    Disk {
        min_bytes: table
            .has("minsize")
            .then(|| not_zero(table, "minsize", problems))
            .flatten(),
        start_offset_bytes: table.size("start_offset"),
        partitions: tables
            .iter()
            .filter_map(|table| partition(table, &mut unique, problems))
            .collect(),
    }
}

/// What no two partitions have both.
struct Unique<'a> {
    mountpoints: Seen<&'a str>,
    guids: Seen<String>,
}

fn partition<'a>(table: &Fields<'a>, unique: &mut Unique<'a>, problems: &mut Problems) -> Option<Partition> {
    let min_bytes = not_zero(table, "minsize", problems);
    let part_type = table.text("part_type").and_then(|text| guid(&text, problems));
    let part_uuid = table.text("part_uuid");
    let part_guid = part_uuid.as_ref().and_then(|text| guid(text, problems));
    if let Some((text, first)) = part_uuid.zip(
        part_guid
            .clone()
            .and_then(|guid| unique.guids.before(guid, &table.path)),
    ) {
        text.wrong(
            problems,
            format!("{first} has the same UUID"),
            "write another, or take one of them away",
        );
    }
    let name = table.text("part_label").inspect(|name| {
        if name.text.encode_utf16().count() > NAME_MAX_UNITS {
            name.wrong(
                problems,
                "the name of the partition is too long",
                "it has 36 characters at most",
            );
        }
    });
    let is_plain = check_type(table, problems);
    // Its file systems are not those of plain partitions.
    if !is_plain {
        return None;
    }
    let contents = contents(table, problems);
    let mountpoint = mountpoint(table, contents, &mut unique.mountpoints, problems);
    let label = table
        .text("label")
        .inspect(|label| check_label(label, contents, problems));
    Some(Partition {
        key: table.path.clone(),
        contents: contents?,
        mountpoint: mountpoint.map(|mountpoint| mountpoint.text.to_owned()),
        label: label.map(|label| label.text.to_owned()),
        min_bytes: min_bytes?,
        mount_options: None,
        type_guid: part_type,
        name: name.map(|name| name.text.to_owned()),
        guid: part_guid,
    })
}

fn check_type(table: &Fields, problems: &mut Problems) -> bool {
    let plain = "write a plain partition with fs_type = \"ext4\", and a mountpoint, for each file system";
    if let Some(kind) = table.text("type").filter(|kind| kind.text != "plain") {
        match kind.text {
            "lvm" => kind.wrong(
                problems,
                "logical volumes are not made: the machine starts from plain partitions",
                plain,
            ),
            "btrfs" => kind.wrong(
                problems,
                "btrfs is not made: osmith writes file systems itself, and only ext4 and FAT",
                plain,
            ),
            "luks" => kind.wrong(
                problems,
                "encryption is not made into a disk image: its key would be in every copy of the image",
                "encrypt the disk when the machine is installed, or with systemd-repart at the first start",
            ),
            other => kind.wrong(
                problems,
                format!("there is no partition of the type '{other}'"),
                plain,
            ),
        }
        return false;
    }
    for (name, owner) in [
        ("name", "lvm"),
        ("logical_volumes", "lvm"),
        ("subvolumes", "btrfs"),
    ] {
        if table.has(name) {
            let reason = format!("'{name}' is a key of partitions of the type {owner}; this one is plain");
            let path = below(&table.path, name);
            problems.add(
                table.key_span(name),
                &path,
                reason,
                "take it away; part_label names a partition",
            );
        }
    }
    true
}

fn contents(table: &Fields, problems: &mut Problems) -> Option<PartitionContents> {
    let Some(kind) = table.text("fs_type") else {
        let is_for_firmware = table
            .text("mountpoint")
            .is_some_and(|mountpoint| [ESP, BOOT].contains(&mountpoint.text));
        return Some(match is_for_firmware {
            true => PartitionContents::Vfat,
            false => PartitionContents::Ext4,
        });
    };
    let contents = match kind.text {
        "ext4" => PartitionContents::Ext4,
        "vfat" => PartitionContents::Vfat,
        "swap" => PartitionContents::Swap,
        "none" => PartitionContents::Empty,
        "xfs" | "btrfs" => {
            let reason = format!(
                "{} is not made: osmith writes file systems itself, and only ext4 and FAT",
                kind.text
            );
            kind.wrong(problems, reason, "write fs_type = \"ext4\"");
            return None;
        }
        other => {
            let reason = format!("there is no file system '{other}'");
            kind.wrong(problems, reason, "ext4, vfat, swap and none are possible");
            return None;
        }
    };
    Some(contents)
}

fn mountpoint<'a>(
    table: &Fields<'a>,
    contents: Option<PartitionContents>,
    seen: &mut Seen<&'a str>,
    problems: &mut Problems,
) -> Option<Text<'a>> {
    let Some(mountpoint) = table.text("mountpoint") else {
        if matches!(contents, Some(PartitionContents::Ext4 | PartitionContents::Vfat))
            && !table.has("mountpoint")
        {
            let remedy = "add it, or write fs_type = \"swap\" or \"none\"";
            problems.add(
                table.span(),
                &table.path,
                "the key 'mountpoint' is missing",
                remedy,
            );
        }
        return None;
    };
    if !check_mountpoint(&mountpoint, true, seen, problems) {
        return None;
    }
    match (mountpoint.text, contents) {
        (_, Some(PartitionContents::Swap)) => {
            let remedy = "take the mountpoint away";
            mountpoint.wrong(problems, "swap space is not mounted", remedy);
        }
        (_, Some(PartitionContents::Empty)) => {
            let remedy = "take the mountpoint away, or write fs_type = \"ext4\"";
            mountpoint.wrong(
                problems,
                "a partition without a file system is not mounted",
                remedy,
            );
        }
        (path @ (ESP | BOOT), Some(PartitionContents::Ext4)) => {
            let reason = format!("firmware and boot loader read FAT only: {path} cannot be ext4");
            mountpoint.wrong(problems, reason, "write fs_type = \"vfat\"");
        }
        (path @ ("/" | "/var"), Some(PartitionContents::Vfat)) => {
            let reason = format!("{path} has owners and permissions, which FAT does not keep");
            mountpoint.wrong(problems, reason, "write fs_type = \"ext4\"");
        }
        _ => {}
    }
    Some(mountpoint)
}

fn check_label(label: &Text, contents: Option<PartitionContents>, problems: &mut Problems) {
    let (kind, most) = match contents {
        None => return,
        Some(PartitionContents::Ext4) => ("ext4", 16),
        Some(PartitionContents::Swap) => ("swap", 15),
        Some(PartitionContents::Vfat) => ("FAT", 11),
        Some(PartitionContents::Empty) => {
            let remedy = "part_label names the partition itself";
            return label.wrong(problems, "a partition without a file system has no label", remedy);
        }
    };
    if label.text.len() > most {
        let reason = format!("the label is too long for {kind}");
        label.wrong(problems, reason, format!("it has {most} bytes at most"));
    } else if kind == "FAT"
        && !label
            .text
            .chars()
            .all(|c| c.is_ascii() && !"\"*+,./:;<=>?[\\]|".contains(c))
    {
        let reason = format!("'{}' is no label of a FAT file system", label.text);
        label.wrong(problems, reason, "use letters, digits, '-' and '_'");
    }
}
