//! Any bytes are what starts a machine: a unified kernel image, GRUB's files, or a boot entry of the firmware. What is none of
//! these is an error.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use osmith_formats::efi_boot::{LoadOption, numbers_to_bytes, parse_numbers};
use osmith_formats::grub::{BOOT_CODE_BYTES, CoreImage, CoreParts, Dependencies, boot_code};
use osmith_machine::uki::Uki;

/// The length of GRUB's decompressor, and of a sector.
const DECOMPRESSOR_BYTES: usize = 2848;
const SECTOR_BYTES: usize = 512;

#[derive(Debug, Arbitrary)]
enum Input<'a> {
    Uki(&'a [u8]),
    Firmware(&'a [u8]),
    BootSector { image: &'a [u8], core_lba: u64 },
    Dependencies { list: &'a str, wanted: [&'a str; 2] },
    Kernel { kernel: &'a [u8], module: &'a [u8], prefix: &'a str },
}

/// Bytes of a file whose signature is right.
fn signed(bytes: &[u8], signature: &[u8]) -> Vec<u8> {
    [signature, bytes.get(signature.len()..).unwrap_or_default()].concat()
}

fuzz_target!(|input: Input<'_>| match input {
    Input::Uki(bytes) => {
        if let Ok(uki) = Uki::read(bytes) {
            assert_eq!(uki.boot_digest.len(), 64);
        }
    }
    Input::Firmware(bytes) => {
        let numbers = numbers_to_bytes(&parse_numbers(bytes));
        assert!(bytes.starts_with(&numbers));
        if let Some(option) = LoadOption::parse(bytes) {
            // Several nodes of a path become one, which may be too long.
            let again = option.to_bytes().map(|bytes| LoadOption::parse(&bytes));
            assert!(again.is_err() || again == Ok(Some(option)));
        }
    }
    Input::BootSector { image, core_lba } => {
        if let Ok(code) = boot_code(image, core_lba) {
            assert_eq!(code.len(), BOOT_CODE_BYTES);
        }
    }
    Input::Dependencies { list, wanted } => {
        if let Ok(dependencies) = Dependencies::parse(list) {
            let _ = dependencies.order(&wanted);
        }
    }
    Input::Kernel { kernel, module, prefix } => {
        let mut diskboot = vec![0; SECTOR_BYTES];
        diskboot[510..].copy_from_slice(&0x0820_u16.to_le_bytes());
        let parts = CoreParts {
            diskboot,
            decompressor: vec![0; DECOMPRESSOR_BYTES],
            kernel: signed(kernel, b"\x7fELF\x01\x01\x01"),
            modules: vec![("normal".to_owned(), signed(module, b"\x7fELF\x01\x01\x01"))],
            prefix: prefix.to_owned(),
            ..CoreParts::default()
        };
        if let Ok(core) = CoreImage::new(&parts) {
            let size_bytes = core.size_bytes();
            assert_eq!(core.at(34).len() as u64, size_bytes);
        }
    }
});
