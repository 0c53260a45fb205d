//! Metadata checksums: CRC-32C without the final inversion, chained from the file system's identity.

/// The running value of a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checksum(u32);

impl Checksum {
    /// Before any byte.
    pub(super) const START: Checksum = Checksum(!0);

    /// What every checksum but the superblock's own starts from.
    pub(super) fn of_file_system(uuid: &[u8; 16]) -> Self {
        Checksum::START.with(uuid)
    }

    /// What the checksum of an inode, and of every block that belongs to one inode, starts from. The generation is
    /// always 0.
    pub(super) fn of_inode(self, number: u32) -> Self {
        self.with(&number.to_le_bytes()).with(&[0; 4])
    }

    /// After these bytes too.
    pub(super) fn with(self, bytes: &[u8]) -> Self {
        Checksum(!crc32c::crc32c_append(!self.0, bytes))
    }

    /// The value to store.
    pub(super) fn value(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_uninverted_crc32c() {
        // "123456789" is the check input of CRC catalogues: e3069283, inverted at the end.
        assert_eq!(Checksum::START.with(b"123456789").value(), !0xe306_9283);
        assert_eq!(
            Checksum::START.with(b"12345").with(b"6789"),
            Checksum::START.with(b"123456789")
        );
    }
}
