//! Disks of machines that are configured: the image is the same, `/etc` and `/var` are not.

mod program;
mod sample;

use std::path::Path;

use osmith_config::{Configuration, Format};
use osmith_disk::{Destination, ImageType, Plan, Spec};
use osmith_report::Silent;
use osmith_testing::oracle;
use program::{extract, run, text};
use sample::Sample;

const CONFIGURATION: &str = r#"
[[customizations.user]]
name = "admin"
password = "correct horse"
key = "ssh-ed25519 AAAA admin"
[customizations]
hostname = "configured"
[customizations.kernel]
append = "quiet dyndbg=\"module x +p\""
[[customizations.filesystem]]
mountpoint = "/"
minsize = "900 MiB"
[[customizations.filesystem]]
mountpoint = "/var/home"
minsize = "64 MiB"
"#;

fn spec(toml: &str) -> Spec {
    let configuration = Configuration::parse(toml.as_bytes(), Format::Toml).unwrap();
    Spec {
        configuration,
        ..sample::spec(&[ImageType::Raw])
    }
}

fn plan_in(directory: &Path, spec: &Spec) -> Plan {
    let store = sample::open(&directory.join("store"));
    let mut sample = Sample::bootable(&store);
    sample.symlink("home", "var/home");
    sample.symlink("bin", "usr/bin");
    sample.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n");
    sample.file("usr/bin/sh", b"#!");
    sample.file("etc/skel/.profile", b"# skeleton\n");
    let own = b"{\"customizations\": {\"disk\": {\"minsize\": \"7 GiB\"}}}";
    sample.file("usr/lib/bootc-image-builder/config.json", own);
    sample.commit();
    osmith_disk::plan(&store, spec).unwrap()
}

fn written(directory: &Path, plan: &Plan) -> std::path::PathBuf {
    let store = sample::open(&directory.join("store"));
    let destination = Destination {
        directory: &directory.join("output"),
        overwrite: true,
        processors: 2,
    };
    osmith_disk::execute(plan, &store, &destination, &Silent).unwrap();
    directory.join("output/image/disk.raw")
}

#[test]
fn a_configured_machine_is_that_image() {
    let work = tempfile::tempdir().unwrap();
    let plain = plan_in(work.path(), &spec(""));
    let plan = plan_in(work.path(), &spec(CONFIGURATION));
    assert_eq!(plan.deployment, plain.deployment);
    assert!(plan.kernel_arguments.contains(&"dyndbg=module x +p".to_owned()));
    assert!(!plain.kernel_arguments.contains(&"quiet".to_owned()));
    let disk = written(work.path(), &plan);
    let first = std::fs::read(&disk).unwrap();
    let again = written(work.path(), &plan_in(work.path(), &spec(CONFIGURATION)));
    assert!(
        first == std::fs::read(again).unwrap(),
        "two runs give the same bytes"
    );
    let (Some(debugfs), Some(e2fsck)) = (oracle::require("debugfs"), oracle::require("e2fsck")) else {
        return;
    };
    let volume = |name: &str| {
        let found = plan.partitions.iter().find(|partition| partition.name == name);
        let partition = found.unwrap_or_else(|| panic!("{name} is not among {:?}", plan.partitions));
        let file = work.path().join(name);
        extract(&disk, partition.offset_bytes, partition.size_bytes, &file);
        run(&e2fsck, &["-fn", text(&file)]);
        file
    };
    let root = volume("root");
    let etc = format!("/state/deploy/{}/etc", plan.deployment);
    let cat = |volume: &Path, path: &str| run(&debugfs, &["-R", &format!("cat {path}"), text(volume)]);
    assert!(cat(&root, &format!("{etc}/hostname")).contains("configured\n"));
    assert!(cat(&root, &format!("{etc}/passwd")).contains("admin:x:1000:1000::/home/admin:/bin/sh\n"));
    assert!(cat(&root, &format!("{etc}/shadow")).contains("admin:$6$"));
    assert!(cat(&root, &format!("{etc}/osmith/drift.d/50-configuration.conf")).contains("/etc/hostname\n"));
    let home = plan
        .partitions
        .iter()
        .find(|partition| !["EFI-SYSTEM", "root"].contains(&partition.name.as_str()));
    let home = volume(&home.unwrap().name);
    assert!(cat(&home, "/admin/.ssh/authorized_keys").contains("ssh-ed25519 AAAA admin\n"));
    assert!(cat(&home, "/admin/.profile").contains("# skeleton\n"));
    let owner = run(&debugfs, &["-R", "stat /admin/.ssh/authorized_keys", text(&home)]);
    assert!(
        owner.contains("Mode:  0600") && owner.contains("User:  1000"),
        "{owner}"
    );
}

#[test]
fn an_image_says_how_its_disks_are_divided() {
    let work = tempfile::tempdir().unwrap();
    plan_in(work.path(), &spec(""));
    let store = sample::open(&work.path().join("store"));
    let plan = osmith_disk::plan(&store, &spec("")).unwrap();
    assert_eq!(plan.size_bytes, 7 << 30);
}
