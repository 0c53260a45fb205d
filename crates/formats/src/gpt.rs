//! The GUID partition table, written; of a table that is there, the types of its partitions.
//!
//! Source: UEFI specification 2.10, chapter 5. Sectors of 512 bytes, numbers little-endian; the first three fields of
//! a GUID are little-endian too, the rest is in text order.
//!
//! ```text
//! LBA 0        protective MBR: one entry of type EE over the whole disk
//! LBA 1        header: CRC of its 92 bytes, CRC of the entries
//! LBA 2–33     128 entries of 128 bytes
//! ...          partitions, from LBA 2048 by custom
//! last 33      the entries again, then the backup header
//! ```
//!
//! The entries may begin elsewhere, as the header says where ([`Table::to_bytes_at`]): on a medium that is also something
//! else, LBA 2 may be taken.
//!
//! Left out: reading the rest and its checksums, other sector sizes, writing tables of more than 128 entries.

use std::fmt;
use std::str::FromStr;

/// The length of a sector.
pub const SECTOR_BYTES: u64 = 512;
/// What the table takes at the start of the disk: MBR, header and entries.
pub const PRIMARY_SECTORS: u64 = 34;
/// What the table takes at the end of the disk: entries and header.
pub const BACKUP_SECTORS: u64 = 33;
/// What the entries take.
pub const ENTRIES_SECTORS: u64 = 32;
/// How many partitions a table can have.
pub const MAX_PARTITIONS: usize = 128;
/// How long a partition's name can be, in UTF-16 units.
pub const NAME_MAX_UNITS: usize = 36;

/// Partition attribute: the firmware needs the partition, tools leave it alone.
pub const ATTRIBUTE_REQUIRED: u64 = 1;
/// Partition attribute: BIOS boot code may be here.
pub const ATTRIBUTE_LEGACY_BIOS_BOOTABLE: u64 = 1 << 2;

const USUAL_ENTRIES_LBA: u64 = 2;
const ENTRY_BYTES: usize = 128;
const HEADER_BYTES: u32 = 92;
const ENTRIES_BYTES: usize = ENTRY_BYTES * MAX_PARTITIONS;

/// A GUID, its bytes in the order of its text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid([u8; 16]);

/// A text that is no GUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no GUID: xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx is expected")]
pub struct GuidError(String);

impl Guid {
    /// An EFI system partition.
    pub const EFI_SYSTEM: Guid = Guid(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b_u128.to_be_bytes());
    /// The boot entries and kernels of a boot loader, beside the EFI system partition.
    pub const EXTENDED_BOOT_LOADER: Guid = Guid(0xbc13c2ff_59e6_4262_a352_b275fd6f7172_u128.to_be_bytes());
    /// Swap space.
    pub const SWAP: Guid = Guid(0x0657fd6d_a4ab_43c4_84e5_0933c84b4f4f_u128.to_be_bytes());
    /// A partition with the code of a boot loader for BIOS machines.
    pub const BIOS_BOOT: Guid = Guid(0x21686148_6449_6e6f_744e_656564454649_u128.to_be_bytes());
    /// A partition of Linux data without a more telling type.
    pub const LINUX_DATA: Guid = Guid(0x0fc63daf_8483_4772_8e79_3d69d8477de4_u128.to_be_bytes());

    /// The GUID with these bytes, in text order.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Guid(bytes)
    }

    /// A random-type UUID (version 4, RFC 9562) made of these bytes.
    pub fn from_random_bytes(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Guid(bytes)
    }

    /// The bytes in text order, as file systems store their UUID.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The type of the root partition for an architecture, by the name that OCI images give it (`amd64`, `arm64`);
    /// from the Discoverable Partitions Specification.
    pub fn root_of(oci_architecture: &str) -> Option<Guid> {
        let number: u128 = match oci_architecture {
            "amd64" => 0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709,
            "386" => 0x44479540_f297_41b2_9af7_d131d5f0458a,
            "arm64" => 0xb921b045_1df0_41c3_af44_4c6f280d3fae,
            "arm" => 0x69dad710_2ce4_4e3c_b16c_21a1d49abed3,
            "loong64" => 0x77055800_792c_4f94_b39a_98c91b762bb6,
            "ppc64le" => 0xc31c45e6_3f39_412e_80fb_4809c4980599,
            "riscv64" => 0x72ec70a6_cf74_40e6_bd49_4bda08e8f224,
            "s390x" => 0x5eead9a9_fe09_4a1e_a1d7_520d00531306,
            _ => return None,
        };
        Some(Guid(number.to_be_bytes()))
    }

    pub(crate) fn to_disk_bytes(self) -> [u8; 16] {
        let mut bytes = self.0;
        bytes[..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        bytes
    }

    pub(crate) fn from_disk_bytes(bytes: [u8; 16]) -> Self {
        Guid(Guid(bytes).to_disk_bytes())
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = hex::encode(self.0);
        let parts = [
            &text[..8],
            &text[8..12],
            &text[12..16],
            &text[16..20],
            &text[20..],
        ];
        f.write_str(&parts.join("-"))
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guid({self})")
    }
}

impl FromStr for Guid {
    type Err = GuidError;

    fn from_str(text: &str) -> Result<Self, GuidError> {
        let lengths = text.split('-').map(str::len);
        let mut bytes = [0; 16];
        match hex::decode_to_slice(text.replace('-', ""), &mut bytes) {
            Ok(()) if lengths.eq([8, 4, 4, 4, 12]) => Ok(Guid(bytes)),
            _ => Err(GuidError(text.to_owned())),
        }
    }
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// What it is for.
    pub type_guid: Guid,
    /// Which one it is.
    pub guid: Guid,
    /// Its first sector.
    pub first_lba: u64,
    /// How many sectors it has.
    pub sectors: u64,
    /// `ATTRIBUTE_...` bits.
    pub attributes: u64,
    /// Its name, [`NAME_MAX_UNITS`] at most.
    pub name: String,
}

impl Partition {
    /// Where it begins on the disk.
    pub fn offset_bytes(&self) -> u64 {
        self.first_lba * SECTOR_BYTES
    }

    /// How long it is.
    pub fn size_bytes(&self) -> u64 {
        self.sectors * SECTOR_BYTES
    }

    fn last_lba(&self) -> u64 {
        self.first_lba.saturating_add(self.sectors).saturating_sub(1)
    }
}

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Which disk it is.
    pub disk_guid: Guid,
    /// How many sectors the disk has.
    pub disk_sectors: u64,
    /// The partitions; the first is number 1.
    pub partitions: Vec<Partition>,
}

/// A table that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GptError {
    /// The disk has no room for both copies and one sector between them.
    #[error("a disk of {0} sectors has no room for a GUID partition table")]
    DiskTooSmall(u64),
    /// More than [`MAX_PARTITIONS`].
    #[error("a GUID partition table holds {MAX_PARTITIONS} partitions, not {0}")]
    TooManyPartitions(usize),
    /// A name is longer than [`NAME_MAX_UNITS`].
    #[error("the partition name '{0}' is longer than {NAME_MAX_UNITS} UTF-16 units")]
    NameTooLong(String),
    /// A partition has no sector, or is not between the two copies of the table.
    #[error("partition '{0}' does not lie in the usable part of the disk")]
    OutOfBounds(String),
    /// Two partitions share sectors.
    #[error("partitions '{0}' and '{1}' overlap")]
    Overlap(String, String),
}

/// The bytes of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The first [`PRIMARY_SECTORS`] of the disk.
    pub primary: Vec<u8>,
    /// The last [`BACKUP_SECTORS`] of the disk.
    pub backup: Vec<u8>,
}

/// The bytes of a table whose first entries are not behind its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parted {
    /// The first two sectors of the disk: MBR and header.
    pub start: Vec<u8>,
    /// The entries, [`ENTRIES_SECTORS`] of them.
    pub entries: Vec<u8>,
    /// The last [`BACKUP_SECTORS`] of the disk.
    pub backup: Vec<u8>,
}

impl Table {
    /// The bytes of both copies.
    pub fn to_bytes(&self) -> Result<Written, GptError> {
        let Parted {
            start: mut primary,
            entries,
            backup,
        } = self.to_bytes_at(USUAL_ENTRIES_LBA)?;
        primary.extend_from_slice(&entries);
        Ok(Written { primary, backup })
    }

    /// The bytes of both copies, with the entries of the first from `entries_lba` on, 2 at least. Partitions may begin
    /// behind them.
    pub fn to_bytes_at(&self, entries_lba: u64) -> Result<Parted, GptError> {
        let first_usable_lba = entries_lba.max(USUAL_ENTRIES_LBA).saturating_add(ENTRIES_SECTORS);
        self.require_valid(first_usable_lba)?;
        let mut entries = Vec::with_capacity(ENTRIES_BYTES);
        for partition in &self.partitions {
            entries.extend_from_slice(&entry(partition));
        }
        entries.resize(ENTRIES_BYTES, 0);
        let last_lba = self.disk_sectors - 1;
        let header = |my_lba, alternate_lba, entries_lba| Header {
            my_lba,
            alternate_lba,
            entries_lba,
            first_usable_lba,
            entries_crc: crc32fast::hash(&entries),
        };

        let mut start = self.protective_mbr();
        let primary_entries_lba = first_usable_lba - ENTRIES_SECTORS;
        start.extend_from_slice(&self.header(&header(1, last_lba, primary_entries_lba)));
        let mut backup = entries.clone();
        backup.extend_from_slice(&self.header(&header(last_lba, 1, last_lba - ENTRIES_SECTORS)));
        Ok(Parted {
            start,
            entries,
            backup,
        })
    }

    /// The first sector a partition may have.
    pub fn first_usable_lba() -> u64 {
        PRIMARY_SECTORS
    }

    /// The last sector a partition may have; 0 if the disk is too small for a table.
    pub fn last_usable_lba(&self) -> u64 {
        self.disk_sectors.saturating_sub(BACKUP_SECTORS + 1)
    }

    fn require_valid(&self, first_usable_lba: u64) -> Result<(), GptError> {
        if self.disk_sectors <= first_usable_lba.saturating_add(BACKUP_SECTORS) {
            return Err(GptError::DiskTooSmall(self.disk_sectors));
        }
        if self.partitions.len() > MAX_PARTITIONS {
            return Err(GptError::TooManyPartitions(self.partitions.len()));
        }
        for partition in &self.partitions {
            if partition.name.encode_utf16().count() > NAME_MAX_UNITS {
                return Err(GptError::NameTooLong(partition.name.clone()));
            }
            if partition.sectors == 0
                || partition.first_lba < first_usable_lba
                || partition.last_lba() > self.last_usable_lba()
            {
                return Err(GptError::OutOfBounds(partition.name.clone()));
            }
        }
        let mut sorted: Vec<_> = self.partitions.iter().collect();
        sorted.sort_by_key(|partition| partition.first_lba);
        match sorted
            .windows(2)
            .find(|pair| pair[0].last_lba() >= pair[1].first_lba)
        {
            Some(pair) => Err(GptError::Overlap(pair[0].name.clone(), pair[1].name.clone())),
            None => Ok(()),
        }
    }

    fn protective_mbr(&self) -> Vec<u8> {
        let mut mbr = vec![0; SECTOR_BYTES as usize];
        // Start 0/0/2 in cylinders, heads, sectors; the end is out of their range.
        mbr[446..454].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff]);
        mbr[454..458].copy_from_slice(&1_u32.to_le_bytes());
        let sectors = u32::try_from(self.disk_sectors - 1).unwrap_or(u32::MAX);
        mbr[458..462].copy_from_slice(&sectors.to_le_bytes());
        mbr[510..].copy_from_slice(&[0x55, 0xaa]);
        mbr
    }

    fn header(&self, places: &Header) -> Vec<u8> {
        let mut header = Vec::with_capacity(SECTOR_BYTES as usize);
        header.extend_from_slice(b"EFI PART");
        header.extend_from_slice(&[0, 0, 1, 0]);
        header.extend_from_slice(&HEADER_BYTES.to_le_bytes());
        header.extend_from_slice(&[0; 8]);
        for lba in [
            places.my_lba,
            places.alternate_lba,
            places.first_usable_lba,
            self.last_usable_lba(),
        ] {
            header.extend_from_slice(&lba.to_le_bytes());
        }
        header.extend_from_slice(&self.disk_guid.to_disk_bytes());
        header.extend_from_slice(&places.entries_lba.to_le_bytes());
        header.extend_from_slice(&(MAX_PARTITIONS as u32).to_le_bytes());
        header.extend_from_slice(&(ENTRY_BYTES as u32).to_le_bytes());
        header.extend_from_slice(&places.entries_crc.to_le_bytes());
        let crc = crc32fast::hash(&header);
        header[16..20].copy_from_slice(&crc.to_le_bytes());
        header.resize(SECTOR_BYTES as usize, 0);
        header
    }
}

/// What the headers of the two copies say about places.
struct Header {
    my_lba: u64,
    alternate_lba: u64,
    entries_lba: u64,
    first_usable_lba: u64,
    entries_crc: u32,
}

/// The types of the partitions, in the table's order, of a disk that starts so; none without a table.
///
/// Entries beyond the end of `start` are left out: [`PRIMARY_SECTORS`] hold all of a table of [`MAX_PARTITIONS`].
pub fn partition_types(start: &[u8]) -> Vec<Guid> {
    entries(start)
        .unwrap_or_default()
        .into_iter()
        .filter(|guid| guid.0 != [0; 16])
        .collect()
}

/// The types of all entries, also of those that are not used.
fn entries(start: &[u8]) -> Option<Vec<Guid>> {
    let header = start.get(SECTOR_BYTES as usize..)?;
    if !header.starts_with(b"EFI PART") {
        return None;
    }
    let entries_lba = u64::from_le_bytes(*header.get(72..)?.first_chunk()?);
    let entry_count = u32::from_le_bytes(*header.get(80..)?.first_chunk()?);
    let entry_bytes = u32::from_le_bytes(*header.get(84..)?.first_chunk()?) as usize;
    let first = usize::try_from(entries_lba.checked_mul(SECTOR_BYTES)?).ok()?;
    let table = start.get(first..)?;
    let types = (entry_bytes >= ENTRY_BYTES).then(|| table.chunks_exact(entry_bytes))?;
    let types = types.take(entry_count as usize);
    Some(
        types
            .filter_map(|entry| Some(Guid::from_disk_bytes(*entry.first_chunk()?)))
            .collect(),
    )
}

fn entry(partition: &Partition) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    bytes[..16].copy_from_slice(&partition.type_guid.to_disk_bytes());
    bytes[16..32].copy_from_slice(&partition.guid.to_disk_bytes());
    bytes[32..40].copy_from_slice(&partition.first_lba.to_le_bytes());
    bytes[40..48].copy_from_slice(&partition.last_lba().to_le_bytes());
    bytes[48..56].copy_from_slice(&partition.attributes.to_le_bytes());
    for (slot, unit) in bytes[56..].chunks_exact_mut(2).zip(partition.name.encode_utf16()) {
        slot.copy_from_slice(&unit.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};
    use std::process::Command;

    use osmith_testing::oracle;
    use proptest::prelude::*;

    use super::*;

    fn partition(name: &str, first_lba: u64, sectors: u64) -> Partition {
        Partition {
            type_guid: Guid::LINUX_DATA,
            guid: Guid::from_random_bytes([first_lba as u8; 16]),
            first_lba,
            sectors,
            attributes: 0,
            name: name.to_owned(),
        }
    }

    fn sample() -> Table {
        let mut esp = partition("EFI-SYSTEM", 2048, 4096);
        esp.type_guid = Guid::EFI_SYSTEM;
        esp.attributes = ATTRIBUTE_REQUIRED;
        let mut root = partition("root", 6144, 65536 - 6144 - 2048);
        root.type_guid = Guid::root_of("amd64").unwrap();
        root.attributes = 1 << 59;
        Table {
            disk_guid: "9b6e1b0e-4f3c-4d0e-8a52-5d1f0a3b7c11".parse().unwrap(),
            disk_sectors: 65536,
            partitions: vec![esp, root],
        }
    }

    #[test]
    fn guids_are_written_as_they_are_read() {
        let text = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
        assert_eq!(text.parse(), Ok(Guid::EFI_SYSTEM));
        assert_eq!(Guid::EFI_SYSTEM.to_string(), text);
        assert_eq!(
            Guid::EFI_SYSTEM.to_disk_bytes()[..8],
            [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11]
        );
        for bad in [
            "",
            "c12a7328f81f11d2ba4b00a0c93ec93b",
            "g12a7328-f81f-11d2-ba4b-00a0c93ec93b",
        ] {
            assert!(bad.parse::<Guid>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sgdisk_finds_no_fault_and_reads_back_the_partitions() {
        let Some(sgdisk) = oracle::require("sgdisk") else {
            return;
        };
        let table = sample();
        let written = table.to_bytes().unwrap();
        let mut disk = tempfile::NamedTempFile::new().unwrap();
        disk.as_file().set_len(table.disk_sectors * SECTOR_BYTES).unwrap();
        disk.write_all(&written.primary).unwrap();
        disk.seek(SeekFrom::End(-((BACKUP_SECTORS * SECTOR_BYTES) as i64)))
            .unwrap();
        disk.write_all(&written.backup).unwrap();

        let run = |argument: &str| {
            let output = Command::new(&sgdisk)
                .arg(argument)
                .arg(disk.path())
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
        };
        let verdict = run("-v");
        assert!(verdict.contains("No problems found"), "{verdict}");
        assert!(
            !verdict.contains("Caution") && !verdict.contains("Warning"),
            "{verdict}"
        );
        let info = run("-i2").to_lowercase();
        for expected in [
            "partition guid code: 4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
            &table.partitions[1].guid.to_string(),
            "first sector: 6144",
            "last sector: 63487",
            "attribute flags: 0800000000000000",
            "partition name: 'root'",
        ] {
            assert!(info.contains(expected), "{expected}\n{info}");
        }
    }

    #[test]
    fn entries_may_be_elsewhere() {
        let Some(sgdisk) = oracle::require("sgdisk") else {
            return;
        };
        let table = sample();
        let parted = table.to_bytes_at(8).unwrap();
        let mut bytes = vec![0; (table.disk_sectors * SECTOR_BYTES) as usize];
        bytes[..1024].copy_from_slice(&parted.start);
        bytes[4096..][..parted.entries.len()].copy_from_slice(&parted.entries);
        let backup = bytes.len() - parted.backup.len();
        bytes[backup..].copy_from_slice(&parted.backup);
        let disk = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(disk.path(), &bytes).unwrap();
        let output = Command::new(sgdisk)
            .args(["-v", "-p"])
            .arg(disk.path())
            .output()
            .unwrap();
        let verdict = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert!(verdict.contains("No problems found"), "{verdict}");
        assert!(verdict.contains("First usable sector is 40,"), "{verdict}");
        assert_eq!(
            partition_types(&bytes),
            partition_types(&table.to_bytes().unwrap().primary)
        );
        let before = Table {
            partitions: vec![partition("early", 39, 1)],
            ..table
        };
        assert_eq!(before.to_bytes_at(8), Err(GptError::OutOfBounds("early".into())));
    }

    #[test]
    fn types_are_read_of_sgdisk_s_tables() {
        let Some(sgdisk) = oracle::require("sgdisk") else {
            return;
        };
        let disk = tempfile::NamedTempFile::new().unwrap();
        disk.as_file().set_len(64 << 20).unwrap();
        let output = Command::new(&sgdisk)
            .args(["-n", "1:0:+1M", "-t", "1:ef00", "-n", "3:0:+1M", "-t", "3:8305"])
            .arg(disk.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let start = std::fs::read(disk.path()).unwrap();
        let types = [Guid::EFI_SYSTEM, Guid::root_of("arm64").unwrap()];
        assert_eq!(partition_types(&start), types);
        let primary = &start[..(PRIMARY_SECTORS * SECTOR_BYTES) as usize];
        assert_eq!(partition_types(primary), types);
        assert_eq!(partition_types(&primary[..1024 + 256]), types[..1]);
        assert_eq!(partition_types(&primary[..1000]), []);
        assert_eq!(partition_types(&[0; 4096]), []);
    }

    proptest! {
        #[test]
        fn any_header_has_types_or_none(
            patches in proptest::collection::vec((512_usize..604, any::<u8>()), 0..20),
            length in 0_usize..20_000,
        ) {
            let mut start = sample().to_bytes().unwrap().primary;
            for (at, byte) in patches {
                start[at] = byte;
            }
            start.truncate(length);
            prop_assert!(partition_types(&start).len() <= MAX_PARTITIONS);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refusal = |change: &dyn Fn(&mut Table)| {
            let mut table = sample();
            change(&mut table);
            table.to_bytes().unwrap_err()
        };
        let beyond = refusal(&|table| table.partitions[1].sectors += 2048 - 32);
        assert_eq!(beyond, GptError::OutOfBounds("root".into()));
        let before = refusal(&|table| table.partitions[0].first_lba = 33);
        assert_eq!(before, GptError::OutOfBounds("EFI-SYSTEM".into()));
        let overlap = refusal(&|table| table.partitions[0].sectors += 1);
        assert_eq!(overlap, GptError::Overlap("EFI-SYSTEM".into(), "root".into()));
        let name = refusal(&|table| table.partitions[0].name = "n".repeat(37));
        assert_eq!(name, GptError::NameTooLong("n".repeat(37)));
        let many = refusal(&|table| table.partitions = vec![partition("p", 2048, 1); 129]);
        assert_eq!(many, GptError::TooManyPartitions(129));
        let tiny = refusal(&|table| table.disk_sectors = 10);
        assert_eq!(tiny, GptError::DiskTooSmall(10));
    }
}
