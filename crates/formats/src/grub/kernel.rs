//! `kernel.img`: an ELF program for i386 whose sections are copied to where they stand in memory.

use super::GrubError;

/// Where the kernel of GRUB is linked to.
const LINK_ADDRESS: u32 = 0x9000;
/// Sections and the memory they use end below this.
const MEMORY_END: u32 = 0x68000;
const ELF_HEADER_BYTES: usize = 52;
const SECTION_HEADER_BYTES: usize = 40;
const MACHINE_386: u16 = 3;
const TYPE_RELOCATABLE: u16 = 1;
const TYPE_EXECUTABLE: u16 = 2;
const SECTION_NO_BITS: u32 = 8;
const SECTION_IN_MEMORY: u32 = 2;

/// The sections of the kernel as they stand in memory, from its first byte to the last that is not zero from the start.
pub(super) fn image(file: &[u8]) -> Result<Vec<u8>, GrubError> {
    if !is_elf_i386(file, TYPE_EXECUTABLE) {
        return Err(GrubError::Kernel("it is no ELF program for i386"));
    }
    let table = read_u32(file, 0x20).unwrap_or_default() as usize;
    let (entry_bytes, count) = (read_u16(file, 0x2e), read_u16(file, 0x30));
    if entry_bytes.map(usize::from) != Some(SECTION_HEADER_BYTES) {
        return Err(GrubError::Kernel("its section headers have not 40 bytes"));
    }
    let table_bytes = SECTION_HEADER_BYTES * usize::from(count.unwrap_or_default());
    let table = file.get(table..).and_then(|rest| rest.get(..table_bytes));
    let table = table.ok_or(GrubError::Kernel("its section headers are beyond the end"))?;
    let mut image = Vec::new();
    let mut is_first = true;
    for section in table.chunks_exact(SECTION_HEADER_BYTES) {
        let field = |index: usize| read_u32(section, index * 4).unwrap_or_default();
        let (kind, flags, address, offset, len_bytes) = (field(1), field(2), field(3), field(4), field(5));
        if flags & SECTION_IN_MEMORY == 0 {
            continue;
        }
        let start = address.checked_sub(LINK_ADDRESS);
        let start = start.filter(|start| !is_first || *start == 0);
        let start = start.ok_or(GrubError::Kernel("it is not linked to the address 0x9000"))?;
        if address.checked_add(len_bytes).is_none_or(|end| end > MEMORY_END) {
            return Err(GrubError::Kernel("it uses memory above 0x68000"));
        }
        if kind == SECTION_NO_BITS {
            continue;
        }
        is_first = false;
        let contents = file.get(offset as usize..);
        let contents = contents.and_then(|rest| rest.get(..len_bytes as usize));
        let contents = contents.ok_or(GrubError::Kernel("a section is beyond the end"))?;
        let end = start as usize + contents.len();
        image.resize(image.len().max(end), 0);
        if let Some(place) = image.get_mut(start as usize..end) {
            place.copy_from_slice(contents);
        }
    }
    match image.len() {
        0 => Err(GrubError::Kernel("it has no section")),
        _ => Ok(image),
    }
}

/// Whether the file is a module.
pub(super) fn is_module(file: &[u8]) -> bool {
    is_elf_i386(file, TYPE_RELOCATABLE)
}

fn is_elf_i386(file: &[u8], kind: u16) -> bool {
    // 32 bits, little-endian, version 1.
    file.len() >= ELF_HEADER_BYTES
        && file.starts_with(b"\x7fELF\x01\x01\x01")
        && read_u16(file, 16) == Some(kind)
        && read_u16(file, 18) == Some(MACHINE_386)
}

pub(super) fn read_u16(bytes: &[u8], offset: usize) -> Option<u16> {
    let field = bytes.get(offset..)?.first_chunk()?;
    Some(u16::from_le_bytes(*field))
}

pub(super) fn read_u32(bytes: &[u8], offset: usize) -> Option<u32> {
    let field = bytes.get(offset..)?.first_chunk()?;
    Some(u32::from_le_bytes(*field))
}
