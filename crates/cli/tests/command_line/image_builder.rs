//! The program under the name `bootc-image-builder`.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use insta::assert_snapshot;

use super::program::{BOOTABLE, OSMITH, Place, clean, said};

struct Builder {
    place: Place,
    program: PathBuf,
}

impl Builder {
    fn new() -> Self {
        let place = Place::new();
        let program = place.path().join("bootc-image-builder");
        symlink(OSMITH, &program).unwrap();
        Builder { place, program }
    }

    fn run(&self, line: &str) -> String {
        let mut command = clean(Command::new(&self.program));
        command
            .current_dir(self.place.path())
            .env("OSMITH_STORE", self.place.store())
            .args(line.split(' ').filter(|word| !word.is_empty()));
        self.place.plain(&said(&command.output().unwrap()))
    }
}

#[test]
fn help() {
    assert_snapshot!(Builder::new().run("--help"));
}

#[test]
fn what_is_not_possible_is_said() {
    let builder = Builder::new();
    builder.place.image("localhost/web", &BOOTABLE);
    let lines = [
        "",
        "burn localhost/web",
        "--type vdi localhost/web",
        "--type qcow2 --type anaconda-iso localhost/web",
        "--rootfs xfs localhost/web",
        "--target-arch riscv64 localhost/web",
        "--type ami --aws-region eu-central-1 localhost/web",
        "--local=false localhost/web",
        "--chown me localhost/web",
        "localhost/missing",
    ];
    let transcript = lines.map(|line| format!("$ bootc-image-builder {line}\n{}", builder.run(line)));
    assert_snapshot!(transcript.join("\n"));
    assert!(!builder.place.path().join("qcow2").exists());
}

#[test]
fn outputs_are_where_scripts_look_for_them() {
    let builder = Builder::new();
    builder.place.image("localhost/web", &BOOTABLE);
    let (uid, gid) = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    let mut line =
        "build --type vmdk,qcow2 --type raw --output out --rootfs ext4 --tls-verify=false --in-vm \
        --progress verbose --log-level debug localhost/web"
            .to_owned();
    line.push_str(&format!(" --chown {uid}:{gid}"));
    let said = builder.run(&line);
    let expected = "out/image/disk.raw\nout/qcow2/disk.qcow2\nout/vmdk/disk.vmdk\nexit status 0\n";
    assert_eq!(said, expected);
    // Once more: what is there is replaced.
    assert_eq!(builder.run(&line), expected);
    let out = builder.place.path().join("out");
    assert_eq!(fs::metadata(out.join("qcow2/disk.qcow2")).unwrap().uid(), uid);
    let manifest = fs::read(out.join("manifest-raw-qcow2-vmdk.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let arguments = manifest["kernel-arguments"].to_string();
    assert!(
        arguments.contains("console=tty0\",\"console=ttyS0"),
        "{arguments}"
    );
    let planned = builder.run("manifest --type raw --no-default-kernel-args localhost/web");
    assert!(planned.contains("\"path\": \"image/disk.raw\""), "{planned}");
    assert!(!planned.contains("console=tty0"), "{planned}");
}
