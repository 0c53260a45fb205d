//! A Kickstart file in a finished ISO: the area that the boot loader passes on as a second initramfs becomes an archive with
//! the file, or zeros again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use osmith_formats::cpio;
use osmith_formats::iso9660::{self, FindError};
use osmith_machine::install::KICKSTART_AREA;
use osmith_report::{Class, Failure};

use crate::bytes::Size;

/// The name of the file in the initramfs, where installers look for it.
const NAME: &str = "ks.cfg";

/// Why a Kickstart file cannot be put into an ISO.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// It is no ISO, or has no such area.
    #[error("this is no installer that osmith made")]
    Foreign(#[source] FindError),
    /// The area is too small.
    #[error("the Kickstart file has {}, and the ISO has room for {}", Size(*size_bytes), Size(*area_bytes))]
    TooLong {
        /// The length of the file.
        size_bytes: u64,
        /// That of the area.
        area_bytes: u64,
    },
    /// The archive cannot be made.
    #[error("cannot make an initramfs with the Kickstart file")]
    Archive(#[from] cpio::Error),
    /// The system said no.
    #[error("cannot write the Kickstart file")]
    Write(#[from] io::Error),
}

impl Failure for EmbedError {
    fn class(&self) -> Class {
        match self {
            EmbedError::Foreign(_) | EmbedError::TooLong { .. } => Class::Input,
            EmbedError::Archive(_) => Class::Internal,
            EmbedError::Write(_) => Class::Environment,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            EmbedError::Foreign(_) => "'osmith disk --type iso IMAGE' makes one",
            EmbedError::TooLong { .. } => {
                "let it include the rest: %include https://server.example.org/rest.cfg"
            }
            EmbedError::Archive(_) | EmbedError::Write(_) => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

/// Writes a Kickstart file into an open ISO, or takes the one there out.
pub fn embed_kickstart(iso: &File, text: Option<&[u8]>) -> Result<(), EmbedError> {
    let read_at = |offset, buffer: &mut [u8]| iso.read_exact_at(buffer, offset);
    let area = iso9660::find(read_at, &format!("/{KICKSTART_AREA}")).map_err(EmbedError::Foreign)?;
    let area_bytes = usize::try_from(area.size_bytes)
        .unwrap_or(usize::MAX)
        .min(super::KICKSTART_AREA_BYTES);
    let bytes = match text {
        None => vec![0; area_bytes],
        Some(text) => {
            let mut archive = cpio::Writer::new(0);
            archive.file(NAME, 0o600, text)?;
            match archive.into_padded(area_bytes) {
                Err(cpio::Error::NoRoom { .. }) => {
                    return Err(EmbedError::TooLong {
                        size_bytes: text.len() as u64,
                        area_bytes: area_bytes as u64,
                    });
                }
                bytes => bytes?,
            }
        }
    };
    iso.write_all_at(&bytes, area.offset_bytes)?;
    Ok(())
}
