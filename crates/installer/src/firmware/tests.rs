//! On folders in the place of efivarfs; `efibootmgr` says what it sees in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use osmith_formats::efi_boot::{GLOBAL_VARIABLE, HardDrive};
use osmith_testing::oracle;
use tempfile::TempDir;

use super::*;

const LOADER: &str = r"\EFI\systemd\systemd-bootx64.efi";
const FIRST: &str = "01234567-89ab-4cde-8f01-23456789abcd";
const SECOND: &str = "76543210-89ab-4cde-8f01-23456789abcd";

/// A machine whose firmware has an entry of a CD drive.
struct Machine {
    root: TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Machine {
            root: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(machine.folder()).unwrap();
        // `LoadOption` of a whole device: PciRoot(0)/Pci(1f,2)/Sata(2,ffff,0).
        let path = "02010c00d041030a00000000 01010600021f 03120a000200ffff0000 7fff0400".replace(' ', "");
        let path = hex(&path);
        let mut entry = vec![7, 0, 0, 0, 1, 0, 0, 0, path.len() as u8, 0];
        entry.extend("CD\0".bytes().flat_map(|byte| [byte, 0]));
        entry.extend(path);
        machine.put("Boot0000", &entry);
        machine.put("BootOrder", &[7, 0, 0, 0, 0, 0]);
        machine.put("Timeout", &[7, 0, 0, 0, 0, 0]);
        fs::write(machine.folder().join("Boot0001-of-somebody-else"), "?").unwrap();
        machine
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("sys/firmware/efi/efivars")
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.folder().join(format!("{name}-{GLOBAL_VARIABLE}")), bytes).unwrap();
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.folder().join(format!("{name}-{GLOBAL_VARIABLE}"))).ok()
    }

    fn start(&self, guid: &str, order: BootOrder, others: &[&str]) -> Option<String> {
        let others: Vec<Guid> = others.iter().map(|guid| guid.parse().unwrap()).collect();
        start_from(self.root.path(), &system(guid), order, &others).unwrap()
    }

    /// Whether `efibootmgr` shows these texts, in this order. Versions differ in how they show paths.
    fn require_shown(&self, texts: &[&str]) {
        let Some(program) = oracle::require("efibootmgr") else {
            return;
        };
        // It takes a folder for efivarfs only by the very text of the variable, which must end so.
        let folder = format!("{}/", self.folder().display());
        let output = Command::new(program)
            .arg("-v")
            .env("EFIVARFS_PATH", folder)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let shown = String::from_utf8(output.stdout).unwrap();
        let mut rest = shown.as_str();
        for text in texts {
            let (_, after) = rest
                .split_once(text)
                .unwrap_or_else(|| panic!("no '{text}' in {shown}"));
            rest = after;
        }
    }
}

fn hex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn system(guid: &str) -> NewSystem {
    NewSystem {
        title: "Debian GNU/Linux 13 (trixie)".to_owned(),
        partition: HardDrive {
            number: 1,
            first_lba: 2048,
            sectors: 65536,
            guid: guid.parse().unwrap(),
        },
        loader: LOADER.to_owned(),
    }
}

#[test]
fn the_new_system_comes_first() {
    let machine = Machine::new();
    assert_eq!(
        machine.start(FIRST, BootOrder::First, &[]).as_deref(),
        Some("Boot0001")
    );
    assert_eq!(machine.read("BootOrder").unwrap(), [7, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(machine.read("BootNext"), None);
    machine.require_shown(&[
        "BootOrder: 0001,0000\n",
        "Boot0000* CD\t",
        "Boot0001* Debian GNU/Linux 13 (trixie)\t",
        "HD(1,GPT,01234567-89ab-4cde-8f01-23456789abcd,0x800,0x10000)/",
        LOADER,
    ]);
}

#[test]
fn the_order_is_left() {
    let machine = Machine::new();
    machine.start(FIRST, BootOrder::NextStart, &[]);
    assert_eq!(machine.read("BootOrder").unwrap(), [7, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(machine.read("BootNext").unwrap(), [7, 0, 0, 0, 1, 0]);
    machine.require_shown(&["BootNext: 0001\n", "BootOrder: 0000,0001\n"]);
}

#[test]
fn a_second_installation_uses_the_entry_again() {
    let machine = Machine::new();
    machine.start(FIRST, BootOrder::First, &[]);
    let before = machine.read("Boot0001");
    machine.put("BootOrder", &[7, 0, 0, 0, 0, 0, 9, 0, 1, 0]);
    assert_eq!(
        machine.start(SECOND, BootOrder::First, &[]).as_deref(),
        Some("Boot0001")
    );
    assert_ne!(machine.read("Boot0001"), before);
    assert_eq!(machine.read("BootOrder").unwrap(), [7, 0, 0, 0, 1, 0, 0, 0, 9, 0]);
}

#[test]
fn another_disk_keeps_its_entry() {
    let machine = Machine::new();
    machine.start(FIRST, BootOrder::First, &[]);
    assert_eq!(
        machine.start(SECOND, BootOrder::First, &[FIRST]).as_deref(),
        Some("Boot0002")
    );
    assert_eq!(machine.read("BootOrder").unwrap(), [7, 0, 0, 0, 2, 0, 1, 0, 0, 0]);
    // The first disk is gone, the second is installed again: files become shorter, and one goes.
    assert_eq!(
        machine.start(SECOND, BootOrder::First, &[]).as_deref(),
        Some("Boot0002")
    );
    assert_eq!(machine.read("BootOrder").unwrap(), [7, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(machine.read("Boot0001"), None);
    assert_eq!(machine.read("Timeout").unwrap(), [7, 0, 0, 0, 0, 0]);
}

#[test]
fn other_machines_have_no_such_firmware() {
    let root = tempfile::tempdir().unwrap();
    let answer = start_from(root.path(), &system(FIRST), BootOrder::First, &[]);
    assert_eq!(answer.unwrap(), None);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn damaged_variables_are_somebody_s() {
    let machine = Machine::new();
    machine.put("Boot0001", &[7, 0]);
    machine.put("Boot0002", &[]);
    machine.put("BootOrder", &[7]);
    assert_eq!(
        machine.start(FIRST, BootOrder::First, &[]).as_deref(),
        Some("Boot0003")
    );
    assert_eq!(machine.read("BootOrder").unwrap(), [7, 0, 0, 0, 3, 0]);
    assert_eq!(machine.read("Boot0001").unwrap(), [7, 0]);
}

#[test]
fn a_failure_says_what_to_do() {
    use osmith_report::{Class, Failure};

    let machine = Machine::new();
    let is_folder = machine.folder().join(format!("BootOrder-{GLOBAL_VARIABLE}"));
    fs::remove_file(&is_folder).unwrap();
    fs::create_dir(&is_folder).unwrap();
    let error = start_from(machine.root.path(), &system(FIRST), BootOrder::First, &[]).unwrap_err();
    assert_eq!(error.class(), Class::Environment);
    assert!(error.hints()[0].contains("remove the medium"));
    assert!(Path::new(&is_folder).is_dir());
}
