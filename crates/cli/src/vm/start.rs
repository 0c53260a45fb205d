//! The first sectors of a disk as the machine sees them: the partition table.
//!
//! Source: QEMU's `docs/interop/qcow2.rst`, sections "Header" and "Cluster mapping". Numbers are big-endian. Only the
//! first cluster of the guest is read, by the first entries of the first tables.
//!
//! Left out: clusters of a backing file, of an external data file, and encrypted ones; there the start is empty, or not
//! what the machine sees. Whoever reads it must be content with a guess.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

use osmith_formats::gpt::{PRIMARY_SECTORS, SECTOR_BYTES};

const START_BYTES: u64 = PRIMARY_SECTORS * SECTOR_BYTES;
/// The header with the field for the compression of clusters, which version 2 does not have.
const HEADER_BYTES: u64 = 112;
const CLUSTER_BITS: usize = 20;
const L1_TABLE_OFFSET: usize = 40;
const INCOMPATIBLE_FEATURES: usize = 72;
const COMPRESSION_TYPE: usize = 104;
/// The clusters are not compressed by zlib, but as the field for it says.
const INCOMPATIBLE_COMPRESSION_TYPE: u64 = 1 << 3;
const ZSTD: u8 = 1;
/// QEMU's clusters: 512 bytes to 2 MiB.
const CLUSTER_BITS_RANGE: std::ops::RangeInclusive<u32> = 9..=21;
/// The bits of a table's entry that are an offset.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;

/// The start of a disk whose file begins with it.
pub(super) fn of_raw(file: &mut (impl Read + Seek)) -> io::Result<Vec<u8>> {
    read(file, 0, START_BYTES)
}

/// The start of the disk in a qcow2 file; empty if nothing was written there.
pub(super) fn of_qcow2(file: &mut (impl Read + Seek)) -> io::Result<Vec<u8>> {
    let header = read(file, 0, HEADER_BYTES)?;
    let bits = u32::from_be_bytes(field(&header, CLUSTER_BITS)?);
    if !CLUSTER_BITS_RANGE.contains(&bits) {
        return Err(ErrorKind::InvalidData.into());
    }
    let l1_entry = number(file, u64::from_be_bytes(field(&header, L1_TABLE_OFFSET)?))?;
    if l1_entry & OFFSET == 0 {
        return Ok(Vec::new());
    }
    let l2_entry = number(file, l1_entry & OFFSET)?;
    if l2_entry & COMPRESSED == 0 {
        return match l2_entry & OFFSET {
            0 => Ok(Vec::new()),
            offset => read(file, offset, START_BYTES.min(1 << bits)),
        };
    }
    // The bits of an offset end where those of the number of further sectors begin.
    let split = 62 - (bits - 8);
    let offset = l2_entry & ((1 << split) - 1);
    let sectors = ((l2_entry & (COMPRESSED - 1)) >> split) + 1;
    let packed = read(file, offset, sectors * SECTOR_BYTES - offset % SECTOR_BYTES)?;
    let features = u64::from_be_bytes(field(&header, INCOMPATIBLE_FEATURES)?);
    let [compression] = field(&header, COMPRESSION_TYPE)?;
    let mut start = match features & INCOMPATIBLE_COMPRESSION_TYPE != 0 && compression == ZSTD {
        true => unpack_zstd(&packed)?,
        false => inflate(&packed, 1 << bits)?,
    };
    start.truncate(START_BYTES as usize);
    Ok(start)
}

/// One frame; what follows it in its last sector belongs to another cluster.
fn unpack_zstd(packed: &[u8]) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    let decoder = zstd::stream::read::Decoder::with_buffer(packed)?.single_frame();
    decoder.take(START_BYTES).read_to_end(&mut start)?;
    Ok(start)
}

fn inflate(packed: &[u8], cluster_bytes: usize) -> io::Result<Vec<u8>> {
    let mut cluster = vec![0; cluster_bytes];
    libdeflater::Decompressor::new()
        .deflate_decompress(packed, &mut cluster)
        .map_err(io::Error::other)?;
    Ok(cluster)
}

/// What a file has from there on, `length` bytes at most.
fn read(file: &mut (impl Read + Seek), offset: u64, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn number(file: &mut (impl Read + Seek), offset: u64) -> io::Result<u64> {
    Ok(u64::from_be_bytes(field(&read(file, offset, 8)?, 0)?))
}

fn field<const LENGTH: usize>(bytes: &[u8], offset: usize) -> io::Result<[u8; LENGTH]> {
    let field = bytes.get(offset..).and_then(<[u8]>::first_chunk);
    field.copied().ok_or_else(|| ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Cursor;
    use std::process::Command;

    use osmith_formats::gpt::{self, Guid, Partition, Table};
    use osmith_testing::oracle;

    use super::*;

    /// A disk with a root partition of that architecture, and text behind the table.
    fn disk(architecture: &str) -> Vec<u8> {
        const SECTORS: u64 = 4096;
        let table = Table {
            disk_guid: Guid::from_random_bytes([7; 16]),
            disk_sectors: SECTORS,
            partitions: vec![Partition {
                type_guid: Guid::root_of(architecture).unwrap(),
                guid: Guid::from_random_bytes([8; 16]),
                first_lba: 2048,
                sectors: 1024,
                attributes: 0,
                name: "root".to_owned(),
            }],
        };
        let mut disk = table.to_bytes().unwrap().primary;
        disk.resize((SECTORS * SECTOR_BYTES) as usize, b'x');
        disk
    }

    #[test]
    fn qemu_s_images_start_as_their_disks() {
        let Some(qemu_img) = oracle::require("qemu-img") else {
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let (raw, qcow2) = (folder.path().join("raw"), folder.path().join("qcow2"));
        let disk = disk("arm64");
        fs::write(&raw, &disk).unwrap();
        for options in [
            "convert -O qcow2",
            "convert -c -O qcow2",
            "convert -c -O qcow2 -o compression_type=zstd",
            "convert -c -O qcow2 -o compat=0.10",
            "convert -c -O qcow2 -o cluster_size=2M",
            "convert -O qcow2 -o extended_l2=on,cluster_size=128k",
        ] {
            let status = Command::new(&qemu_img)
                .args(options.split(' '))
                .args([&raw, &qcow2])
                .status();
            assert!(status.unwrap().success(), "{options}");
            let start = of_qcow2(&mut File::open(&qcow2).unwrap()).unwrap();
            assert_eq!(start, disk[..START_BYTES as usize], "{options}");
            assert_eq!(
                gpt::partition_types(&start),
                [Guid::root_of("arm64").unwrap()],
                "{options}"
            );
        }
        let status = Command::new(&qemu_img)
            .args(["create", "-q", "-f", "qcow2"])
            .arg(&qcow2)
            .arg("1M")
            .status();
        assert!(status.unwrap().success());
        let start = of_qcow2(&mut File::open(&qcow2).unwrap()).unwrap();
        assert_eq!(gpt::partition_types(&start), []);
    }

    #[test]
    fn damaged_headers_are_errors_or_empty() {
        let mut image = vec![0; 1 << 17];
        assert!(of_qcow2(&mut Cursor::new(&image[..50])).is_err());
        assert!(of_qcow2(&mut Cursor::new(&image)).is_err());
        image[CLUSTER_BITS + 3] = 16;
        // The table is the header itself: its first number is 0.
        assert!(of_qcow2(&mut Cursor::new(&image)).unwrap().is_empty());
        image[L1_TABLE_OFFSET] = 0xff;
        assert!(of_qcow2(&mut Cursor::new(&image)).is_err());
    }
}
