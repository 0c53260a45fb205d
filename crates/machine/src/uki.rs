//! Unified kernel images: kernel, initramfs and kernel arguments in one EFI program, which may be signed as a whole.
//!
//! Source: the UAPI group's Unified Kernel Image specification (UAPI.5). What is in it are sections of a PE file:
//! `.linux`, `.initrd`, `.cmdline`, `.uname`. Of an image with several profiles, the first is meant.

use object::read::pe::{PeFile, PeFile64};
use object::{Object as _, ObjectSection as _};
use sha2::{Digest as _, Sha256};

const KERNEL: &str = ".linux";
const INITRAMFS: &str = ".initrd";
const COMMAND_LINE: &str = ".cmdline";
const KERNEL_VERSION: &str = ".uname";

/// What is known of a unified kernel image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uki {
    /// The kernel arguments.
    pub command_line: String,
    /// The version of the kernel; empty if it is not said.
    pub version: String,
    /// SHA-256 of kernel and initramfs in one, 64 hexadecimal digits.
    pub boot_digest: String,
}

/// Why a file is no unified kernel image.
#[derive(Debug, thiserror::Error)]
pub enum UkiError {
    /// It is no program for UEFI.
    #[error("it is no EFI program of 64 bits: {0}")]
    Program(#[from] object::Error),
    /// A part is missing.
    #[error("it has no section {0}")]
    Section(&'static str),
    /// A part is no text.
    #[error("its section {0} is no text")]
    Text(&'static str),
}

impl Uki {
    /// Reads one.
    pub fn read(bytes: &[u8]) -> Result<Self, UkiError> {
        let file = PeFile64::parse(bytes)?;
        let mut hasher = Sha256::new();
        for name in [KERNEL, INITRAMFS] {
            hasher.update(section(&file, name)?);
        }
        let version = match text(&file, KERNEL_VERSION) {
            Err(UkiError::Section(_)) => String::new(),
            version => version?,
        };
        Ok(Uki {
            command_line: text(&file, COMMAND_LINE)?,
            version,
            boot_digest: hex::encode(hasher.finalize()),
        })
    }
}

type File<'a> = PeFile<'a, object::pe::ImageNtHeaders64>;

fn section<'a>(file: &File<'a>, name: &'static str) -> Result<&'a [u8], UkiError> {
    let section = file
        .sections()
        .find(|section| section.name_bytes().is_ok_and(|found| found == name.as_bytes()));
    Ok(section.ok_or(UkiError::Section(name))?.data()?)
}

/// A section up to the first zero byte or to its end, without blanks around.
fn text(file: &File<'_>, name: &'static str) -> Result<String, UkiError> {
    let bytes = section(file, name)?;
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = std::str::from_utf8(bytes).map_err(|_| UkiError::Text(name))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use osmith_testing::oracle;
    use proptest::prelude::*;

    use super::*;

    const HEADERS_BYTES: usize = 1024;
    const FILE_ALIGNMENT: usize = 512;
    const SECTION_ALIGNMENT: u32 = 4096;

    /// A PE file that has these sections, and no program.
    pub(crate) fn sample(sections: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; HEADERS_BYTES];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c] = 0x40;
        bytes[0x40..0x44].copy_from_slice(b"PE\0\0");
        bytes[0x44..0x46].copy_from_slice(&0x8664_u16.to_le_bytes());
        bytes[0x46..0x48].copy_from_slice(&(sections.len() as u16).to_le_bytes());
        let optional_bytes = 112_u16;
        bytes[0x54..0x56].copy_from_slice(&optional_bytes.to_le_bytes());
        bytes[0x56..0x58].copy_from_slice(&0x0222_u16.to_le_bytes());
        let optional = 0x58;
        bytes[optional..optional + 2].copy_from_slice(&0x020b_u16.to_le_bytes());
        for (offset, value) in [
            (32, SECTION_ALIGNMENT),
            (36, FILE_ALIGNMENT as u32),
            (60, HEADERS_BYTES as u32),
        ] {
            bytes[optional + offset..optional + offset + 4].copy_from_slice(&value.to_le_bytes());
        }
        // UEFI application.
        bytes[optional + 68] = 10;
        let mut header = optional + usize::from(optional_bytes);
        let mut address = SECTION_ALIGNMENT;
        for (name, data) in sections {
            let raw_bytes = data.len().next_multiple_of(FILE_ALIGNMENT) as u32;
            let position = bytes.len() as u32;
            bytes[header..header + name.len()].copy_from_slice(name.as_bytes());
            let fields = [data.len() as u32, address, raw_bytes, position];
            for (index, value) in fields.into_iter().enumerate() {
                let start = header + 8 + index * 4;
                bytes[start..start + 4].copy_from_slice(&value.to_le_bytes());
            }
            bytes.extend_from_slice(data);
            bytes.resize((position + raw_bytes) as usize, 0);
            address += raw_bytes.next_multiple_of(SECTION_ALIGNMENT);
            header += 40;
        }
        bytes
    }

    #[test]
    fn its_parts_are_read() {
        let bytes = sample(&[
            (".uname", b"6.12.1\n"),
            (".cmdline", b"rw composefs=00 \0"),
            (".linux", &[1; 5000]),
            (".initrd", &[2; 9000]),
        ]);
        let mut both = vec![1; 5000];
        both.resize(14000, 2);
        let expected = Uki {
            command_line: "rw composefs=00".to_owned(),
            version: "6.12.1".to_owned(),
            boot_digest: hex::encode(Sha256::digest(both)),
        };
        assert_eq!(Uki::read(&bytes).unwrap(), expected);
    }

    #[test]
    fn what_is_missing_is_named() {
        let part: &[u8] = b"part";
        for (sections, expected) in [
            (vec![(".linux", part)], "it has no section .initrd"),
            (
                vec![(".linux", part), (".initrd", part)],
                "it has no section .cmdline",
            ),
            (
                vec![(".linux", part), (".initrd", part), (".cmdline", &[0xff])],
                "its section .cmdline is no text",
            ),
        ] {
            assert_eq!(Uki::read(&sample(&sections)).unwrap_err().to_string(), expected);
        }
        assert!(matches!(Uki::read(b"#!/bin/sh"), Err(UkiError::Program(_))));
    }

    #[test]
    fn objcopy_reads_the_sample() {
        let Some(objcopy) = oracle::require("objcopy") else {
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("uki.efi");
        std::fs::write(&path, sample(&[(".cmdline", b"quiet"), (".linux", &[1; 600])])).unwrap();
        let out = folder.path().join("linux");
        let dump = format!(".linux={}", out.display());
        let status = std::process::Command::new(objcopy)
            .args(["--dump-section", &dump])
            .arg(&path)
            .status();
        assert!(status.unwrap().success());
        assert_eq!(std::fs::read(out).unwrap()[..600], [1; 600]);
    }

    proptest! {
        #[test]
        fn foreign_bytes_do_no_harm(noise in proptest::collection::vec((0_usize..1500, any::<u8>()), 0..12), length in 0_usize..4000) {
            let mut bytes = sample(&[(".cmdline", b"quiet"), (".linux", &[1; 600]), (".initrd", &[2; 600])]);
            for (position, value) in noise {
                bytes[position] = value;
            }
            bytes.truncate(length);
            let _ = Uki::read(&bytes);
        }
    }
}
