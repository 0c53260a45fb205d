//! How the disk is divided: the requests of a Kickstart file become partitions with sizes.
//!
//! The root file system comes last and takes what the others leave. Requests that grow share what is free in proportion to
//! their sizes, up to their largest.

use osmith_disk::Size;
use osmith_kickstart::{Autopart, AutopartScheme, Kickstart, Partition, Position, Storage, Target};

use super::problems::Problems;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Tables at either end, and the boot code of BIOS machines.
const FIXED_BYTES: u64 = 4 * MIB;
/// Kickstart's size of a request that names none.
const DEFAULT_MIB: u64 = 500;
const ESP_BYTES: u64 = 600 * MIB;
const BOOT_BYTES: u64 = 2 * GIB;
const AUTO_ROOT_BYTES: u64 = GIB;
const AUTO_ROOT_MAX_BYTES: u64 = 70 * GIB;
const AUTO_HOME_BYTES: u64 = 500 * MIB;
/// Below that, `/` and homes share a partition.
const AUTO_HOME_FROM_BYTES: u64 = 50 * GIB;
const ROOT: &str = "/";
const BOOT: &str = "/boot";
const ESP: &str = "/boot/efi";
/// Folders of an image that are links, and where they lead.
const LINKS: [(&str, &str); 4] = [
    ("/home", "/var/home"),
    ("/srv", "/var/srv"),
    ("/opt", "/var/opt"),
    ("/root", "/var/roothome"),
];

/// A partition that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) position: Position,
    /// The mount point; `None` for swap.
    pub(super) path: Option<String>,
    pub(super) file_system: &'static str,
    /// The final size. That of the root file system is the least one.
    pub(super) size_bytes: u64,
    grows_to_bytes: Option<u64>,
    pub(super) label: Option<String>,
    pub(super) mount_options: Option<String>,
}

/// What of the machine decides about sizes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) disk_bytes: u64,
    pub(super) memory_bytes: u64,
}

/// The partitions, in the order of the file.
pub(super) fn requests(kickstart: &Kickstart, room: Room, problems: &mut Problems) -> Vec<Request> {
    let mut requests = match &kickstart.autopart {
        Some(autopart) => automatic(autopart, room, problems),
        None => manual(kickstart, room, problems),
    };
    if let Some(reqpart) = &kickstart.reqpart
        && reqpart.add_boot
        && !requests.iter().any(|request| request.is(BOOT))
    {
        let boot = Request::fixed(&reqpart.position, Some(BOOT), "vfat", BOOT_BYTES);
        requests.insert(0, boot);
    }
    share(&mut requests, room, problems);
    requests
}

impl Request {
    fn fixed(position: &Position, path: Option<&str>, file_system: &'static str, size_bytes: u64) -> Self {
        Request {
            position: position.clone(),
            path: path.map(str::to_owned),
            file_system,
            size_bytes,
            grows_to_bytes: None,
            label: None,
            mount_options: None,
        }
    }

    fn growing(self, up_to_bytes: u64) -> Self {
        Request {
            grows_to_bytes: Some(up_to_bytes),
            ..self
        }
    }

    fn is(&self, path: &str) -> bool {
        self.path.as_deref() == Some(path)
    }
}

fn automatic(autopart: &Autopart, room: Room, problems: &mut Problems) -> Vec<Request> {
    let place = &autopart.position;
    match autopart.scheme {
        Some(AutopartScheme::Plain) => {}
        None => problems.warn(
            Some(place),
            "the partitions are plain ones, without LVM",
            "write autopart --type=plain to say that this is meant",
        ),
        Some(AutopartScheme::Lvm | AutopartScheme::ThinLvm | AutopartScheme::Btrfs) => problems.refuse(
            Some(place),
            "osmith makes plain partitions only",
            "write autopart --type=plain",
        ),
    }
    check_file_system(autopart.fstype.as_deref(), place, problems);
    let mut requests = Vec::new();
    if !autopart.noswap {
        let size = swap_bytes(room, autopart.hibernation);
        requests.push(Request::fixed(place, None, "swap", size));
    }
    let root = Request::fixed(place, Some(ROOT), "ext4", AUTO_ROOT_BYTES);
    match !autopart.nohome && room.disk_bytes >= AUTO_HOME_FROM_BYTES {
        true => {
            let home = Request::fixed(place, Some("/var/home"), "ext4", AUTO_HOME_BYTES);
            requests.push(home.growing(u64::MAX));
            requests.push(root.growing(AUTO_ROOT_MAX_BYTES));
        }
        false => requests.push(root.growing(u64::MAX)),
    }
    requests
}

/// Twice the memory of small machines, half of that of large ones, a tenth of the disk at most.
fn swap_bytes(room: Room, for_hibernation: bool) -> u64 {
    let memory = room.memory_bytes;
    let usual = match memory / GIB {
        0..2 => memory * 2,
        2..8 => memory,
        8..64 => memory / 2,
        _ => 32 * GIB,
    };
    let size = match for_hibernation {
        true => usual.saturating_add(memory),
        false => usual.min(room.disk_bytes / 10),
    };
    (size / MIB).max(1) * MIB
}

fn manual(kickstart: &Kickstart, room: Room, problems: &mut Problems) -> Vec<Request> {
    if kickstart.partitions.is_empty() {
        let remedy = "write autopart --type=plain, or reqpart and part / --grow";
        problems.refuse(None, "the file does not say how to divide the disk", remedy);
        return Vec::new();
    }
    let requests: Vec<_> = kickstart
        .partitions
        .iter()
        .filter_map(|part| request(part, room, problems))
        .collect();
    if !requests.iter().any(|request| request.is(ROOT)) {
        let place = kickstart.partitions.first().map(|part| &part.position);
        problems.refuse(
            place,
            "there is no partition for /",
            "write part / --size=8192 --grow",
        );
    }
    requests
}

fn request(part: &Partition, room: Room, problems: &mut Problems) -> Option<Request> {
    let place = &part.position;
    let storage = &part.storage;
    let uses_old = part.on_partition.is_some() || storage.noformat || storage.resize;
    if uses_old {
        let remedy = "take --onpart, --noformat and --resize away; to keep data, give it a disk of its own";
        problems.refuse(
            Some(place),
            "osmith writes whole disks: no partition is kept",
            remedy,
        );
    }
    let (path, file_system, size_bytes) = match &part.target {
        Target::Path(path) => {
            let path = real_path(path, place, problems);
            let file_system = file_system(&path, storage, place, problems);
            (Some(path), file_system, plain_bytes(storage))
        }
        Target::Swap => {
            let is_computed = storage.recommended || storage.hibernation;
            let size = match is_computed {
                true => swap_bytes(room, storage.hibernation),
                false => plain_bytes(storage),
            };
            (None, "swap", size)
        }
        // Where the boot loader of BIOS machines goes: osmith makes it if the image has one.
        Target::BiosBoot => return None,
        Target::PrepBoot => {
            problems.refuse(
                Some(place),
                "prepboot is of machines that osmith does not know",
                "take it away",
            );
            return None;
        }
        Target::PhysicalVolume(_) | Target::RaidMember(_) | Target::BtrfsMember(_) | Target::Nothing => {
            problems.refuse(
                Some(place),
                "osmith makes plain partitions with a file system or swap only",
                "write part with a mount point",
            );
            return None;
        }
    };
    if storage.encryption.is_some() {
        problems.refuse(
            Some(place),
            "osmith does not encrypt partitions yet",
            "take --encrypted away",
        );
    }
    if storage.mkfs_options.is_some() || storage.fs_profile.is_some() {
        let message = "--mkfsoptions and --fsprofile have no effect: osmith writes file systems itself";
        problems.warn(Some(place), message, "");
    }
    let up_to_bytes = storage
        .max_size_mib
        .map_or(u64::MAX, |size| size.saturating_mul(MIB));
    Some(Request {
        position: place.clone(),
        grows_to_bytes: storage.grow.then_some(up_to_bytes),
        label: storage.label.clone(),
        mount_options: mount_options(path.as_deref(), storage, place, problems),
        path,
        file_system,
        size_bytes,
    })
}

fn plain_bytes(storage: &Storage) -> u64 {
    storage.size_mib.unwrap_or(DEFAULT_MIB).saturating_mul(MIB)
}

/// Where the path really is on a machine that runs an image.
fn real_path(path: &str, place: &Position, problems: &mut Problems) -> String {
    let names: Vec<_> = path.split('/').filter(|name| !name.is_empty()).collect();
    let path = format!("/{}", names.join("/"));
    let link = LINKS.iter().find_map(|(link, target)| {
        let rest = path.strip_prefix(link)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("{target}{rest}"))
    });
    match link {
        Some(real) => {
            let message = format!("{path} is mounted at {real}: in image mode it is a link");
            problems.warn(Some(place), message, format!("write {real}"));
            real
        }
        None => path,
    }
}

fn file_system(path: &str, storage: &Storage, place: &Position, problems: &mut Problems) -> &'static str {
    let wanted = storage.fstype.as_deref();
    if [BOOT, ESP].contains(&path) {
        if wanted.is_some_and(|kind| !["vfat", "efi"].contains(&kind)) {
            let message = format!("{path} becomes FAT, which systemd-boot reads");
            problems.warn(Some(place), message, "take --fstype away, or write --fstype=vfat");
        }
        return "vfat";
    }
    if wanted == Some("vfat") {
        return "vfat";
    }
    check_file_system(wanted, place, problems);
    "ext4"
}

fn check_file_system(wanted: Option<&str>, place: &Position, problems: &mut Problems) {
    if let Some(kind) = wanted.filter(|kind| *kind != "ext4") {
        let message = format!("osmith does not write {kind} file systems");
        problems.refuse(Some(place), message, "write --fstype=ext4, or take --fstype away");
    }
}

fn mount_options(
    path: Option<&str>,
    storage: &Storage,
    place: &Position,
    problems: &mut Problems,
) -> Option<String> {
    let options = storage.mount_options.clone()?;
    match path {
        Some(ROOT | BOOT | ESP) | None => {
            let message = "--fsoptions has no effect here: /etc/fstab does not mount it";
            problems.warn(Some(place), message, "");
            None
        }
        Some(_) => Some(options),
    }
}

/// Gives what grows its share. The root file system takes the rest in any case, and so stays at its least size.
fn share(requests: &mut [Request], room: Room, problems: &mut Problems) {
    let has_esp = requests.iter().any(|request| request.is(ESP));
    let esp_bytes = if has_esp { 0 } else { ESP_BYTES };
    let base: u64 = requests
        .iter()
        .map(|request| request.size_bytes)
        .fold(0, u64::saturating_add);
    let taken = base.saturating_add(FIXED_BYTES).saturating_add(esp_bytes);
    let Some(mut free) = room.disk_bytes.checked_sub(taken) else {
        let place = requests.first().map(|request| request.position.clone());
        let message = format!(
            "the partitions need {} and the disk has {}",
            Size(taken),
            Size(room.disk_bytes)
        );
        problems.refuse(place.as_ref(), message, "ask for less, or take a larger disk");
        return;
    };
    // Whoever would come over its largest size gets that; the others share again.
    let mut open: Vec<usize> = (0..requests.len())
        .filter(|index| {
            requests
                .get(*index)
                .is_some_and(|request| request.grows_to_bytes.is_some())
        })
        .collect();
    let mut sizes: Vec<u64> = requests.iter().map(|request| request.size_bytes).collect();
    while !open.is_empty() {
        let weights: u128 = open
            .iter()
            .filter_map(|index| requests.get(*index))
            .map(Request::weight)
            .sum();
        let grown = |request: &Request| {
            let part = u128::from(free) * request.weight() / weights.max(1);
            request
                .size_bytes
                .saturating_add(u64::try_from(part).unwrap_or(u64::MAX))
        };
        let full = open.iter().copied().find(|index| {
            requests
                .get(*index)
                .is_some_and(|request| grown(request) > request.largest_bytes())
        });
        match full {
            Some(index) => {
                let Some(request) = requests.get(index) else {
                    return;
                };
                let largest = request.largest_bytes();
                free = free.saturating_sub(largest - request.size_bytes);
                if let Some(size) = sizes.get_mut(index) {
                    *size = largest;
                }
                open.retain(|other| *other != index);
            }
            None => {
                for index in open.drain(..) {
                    if let (Some(size), Some(request)) = (sizes.get_mut(index), requests.get(index)) {
                        *size = grown(request) / MIB * MIB;
                    }
                }
            }
        }
    }
    for (request, size_bytes) in requests.iter_mut().zip(sizes) {
        if !request.is(ROOT) {
            request.size_bytes = size_bytes;
        }
    }
}

impl Request {
    fn weight(&self) -> u128 {
        u128::from(self.size_bytes.max(MIB))
    }

    fn largest_bytes(&self) -> u64 {
        self.grows_to_bytes.unwrap_or_default().max(self.size_bytes)
    }
}
