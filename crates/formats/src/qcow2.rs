//! qcow2 version 3, written once: clusters in ascending guest order, tables after the data, header last.
//!
//! Source: QEMU's `docs/interop/qcow2.rst`. Numbers are big-endian. Clusters of 64 KiB, refcounts of 16 bits.
//!
//! ```text
//! cluster 0      header
//! cluster 1 ...  data: plain clusters aligned, compressed ones packed byte by byte
//! then           L2 tables │ L1 table │ refcount blocks │ refcount table
//! ```
//!
//! A guest cluster of zeros has no entry. [`Allocator`] only says where things go: the caller compresses, and writes
//! each cluster to the offset it is told. Offsets grow except that a compressed cluster may fill the gap before a
//! plain one. Nothing is an image before [`Tables::header`] stands at offset 0, so that is written last.
//!
//! Left out: backing files, snapshots, encryption, bitmaps, external data, subclusters, lazy refcounts.

/// The unit of allocation, on both sides.
pub const CLUSTER_BYTES: u64 = 1 << CLUSTER_BITS;

const CLUSTER_BITS: u32 = 16;
const SECTOR_BYTES: u64 = 512;
const L2_ENTRIES: u64 = CLUSTER_BYTES / 8;
const REFCOUNTS_PER_BLOCK: u64 = CLUSTER_BYTES / 2;
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
/// In a compressed entry the bits below this one are the offset, those from it the number of further sectors.
const SECTORS_SHIFT: u32 = 62 - (CLUSTER_BITS - 8);
const INCOMPATIBLE_COMPRESSION_TYPE: u64 = 1 << 3;
const HEADER_LENGTH: u32 = 112;

/// The largest guest disk: an L1 table of 32 MiB, as large as QEMU takes it.
pub const MAX_VIRTUAL_BYTES: u64 = (32 << 20) / 8 * L2_ENTRIES * CLUSTER_BYTES;

/// How compressed clusters are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Raw deflate (RFC 1951), a window of 32 KiB at most. Every QEMU reads it.
    Zlib,
    /// One zstd frame. QEMU 5.1 or later.
    Zstd,
}

/// An image that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Qcow2Error {
    /// The guest disk is no multiple of 512 bytes, or larger than [`MAX_VIRTUAL_BYTES`].
    #[error("a qcow2 image cannot have a virtual size of {0} bytes")]
    VirtualSize(u64),
    /// A cluster came after a later one, twice, or lies behind the end of the guest disk.
    #[error("guest cluster {0} is out of order or out of range")]
    GuestCluster(u64),
    /// A compressed cluster is empty or not smaller than a cluster.
    #[error("{0} bytes are no length for a compressed cluster")]
    CompressedLength(usize),
}

/// Decides where each cluster of the guest goes in the file.
#[derive(Debug, Clone)]
pub struct Allocator {
    virtual_bytes: u64,
    compression: Compression,
    /// L2 tables that have entries, by L1 index in ascending order.
    l2_tables: Vec<(u64, Vec<u64>)>,
    /// The lowest guest cluster that may come next.
    next_guest: u64,
    /// One for each host cluster up to the end of the file.
    refcounts: Vec<u16>,
    /// The free rest of a cluster that holds compressed data.
    packed: std::ops::Range<u64>,
}

/// What follows the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables {
    /// Where the tables go: the end of the data, rounded up to a cluster.
    pub offset_bytes: u64,
    /// L2, L1 and refcount tables, whole clusters.
    pub bytes: Vec<u8>,
    /// The header, which makes the file an image: to be written to offset 0, last.
    pub header: Vec<u8>,
    /// The length of the file.
    pub file_bytes: u64,
}

impl Allocator {
    /// An image of a guest disk of that size.
    pub fn new(virtual_bytes: u64, compression: Compression) -> Result<Self, Qcow2Error> {
        if !virtual_bytes.is_multiple_of(SECTOR_BYTES) || virtual_bytes > MAX_VIRTUAL_BYTES {
            return Err(Qcow2Error::VirtualSize(virtual_bytes));
        }
        Ok(Allocator {
            virtual_bytes,
            compression,
            l2_tables: Vec::new(),
            next_guest: 0,
            refcounts: vec![1],
            packed: 0..0,
        })
    }

    /// Where the contents of a guest cluster go as they are: always [`CLUSTER_BYTES`], also at the end of the disk.
    pub fn plain(&mut self, guest_cluster: u64) -> Result<u64, Qcow2Error> {
        let offset = self.file_bytes();
        self.enter(guest_cluster, offset | COPIED)?;
        self.refcounts.push(1);
        Ok(offset)
    }

    /// Where the compressed contents of a guest cluster go.
    pub fn compressed(&mut self, guest_cluster: u64, len_bytes: usize) -> Result<u64, Qcow2Error> {
        let len = len_bytes as u64;
        if len == 0 || len >= CLUSTER_BYTES {
            return Err(Qcow2Error::CompressedLength(len_bytes));
        }
        let offset = if self.packed_takes(len) {
            self.packed.start
        } else {
            self.file_bytes()
        };
        let last = offset + len - 1;
        let sectors = last / SECTOR_BYTES - offset / SECTOR_BYTES;
        self.enter(guest_cluster, offset | sectors << SECTORS_SHIFT | COMPRESSED)?;
        for host_cluster in offset / CLUSTER_BYTES..=last / CLUSTER_BYTES {
            self.add_reference(host_cluster);
        }
        self.packed = last + 1..(last + 1).next_multiple_of(CLUSTER_BYTES);
        Ok(offset)
    }

    /// The length of the file so far.
    pub fn file_bytes(&self) -> u64 {
        self.refcounts.len() as u64 * CLUSTER_BYTES
    }

    /// The tables and the header.
    pub fn finish(mut self) -> Tables {
        let offset_bytes = self.file_bytes();
        let mut bytes = Vec::new();
        let l1_entries = self.virtual_bytes.div_ceil(L2_ENTRIES * CLUSTER_BYTES).max(1);
        let mut l1 = vec![0; l1_entries as usize];
        for (index, l2) in std::mem::take(&mut self.l2_tables) {
            if let Some(entry) = l1.get_mut(index as usize) {
                *entry = (offset_bytes + bytes.len() as u64) | COPIED;
            }
            append_table(&mut bytes, &l2);
        }
        let l1_offset = offset_bytes + bytes.len() as u64;
        append_table(&mut bytes, &l1);
        let refcount_table = self.append_refcounts(offset_bytes, &mut bytes);
        let header = self.header(l1_entries as u32, l1_offset, &refcount_table);
        Tables {
            offset_bytes,
            file_bytes: offset_bytes + bytes.len() as u64,
            bytes,
            header,
        }
    }

    fn enter(&mut self, guest_cluster: u64, entry: u64) -> Result<(), Qcow2Error> {
        let clusters = self.virtual_bytes.div_ceil(CLUSTER_BYTES);
        if guest_cluster < self.next_guest || guest_cluster >= clusters {
            return Err(Qcow2Error::GuestCluster(guest_cluster));
        }
        self.next_guest = guest_cluster + 1;
        let index = guest_cluster / L2_ENTRIES;
        if self.l2_tables.last().is_none_or(|(last, _)| *last != index) {
            self.l2_tables.push((index, vec![0; L2_ENTRIES as usize]));
        }
        if let Some((_, table)) = self.l2_tables.last_mut() {
            table[(guest_cluster % L2_ENTRIES) as usize] = entry;
        }
        Ok(())
    }

    /// Whether so much can follow the last compressed cluster: in its host cluster, or across the end of the file.
    fn packed_takes(&self, len_bytes: u64) -> bool {
        let count = self.refcounts.get((self.packed.start / CLUSTER_BYTES) as usize);
        let at_end = self.packed.end == self.file_bytes();
        !self.packed.is_empty()
            && (at_end || len_bytes <= self.packed.end - self.packed.start)
            && count.is_some_and(|count| *count < u16::MAX)
    }

    fn add_reference(&mut self, host_cluster: u64) {
        match self.refcounts.get_mut(host_cluster as usize) {
            Some(count) => *count += 1,
            None => self.refcounts.push(1),
        }
    }

    /// Appends refcount blocks and table for everything including themselves; returns the table's place and length.
    fn append_refcounts(&mut self, offset_bytes: u64, bytes: &mut Vec<u8>) -> RefcountTable {
        let before = (offset_bytes + bytes.len() as u64) / CLUSTER_BYTES;
        let (mut blocks, mut table_clusters) = (0_u64, 0_u64);
        loop {
            let needed = (before + blocks + table_clusters).div_ceil(REFCOUNTS_PER_BLOCK);
            let needed_table = needed.div_ceil(CLUSTER_BYTES / 8);
            if (needed, needed_table) == (blocks, table_clusters) {
                break;
            }
            (blocks, table_clusters) = (needed, needed_table);
        }
        self.refcounts
            .resize((before + blocks + table_clusters) as usize, 1);
        let table: Vec<u64> = (0..blocks)
            .map(|block| (before + block) * CLUSTER_BYTES)
            .collect();
        for count in &self.refcounts {
            bytes.extend_from_slice(&count.to_be_bytes());
        }
        pad(bytes);
        append_table(bytes, &table);
        RefcountTable {
            offset_bytes: (before + blocks) * CLUSTER_BYTES,
            clusters: table_clusters as u32,
        }
    }

    fn header(&self, l1_entries: u32, l1_offset: u64, refcount_table: &RefcountTable) -> Vec<u8> {
        let incompatible = match self.compression {
            Compression::Zlib => 0,
            Compression::Zstd => INCOMPATIBLE_COMPRESSION_TYPE,
        };
        let mut header = Vec::with_capacity(HEADER_LENGTH as usize + 8);
        header.extend_from_slice(b"QFI\xfb");
        header.extend_from_slice(&3_u32.to_be_bytes());
        header.extend_from_slice(&[0; 12]);
        header.extend_from_slice(&CLUSTER_BITS.to_be_bytes());
        header.extend_from_slice(&self.virtual_bytes.to_be_bytes());
        header.extend_from_slice(&[0; 4]);
        header.extend_from_slice(&l1_entries.to_be_bytes());
        header.extend_from_slice(&l1_offset.to_be_bytes());
        header.extend_from_slice(&refcount_table.offset_bytes.to_be_bytes());
        header.extend_from_slice(&refcount_table.clusters.to_be_bytes());
        header.extend_from_slice(&[0; 12]);
        header.extend_from_slice(&incompatible.to_be_bytes());
        header.extend_from_slice(&[0; 16]);
        header.extend_from_slice(&4_u32.to_be_bytes());
        header.extend_from_slice(&HEADER_LENGTH.to_be_bytes());
        header.extend_from_slice(&[
            u8::from(self.compression == Compression::Zstd),
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ]);
        // The end of the header extensions.
        header.extend_from_slice(&[0; 8]);
        header
    }
}

struct RefcountTable {
    offset_bytes: u64,
    clusters: u32,
}

fn append_table(bytes: &mut Vec<u8>, table: &[u64]) {
    for entry in table {
        bytes.extend_from_slice(&entry.to_be_bytes());
    }
    pad(bytes);
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(CLUSTER_BYTES as usize), 0);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::path::Path;
    use std::process::Command;

    use osmith_testing::oracle;
    use proptest::prelude::*;

    use super::*;

    /// What a guest cluster holds in a test.
    #[derive(Debug, Clone)]
    enum Contents {
        Zeros,
        Repeated(u8),
        Text(u32),
        Noise(u32),
    }

    impl Contents {
        fn bytes(&self) -> Vec<u8> {
            let noise = |seed: u32| {
                let mut state = u64::from(seed) << 1 | 1;
                std::iter::repeat_with(move || {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    (state >> 56) as u8
                })
            };
            let length = CLUSTER_BYTES as usize;
            match self {
                Contents::Zeros => vec![0; length],
                Contents::Repeated(byte) => vec![*byte; length],
                Contents::Text(seed) => noise(*seed).map(|byte| byte & 0x0f | 0x40).take(length).collect(),
                Contents::Noise(seed) => noise(*seed).take(length).collect(),
            }
        }
    }

    fn contents() -> impl Strategy<Value = Contents> {
        prop_oneof![
            4 => Just(Contents::Zeros),
            3 => (1_u8..).prop_map(Contents::Repeated),
            3 => any::<u32>().prop_map(Contents::Text),
            2 => any::<u32>().prop_map(Contents::Noise),
        ]
    }

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::fastest());
        let mut out = vec![0; compressor.deflate_compress_bound(bytes.len())];
        let length = compressor.deflate_compress(bytes, &mut out).unwrap();
        out.truncate(length);
        out
    }

    fn compress(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        match compression {
            Compression::Zlib => deflate(bytes),
            Compression::Zstd => zstd::bulk::compress(bytes, 1).unwrap(),
        }
    }

    /// Writes the image and the raw disk it stands for.
    fn write_both(
        directory: &Path,
        virtual_bytes: u64,
        clusters: &[(u64, Contents)],
        compression: Option<Compression>,
    ) {
        let raw = std::fs::File::create(directory.join("disk.raw")).unwrap();
        let image = std::fs::File::create(directory.join("disk.qcow2")).unwrap();
        let mut allocator = Allocator::new(virtual_bytes, compression.unwrap_or(Compression::Zlib)).unwrap();
        for (cluster, contents) in clusters {
            let mut bytes = contents.bytes();
            let offset = cluster * CLUSTER_BYTES;
            let inside = bytes.len().min((virtual_bytes - offset) as usize);
            bytes[inside..].fill(0);
            raw.write_all_at(&bytes[..inside], offset).unwrap();
            if bytes.iter().all(|byte| *byte == 0) {
                continue;
            }
            match compression.map(|compression| compress(compression, &bytes)) {
                Some(packed) if packed.len() < bytes.len() => {
                    let place = allocator.compressed(*cluster, packed.len()).unwrap();
                    image.write_all_at(&packed, place).unwrap();
                }
                _ => image
                    .write_all_at(&bytes, allocator.plain(*cluster).unwrap())
                    .unwrap(),
            }
        }
        raw.set_len(virtual_bytes).unwrap();
        let tables = allocator.finish();
        image.write_all_at(&tables.bytes, tables.offset_bytes).unwrap();
        image.write_all_at(&tables.header, 0).unwrap();
        assert_eq!(image.metadata().unwrap().len(), tables.file_bytes);
    }

    fn require_success(program: &Path, directory: &Path, arguments: &[&str]) {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(directory)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn require_equal(virtual_bytes: u64, clusters: &[(u64, Contents)], compression: Option<Compression>) {
        let Some(qemu_img) = oracle::require("qemu-img") else {
            return;
        };
        let directory = tempfile::tempdir().unwrap();
        write_both(directory.path(), virtual_bytes, clusters, compression);
        require_success(
            &qemu_img,
            directory.path(),
            &["check", "-f", "qcow2", "disk.qcow2"],
        );
        require_success(
            &qemu_img,
            directory.path(),
            &["compare", "-f", "raw", "-F", "qcow2", "disk.raw", "disk.qcow2"],
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn qemu_reads_what_was_written(
            all in proptest::collection::btree_map(0_u64..40_000, contents(), 0..60),
            extra_sectors in 0_u64..300,
            compression in prop_oneof![Just(None), Just(Some(Compression::Zlib)), Just(Some(Compression::Zstd))],
        ) {
            let clusters: Vec<_> = all.into_iter().collect();
            let end = clusters.last().map_or(0, |(last, _)| last * CLUSTER_BYTES + SECTOR_BYTES);
            let virtual_bytes = end + extra_sectors * SECTOR_BYTES;
            require_equal(virtual_bytes, &clusters, compression);
        }
    }

    #[test]
    fn compressed_and_plain_clusters_share_the_file_without_loss() {
        let mixed: Vec<_> = (0..600)
            .map(|cluster| match cluster % 5 {
                0 => (cluster, Contents::Noise(cluster as u32)),
                1 => (cluster, Contents::Zeros),
                2 => (cluster, Contents::Repeated(7)),
                _ => (cluster, Contents::Text(cluster as u32)),
            })
            .collect();
        for compression in [None, Some(Compression::Zlib), Some(Compression::Zstd)] {
            require_equal(600 * CLUSTER_BYTES, &mixed, compression);
        }
    }

    #[test]
    #[ignore = "long: 2.2 GB on disk"]
    fn more_than_one_refcount_block() {
        let many: Vec<_> = (0..REFCOUNTS_PER_BLOCK + 700)
            .map(|cluster| (cluster, Contents::Repeated(9)))
            .collect();
        require_equal((REFCOUNTS_PER_BLOCK + 700) * CLUSTER_BYTES, &many, None);
    }

    #[test]
    fn packing_leaves_no_gap_that_a_compressed_cluster_could_fill() {
        let mut allocator = Allocator::new(1 << 30, Compression::Zstd).unwrap();
        assert_eq!(allocator.compressed(0, 1000), Ok(CLUSTER_BYTES));
        assert_eq!(allocator.plain(1), Ok(2 * CLUSTER_BYTES));
        assert_eq!(allocator.compressed(2, 500), Ok(CLUSTER_BYTES + 1000));
        assert_eq!(allocator.compressed(3, 65_000), Ok(3 * CLUSTER_BYTES));
        assert_eq!(allocator.compressed(4, 65_000), Ok(3 * CLUSTER_BYTES + 65_000));
        assert_eq!(allocator.refcounts, [1, 2, 1, 2, 1]);
    }

    #[test]
    fn a_host_cluster_never_has_more_references_than_can_be_counted() {
        let mut allocator = Allocator::new(1 << 40, Compression::Zstd).unwrap();
        for cluster in 0..100_000 {
            allocator.compressed(cluster, 1).unwrap();
        }
        assert_eq!(allocator.refcounts[..3], [1, u16::MAX, 34_465]);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Allocator::new(513, Compression::Zlib).is_err());
        assert!(Allocator::new(MAX_VIRTUAL_BYTES + 512, Compression::Zlib).is_err());
        let mut allocator = Allocator::new(CLUSTER_BYTES + 512, Compression::Zlib).unwrap();
        assert_eq!(allocator.compressed(0, 0), Err(Qcow2Error::CompressedLength(0)));
        assert_eq!(
            allocator.compressed(0, 65_536),
            Err(Qcow2Error::CompressedLength(65_536))
        );
        assert!(allocator.plain(1).is_ok());
        assert_eq!(allocator.plain(1), Err(Qcow2Error::GuestCluster(1)));
        assert_eq!(allocator.plain(2), Err(Qcow2Error::GuestCluster(2)));
    }
}
