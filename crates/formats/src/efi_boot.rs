//! What UEFI firmware remembers about starting: boot entries and their order, as its variables hold them.
//!
//! Source: UEFI specification 2.10, 3.1 (the boot manager), 3.1.3 (`EFI_LOAD_OPTION`), 3.3 (its variables), 10.3 (device
//! paths). Numbers are little-endian, texts are UCS-2 and end with a zero.
//!
//! ```text
//! Boot####    Attributes u32 · FilePathListLength u16 · Description · FilePathList · OptionalData
//! BootOrder   u16 each: the numbers of the entries, the first is tried first
//! BootNext    u16: the entry of the next start only
//!
//! node of a device path   Type u8 · SubType u8 · Length u16, these four bytes among them · data
//! hard drive (4, 1)       PartitionNumber u32 · PartitionStart u64 · PartitionSize u64 · PartitionSignature 16
//!                         · PartitionFormat u8 (2: GPT) · SignatureType u8 (2: GUID)
//! file path (4, 4)        PathName
//! end (7f, ff)
//! ```
//!
//! A path that begins with a hard drive is the short form of 3.1.2: the firmware finds the disk by the partition's GUID, so
//! that it may be at another port tomorrow.
//!
//! Left out: other kinds of nodes, paths after the first, optional data. They are read over, and not written.

use crate::gpt::Guid;

/// The vendor GUID of these variables, `EFI_GLOBAL_VARIABLE`.
pub const GLOBAL_VARIABLE: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// The name of the variable with the order of the entries.
pub const BOOT_ORDER: &str = "BootOrder";
/// The name of the variable with the entry of the next start.
pub const BOOT_NEXT: &str = "BootNext";
/// `LOAD_OPTION_ACTIVE`: the boot manager tries the entry by itself.
pub const ACTIVE: u32 = 1;

const MEDIA_PATH: u8 = 4;
const HARD_DRIVE: u8 = 1;
const FILE_PATH: u8 = 4;
const END: [u8; 4] = [0x7f, 0xff, 4, 0];
const NODE_HEADER_BYTES: usize = 4;
const HARD_DRIVE_BYTES: u16 = 42;
const FORMAT_GPT: u8 = 2;
const SIGNATURE_GUID: u8 = 2;

/// A boot entry that starts a file of a GPT partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOption {
    /// [`ACTIVE`] and others.
    pub attributes: u32,
    /// What a menu of the firmware says.
    pub description: String,
    /// The partition.
    pub partition: HardDrive,
    /// The file, absolute, with backslashes.
    pub file: String,
}

/// A partition as a device path names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HardDrive {
    /// Its number in the table, from 1 on.
    pub number: u32,
    /// Its first sector.
    pub first_lba: u64,
    /// How many sectors it has.
    pub sectors: u64,
    /// Which one it is.
    pub guid: Guid,
}

/// An entry that cannot be written: its device path has more than 65,535 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the path of the boot loader is too long for a boot entry: {0} UCS-2 units")]
pub struct PathTooLong(usize);

impl LoadOption {
    /// An active entry. What UCS-2 cannot say (zeros, characters over U+FFFF) becomes U+FFFD in both texts.
    pub fn new(description: &str, partition: HardDrive, file: &str) -> Self {
        LoadOption {
            attributes: ACTIVE,
            description: as_ucs2(description),
            partition,
            file: as_ucs2(file),
        }
    }

    /// Reads the contents of a `Boot####` variable; `None` if it is no such entry, but of another kind or damaged.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (attributes, rest) = bytes.split_first_chunk()?;
        let (path_bytes, rest) = rest.split_first_chunk()?;
        let (description, rest) = split_text(rest)?;
        let mut path = rest.get(..usize::from(u16::from_le_bytes(*path_bytes)))?;
        let partition = match next_node(&mut path)? {
            (MEDIA_PATH, HARD_DRIVE, data) => HardDrive::parse(data)?,
            _ => return None,
        };
        let mut file = String::new();
        // A path may be cut into several nodes (10.3.5.4).
        while let (MEDIA_PATH, FILE_PATH, data) = next_node(&mut path)? {
            file.push_str(&split_text(data)?.0);
        }
        Some(LoadOption {
            attributes: u32::from_le_bytes(*attributes),
            description,
            partition,
            file,
        })
    }

    /// The contents of the variable.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PathTooLong> {
        let file = terminated(&self.file);
        let too_long = || PathTooLong(file.len() / 2);
        let length = |bytes: usize| u16::try_from(bytes).map_err(|_| too_long());
        let file_node_bytes = length(NODE_HEADER_BYTES + file.len())?;
        let mut path = self.partition.to_bytes();
        path.extend_from_slice(&[MEDIA_PATH, FILE_PATH]);
        path.extend_from_slice(&file_node_bytes.to_le_bytes());
        path.extend_from_slice(&file);
        path.extend_from_slice(&END);

        let mut bytes = self.attributes.to_le_bytes().to_vec();
        bytes.extend_from_slice(&length(path.len())?.to_le_bytes());
        bytes.extend_from_slice(&terminated(&self.description));
        bytes.extend_from_slice(&path);
        Ok(bytes)
    }

    /// Whether it starts a file of that path: FAT and firmware do not tell case.
    pub fn starts(&self, file: &str) -> bool {
        self.file.eq_ignore_ascii_case(file)
    }
}

impl HardDrive {
    fn parse(data: &[u8]) -> Option<Self> {
        let (number, rest) = data.split_first_chunk()?;
        let (first_lba, rest) = rest.split_first_chunk()?;
        let (sectors, rest) = rest.split_first_chunk()?;
        let (signature, rest) = rest.split_first_chunk()?;
        (rest == [FORMAT_GPT, SIGNATURE_GUID]).then(|| HardDrive {
            number: u32::from_le_bytes(*number),
            first_lba: u64::from_le_bytes(*first_lba),
            sectors: u64::from_le_bytes(*sectors),
            guid: Guid::from_disk_bytes(*signature),
        })
    }

    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![MEDIA_PATH, HARD_DRIVE];
        bytes.extend_from_slice(&HARD_DRIVE_BYTES.to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.first_lba.to_le_bytes());
        bytes.extend_from_slice(&self.sectors.to_le_bytes());
        bytes.extend_from_slice(&self.guid.to_disk_bytes());
        bytes.extend_from_slice(&[FORMAT_GPT, SIGNATURE_GUID]);
        bytes
    }
}

/// The name of the variable of an entry: four upper-case hexadecimal digits.
pub fn entry_name(number: u16) -> String {
    format!("Boot{number:04X}")
}

/// The number of the entry that has this variable, if it is one's.
pub fn entry_number(name: &str) -> Option<u16> {
    let number = u16::from_str_radix(name.strip_prefix("Boot")?, 16).ok()?;
    (entry_name(number) == name).then_some(number)
}

/// Reads the contents of `BootOrder` or `BootNext`. Half a number at the end is left out.
pub fn parse_numbers(bytes: &[u8]) -> Vec<u16> {
    let (numbers, _) = bytes.as_chunks::<2>();
    numbers.iter().copied().map(u16::from_le_bytes).collect()
}

/// The contents of `BootOrder` or `BootNext`.
pub fn numbers_to_bytes(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Type, subtype and data of the first node, which is taken off.
fn next_node<'a>(path: &mut &'a [u8]) -> Option<(u8, u8, &'a [u8])> {
    let [kind, subkind, low, high] = *path.first_chunk()?;
    let node_bytes = usize::from(u16::from_le_bytes([low, high]));
    let data = path.get(NODE_HEADER_BYTES..node_bytes)?;
    *path = path.get(node_bytes..)?;
    Some((kind, subkind, data))
}

/// The text up to a zero, and what is behind that. Halves of surrogate pairs become U+FFFD.
fn split_text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (units, _) = bytes.as_chunks::<2>();
    let end = units.iter().position(|unit| *unit == [0, 0])?;
    let units: Vec<u16> = units.iter().take(end).copied().map(u16::from_le_bytes).collect();
    Some((String::from_utf16_lossy(&units), bytes.get(2 * end + 2..)?))
}

fn as_ucs2(text: &str) -> String {
    let is_plain = |character: char| character != '\0' && character.len_utf16() == 1;
    let plain = text.chars().map(|character| match is_plain(character) {
        true => character,
        false => char::REPLACEMENT_CHARACTER,
    });
    plain.collect()
}

fn terminated(text: &str) -> Vec<u8> {
    let text = as_ucs2(text);
    text.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOADER: &str = r"\EFI\systemd\systemd-bootx64.efi";

    fn sample() -> LoadOption {
        let partition = HardDrive {
            number: 1,
            first_lba: 2048,
            sectors: 65536,
            guid: "01234567-89ab-4cde-8f01-23456789abcd".parse().unwrap(),
        };
        LoadOption::new("Debian", partition, LOADER)
    }

    /// What `efibootmgr` 17 wrote for this disk: `efibootmgr -c -d DISK -p 1 -L Debian -l LOADER`, with a folder in place
    /// of the firmware; without the four bytes of efivarfs.
    fn of_efibootmgr() -> Vec<u8> {
        let text = |text: &str| text.bytes().flat_map(|byte| [byte, 0]).collect::<Vec<u8>>();
        let start = "01000000 7400";
        let partition = "04012a00 01000000 0008000000000000 0000010000000000 \
                         67452301ab89de4c8f0123456789abcd 0202";
        let decode = |digits: &str| hex::decode(digits.replace(' ', "")).unwrap();
        [
            decode(start),
            text("Debian\0"),
            decode(partition),
            decode("04044600"),
            text(LOADER),
            decode("0000 7fff0400"),
        ]
        .concat()
    }

    #[test]
    fn entries_are_those_of_efibootmgr() {
        assert_eq!(sample().to_bytes().unwrap(), of_efibootmgr());
        assert_eq!(LoadOption::parse(&of_efibootmgr()), Some(sample()));
    }

    #[test]
    fn other_entries_are_none_of_ours() {
        let bytes = of_efibootmgr();
        for length in 0..bytes.len() {
            assert_eq!(LoadOption::parse(&bytes[..length]), None, "{length}");
        }
        let changed = |at: usize, to: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = to;
            LoadOption::parse(&bytes)
        };
        let path = 6 + 14;
        assert_eq!(changed(path, 2), None, "a path that begins otherwise");
        assert_eq!(changed(path + 40, 1), None, "a partition of an MBR");
        assert_eq!(changed(path + 2, 0), None, "a node shorter than its header");
        let more = [bytes.as_slice(), b"optional data"].concat();
        assert_eq!(LoadOption::parse(&more), Some(sample()));
    }

    #[test]
    fn a_file_may_be_cut_into_nodes() {
        let mut bytes = sample().to_bytes().unwrap();
        bytes.truncate(bytes.len() - END.len());
        bytes.extend_from_slice(&[4, 4, 8, 0, b'!', 0, 0, 0]);
        bytes.extend_from_slice(&END);
        bytes[4] += 8;
        assert_eq!(LoadOption::parse(&bytes).unwrap().file, format!("{LOADER}!"));
    }

    #[test]
    fn a_path_has_a_length() {
        let long = |units| LoadOption::new("x", sample().partition, &"x".repeat(units)).to_bytes();
        // 42 + 4 + 2 · 32,742 + 2 + 4 = 65,536.
        assert_eq!(long(32_742), Err(PathTooLong(32_743)));
        assert!(long(32_741).is_ok());
    }

    #[test]
    fn names_have_four_upper_case_digits() {
        assert_eq!(entry_name(0x1a), "Boot001A");
        assert_eq!(entry_number("Boot001A"), Some(0x1a));
        for other in [
            "Boot001a",
            "Boot01A",
            "Boot+01A",
            "Boot0001A",
            BOOT_ORDER,
            BOOT_NEXT,
            "Bootäö",
        ] {
            assert_eq!(entry_number(other), None, "{other}");
        }
    }

    #[test]
    fn half_a_number_is_none() {
        assert_eq!(parse_numbers(&[1, 0, 0x34, 0x12, 7]), [1, 0x1234]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_entry_or_none(bytes: Vec<u8>, at in 0_usize..150, patch: [u8; 3]) {
            let _ = LoadOption::parse(&bytes);
            let mut damaged = of_efibootmgr();
            damaged.splice(at.min(damaged.len()).., patch.into_iter().chain(bytes));
            let _ = LoadOption::parse(&damaged);
        }

        #[test]
        fn what_is_written_is_read(
            description in any::<String>(),
            file in any::<String>(),
            (number, first_lba, sectors, guid) in any::<(u32, u64, u64, [u8; 16])>(),
        ) {
            let partition = HardDrive { number, first_lba, sectors, guid: Guid::from_bytes(guid) };
            let option = LoadOption::new(&description, partition, &file);
            prop_assert_eq!(LoadOption::parse(&option.to_bytes().unwrap()), Some(option));
        }

        #[test]
        fn an_order_is_read_as_written(numbers: Vec<u16>) {
            prop_assert_eq!(parse_numbers(&numbers_to_bytes(&numbers)), numbers);
        }
    }
}
