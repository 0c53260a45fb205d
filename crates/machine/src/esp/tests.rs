use super::*;
use crate::boot_menu::MenuEntry;

fn machine() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("efi/loader/entries")).unwrap();
    root
}

fn menu(names: &[&str]) -> BootMenu {
    let entry = |name: &&str| MenuEntry::parse(name, "title x\nversion 1\noptions rw\n").unwrap();
    BootMenu {
        entries: names.iter().map(entry).collect(),
    }
}

fn names(menu: &BootMenu) -> Vec<String> {
    menu.entries.iter().map(MenuEntry::file_name).collect()
}

#[test]
fn a_staged_menu_takes_the_place_of_the_first() {
    let root = machine();
    fs::write(root.path().join("efi/loader/entries/old.conf"), "title old\n").unwrap();
    let esp = Esp::open(root.path(), EspAccess::Write).unwrap();
    assert_eq!(esp.staged_menu().unwrap(), None);
    esp.write_staged_menu(&menu(&["first.conf"])).unwrap();
    esp.write_staged_menu(&menu(&["b+3.conf", "a.conf"])).unwrap();
    assert_eq!(names(&esp.menu().unwrap()), ["old.conf"]);
    assert_eq!(
        names(&esp.staged_menu().unwrap().unwrap()),
        ["b+3.conf", "a.conf"]
    );
    esp.exchange_menus().unwrap();
    assert_eq!(names(&esp.menu().unwrap()), ["b+3.conf", "a.conf"]);
    assert_eq!(esp.staged_menu().unwrap(), None);
    esp.rename_entry("b+3.conf", "b.conf").unwrap();
    assert_eq!(names(&esp.menu().unwrap()), ["b.conf", "a.conf"]);
}

#[test]
fn where_nothing_can_be_exchanged_new_entries_come_first() {
    let root = machine();
    let entries = root.path().join("efi/loader/entries");
    fs::write(entries.join("old.conf"), "title old\n").unwrap();
    fs::write(entries.join("both.conf"), "title old\n").unwrap();
    let esp = Esp::open(root.path(), EspAccess::Write).unwrap();
    esp.write_staged_menu(&menu(&["both.conf", "new.conf"])).unwrap();
    esp.replace_entries_one_by_one().unwrap();
    assert_eq!(names(&esp.menu().unwrap()), ["new.conf", "both.conf"]);
    let text = fs::read_to_string(entries.join("both.conf")).unwrap();
    assert!(text.starts_with("title x\n"), "{text}");
    assert_eq!(esp.staged_menu().unwrap(), None);
}

#[test]
fn kernels_are_known_by_what_they_start() {
    let root = machine();
    let esp = Esp::open(root.path(), EspAccess::Write).unwrap();
    assert!(esp.kernels().unwrap().is_empty());
    for (path, contents) in [
        ("EFI/Linux/bootc_composefs-a/vmlinuz", "kernel"),
        ("EFI/Linux/bootc_composefs-a/initrd", "initramfs"),
        ("EFI/Linux/bootc_composefs-b/vmlinuz", "kernel"),
        ("EFI/Linux/foreign/vmlinuz", "kernel"),
        ("EFI/Linux/bootc_composefs-file", "no folder"),
        ("EFI/Linux/bootc/bootc_composefs-c.efi", "unified"),
        ("EFI/Linux/bootc/foreign.efi", "unified"),
    ] {
        esp.write_kernel_file(path, contents.as_bytes()).unwrap();
    }
    let digest = hex::encode(Sha256::digest(b"kernelinitramfs"));
    let kernel = |name: &str, boot_digest, size_bytes| InstalledKernel {
        name: name.to_owned(),
        boot_digest,
        size_bytes,
    };
    assert_eq!(
        esp.kernels().unwrap(),
        [
            kernel("bootc_composefs-c.efi", None, 7),
            kernel("bootc_composefs-a", Some(digest), 15),
            kernel("bootc_composefs-b", None, 6)
        ]
    );
    for name in ["bootc_composefs-b", "bootc_composefs-b", "bootc_composefs-c.efi"] {
        esp.remove_kernel(name).unwrap();
    }
    assert_eq!(esp.kernels().unwrap().len(), 1);
    assert!(esp.free_bytes().unwrap() > 0);
}

fn grub_counts(root: &Path, file_name: &str, tries: u32) {
    let mut block = format!("# GRUB Environment Block\ntried={file_name}\ntries={tries}\n");
    block.push_str(&"#".repeat(1024 - block.len()));
    fs::write(root.join("efi").join(TRIES_FILE), block).unwrap();
}

#[test]
fn tries_that_grub_counted_go_into_the_name() {
    let root = machine();
    let folder = root.path().join("efi/loader/entries");
    fs::write(folder.join("a-1+3.conf"), "title a\n").unwrap();
    fs::write(folder.join("b-0.conf"), "title b\n").unwrap();
    let esp = Esp::open(root.path(), EspAccess::Write).unwrap();
    assert_eq!(esp.tries().unwrap(), None);
    let take_over = || {
        let tries = esp.tries().unwrap().expect("tries");
        esp.take_over(&tries).unwrap();
        assert_eq!(
            fs::read(root.path().join("efi").join(TRIES_FILE)).unwrap(),
            empty_tries_block()
        );
        assert_eq!(esp.tries().unwrap(), None);
        names(&esp.menu().unwrap())
    };
    grub_counts(root.path(), "a-1+3.conf", 1);
    assert_eq!(take_over(), ["b-0.conf", "a-1+2-1.conf"]);
    grub_counts(root.path(), "gone+1.conf", 1);
    assert_eq!(take_over(), ["b-0.conf", "a-1+2-1.conf"]);
    grub_counts(root.path(), "b-0.conf", 1);
    assert_eq!(take_over(), ["b-0.conf", "a-1+2-1.conf"]);
    grub_counts(root.path(), "a-1+2-1.conf", 9);
    assert_eq!(take_over(), ["b-0.conf", "a-1+0-3.conf"]);
}

#[test]
fn a_block_that_is_none_counts_nothing() {
    let root = machine();
    let esp = Esp::open(root.path(), EspAccess::Read).unwrap();
    for text in [
        "",
        "tried=a\ntries=1\n",
        "# GRUB Environment Block\ntried=a\ntries=x\n",
        "# GRUB Environment Block\ntries=1\n",
    ] {
        fs::write(root.path().join("efi").join(TRIES_FILE), text).unwrap();
        assert_eq!(esp.tries().unwrap(), None, "{text}");
    }
}

#[test]
fn what_grub_cannot_read_is_refused_where_it_starts_the_machine() {
    let root = machine();
    let esp = Esp::open(root.path(), EspAccess::Write).unwrap();
    let text = format!(
        "title x\noptions a=\"b c\" composefs={}\n",
        osmith_formats::verity::Digest::of(b"")
    );
    let menu = BootMenu {
        entries: vec![MenuEntry::parse("a.conf", &text).unwrap()],
    };
    esp.write_staged_menu(&menu).unwrap();
    fs::write(root.path().join("efi").join(TRIES_FILE), empty_tries_block()).unwrap();
    assert!(matches!(esp.write_staged_menu(&menu), Err(EspError::Grub(_))));
    assert!(esp.staged_menu().unwrap().is_some());
}
