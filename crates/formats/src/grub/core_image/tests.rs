use std::io::Read;
use std::path::Path;
use std::process::Command;

use lzma_rust2::LzmaReader;
use osmith_testing::oracle;
use proptest::prelude::*;

use super::super::{Dependencies, archive};
use super::*;

const FOLDER: &str = "/usr/lib/grub/i386-pc";
const WANTED: [&str; 9] = [
    "biosdisk",
    "part_gpt",
    "fat",
    "memdisk",
    "newc",
    "search",
    "regexp",
    "normal",
    "configfile",
];

fn file(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(FOLDER).join(name)).unwrap()
}

/// The files of the machine's own GRUB.
fn parts() -> CoreParts {
    let list = String::from_utf8(file("moddep.lst")).unwrap();
    let order = Dependencies::parse(&list).unwrap().order(&WANTED).unwrap();
    let modules = order.into_iter().map(|name| {
        let module = file(&format!("{name}.mod"));
        (name, module)
    });
    CoreParts {
        diskboot: file("diskboot.img"),
        decompressor: file("lzma_decompress.img"),
        kernel: file("kernel.img"),
        modules: modules.collect(),
        memory_disk: archive(&[("grub.cfg", b"echo hello\n"), ("a/b", b"1")]).unwrap(),
        configuration: "set debug=\n".to_owned(),
        prefix: "(memdisk)/".to_owned(),
    }
}

/// Parts of the right shape without any code.
fn plain() -> CoreParts {
    let mut diskboot = vec![0; SECTOR_BYTES];
    diskboot[510..].copy_from_slice(&LOAD_SEGMENT.to_le_bytes());
    let mut kernel = vec![0; 52 + 2 * 40 + 8];
    kernel[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
    kernel[16..20].copy_from_slice(&[2, 0, 3, 0]);
    kernel[0x20] = 52;
    kernel[0x2e] = 40;
    kernel[0x30] = 2;
    let section = |fields: [u32; 5]| fields.map(u32::to_le_bytes).concat();
    kernel[56..76].copy_from_slice(&section([1, 2, 0x9000, 132, 8]));
    kernel[96..116].copy_from_slice(&section([8, 2, 0x9008, 140, 64]));
    CoreParts {
        diskboot,
        decompressor: vec![0; 2848],
        kernel,
        prefix: "(memdisk)".to_owned(),
        ..CoreParts::default()
    }
}

fn decompressed(core: &[u8], decompressor_bytes: usize) -> Vec<u8> {
    let stream = &core[SECTOR_BYTES + decompressor_bytes..];
    let len_bytes = read_u32(core, SECTOR_BYTES + UNCOMPRESSED_BYTES_OFFSET).unwrap();
    let mut reader = LzmaReader::new(stream, u64::from(len_bytes), 3, 0, 2, DICTIONARY_BYTES, None).unwrap();
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_is_in_the_image_is_what_grub_mkimage_puts_there() {
    let kernel = format!("{FOLDER}/kernel.img");
    let (Some(mkimage), Some(_)) = (oracle::require("grub-mkimage"), oracle::require(&kernel)) else {
        return;
    };
    let parts = parts();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("disk"), &parts.memory_disk).unwrap();
    std::fs::write(path("configuration"), &parts.configuration).unwrap();
    let made = Command::new(mkimage)
        .args(["-O", "i386-pc", "-d", FOLDER, "-m"])
        .arg(path("disk"))
        // After the memory disk, which brings a prefix of its own.
        .args(["-p", &parts.prefix, "-c"])
        .arg(path("configuration"))
        .arg("-o")
        .arg(path("core.img"))
        .args(WANTED)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let expected = std::fs::read(path("core.img")).unwrap();
    let ours = CoreImage::new(&parts).unwrap();

    let decompressor_bytes = parts.decompressor.len();
    let (first, second) = (
        decompressed(&expected, decompressor_bytes),
        decompressed(&ours.bytes, decompressor_bytes),
    );
    assert_eq!(first.len(), second.len());
    assert!(first == second, "the contents differ");
    let code =
        |core: &[u8]| core[SECTOR_BYTES + REED_SOLOMON_OFFSET..SECTOR_BYTES + decompressor_bytes].to_vec();
    assert!(code(&expected) == code(&ours.bytes), "the decompressors differ");
    assert_eq!(expected[..BLOCK_LIST_OFFSET], ours.bytes[..BLOCK_LIST_OFFSET]);
    // Nobody is to be told that the image is too large for its partition because of a weak compressor.
    assert!(ours.size_bytes() as usize <= expected.len() + expected.len() / 20);
}

#[test]
fn the_block_list_names_what_follows_the_first_sector() {
    let core = CoreImage::new(&plain()).unwrap();
    let sectors = core.size_bytes() / 512;
    let bytes = core.at(0x1_0000_0000);
    let entry = &bytes[BLOCK_LIST_OFFSET..SECTOR_BYTES];
    assert_eq!(entry[..8], 0x1_0000_0001_u64.to_le_bytes());
    assert_eq!(entry[8..10], (sectors as u16 - 1).to_le_bytes());
    assert_eq!(entry[10..], LOAD_SEGMENT.to_le_bytes());
}

#[test]
fn the_boot_sector_knows_where_the_image_is() {
    let mut sector = vec![0; SECTOR_BYTES];
    sector[510..].copy_from_slice(&BOOT_SIGNATURE);
    let code = boot_code(&sector, 0x1234).unwrap();
    assert_eq!(code[0x5c..0x64], [0x34, 0x12, 0, 0, 0, 0, 0, 0]);
    assert_eq!(code[0x64..0x68], [0xff, 0, 0x90, 0x90]);
    assert_eq!(boot_code(&[0; 512], 1), Err(GrubError::NoBootSector));
    assert!(matches!(boot_code(&[], 1), Err(GrubError::Length { .. })));
}

#[test]
fn files_that_are_not_what_they_should_be_are_refused() {
    let refusal = |change: &dyn Fn(&mut CoreParts)| {
        let mut parts = plain();
        change(&mut parts);
        CoreImage::new(&parts).map(drop).unwrap_err()
    };
    let diskboot = refusal(&|parts| parts.diskboot[510] = 0);
    assert_eq!(diskboot, GrubError::NoBlockList);
    let decompressor = refusal(&|parts| parts.decompressor.truncate(8));
    assert!(matches!(decompressor, GrubError::Decompressor(_)));
    let beyond = refusal(&|parts| parts.kernel.truncate(139));
    assert_eq!(beyond, GrubError::Kernel("a section is beyond the end"));
    let moved = refusal(&|parts| parts.kernel[65] = 0xa0);
    assert_eq!(moved, GrubError::Kernel("it is not linked to the address 0x9000"));
    let greedy = refusal(&|parts| parts.kernel[114] = 6);
    assert_eq!(greedy, GrubError::Kernel("it uses memory above 0x68000"));
    let module = refusal(&|parts| parts.modules.push(("fat".into(), vec![1; 100])));
    assert_eq!(module, GrubError::Module("fat".into()));
    let mut seed = 1_u64;
    let noise = std::iter::repeat_with(|| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as u8
    });
    let noise: Vec<u8> = noise.take(500_000).collect();
    let large = refusal(&|parts| parts.memory_disk = noise.clone());
    assert!(matches!(large, GrubError::TooLarge { .. }), "{large}");
}

proptest! {
    #[test]
    fn foreign_files_never_panic(changes in prop::collection::vec((0..3_u8, 0..140_usize, any::<u8>()), 0..12), cut in 0..140_usize) {
        let mut parts = plain();
        for (file, at, value) in changes {
            match file {
                0 => parts.kernel[at % 140] = value,
                1 => parts.decompressor[at] = value,
                _ => parts.diskboot[at + 372] = value,
            }
        }
        let _ = CoreImage::new(&parts);
        parts.kernel.truncate(cut);
        let _ = CoreImage::new(&parts);
    }
}
