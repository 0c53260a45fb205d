//! The archive that a core image carries as its memory disk: cpio as `newc` writes it.
//!
//! ```text
//! "070701", 13 numbers of 8 hexadecimal digits: inode, mode, user, group, links, time, length, device (2), special
//! device (2), length of the name with its NUL, sum; the name; to 4 bytes; the contents; to 4 bytes
//! ```
//!
//! Left out: folders, which GRUB derives from the names.

/// The length of the header of a file.
const HEADER_BYTES: usize = 110;
const REGULAR: u32 = 0o100_644;

/// A file that is too long for the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the file '{0}' is too long for a cpio archive")]
pub struct ArchiveError(String);

/// An archive of these files: names without `/` at the start, contents.
pub fn archive(files: &[(&str, &[u8])]) -> Result<Vec<u8>, ArchiveError> {
    let mut bytes = Vec::new();
    for (number, (name, contents)) in (1..).zip(files) {
        add(&mut bytes, number, REGULAR, name, contents)?;
    }
    add(&mut bytes, 0, 0, "TRAILER!!!", &[])?;
    Ok(bytes)
}

fn add(
    archive: &mut Vec<u8>,
    inode: u32,
    mode: u32,
    name: &str,
    contents: &[u8],
) -> Result<(), ArchiveError> {
    let len_bytes = u32::try_from(contents.len()).map_err(|_| ArchiveError(name.to_owned()))?;
    let name_bytes = u32::try_from(name.len() + 1).map_err(|_| ArchiveError(name.to_owned()))?;
    let fields = [inode, mode, 0, 0, 1, 0, len_bytes, 0, 0, 0, 0, name_bytes, 0];
    let start = archive.len();
    archive.extend_from_slice(b"070701");
    for field in fields {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    debug_assert_eq!(archive.len() - start, HEADER_BYTES);
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend_from_slice(contents);
    archive.resize(archive.len().next_multiple_of(4), 0);
    Ok(())
}
