//! One node of the tree, as ext4 sees it: what it may be, and which of its blocks are stored.

use super::error::NodeReason;
use super::{BLOCK_BYTES, File, extent, verity_region_bytes};
use crate::tree::{Device, Inode, Node, Timestamp};

/// Longer targets of symbolic links need a block.
pub(super) const FAST_SYMLINK_BYTES: usize = extent::ROOT_BYTES - 1;

const NAME_BYTES: usize = 255;
const SYMLINK_BYTES: usize = BLOCK_BYTES as usize - 1;
/// Verity metadata starts at a multiple of this, so that a kernel with larger pages can map it.
const VERITY_ALIGNMENT_BYTES: u64 = 65536;

/// The seconds that an inode can hold: from 1901 on. 34 bits reach to 2446, but `e2fsck` takes what is after 2310 for
/// times before 1970 that an old kernel has written, and would change them.
const TIMES: std::ops::Range<i64> = -(1 << 31)..(1 << 33) + (1 << 31);

/// Stored blocks of a file that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// The first one's place in the file.
    pub(super) logical: u32,
    /// How many.
    pub(super) blocks: u32,
    /// Whether they are verity metadata, not contents.
    pub(super) verity: bool,
}

/// The code of the kind in a directory entry.
pub(super) fn file_type(node: &Node<File>) -> u8 {
    match node {
        Node::Regular(_) => 1,
        Node::Directory(_) => 2,
        Node::CharacterDevice(_) => 3,
        Node::BlockDevice(_) => 4,
        Node::Fifo => 5,
        Node::Socket => 6,
        Node::Symlink(_) => 7,
    }
}

/// Whether an inode can hold that time.
pub(super) fn is_time(time: &Timestamp) -> bool {
    TIMES.contains(&time.seconds) && time.nanoseconds < 1_000_000_000
}

/// Refuses a name that no entry can have.
pub(super) fn check_name(name: &[u8]) -> Result<(), NodeReason> {
    if name.len() > NAME_BYTES {
        return Err(NodeReason::NameLength(name.len()));
    }
    match name {
        b"" | b"." | b".." => Err(NodeReason::Name),
        _ if name.iter().any(|byte| matches!(byte, 0 | b'/')) => Err(NodeReason::Name),
        _ => Ok(()),
    }
}

/// Refuses a node that no inode can hold; its attributes are another matter.
pub(super) fn check(inode: &Inode<File>) -> Result<(), NodeReason> {
    if !is_time(&inode.metadata.mtime) {
        return Err(NodeReason::Time(inode.metadata.mtime.seconds));
    }
    match &inode.node {
        Node::Symlink(target) if target.len() > SYMLINK_BYTES => Err(NodeReason::SymlinkLength(target.len())),
        Node::Symlink(target) if target.is_empty() || target.contains(&0) => Err(NodeReason::SymlinkTarget),
        Node::CharacterDevice(device) | Node::BlockDevice(device) => check_device(device),
        Node::Regular(file) if end_block(file).is_none() => Err(NodeReason::FileSize(file.size_bytes)),
        _ => Ok(()),
    }
}

fn check_device(device: &Device) -> Result<(), NodeReason> {
    match device.major < 1 << 12 && device.minor < 1 << 20 {
        true => Ok(()),
        false => Err(NodeReason::Device(device.major, device.minor)),
    }
}

/// The block after the last one of a file and its verity metadata; `None` if that is more than an extent can name.
fn end_block(file: &File) -> Option<u32> {
    let region = match file.verity {
        true => verity_region_bytes(file.size_bytes),
        false => 0,
    };
    let start = file.size_bytes.checked_next_multiple_of(VERITY_ALIGNMENT_BYTES)?;
    let end = match region {
        0 => file.size_bytes,
        _ => start.checked_add(region)?,
    };
    u32::try_from(end.div_ceil(BLOCK_BYTES)).ok()
}

/// The block of a file that its verity metadata starts at.
pub(super) fn verity_start(file: &File) -> u32 {
    (file.size_bytes.next_multiple_of(VERITY_ALIGNMENT_BYTES) / BLOCK_BYTES) as u32
}

/// The blocks of a file that are stored, in their order.
pub(super) fn segments(file: &File) -> Vec<Segment> {
    let mut segments = Vec::with_capacity(2);
    let end = file.size_bytes.div_ceil(BLOCK_BYTES) as u32;
    let mut logical = 0;
    for (hole_start, hole_end) in whole_block_holes(file, end) {
        push_segment(&mut segments, logical, hole_start, false);
        logical = logical.max(hole_end);
    }
    push_segment(&mut segments, logical, end, false);
    if file.verity {
        let start = verity_start(file);
        let blocks = (verity_region_bytes(file.size_bytes) / BLOCK_BYTES) as u32;
        push_segment(&mut segments, start, start + blocks, true);
    }
    segments
}

fn push_segment(segments: &mut Vec<Segment>, logical: u32, end: u32, verity: bool) {
    if logical < end {
        segments.push(Segment {
            logical,
            blocks: end - logical,
            verity,
        });
    }
}

/// The holes as block numbers, without what is not a whole block, in their order. `end` is the file's end.
fn whole_block_holes(file: &File, end: u32) -> Vec<(u32, u32)> {
    let mut holes = Vec::with_capacity(file.holes.len());
    for hole in file.holes.iter() {
        let hole_end = match hole.end >= file.size_bytes {
            true => u64::from(end),
            false => hole.end / BLOCK_BYTES,
        };
        let hole_start = hole.start.div_ceil(BLOCK_BYTES);
        if hole_start < hole_end {
            holes.push((hole_start as u32, hole_end as u32));
        }
    }
    holes.sort_unstable();
    holes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(size_bytes: u64, holes: &[std::ops::Range<u64>], verity: bool) -> Vec<(u32, u32, bool)> {
        let file = File {
            source: 0,
            size_bytes,
            holes: holes.into(),
            verity,
        };
        let segments = segments(&file).into_iter();
        segments
            .map(|segment| (segment.logical, segment.blocks, segment.verity))
            .collect()
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init, reason = "one hole is meant")]
    fn only_whole_blocks_are_left_out() {
        assert_eq!(stored(0, &[], false), []);
        assert_eq!(stored(10_000, &[], false), [(0, 3, false)]);
        assert_eq!(stored(10_000, &[0..4095, 4097..8192], false), [(0, 3, false)]);
        assert_eq!(
            stored(10_000, &[4096..8192], false),
            [(0, 1, false), (2, 1, false)]
        );
        assert_eq!(stored(10_000, &[0..10_000], false), []);
        assert_eq!(
            stored(10_000, &[8192..u64::MAX, 0..4096, 0..5000], false),
            [(1, 1, false)]
        );
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init, reason = "one hole is meant")]
    fn verity_metadata_starts_at_64_kib_behind_the_end() {
        assert_eq!(stored(0, &[], true), [(0, 1, true)]);
        assert_eq!(stored(1, &[], true), [(0, 1, false), (16, 1, true)]);
        assert_eq!(stored(65536, &[], true), [(0, 16, false), (16, 2, true)]);
        assert_eq!(stored(65537, &[0..65536], true), [(16, 1, false), (32, 2, true)]);
    }

    #[test]
    fn a_file_ends_before_block_number_32_bits() {
        let of_size = |size_bytes, verity| {
            end_block(&File {
                size_bytes,
                verity,
                ..File::default()
            })
        };
        let limit = u64::from(u32::MAX) * BLOCK_BYTES;
        assert_eq!(of_size(limit, false), Some(u32::MAX));
        assert_eq!(of_size(limit + 1, false), None);
        assert_eq!(of_size(limit, true), None);
        assert_eq!(of_size(u64::MAX, true), None);
    }
}
