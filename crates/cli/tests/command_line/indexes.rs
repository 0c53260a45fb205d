//! Images for several kinds of machines in one build, and their index: in the store, in a registry, for other programs.

use std::fs;
use std::process::{Command, Output};

use osmith_testing::oracle;
use osmith_testing::registry::Registry;
use serde_json::Value;

use super::program::{BOOTABLE, Place, said};

const BOTH: &str = "--platform linux/amd64,linux/arm64 --source-date-epoch 1700000000";

/// A context with a file for each of two kinds of machines.
fn place() -> Place {
    let place = Place::new();
    place.file("context/amd64", "for amd64\n");
    place.file("context/arm64", "for arm64\n");
    place.file("context/riscv64", "for riscv64\n");
    place.file(
        "context/Containerfile",
        "FROM scratch AS files\nARG TARGETARCH\nCOPY $TARGETARCH /arch\n\
         FROM scratch\nCOPY --from=files /arch /arch\n",
    );
    place
}

fn json(place: &Place, line: &str) -> Value {
    let output = place.command(line).output().unwrap();
    assert!(output.status.success(), "{line}: {}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn printed(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The platforms of an index as podman and registries write it.
fn platforms(index: &Value) -> Vec<String> {
    let manifests = index["manifests"].as_array().unwrap().iter();
    let word = |platform: &Value, name: &str| platform[name].as_str().unwrap().to_owned();
    manifests
        .map(|manifest| {
            word(&manifest["platform"], "os") + "/" + &word(&manifest["platform"], "architecture")
        })
        .collect()
}

#[test]
fn an_index_is_built_listed_changed_and_removed() {
    let place = place();
    let hidden = |text: &str| {
        // Names by digest say nothing to a reader.
        let is_digest = |word: &str| word.len() >= 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut text = text.to_owned();
        let mut words: Vec<String> = text
            .split(|character: char| !character.is_ascii_alphanumeric())
            .filter(|word| is_digest(word))
            .map(str::to_owned)
            .collect();
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        for word in words {
            text = text.replace(
                &word,
                if word.len() == 12 {
                    "[DIGITS]    "
                } else {
                    "[DIGEST]"
                },
            );
        }
        text
    };
    let text = place.transcript(&[
        &format!("build {BOTH} --manifest os context"),
        "images",
        "inspect os",
        "inspect --platform linux/riscv64 os",
        &format!("build {BOTH} --manifest os context"),
        "build -q --platform linux/riscv64 --source-date-epoch 1700000000 --manifest os -t riscv context",
        "images",
        "tag os localhost/again:1",
        "rmi os",
        "prune",
        "fsck",
        "rmi localhost/again:1",
        "images",
        "rmi riscv",
        "fsck",
    ]);
    insta::assert_snapshot!(hidden(&text));
}

#[test]
fn what_does_not_fit_several_platforms() {
    let place = place();
    place.ok("build -q -t localhost/image context");
    insta::assert_snapshot!(place.transcript(&[
        &format!("build {BOTH} context"),
        &format!("build {BOTH} -t os context"),
        &format!("build {BOTH} --manifest os --iidfile id context"),
        &format!("build {BOTH} --manifest localhost/image context"),
        "build --platform linux/amd64,linux --manifest os context",
        &format!("build {BOTH} --check context"),
    ]));
    let output = place
        .command("push --platform linux/s390x image 127.0.0.1:9/image")
        .output();
    let text = said(&output.unwrap());
    assert!(
        text.contains("error: 'image' has no image for linux/s390x\n"),
        "{text}"
    );
    // A platform in two spellings is one.
    let output = place
        .command("build -q --platform linux/arm64,linux/aarch64/v8 context")
        .output();
    assert_eq!(printed(&output.unwrap()).lines().count(), 1);
}

#[test]
fn a_platform_that_fails_leaves_the_index_as_it_was() {
    let place = place();
    place.ok(&format!("build -q {BOTH} --manifest os context"));
    let before = json(&place, "inspect os");
    fs::remove_file(place.path().join("context/arm64")).unwrap();
    place.file("context/amd64", "for amd64, newer\n");
    let output = place
        .command(&format!("build -q {BOTH} --manifest os context"))
        .output();
    let text = said(&output.unwrap());
    assert!(
        text.contains("arm64") && text.ends_with("exit status 1\n"),
        "{text}"
    );
    assert_eq!(json(&place, "inspect os"), before);
}

#[test]
fn other_programs_find_their_image_in_a_pushed_index() {
    let (Some(registry), Some(skopeo)) = (Registry::start(), oracle::require("skopeo")) else {
        return;
    };
    let place = place();
    let name = format!("{}/os:1", registry.address());
    place.ok(&format!("build -q {BOTH} --manifest {name} context"));
    let pushed = place.command(&format!("push --tls-verify=false {name}")).output();
    let pushed = printed(&pushed.unwrap());
    let inspect = |options: &[&str]| {
        let mut command = Command::new(&skopeo);
        command
            .arg("inspect")
            .args(options)
            .arg("--tls-verify=false")
            .arg(format!("docker://{name}"));
        command.output().unwrap()
    };
    let raw = inspect(&["--raw"]);
    let digest = osmith_image::Sha256Digest::of(&raw.stdout);
    assert!(pushed.trim().ends_with(&digest.to_string()), "{pushed}");
    let index: Value = serde_json::from_slice(&raw.stdout).unwrap();
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(platforms(&index), ["linux/amd64", "linux/arm64"]);
    for arch in ["amd64", "arm64"] {
        let mut command = Command::new(&skopeo);
        command
            .args([
                "--override-arch",
                arch,
                "inspect",
                "--config",
                "--tls-verify=false",
            ])
            .arg(format!("docker://{name}"));
        let config: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        assert_eq!(config["architecture"], arch);
    }
    if let (Some(podman), true) = (oracle::require("podman"), oracle::require_root("podman")) {
        podman_finds_its_image(&place, podman.as_ref(), &name);
    }
    // What one more build adds is in the registry with the next push.
    place.ok(&format!(
        "build -q --platform linux/riscv64 --manifest {name} context"
    ));
    place.ok(&format!("push -q --tls-verify=false {name}"));
    let index: Value = serde_json::from_slice(&inspect(&["--raw"]).stdout).unwrap();
    assert_eq!(platforms(&index), ["linux/amd64", "linux/arm64", "linux/riscv64"]);
    let one = format!("{}/one:1", registry.address());
    place.ok(&format!(
        "push -q --platform linux/arm64 --tls-verify=false {name} {one}"
    ));
    let mut command = Command::new(&skopeo);
    command.args([
        "inspect",
        "--raw",
        "--tls-verify=false",
        &format!("docker://{one}"),
    ]);
    let manifest: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    assert_eq!(
        manifest["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
}

fn podman_finds_its_image(place: &Place, podman: &std::path::Path, name: &str) {
    let run = |words: &[&str]| {
        let mut command = Command::new(podman);
        command
            .args(["--storage-driver", "vfs", "--root"])
            .arg(place.path().join("podman"))
            .arg("--runroot")
            .arg(place.path().join("podman-run"))
            .args(words);
        printed(&command.output().unwrap())
    };
    for arch in ["arm64", "amd64"] {
        run(&["pull", "--quiet", "--tls-verify=false", "--arch", arch, name]);
        let found = run(&["image", "inspect", "--format", "{{.Architecture}}", name]);
        assert_eq!(found.trim(), arch);
    }
}

#[test]
fn several_platforms_on_base_images_of_a_registry() {
    let Some(registry) = Registry::start() else { return };
    let place = place();
    let base = format!("{}/base:1", registry.address());
    place.ok(&format!("build -q {BOTH} --manifest {base} context"));
    place.ok(&format!("push -q --tls-verify=false {base}"));
    place.file("child/new", "new\n");
    place.file("child/Containerfile", format!("FROM {base}\nCOPY new /new\n"));
    let trees = |name: &str| {
        for arch in ["amd64", "arm64"] {
            let archive = format!("{arch}-{}.tar", name.replace('/', "-"));
            place.ok(&format!("save --platform linux/{arch} -o {archive} {name}"));
            place.file("unpack", format!("FROM oci-archive:{archive}\n"));
            place.ok(&format!(
                "build -q --platform linux/{arch} -f unpack -o out-{archive} child"
            ));
            let text = fs::read_to_string(place.path().join(format!("out-{archive}/arch"))).unwrap();
            assert_eq!(text, format!("for {arch}\n"));
        }
    };
    // Of the index in the store, then of the one in the registry, one image after the other.
    place.ok(&format!(
        "build -q {BOTH} --manifest localhost/child context/../child"
    ));
    trees("localhost/child");
    place.ok(&format!("rmi {base}"));
    place.ok(&format!(
        "build -q --tls-verify=false {BOTH} --manifest localhost/fetched child"
    ));
    trees("localhost/fetched");
    let manifests = |name: &str| json(&place, &format!("inspect {name}"))[0]["Manifests"].clone();
    assert_eq!(manifests("localhost/child").as_array().unwrap().len(), 2);
    assert_eq!(manifests("localhost/fetched").as_array().unwrap().len(), 2);
    place.ok("fsck");
}

#[test]
fn a_saved_index_has_all_images() {
    let Some(skopeo) = oracle::require("skopeo") else {
        return;
    };
    let place = place();
    place.ok(&format!("build -q {BOTH} --manifest os context"));
    place.ok("save --format oci-dir -o whole os");
    place.ok("save --format oci-archive -o whole.tar os");
    for transport in ["oci:whole", "oci-archive:whole.tar"] {
        let mut command = Command::new(&skopeo);
        command.current_dir(place.path()).args([
            "inspect",
            "--raw",
            &format!("{transport}:localhost/os:latest"),
        ]);
        let index: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        assert_eq!(platforms(&index), ["linux/amd64", "linux/arm64"]);
    }
    place.ok("rmi os");
    place.ok("load whole.tar");
    let loaded = json(&place, "inspect os");
    assert_eq!(loaded[0]["Architecture"], osmith_image::host_architecture());
}

#[test]
fn a_disk_is_of_the_image_for_the_platform() {
    let place = Place::new();
    for (path, text) in BOOTABLE {
        match path.strip_suffix('/') {
            Some(directory) => fs::create_dir_all(place.path().join("tree").join(directory)).unwrap(),
            None => drop(place.file(&format!("tree/{path}"), text)),
        }
    }
    place.file("tree/usr/lib/systemd/boot/efi/systemd-bootaa64.efi", "loader");
    place.file("copy-all", "FROM scratch\nCOPY . /\n");
    place.ok(&format!("build -q {BOTH} --manifest os -f copy-all tree"));
    let planned = |options: &str| {
        let line = format!("disk --dry-run {options} os");
        said(&place.command(&line).output().unwrap())
    };
    let host = osmith_image::host_architecture();
    assert!(planned("").contains(&format!("kernel 6.12 ({host})\n")));
    let text = planned("--platform linux/arm64");
    assert!(text.contains("kernel 6.12 (arm64)\n"), "{text}");
    let text = planned("--platform linux/s390x");
    assert!(
        text.contains("error: 'os' has no image for linux/s390x\n"),
        "{text}"
    );
}

#[test]
fn a_container_runs_on_the_image_for_this_machine() {
    let Some(busybox) = oracle::require("busybox") else {
        return;
    };
    if !oracle::require_root("containers") {
        return;
    }
    let place = place();
    fs::copy(busybox, place.path().join("context/busybox")).unwrap();
    place.file(
        "context/Containerfile",
        "FROM scratch\nARG TARGETARCH\nCOPY busybox /bin/cat\nCOPY $TARGETARCH /arch\n",
    );
    place.ok(&format!("build -q {BOTH} --manifest os context"));
    let run = |options: &str| {
        let line = format!("run --rm --network none {options} os /bin/cat /arch");
        said(&place.command(&line).output().unwrap())
    };
    let host = osmith_image::host_architecture();
    assert_eq!(run(""), format!("for {host}\nexit status 0\n"));
    assert!(run("--platform linux/s390x").contains("has no image for linux/s390x"));
    // A container holds its image, and with it the index's last name.
    place.ok("run -d --network none --name held os /bin/cat /arch");
    let text = said(&place.command("rmi os").output().unwrap());
    assert!(text.contains("is needed by the container"), "{text}");
    place.ok("rm --force held");
    place.ok("rmi os");
}
