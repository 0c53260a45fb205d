//! The disks of a machine, and the ways in which a Kickstart file names them.
//!
//! A Kickstart file says `sda`, `/dev/sda`, `/dev/disk/by-id/...`, `LABEL=` or `UUID=` (of the disk or of something on it), and
//! may use `*`, `?`, `[...]` and `a|b`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use osmith_disk::{Size, find_contents};
use osmith_machine::medium::MediumId;

/// What no system is installed onto.
const NO_DISKS: [&str; 9] = ["loop", "ram", "zram", "sr", "fd", "dm-", "md", "nbd", "mtd"];
const LINKS: &str = "dev/disk";
const SECTOR_BYTES: u64 = 512;
/// What is looked at, at either end.
const END_BYTES: u64 = 1 << 20;

/// What is on a disk that nobody knows: what `zerombr` is for.
pub const UNKNOWN_CONTENTS: &str = "data";

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Disk {
    /// The name below `/dev`.
    pub name: String,
    /// What is opened.
    pub path: PathBuf,
    /// Its length.
    pub size_bytes: u64,
    /// What its maker calls it; may be empty.
    pub model: String,
    /// What is on it.
    pub contents: DiskContents,
    /// The names of its partitions.
    pub partitions: Vec<String>,
    /// Other names of it and of what is on it, from `/dev` on: `/dev/disk/by-id/...`.
    pub links: Vec<String>,
    /// Whether the installation runs from it.
    pub is_medium: bool,
}

/// What is on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiskContents {
    /// Nothing at all.
    #[default]
    Blank,
    /// A partition table.
    Table,
    /// Something else, such as `an ext4 file system`.
    Other(&'static str),
}

impl Disk {
    /// A blank disk that somebody describes.
    pub fn described(name: &str, size_bytes: u64) -> Self {
        Disk {
            name: name.to_owned(),
            path: Path::new("/dev").join(name),
            size_bytes,
            ..Disk::default()
        }
    }

    /// Whether it is meant. `a|b` is `a` or `b`.
    pub fn is_called(&self, wanted: &str) -> bool {
        wanted.split('|').any(|wanted| self.is_called_one(wanted.trim()))
    }

    fn is_called_one(&self, wanted: &str) -> bool {
        let by = |folder: &str, name: &str| format!("/dev/disk/{folder}/{name}");
        let wanted = match wanted.split_once('=') {
            Some(("LABEL", name)) => by("by-label", name),
            Some(("UUID", name)) => by("by-uuid", name),
            Some(("PARTUUID", name)) => by("by-partuuid", name),
            Some(("PARTLABEL", name)) => by("by-partlabel", name),
            _ if wanted.starts_with('/') => wanted.to_owned(),
            _ if wanted.starts_with("disk/") => format!("/dev/{wanted}"),
            _ => format!("/dev/{wanted}"),
        };
        let own = format!("/dev/{}", self.name);
        std::iter::once(&own)
            .chain(&self.links)
            .any(|name| matches_glob(&wanted, name))
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.name, Size(self.size_bytes))?;
        if !self.model.is_empty() {
            write!(f, ", {}", self.model)?;
        }
        match (self.is_medium, self.contents, self.partitions.len()) {
            (true, ..) => f.write_str(", the installation medium)"),
            (_, DiskContents::Blank, _) => f.write_str(", blank)"),
            (_, DiskContents::Table, 0) => f.write_str(", no partitions)"),
            (_, DiskContents::Table, 1) => f.write_str(", 1 partition)"),
            (_, DiskContents::Table, count) => write!(f, ", {count} partitions)"),
            (_, DiskContents::Other(what), _) => write!(f, ", {what})"),
        }
    }
}

/// All disks in a line, for errors.
pub fn list(disks: &[Disk]) -> String {
    match disks.is_empty() {
        true => "this machine has no disk that its kernel sees".to_owned(),
        false => {
            let disks: Vec<_> = disks.iter().map(Disk::to_string).collect();
            format!("the disks are {}", disks.join(", "))
        }
    }
}

/// The disks of the machine whose root directory is `host`, in the order of their names. `medium` is what it was started
/// from. What cannot be read is left out.
pub fn probe(host: &Path, medium: Option<MediumId>) -> Vec<Disk> {
    let mut names = names_in(&host.join("sys/block"));
    names.retain(|name| !NO_DISKS.iter().any(|kind| name.starts_with(kind)));
    names.sort_by_key(|name| (name.len(), name.clone()));
    let links = links(host);
    let disk = |name: &String| probe_one(host, name, medium, &links);
    names.iter().filter_map(disk).collect()
}

fn probe_one(
    host: &Path,
    name: &str,
    medium: Option<MediumId>,
    links: &BTreeMap<String, Vec<String>>,
) -> Option<Disk> {
    let folder = host.join("sys/block").join(name);
    let number = |file: &str| read(&folder.join(file))?.parse::<u64>().ok();
    let size_bytes = number("size")?.checked_mul(SECTOR_BYTES)?;
    if size_bytes == 0 || number("ro") == Some(1) {
        return None;
    }
    let mut partitions = names_in(&folder);
    partitions.retain(|entry| folder.join(entry).join("partition").exists());
    partitions.sort_by_key(|name| (name.len(), name.clone()));
    let open = |name: &String| File::open(host.join("dev").join(name)).ok();
    let file = open(&name.to_owned());
    let is_medium = medium.is_some_and(|medium| {
        let of_partitions = partitions.iter().filter_map(open);
        file.iter().any(|file| medium.is_on(file))
            || of_partitions.into_iter().any(|file| medium.is_on(&file))
    });
    let names = std::iter::once(name).chain(partitions.iter().map(String::as_str));
    Some(Disk {
        name: name.to_owned(),
        path: host.join("dev").join(name),
        size_bytes,
        model: read(&folder.join("device/model")).unwrap_or_default(),
        contents: file.map_or(DiskContents::Other("data that cannot be read"), |file| {
            contents(&file, size_bytes)
        }),
        links: names
            .filter_map(|name| links.get(name))
            .flatten()
            .cloned()
            .collect(),
        partitions,
        is_medium,
    })
}

/// What is on an open disk of that size.
pub fn contents(file: &File, size_bytes: u64) -> DiskContents {
    let read = |offset| {
        let mut bytes = vec![0; END_BYTES.min(size_bytes) as usize];
        file.read_exact_at(&mut bytes, offset).ok().map(|()| bytes)
    };
    let ends = read(0).zip(read(size_bytes.saturating_sub(END_BYTES)));
    let Some((first, last)) = ends else {
        return DiskContents::Other("data that cannot be read");
    };
    match find_contents(&first, &last) {
        None => DiskContents::Blank,
        Some(what) if what.starts_with("a partition table") => DiskContents::Table,
        Some(what) => DiskContents::Other(what),
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn read(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// The names that udev gives, by the device's own.
fn links(host: &Path) -> BTreeMap<String, Vec<String>> {
    let mut links: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for folder in names_in(&host.join(LINKS)) {
        for name in names_in(&host.join(LINKS).join(&folder)) {
            let Ok(target) = fs::read_link(host.join(LINKS).join(&folder).join(&name)) else {
                continue;
            };
            let device = target
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let link = format!("/dev/disk/{folder}/{name}");
            links.entry(device).or_default().push(link);
        }
    }
    links
}

/// Whether a name is what a pattern of the shell says. A bracket that is not closed stands for itself.
fn matches_glob(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // Whether the pattern up to here matches the first so many letters.
    let mut reached = vec![false; name.len() + 1];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    let mut rest = pattern.as_slice();
    while let Some((token, after)) = Token::take(rest) {
        let mut next = vec![false; name.len() + 1];
        for (at, _) in reached.iter().enumerate().filter(|(_, is_reached)| **is_reached) {
            match token {
                Token::Any => next.iter_mut().skip(at).for_each(|place| *place = true),
                Token::One(ref one) => {
                    if name.get(at).is_some_and(|letter| one.takes(*letter))
                        && let Some(place) = next.get_mut(at + 1)
                    {
                        *place = true;
                    }
                }
            }
        }
        (reached, rest) = (next, after);
    }
    reached.last() == Some(&true)
}

enum Token<'a> {
    Any,
    One(One<'a>),
}

enum One<'a> {
    Every,
    Letter(char),
    Set(&'a [char]),
}

impl<'a> Token<'a> {
    fn take(pattern: &'a [char]) -> Option<(Self, &'a [char])> {
        let (first, rest) = pattern.split_first()?;
        Some(match first {
            '*' => (Token::Any, rest),
            '?' => (Token::One(One::Every), rest),
            '[' => match rest.iter().skip(1).position(|letter| *letter == ']') {
                Some(end) => {
                    let (set, after) = rest.split_at_checked(end + 1)?;
                    (Token::One(One::Set(set)), after.get(1..).unwrap_or_default())
                }
                None => (Token::One(One::Letter('[')), rest),
            },
            letter => (Token::One(One::Letter(*letter)), rest),
        })
    }
}

impl One<'_> {
    fn takes(&self, letter: char) -> bool {
        let set = match self {
            One::Every => return true,
            One::Letter(one) => return *one == letter,
            One::Set(set) => *set,
        };
        let (is_negated, mut set) = match set.split_first() {
            Some(('!' | '^', rest)) => (true, rest),
            _ => (false, set),
        };
        let mut is_in = false;
        while let Some((first, rest)) = set.split_first() {
            set = match rest {
                ['-', last, rest @ ..] => {
                    is_in |= (*first..=*last).contains(&letter);
                    rest
                }
                rest => {
                    is_in |= *first == letter;
                    rest
                }
            };
        }
        is_in != is_negated
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn names_may_be_patterns() {
        let yes = [
            ("/dev/sda", "/dev/sda"),
            ("/dev/sd*", "/dev/sdaa"),
            ("*", ""),
            ("/dev/sd?", "/dev/sdb"),
            ("/dev/sd[a-c]", "/dev/sdb"),
            ("/dev/sd[!a]", "/dev/sdb"),
            ("/dev/[sv]d[ab]", "/dev/vda"),
            (
                "/dev/disk/by-path/*nvme-1",
                "/dev/disk/by-path/pci-0000:01:00.0-nvme-1",
            ),
            ("[x", "[x"),
        ];
        let no = [
            ("/dev/sda", "/dev/sdaa"),
            ("/dev/sd?", "/dev/sd"),
            ("/dev/sd[!a]", "/dev/sda"),
            ("/dev/sd[a-c]", "/dev/sdd"),
            ("", "x"),
        ];
        for (pattern, name) in yes {
            assert!(matches_glob(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in no {
            assert!(!matches_glob(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_disk_has_many_names() {
        let mut disk = Disk::described("sda", 1 << 30);
        disk.links = vec![
            "/dev/disk/by-id/ata-1".to_owned(),
            "/dev/disk/by-label/old".to_owned(),
        ];
        for name in [
            "sda",
            "/dev/sda",
            "sd*",
            "vda|sda",
            "disk/by-id/ata-1",
            "LABEL=old",
            "/dev/disk/by-id/*",
        ] {
            assert!(disk.is_called(name), "{name}");
        }
        for name in ["sdb", "sda1", "LABEL=new", "vda|vdb", ""] {
            assert!(!disk.is_called(name), "{name}");
        }
        assert_eq!(list(&[disk]), "the disks are sda (1 GiB, blank)");
    }

    #[test]
    fn the_disks_of_a_machine_are_found() {
        let host = tempfile::tempdir().unwrap();
        let at = |path: &str| host.path().join(path);
        let write = |path: &str, bytes: &[u8]| {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), bytes).unwrap();
        };
        for (name, sectors) in [
            ("loop0", "8"),
            ("sr0", "8"),
            ("sdb", "4096\n"),
            ("sda", "8192\n"),
            ("sdc", "0\n"),
        ] {
            write(&format!("sys/block/{name}/size"), sectors.as_bytes());
            write(&format!("dev/{name}"), &vec![0; 4 << 20]);
        }
        write("sys/block/sda/sda1/partition", b"1");
        write("sys/block/sda/device/model", b"SPINNING  \n");
        let mut table = vec![0; 4 << 20];
        table[512..520].copy_from_slice(b"EFI PART");
        write("dev/sda", &table);
        fs::create_dir_all(at("dev/disk/by-label")).unwrap();
        symlink("../../sda1", at("dev/disk/by-label/data")).unwrap();
        let disks = probe(host.path(), None);
        assert_eq!(
            list(&disks),
            "the disks are sda (4 MiB, SPINNING, 1 partition), sdb (2 MiB, blank)"
        );
        assert!(disks[0].is_called("LABEL=data"));
    }
}
