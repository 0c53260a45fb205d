//! A full disk, at several points.

use std::process::Command;

use insta::assert_snapshot;
use osmith_testing::oracle;

use super::program::{OSMITH, Place, archive_start, clean, said};

/// Runs the program where `small` is a file system of that size, and lists what is left there.
fn on_small_disk(place: &Place, size: &str, line: &str) -> String {
    const SCRIPT: &str = r#"
        size=$1; shift
        mount -t tmpfs -o "size=$size" none small || exit 99
        "$0" "$@"
        status=$?
        [ ! -d small/store ] || ls -A small/store/tmp small/store/names
        find small -mindepth 1 -maxdepth 1 | sort
        exit $status"#;
    let mut command = clean(Command::new("unshare"));
    command
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            SCRIPT,
            OSMITH,
            size,
        ])
        .args(line.split(' '))
        .current_dir(place.path());
    let text = place.plain(&said(&command.output().unwrap()));
    format!("$ osmith {line}\n{text}\n")
}

#[test]
fn full_disks() {
    if !oracle::require_root("a small file system") {
        return;
    }
    let place = Place::new();
    std::fs::create_dir(place.path().join("small")).unwrap();
    let noise = archive_start(6 << 20).split_off(512);
    place.file("whole.tar", whole_archive());
    place.file("context/noise", &noise);
    place.file("context/Containerfile", "FROM scratch\nCOPY noise /\n");
    place.file("kernel/usr/lib/modules/6.12/vmlinuz", &noise);
    place.file("kernel/usr/lib/modules/6.12/initramfs.img", "initramfs");
    place.file("kernel/usr/lib/systemd/boot/efi/systemd-bootx64.efi", "loader");
    place.file("kernel/usr/lib/os-release", "ID=sample\n");
    place.file("kernel/etc/hostname", "sample\n");
    std::fs::create_dir(place.path().join("kernel/sysroot")).unwrap();
    std::fs::create_dir(place.path().join("kernel/boot")).unwrap();
    place.file("all", "FROM scratch\nCOPY . /\n");
    place.ok("build -t whole -f all kernel");
    let text: String = [
        ("64k", "--store small/store import whole.tar localhost/x"),
        ("2m", "--store small/store import whole.tar localhost/x"),
        ("2m", "--store small/store build -t x context"),
        ("2m", "--store store save -o small/x.tar whole"),
        ("2m", "--store store save --compression none -o small/x.tar whole"),
        ("2m", "--store store save --format oci-dir -o small/x whole"),
        ("1m", "--store store disk --type raw --output small/output whole"),
        (
            "3m",
            "--store store disk --type qcow2 --output small/output whole",
        ),
    ]
    .into_iter()
    .map(|(size, line)| on_small_disk(&place, size, line))
    .collect();
    // How much room a disk needs changes with the file systems' layout.
    let sizes = without_figures(&text);
    assert_snapshot!(sizes);
}

/// Figures with a unit, which are not the point here, taken out.
fn without_figures(text: &str) -> String {
    let mut plain = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let is_figure = |at: usize| {
            let next = words.get(at + 1).copied().unwrap_or_default();
            words[at].parse::<f64>().is_ok() && ["KiB", "MiB", "MiB,", "KiB,"].contains(&next)
        };
        let shown = (0..words.len()).map(|at| if is_figure(at) { "[N]" } else { words[at] });
        plain.push_str(&shown.collect::<Vec<_>>().join(" "));
        plain.push('\n');
    }
    plain
}

fn whole_archive() -> Vec<u8> {
    // The header says 8 MiB.
    let mut archive = archive_start(512 + (8 << 20));
    archive.extend([0; 1024]);
    archive
}
