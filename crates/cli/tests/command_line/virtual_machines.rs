//! What libvirt is told of a disk, judged by libvirt.

use std::path::Path;
use std::process::Command;

use osmith_testing::oracle;

use super::program::Place;

const DISK: &str = "it's, a disk.qcow2";

fn defined(place: &Place, arguments: &[&str]) -> String {
    place.file(DISK, b"QFI\xfb");
    let mut command = place.command("vm define");
    let output = command.args(arguments).arg(DISK).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn run(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program:?} {arguments:?}\n{text}");
    text
}

#[test]
fn the_xml_is_libvirt_s() {
    let Some(validate) = oracle::require("virt-xml-validate") else {
        return;
    };
    let place = Place::new();
    for arguments in [
        &["--form", "xml"][..],
        &["--form", "xml", "--firmware", "bios", "--network", "bridge=br0"],
        &[
            "--form",
            "xml",
            "--arch",
            "arm64",
            "--network",
            "user",
            "--name",
            "web & \"db\"",
        ],
    ] {
        let path = place.file("domain.xml", defined(&place, arguments));
        run(&validate, &[path.to_str().unwrap(), "domain"]);
    }
}

#[test]
fn virt_install_takes_the_command_line() {
    let Some(virt_install) = oracle::require("virt-install") else {
        return;
    };
    let place = Place::new();
    for arguments in [
        &[][..],
        &["--firmware", "bios", "--network", "default", "--memory", "2GiB"],
    ] {
        let command = defined(&place, arguments);
        let dry = command.replacen(
            "virt-install",
            &format!(
                "{} --connect test:///default --dry-run --print-xml",
                virt_install.display()
            ),
            1,
        );
        // libvirt's test driver knows no firmware.
        let dry = dry.replace("--boot uefi", "--boot hd");
        let xml = run(Path::new("sh"), &["-c", &dry]);
        assert!(xml.contains("s, a disk.qcow2\""), "{xml}");
        assert!(xml.contains("<name>osmith</name>"), "{xml}");
    }
}
