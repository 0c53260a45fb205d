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
fn kernel_folders_are_known_by_what_they_start() {
    let root = machine();
    let esp = Esp::open(root.path(), EspAccess::Write).unwrap();
    assert!(esp.kernel_folders().unwrap().is_empty());
    esp.write_kernel_file("bootc_composefs-a", "vmlinuz", &b"kernel"[..])
        .unwrap();
    esp.write_kernel_file("bootc_composefs-a", "initrd", &b"initramfs"[..])
        .unwrap();
    esp.write_kernel_file("bootc_composefs-b", "vmlinuz", &b"kernel"[..])
        .unwrap();
    esp.write_kernel_file("foreign", "vmlinuz", &b"kernel"[..])
        .unwrap();
    let digest = hex::encode(Sha256::digest(b"kernelinitramfs"));
    let folder = |name: &str, boot_digest, size_bytes| KernelFolder {
        name: name.to_owned(),
        boot_digest,
        size_bytes,
    };
    assert_eq!(
        esp.kernel_folders().unwrap(),
        [
            folder("bootc_composefs-a", Some(digest), 15),
            folder("bootc_composefs-b", None, 6)
        ]
    );
    esp.remove_kernel_folder("bootc_composefs-b").unwrap();
    esp.remove_kernel_folder("bootc_composefs-b").unwrap();
    assert_eq!(esp.kernel_folders().unwrap().len(), 1);
    assert!(esp.free_bytes().unwrap() > 0);
}
