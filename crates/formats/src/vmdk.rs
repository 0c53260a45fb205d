//! VMDK, streamOptimized, in the layout of VMware's own tools: written from the front to the back, tables in the stream.
//!
//! Source: VMware's "Virtual Disk Format 5.0". Numbers are little-endian, places are sectors of 512 bytes.
//!
//! ```text
//! sector 0       header, which says: the directory is at the end
//! sector 1 ...   descriptor, a text
//! sector 128 ... grains: marker with LBA and length, zlib stream, padding │ after the grains of a table: marker, table
//! then           marker, grain directory │ marker, footer │ end-of-stream marker
//! ```
//!
//! A grain holds 64 KiB of the disk; one of zeros is left out. A table has 512 grains, 32 MiB. [`StreamLayout`] only says
//! where things go, and makes all but the zlib streams; every byte but those of the grains is known when it is written, so
//! nothing is ever gone back to.
//!
//! Left out: sparse extents in place of streams, several extents, parents.

use std::fmt::Write as _;

/// What is compressed at a time.
pub const GRAIN_BYTES: u64 = 64 << 10;

const SECTOR_BYTES: u64 = 512;
const GRAIN_SECTORS: u64 = GRAIN_BYTES / SECTOR_BYTES;
const GRAINS_PER_TABLE: u64 = 512;
const TABLE_SECTORS: u64 = GRAINS_PER_TABLE * 4 / SECTOR_BYTES;
const DESCRIPTOR_SECTOR: u64 = 1;
const DESCRIPTOR_SECTORS: u64 = 20;
const OVERHEAD_SECTORS: u64 = 128;
const VERSION: u32 = 3;
/// The newline test is valid, grains are compressed, there are markers.
const FLAGS: u32 = 1 | 1 << 16 | 1 << 17;
/// The directory's place, in the header of a stream.
const AT_END: u64 = u64::MAX;
const COMPRESSION_DEFLATE: u16 = 1;
const MARKER_END: u32 = 0;
const MARKER_TABLE: u32 = 1;
const MARKER_DIRECTORY: u32 = 2;
const MARKER_FOOTER: u32 = 3;
/// Of the virtual hardware of ESXi 5.5; newer hosts take it as well.
const HARDWARE_VERSION: u32 = 10;
/// What BIOSes make of a disk at an LSI Logic adapter.
const HEADS: u64 = 255;
const SECTORS_PER_TRACK: u64 = 63;

/// The largest disk: what ESXi takes.
pub const MAX_VIRTUAL_BYTES: u64 = 62 << 40;

/// A file that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VmdkError {
    /// The disk is no multiple of a grain, or larger than [`MAX_VIRTUAL_BYTES`].
    #[error("a VMDK cannot have a virtual size of {0} bytes")]
    VirtualSize(u64),
    /// A grain came after a later one, twice, or lies behind the end of the disk.
    #[error("grain {0} is out of order or out of range")]
    Grain(u64),
    /// Grains that are placed together belong to one table.
    #[error("the grains from {0} on belong to several tables")]
    SeveralTables(u64),
    /// The file became so long that a place in it has no number.
    #[error("a VMDK cannot be longer than 2 TiB")]
    FileSize,
}

/// Decides where each grain goes in the file.
#[derive(Debug, Clone)]
pub struct StreamLayout {
    capacity_sectors: u64,
    content_id: u32,
    /// Places of tables that are in the stream, by their number; 0 for those without a grain.
    directory: Vec<u32>,
    /// The table whose grains are being written.
    table: Option<OpenTable>,
    /// The lowest grain that may come next.
    next_grain: u64,
    next_sector: u64,
}

#[derive(Debug, Clone)]
struct OpenTable {
    index: usize,
    entries: Vec<u32>,
}

/// A grain and how many sectors it takes, with marker and padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedGrain {
    /// Its number on the disk.
    pub grain: u64,
    /// How long [`pack_grain`] made it.
    pub sectors: u32,
}

/// Where grains go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Where they go, or rather what comes before them.
    pub offset_bytes: u64,
    /// The table of earlier grains, or nothing. The grains follow it, one after the other.
    pub before: Vec<u8>,
}

impl StreamLayout {
    /// A file for a disk of that size. The content ID changes whenever the content does.
    pub fn new(virtual_bytes: u64, content_id: u32) -> Result<Self, VmdkError> {
        if !virtual_bytes.is_multiple_of(GRAIN_BYTES) || virtual_bytes > MAX_VIRTUAL_BYTES {
            return Err(VmdkError::VirtualSize(virtual_bytes));
        }
        let tables = virtual_bytes.div_ceil(GRAIN_BYTES * GRAINS_PER_TABLE);
        Ok(StreamLayout {
            capacity_sectors: virtual_bytes / SECTOR_BYTES,
            content_id,
            directory: vec![0; tables as usize],
            table: None,
            next_grain: 0,
            next_sector: OVERHEAD_SECTORS,
        })
    }

    /// What the file begins with. `name` is the file's own.
    pub fn head(&self, name: &str) -> Vec<u8> {
        let mut head = self.header(AT_END);
        head.extend_from_slice(self.descriptor(name).as_bytes());
        head.resize((OVERHEAD_SECTORS * SECTOR_BYTES) as usize, 0);
        head
    }

    /// Where some grains of one table go, in ascending order.
    pub fn place(&mut self, grains: &[PackedGrain]) -> Result<Placed, VmdkError> {
        let mut placed = Placed {
            offset_bytes: self.next_sector * SECTOR_BYTES,
            before: Vec::new(),
        };
        let (Some(first), Some(last)) = (grains.first(), grains.last()) else {
            return Ok(placed);
        };
        let index = (first.grain / GRAINS_PER_TABLE) as usize;
        if last.grain / GRAINS_PER_TABLE != index as u64 {
            return Err(VmdkError::SeveralTables(first.grain));
        }
        if self.table.as_ref().is_none_or(|table| table.index != index) {
            self.close_table(&mut placed.before)?;
            self.table = Some(OpenTable {
                index,
                entries: vec![0; GRAINS_PER_TABLE as usize],
            });
        }
        for packed in grains {
            self.enter(packed)?;
        }
        Ok(placed)
    }

    /// What the file ends with, and where that begins.
    pub fn finish(mut self) -> Result<(u64, Vec<u8>), VmdkError> {
        let offset_bytes = self.next_sector * SECTOR_BYTES;
        let mut tail = Vec::new();
        self.close_table(&mut tail)?;
        let directory_bytes = (self.directory.len() * 4).next_multiple_of(SECTOR_BYTES as usize);
        let directory_sectors = directory_bytes as u64 / SECTOR_BYTES;
        let directory_sector = self.advance(1)? + 1;
        self.advance(directory_sectors)?;
        tail.extend_from_slice(&marker(directory_sectors, MARKER_DIRECTORY));
        append_entries(&mut tail, &self.directory);
        tail.extend_from_slice(&marker(1, MARKER_FOOTER));
        tail.extend_from_slice(&self.header(directory_sector));
        tail.extend_from_slice(&marker(0, MARKER_END));
        Ok((offset_bytes, tail))
    }

    fn enter(&mut self, packed: &PackedGrain) -> Result<(), VmdkError> {
        let grains = self.capacity_sectors / GRAIN_SECTORS;
        if packed.grain < self.next_grain || packed.grain >= grains {
            return Err(VmdkError::Grain(packed.grain));
        }
        self.next_grain = packed.grain + 1;
        let sector = self.advance(u64::from(packed.sectors))?;
        let entry = self
            .table
            .as_mut()
            .and_then(|table| table.entries.get_mut((packed.grain % GRAINS_PER_TABLE) as usize));
        if let Some(entry) = entry {
            *entry = sector as u32;
        }
        Ok(())
    }

    /// Appends the table whose grains are all there.
    fn close_table(&mut self, bytes: &mut Vec<u8>) -> Result<(), VmdkError> {
        let Some(table) = self.table.take() else {
            return Ok(());
        };
        let sector = self.advance(1 + TABLE_SECTORS)? + 1;
        if let Some(entry) = self.directory.get_mut(table.index) {
            *entry = sector as u32;
        }
        bytes.extend_from_slice(&marker(TABLE_SECTORS, MARKER_TABLE));
        append_entries(bytes, &table.entries);
        Ok(())
    }

    /// Takes so many sectors, all of which have numbers, and says which is the first.
    fn advance(&mut self, sectors: u64) -> Result<u64, VmdkError> {
        let first = self.next_sector;
        self.next_sector += sectors;
        if self.next_sector > u64::from(u32::MAX) {
            return Err(VmdkError::FileSize);
        }
        Ok(first)
    }

    fn header(&self, directory_sector: u64) -> Vec<u8> {
        let mut header = Vec::with_capacity(SECTOR_BYTES as usize);
        header.extend_from_slice(b"KDMV");
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&FLAGS.to_le_bytes());
        for number in [
            self.capacity_sectors,
            GRAIN_SECTORS,
            DESCRIPTOR_SECTOR,
            DESCRIPTOR_SECTORS,
        ] {
            header.extend_from_slice(&number.to_le_bytes());
        }
        header.extend_from_slice(&(GRAINS_PER_TABLE as u32).to_le_bytes());
        // No second directory.
        for number in [0, directory_sector, OVERHEAD_SECTORS] {
            header.extend_from_slice(&number.to_le_bytes());
        }
        // Cleanly closed; and what a transfer as text would have changed.
        header.extend_from_slice(b"\0\n \r\n");
        header.extend_from_slice(&COMPRESSION_DEFLATE.to_le_bytes());
        header.resize(SECTOR_BYTES as usize, 0);
        header
    }

    fn descriptor(&self, name: &str) -> String {
        let capacity = self.capacity_sectors;
        let cylinders = (capacity / (HEADS * SECTORS_PER_TRACK)).clamp(1, 65_535);
        let mut text = String::from("# Disk DescriptorFile\nversion=1\n");
        let _ = write!(
            text,
            "CID={:08x}\nparentCID=ffffffff\ncreateType=\"streamOptimized\"\n\n\
             # Extent description\nRW {capacity} SPARSE \"{name}\"\n\n\
             # The Disk Data Base\n#DDB\n\n\
             ddb.virtualHWVersion = \"{HARDWARE_VERSION}\"\n\
             ddb.geometry.cylinders = \"{cylinders}\"\n\
             ddb.geometry.heads = \"{HEADS}\"\n\
             ddb.geometry.sectors = \"{SECTORS_PER_TRACK}\"\n\
             ddb.adapterType = \"lsilogic\"\n",
            self.content_id
        );
        text
    }
}

/// Appends a grain as it stands in the file: its first sector on the disk, its length, the zlib stream made of a raw
/// deflate stream and the Adler-32 of the contents, and padding.
pub fn pack_grain(grain: u64, deflated: &[u8], adler32: u32, bytes: &mut Vec<u8>) -> PackedGrain {
    // Deflate, a window of 32 KiB, fastest level: a number that 31 divides.
    const ZLIB_HEADER: [u8; 2] = [0x78, 0x01];
    let start = bytes.len();
    let stream_bytes = ZLIB_HEADER.len() + deflated.len() + 4;
    bytes.extend_from_slice(&(grain * GRAIN_SECTORS).to_le_bytes());
    bytes.extend_from_slice(&(stream_bytes as u32).to_le_bytes());
    bytes.extend_from_slice(&ZLIB_HEADER);
    bytes.extend_from_slice(deflated);
    bytes.extend_from_slice(&adler32.to_be_bytes());
    let sectors = (bytes.len() - start).div_ceil(SECTOR_BYTES as usize);
    bytes.resize(start + sectors * SECTOR_BYTES as usize, 0);
    PackedGrain {
        grain,
        sectors: sectors as u32,
    }
}

fn marker(sectors: u64, kind: u32) -> Vec<u8> {
    let mut marker = Vec::with_capacity(SECTOR_BYTES as usize);
    marker.extend_from_slice(&sectors.to_le_bytes());
    marker.extend_from_slice(&0_u32.to_le_bytes());
    marker.extend_from_slice(&kind.to_le_bytes());
    marker.resize(SECTOR_BYTES as usize, 0);
    marker
}

/// Appends entries, and zeros up to a whole sector.
fn append_entries(bytes: &mut Vec<u8>, entries: &[u32]) {
    for entry in entries {
        bytes.extend_from_slice(&entry.to_le_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(SECTOR_BYTES as usize), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
        bytes[at..at + len]
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// A file whose grains hold their own number, over and over, stored without compression.
    fn file(virtual_bytes: u64, grains: &[u64]) -> Vec<u8> {
        let mut layout = StreamLayout::new(virtual_bytes, 0x1234_abcd).unwrap();
        let mut bytes = layout.head("disk.vmdk");
        for grain in grains {
            let mut packed = Vec::new();
            let packed_grain = pack_grain(*grain, &[*grain as u8; 700], 7, &mut packed);
            let placed = layout.place(&[packed_grain]).unwrap();
            assert_eq!(placed.offset_bytes, bytes.len() as u64);
            bytes.extend(placed.before);
            bytes.extend(packed);
        }
        let (offset_bytes, tail) = layout.finish().unwrap();
        assert_eq!(offset_bytes, bytes.len() as u64);
        bytes.extend(tail);
        bytes
    }

    #[test]
    fn header_and_descriptor_have_the_fields_of_a_stream() {
        let bytes = file(100 * MIB, &[]);
        assert_eq!(bytes[..4], *b"KDMV");
        let fields = [
            (4, 4, 3),
            (8, 4, 0x30001),
            (12, 8, 204_800),
            (20, 8, 128),
            (28, 8, 1),
            (36, 8, 20),
            (44, 4, 512),
            (48, 8, 0),
            (56, 8, u64::MAX),
            (64, 8, 128),
            (77, 2, 1),
        ];
        for (at, len, expected) in fields {
            assert_eq!(number(&bytes, at, len), expected, "at {at}");
        }
        assert_eq!(bytes[72..77], *b"\0\n \r\n");
        let text = String::from_utf8(bytes[512..21 * 512].to_vec()).unwrap();
        for line in [
            "CID=1234abcd\n",
            "createType=\"streamOptimized\"\n",
            "RW 204800 SPARSE \"disk.vmdk\"\n",
            "ddb.virtualHWVersion = \"10\"\n",
            "ddb.geometry.cylinders = \"12\"\n",
            "ddb.adapterType = \"lsilogic\"\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }

    #[test]
    fn tables_and_directory_are_found_from_the_footer() {
        let grains = [0, 5, 511, 512, 1535];
        let bytes = file(100 * MIB, &grains);
        let end = bytes.len();
        assert_eq!(bytes[end - 512..], [0; 512]);
        assert_eq!(number(&bytes, end - 1536, 8), 1);
        assert_eq!(number(&bytes, end - 1536 + 12, 4), 3);
        let directory = number(&bytes, end - 1024 + 56, 8) as usize * 512;
        assert_eq!(number(&bytes, directory - 512, 8), 1);
        assert_eq!(number(&bytes, directory - 512 + 12, 4), 2);
        let mut found = Vec::new();
        for table in 0..4 {
            let place = number(&bytes, directory + table * 4, 4) as usize * 512;
            if place == 0 {
                continue;
            }
            assert_eq!(number(&bytes, place - 512, 8), 4);
            assert_eq!(number(&bytes, place - 512 + 12, 4), 1);
            for entry in 0..512 {
                let at = number(&bytes, place + entry * 4, 4) as usize * 512;
                if at == 0 {
                    continue;
                }
                let grain = table as u64 * 512 + entry as u64;
                assert_eq!(number(&bytes, at, 8), grain * 128);
                assert_eq!(number(&bytes, at + 8, 4), 706);
                assert_eq!(number(&bytes, at + 12, 2) % 256 * 256 + 1, 0x7801);
                assert_eq!(bytes[at + 14..at + 714], [grain as u8; 700]);
                assert_eq!(bytes[at + 714..at + 718], [0, 0, 0, 7]);
                found.push(grain);
            }
        }
        assert_eq!(found, grains);
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(
            StreamLayout::new(513, 0).unwrap_err(),
            VmdkError::VirtualSize(513)
        );
        assert!(StreamLayout::new(MAX_VIRTUAL_BYTES + GRAIN_BYTES, 0).is_err());
        let mut layout = StreamLayout::new(40 * MIB, 0).unwrap();
        let packed = |grain| PackedGrain { grain, sectors: 1 };
        assert_eq!(
            layout.place(&[packed(511), packed(512)]),
            Err(VmdkError::SeveralTables(511))
        );
        assert!(layout.place(&[packed(3)]).is_ok());
        assert_eq!(layout.place(&[packed(3)]), Err(VmdkError::Grain(3)));
        assert_eq!(layout.place(&[packed(640)]), Err(VmdkError::Grain(640)));
        let huge = PackedGrain {
            grain: 639,
            sectors: u32::MAX,
        };
        assert_eq!(layout.place(&[huge]), Err(VmdkError::FileSize));
    }
}
