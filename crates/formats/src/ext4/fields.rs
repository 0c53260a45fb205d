//! Little-endian fields of a record under construction, by their offset in the specification.

/// Writes fields of a record; offsets are in bytes. Every caller's record is of a fixed size that holds its offsets.
pub(super) trait Fields {
    /// Copies bytes as they are.
    fn put(&mut self, offset: usize, bytes: &[u8]);

    /// One byte.
    fn put_u8(&mut self, offset: usize, value: u8) {
        self.put(offset, &[value]);
    }

    /// `__le16`.
    fn put_u16(&mut self, offset: usize, value: u16) {
        self.put(offset, &value.to_le_bytes());
    }

    /// `__le32`.
    fn put_u32(&mut self, offset: usize, value: u32) {
        self.put(offset, &value.to_le_bytes());
    }

    /// A 32-bit value in two `__le16`.
    fn put_u32_split(&mut self, lo: usize, hi: usize, value: u32) {
        self.put_u16(lo, value as u16);
        self.put_u16(hi, (value >> 16) as u16);
    }

    /// A 64-bit value in two `__le32`.
    fn put_u64_split(&mut self, lo: usize, hi: usize, value: u64) {
        self.put_u32(lo, value as u32);
        self.put_u32(hi, (value >> 32) as u32);
    }
}

impl Fields for [u8] {
    fn put(&mut self, offset: usize, bytes: &[u8]) {
        self[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
}
