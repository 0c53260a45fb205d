//! Archives that ADD extracts: tar, plain or compressed with gzip, bzip2, xz or zstd, recognised by their content.

use std::io::Read;

use osmith_formats::tree::{Content, Tree};
use osmith_image::compression::decompressed;
use osmith_image::layer::{self, LayerError};
use osmith_image::store::Store;
use osmith_image::tar::{Limits, TarError, read_layer};
use osmith_report::Observer;

const BLOCK_BYTES: usize = 512;

/// Why an archive cannot be extracted.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is malformed.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// Its entries make no tree.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] osmith_image::store::StoreError),
}

/// The tree in an archive; `None` if the content is no archive.
pub(crate) fn unpack(
    store: &Store,
    content: &Content,
    observer: &dyn Observer,
) -> Result<Option<Tree<Content>>, ArchiveError> {
    if !is_archive(store, content)? {
        return Ok(None);
    }
    let limits = Limits {
        end_required: false,
        ..Limits::default()
    };
    let reader = decompressed(store.read_content(content)?).map_err(TarError::Read)?;
    let layer = read_layer(reader, store, &limits, observer)?;
    let mut tree = layer::empty_tree();
    layer::apply(&mut tree, &layer)?;
    Ok(Some(tree))
}

/// Whether the content, unpacked if need be, begins as a tar archive does.
fn is_archive(store: &Store, content: &Content) -> Result<bool, ArchiveError> {
    let mut header = Vec::new();
    // What cannot be unpacked is copied as it is.
    let read = decompressed(store.read_content(content)?)
        .and_then(|reader| reader.take(BLOCK_BYTES as u64).read_to_end(&mut header));
    Ok(read.is_ok() && is_header(&header))
}

/// Whether a block is the header of an entry: its checksum is right.
fn is_header(block: &[u8]) -> bool {
    const CHECKSUM: std::ops::Range<usize> = 148..156;
    let (Some(field), BLOCK_BYTES) = (block.get(CHECKSUM), block.len()) else {
        return false;
    };
    let text = String::from_utf8_lossy(field);
    let Ok(expected) = u32::from_str_radix(text.trim_matches(['\0', ' ']), 8) else {
        return false;
    };
    let byte = |(at, byte): (usize, &u8)| u32::from(if CHECKSUM.contains(&at) { b' ' } else { *byte });
    block.iter().enumerate().map(byte).sum::<u32>() == expected
}
