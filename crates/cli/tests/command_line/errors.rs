//! Bad input: each gets one error that says what, where and what to do, and leaves nothing behind.

use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use insta::assert_snapshot;
use osmith_testing::oracle;
use rustix::process::{Pid, Signal, kill_process};

use super::program::{BOOTABLE, OSMITH, Place, archive_start, clean, said};

#[test]
fn names() {
    let place = Place::new();
    place.image("localhost/web", &[("page", "hello")]);
    place.ok("tag web registry.example/shop/web:2");
    place.ok("tag web example.com/web:2");
    assert_snapshot!(place.transcript(&[
        "inspect localhost/webb",
        "disk nothing-like-it",
        "disk localhost/Web",
        "tag web bad:tag:x",
        "save -o x docker://web",
        "rmi web:2",
        "rmi localhost/web",
        "rmi registry.example/shop/web:2",
        "rmi web:2",
        "rmi web:2",
    ]));
}

#[test]
fn damage() {
    let place = Place::new();
    place.image("localhost/web", &[("page", &"hello ".repeat(100))]);
    let whole = place.transcript(&["fsck"]);
    let objects = fs::read_dir(place.store().join("objects")).unwrap();
    for directory in objects.map(|entry| entry.unwrap().path()) {
        for object in fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            let mut bytes = fs::read(&object).unwrap();
            bytes[300] ^= 1;
            fs::write(object, bytes).unwrap();
        }
    }
    assert_snapshot!(whole + &place.transcript(&["fsck"]));
    // What the hint says helps.
    place.ok("rmi localhost/web");
    place.ok("prune --cache");
    place.image("localhost/web", &[("page", &"hello ".repeat(100))]);
    place.ok("fsck");
}

#[test]
fn not_on_a_machine() {
    assert_snapshot!(Place::new().transcript(&[
        "etc diff",
        "etc diff --format yaml",
        "drift --deep",
        "fsck --machine",
        "fsck --repair",
    ]));
}

#[test]
fn a_damaged_image() {
    let place = Place::new();
    place.image("localhost/web", &[("page", "hello")]);
    place.ok("rmi localhost/web");
    fs::write(place.store().join("names/localhost/web:latest"), "").unwrap();
    assert_snapshot!(place.transcript(&["images --format json", "rmi localhost/web", "images --quiet"]));
}

#[test]
fn usage() {
    let place = Place::new();
    assert_snapshot!(place.transcript(&[
        "disk --type foo localhost/web",
        "disk --size 3furlongs localhost/web",
        "disk",
        "frobnicate",
        "vm run -p 22 disk.qcow2",
        "--progress json disk --type foo localhost/web",
    ]));
}

#[test]
fn files_that_are_no_images() {
    let place = Place::new();
    place.file("noise", archive_start(100_000).split_off(512));
    place.file("empty", "");
    place.file("cut-off", archive_start(70_000));
    fs::create_dir(place.path().join("directory")).unwrap();
    place.ok("import --help");
    place.file("from-directory", "FROM oci:directory\n");
    place.file("from-archive", "FROM oci-archive:noise\n");
    place.file("from-nothing", "FROM oci:nothing\n");
    assert_snapshot!(place.transcript(&[
        "load noise",
        "load empty",
        "load directory",
        "load nothing",
        "import noise localhost/x",
        "import empty localhost/x",
        "import cut-off localhost/x",
        "import directory localhost/x",
        "import nothing localhost/x",
        "import - localhost/x",
        "build -f from-directory .",
        "build -f from-archive .",
        "build -f from-nothing .",
        "--progress json import noise localhost/x",
    ]));
    place.require_no_images();
}

#[test]
fn disks_that_do_not_boot() {
    let place = Place::new();
    let without = |name: &str, missing: &str| {
        let files: Vec<_> = BOOTABLE
            .into_iter()
            .filter(|(path, _)| !path.contains(missing))
            .collect();
        place.image(name, &files);
    };
    without("no-system", "usr/");
    without("no-kernel", "vmlinuz");
    without("no-initramfs", "initramfs");
    without("no-loader", "systemd-boot");
    without("no-sysroot", "sysroot");
    without("whole", "nothing");
    assert_snapshot!(place.transcript(&[
        "disk no-system",
        "disk no-kernel",
        "disk no-initramfs",
        "disk no-loader",
        "disk no-sysroot",
        "disk --size 3 whole",
    ]));
    assert!(!place.path().join("output").exists());
}

#[test]
fn configurations_of_disks() {
    let place = Place::new();
    let accounts = [
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        ("etc/group", "root:x:0:\nsudo:x:27:\n"),
        ("bin/sh", "#!"),
    ];
    let files: Vec<_> = BOOTABLE.into_iter().chain(accounts).collect();
    place.image("whole", &files);
    let of_image = (
        "usr/lib/bootc-image-builder/config.toml",
        "[customizations.disk]\ntype = 'dos'\n",
    );
    place.image(
        "dos",
        &files.iter().copied().chain([of_image]).collect::<Vec<_>>(),
    );
    place.file(
        "typo.toml",
        "[[customizations.user]]\nnmae = \"a\"\n\n[customizations]\nhostname = \"web_1\"\n",
    );
    place.file("one.json", "{\"customizations\": {\"hostname\": \"-\"}}");
    place.file("trailing.json", "{}\n{}");
    place.file(
        "lacking.toml",
        "[[customizations.user]]\nname = \"a\"\ngroups = [\"wheel\"]\n\
         [customizations.services]\nenabled = [\"web\"]\n",
    );
    place.file(
        "local.toml",
        "[[customizations.files]]\npath = \"/etc/a\"\nuri = \"/nothing/here\"\n",
    );
    place.file("config.yaml", "");
    place.file("empty.toml", "");
    assert_snapshot!(place.transcript(&[
        "disk --config typo.toml whole",
        "disk --config one.json whole",
        "disk --config trailing.json whole",
        "disk --config lacking.toml whole",
        "disk --config local.toml whole",
        "disk --config config.yaml whole",
        "disk --config nothing.toml whole",
        "disk --config - whole",
        "disk --config empty.toml dos",
    ]));
    assert!(!place.path().join("output").exists());
}

#[test]
fn build_contexts() {
    let place = Place::new();
    place.file("file", "");
    fs::create_dir(place.path().join("empty")).unwrap();
    place.file("context/copy", "FROM scratch\nCOPY nothing /x\n");
    place.file("context/unknown", "FROM scratch\nCOPI a /x\n");
    place.file("context/base", "FROM localhost/nothing:1\n");
    assert_snapshot!(place.transcript(&[
        "build nothing",
        "build file",
        "build empty",
        "build -f nothing context",
        "build -f context/copy context",
        "build -f context/unknown context",
        "build -f context/base context",
    ]));
    place.require_no_images();
}

#[test]
fn stores() {
    let place = Place::new();
    place.file("file", "");
    place.file("other/precious", "");
    place.file(
        "newer/store.json",
        r#"{"format":9,"algorithm":"fsverity-sha512-12"}"#,
    );
    place.file("broken/store.json", "{");
    assert_snapshot!(place.transcript(&[
        "images",
        "--store file images",
        "--store file import file x",
        "--store other images",
        "--store other import file x",
        "--store newer images",
        "--store broken images",
        "--progress json images",
    ]));
    assert!(!place.store().exists());
}

#[test]
fn disks_to_install_to() {
    let place = Place::new();
    place.image("whole", &BOOTABLE);
    let precious = "precious".repeat(1000);
    place.file("full.img", &precious);
    for (name, size_bytes) in [("small.img", 100 << 20), ("disk.img", 1 << 30)] {
        let file = fs::File::create(place.path().join(name)).unwrap();
        file.set_len(size_bytes).unwrap();
    }
    place.file(
        "swap.toml",
        "[[customizations.disk.partitions]]\ntype = \"plain\"\nfs_type = \"swap\"\nlabel = \"swap\"\nminsize = \"64 MiB\"\n",
    );
    place.file(
        "large.toml",
        "[[customizations.filesystem]]\nmountpoint = \"/\"\nminsize = \"5 GiB\"\n",
    );
    assert_snapshot!(place.transcript(&[
        "install to-disk whole full.img",
        "install to-disk whole small.img",
        "install to-disk whole nothing.img",
        "install to-disk whole .",
        "install to-disk nothing small.img",
        "install to-disk whole disk.img",
        "install to-disk whole disk.img",
        "install to-disk --wipe whole disk.img",
        "install to-disk --wipe --config swap.toml whole disk.img",
        "install to-disk --wipe --config large.toml whole disk.img",
    ]));
    if let Some(sgdisk) = oracle::require("sgdisk") {
        let output = Command::new(sgdisk)
            .arg("--print")
            .arg(place.path().join("disk.img"))
            .output();
        let table = String::from_utf8(output.unwrap().stdout).unwrap();
        let is_swap = |line: &str| line.trim().starts_with("2 ") && line.ends_with("swap");
        assert!(table.lines().any(is_swap), "{table}");
    }
    assert_eq!(
        fs::read_to_string(place.path().join("full.img")).unwrap(),
        precious
    );
}

#[test]
fn file_systems_to_install_to() {
    if !oracle::require_root("installing onto a file system") {
        return;
    }
    let place = Place::new();
    place.image("whole", &BOOTABLE);
    place.file("directory/precious", "precious");
    assert_snapshot!(place.transcript(&[
        "install to-filesystem whole nothing",
        "install to-filesystem whole directory",
        "install to-filesystem whole /proc",
    ]));
}

#[test]
fn outputs_that_exist() {
    let place = Place::new();
    place.image("whole", &BOOTABLE);
    place.file("there.tar", "precious");
    place.file("output/qcow2/disk.qcow2", "precious");
    place.file("directory/precious", "precious");
    assert_snapshot!(place.transcript(&[
        "save -o there.tar whole",
        "save --format oci-dir -o directory whole",
        "save -o nothing/x.tar whole",
        "disk --type raw --type qcow2 whole",
        "disk --output there.tar whole",
    ]));
    let left = fs::read_dir(place.path().join("output")).unwrap().count();
    assert_eq!(left, 1, "no other output is left");
    assert_eq!(fs::read(place.path().join("there.tar")).unwrap(), b"precious");
}

#[test]
fn machines() {
    let place = Place::new();
    place.image("whole", &BOOTABLE);
    place.file("noise.raw", "no partition table");
    place.file("disk.qcow2", b"QFI\xfb");
    for architecture in [["amd64", "x86_64"], ["arm64", "aarch64"]] {
        let [name, name_of_qemu] = architecture;
        let mut bare = place.command(&format!("vm run --arch {name} disk.qcow2"));
        let output = bare.env("PATH", "/nonexistent").output().unwrap();
        let missing = format!("qemu-system-{name_of_qemu} is not installed\nhint: ");
        assert!(said(&output).contains(&missing), "{}", said(&output));
    }
    if oracle::require("qemu-system-x86_64").is_none() {
        return;
    }
    assert_snapshot!(place.transcript(&[
        "vm run noise.raw",
        "vm run nothing.raw",
        "vm run localhost/nothing",
        "vm run --arch amd64 --memory 3MiB disk.qcow2",
        "vm run --arch arm64 --firmware bios disk.qcow2",
        "vm run --arch arm64 whole",
        "vm define --arch arm64 --firmware bios disk.qcow2",
    ]));
}

/// `osmith import` of an archive that comes slowly.
fn slow_import(place: &Place) -> Child {
    let mut import = place.command("import - localhost/x");
    import
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = import.spawn().unwrap();
    // More than a pipe holds: when it is written, the import has begun to read.
    let start = archive_start(1 << 20);
    child.stdin.as_mut().unwrap().write_all(&start).unwrap();
    child
}

#[test]
fn two_processes_share_a_store() {
    let place = Place::new();
    place.image("whole", &BOOTABLE);
    let mut other = slow_import(&place);
    assert_snapshot!(place.transcript(&["prune", "tag whole localhost/second", "rmi second"]));
    drop(other.stdin.take());
    assert_eq!(other.wait().unwrap().code(), Some(1));
    place.ok("prune");
}

#[test]
fn an_interrupted_import_leaves_nothing() {
    let place = Place::new();
    for (signal, again) in [(Signal::INT, false), (Signal::TERM, false), (Signal::INT, true)] {
        let mut child = slow_import(&place);
        let pid = Pid::from_child(&child);
        kill_process(pid, signal).unwrap();
        // Any thread may be the one that takes the signal; the end of the input must not come first.
        std::thread::sleep(std::time::Duration::from_millis(100));
        if again {
            // The second one ends the program although it waits for its input.
            while child.try_wait().unwrap().is_none() {
                let _ = kill_process(pid, signal);
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
        drop(child.stdin.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130));
        let expected = if again {
            "exit status 130\n"
        } else {
            "error: interrupted\nexit status 130\n"
        };
        assert_eq!(said(&output), expected);
        place.ok("load --help");
        place.ok("prune");
        place.require_no_images();
    }
}

#[test]
fn health_of_what_is_no_machine() {
    let place = Place::new();
    assert_snapshot!(place.transcript(&[
        "health --at-boot",
        "health --deadline",
        "health --at-boot --deadline",
        "health --deadline --format json",
        "health --time-limit 0",
    ]));
}

#[test]
fn output_that_cannot_be_written() {
    let place = Place::new();
    place.image("whole", &BOOTABLE);
    for line in ["images", "inspect whole", "completions bash", "status", "--help"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = place.command(line).stdout(writer).output().unwrap();
        assert_eq!(said(&output), "exit status 0\n", "{line}");
    }
    for line in ["images", "completions bash"] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = place.command(line).stdout(full).output().unwrap();
        let expected = "error: cannot write to standard output: No space left on device\nexit status 1\n";
        assert_eq!(said(&output), expected, "{line}");
    }
    // All three standard streams closed.
    let mut shell = clean(std::process::Command::new("sh"));
    shell.args(["-c", r#"exec "$0" --store "$1" images <&- >&- 2>&-"#, OSMITH]);
    assert!(shell.arg(place.store()).status().unwrap().success());
}
