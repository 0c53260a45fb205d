//! A swap area, written.
//!
//! Source: `mkswap` and the kernel's `include/linux/swap.h`. Pages of 4 KiB, numbers in the machine's order: little-endian
//! on all we know.
//!
//! ```text
//! page 0  1024  version 1 │ last page │ number of bad pages 0 │ UUID, 16 bytes │ label, 16 bytes
//!         4086  "SWAPSPACE2"
//! ```

use crate::gpt::Guid;

/// The length of a page, and of [`header()`].
pub const PAGE_BYTES: u64 = 4096;
/// The smallest area: `mkswap` makes none below ten pages.
pub const MIN_BYTES: u64 = 10 * PAGE_BYTES;
/// How long a label can be.
pub const LABEL_MAX_BYTES: usize = 16;

const VERSION: u32 = 1;
const MAGIC: &[u8; 10] = b"SWAPSPACE2";

/// A swap area that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwapError {
    /// Below [`MIN_BYTES`], or more pages than the header can count.
    #[error("{0} bytes are no size for a swap area")]
    Size(u64),
    /// Longer than [`LABEL_MAX_BYTES`].
    #[error("'{0}' is no label for a swap area: it has more than {LABEL_MAX_BYTES} bytes")]
    Label(String),
}

/// The first page of an area of `size_bytes`, of which whole pages are used. All other pages may hold anything.
pub fn header(size_bytes: u64, uuid: Guid, label: &str) -> Result<Vec<u8>, SwapError> {
    let pages = u32::try_from(size_bytes / PAGE_BYTES).map_err(|_| SwapError::Size(size_bytes))?;
    if size_bytes < MIN_BYTES {
        return Err(SwapError::Size(size_bytes));
    }
    if label.len() > LABEL_MAX_BYTES {
        return Err(SwapError::Label(label.to_owned()));
    }
    let mut page = vec![0; 1024];
    page.extend_from_slice(&VERSION.to_le_bytes());
    page.extend_from_slice(&(pages - 1).to_le_bytes());
    page.extend_from_slice(&0_u32.to_le_bytes());
    page.extend_from_slice(uuid.as_bytes());
    page.extend_from_slice(label.as_bytes());
    page.resize(PAGE_BYTES as usize - MAGIC.len(), 0);
    page.extend_from_slice(MAGIC);
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uuid() -> Guid {
        "11223344-5566-7788-99aa-bbccddeeff00".parse().unwrap()
    }

    #[test]
    fn the_header_is_a_page_with_the_last_page_in_it() {
        let page = header(1 << 20, uuid(), "swap").unwrap();
        assert_eq!(page.len(), 4096);
        assert_eq!(page[1024..1036], [1, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(page[1036..1052], uuid().as_bytes()[..]);
        assert_eq!(&page[1052..1057], b"swap\0");
        assert_eq!(&page[4086..], b"SWAPSPACE2");
    }

    #[test]
    fn what_is_no_swap_area_is_refused() {
        assert_eq!(
            header(MIN_BYTES - 1, uuid(), ""),
            Err(SwapError::Size(MIN_BYTES - 1))
        );
        let huge = 1 << 45;
        assert_eq!(header(huge, uuid(), ""), Err(SwapError::Size(huge)));
        let label = "seventeen letters".to_owned();
        assert_eq!(header(1 << 20, uuid(), &label), Err(SwapError::Label(label)));
        assert!(header(1 << 20, uuid(), "sixteen letters!").is_ok());
    }
}
