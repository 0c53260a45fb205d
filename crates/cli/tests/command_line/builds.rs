//! Options of `osmith build` that other programs see the effect of.

use std::fs;
use std::process::Command;

use osmith_testing::oracle;
use osmith_testing::registry::Registry;

use super::program::Place;

fn place() -> Place {
    let place = Place::new();
    place.file("context/page.txt", "hello");
    place.file(
        "context/Containerfile",
        "FROM scratch\nCOPY --chown=5:6 page.txt /srv/\nHEALTHCHECK --interval=5s CMD true\nONBUILD ENV a=b\n",
    );
    place
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_image_in_dockers_format_is_one_for_other_tools() {
    let (Some(registry), Some(skopeo)) = (Registry::start(), oracle::require("skopeo")) else {
        return;
    };
    let place = place();
    place.ok("build --format docker -t localhost/d context");
    let name = format!("{}/d:1", registry.address());
    place.ok(&format!("push --tls-verify=false localhost/d {name}"));
    let inspect = |options: &[&str]| {
        let mut command = Command::new(&skopeo);
        command
            .arg("inspect")
            .args(options)
            .arg("--tls-verify=false")
            .arg(format!("docker://{name}"));
        said(&mut command)
    };
    let manifest = inspect(&["--raw"]);
    for text in [
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ] {
        assert!(manifest.contains(text), "{text}: {manifest}");
    }
    let config = inspect(&["--config", "--raw"]);
    assert!(config.contains("\"Interval\":5000000000"), "{config}");
    // What comes back is what left.
    place.ok("rmi localhost/d");
    place.ok(&format!("pull -q --tls-verify=false {name}"));
    place.file("child", format!("FROM {name}\n"));
    place.ok("build -t localhost/child -f child context");
    let child = said(&mut place.command("inspect localhost/child"));
    assert!(
        child.contains("\"a=b\"") && !child.contains("\"OnBuild\""),
        "{child}"
    );
}

#[test]
fn the_tree_as_a_directory_and_as_an_archive() {
    let place = place();
    place.ok("build --output out --iidfile id -t localhost/o context");
    assert_eq!(fs::read(place.path().join("out/srv/page.txt")).unwrap(), b"hello");
    let id = fs::read_to_string(place.path().join("id")).unwrap();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    place.ok("build -o type=tar,dest=out.tar context");
    let listing = said(Command::new("tar").arg("-tvf").arg(place.path().join("out.tar")));
    assert!(
        listing.contains("5/6") && listing.contains("srv/page.txt"),
        "{listing}"
    );
    let stream = place.command("build -q -o - context").output().unwrap();
    assert_eq!(stream.stdout, fs::read(place.path().join("out.tar")).unwrap());
    let again = place.command("build --output out context").output().unwrap();
    assert!(String::from_utf8_lossy(&again.stderr).contains("is not empty"));
}

#[test]
fn several_containerfiles_are_one_and_arguments_come_from_files() {
    let place = place();
    place.file("one", "FROM scratch AS base\nARG a\nARG b\nENV a=$a b=$b");
    place.file("two", "FROM base\nCOPY page.txt /\n");
    place.file("args", "# values\na=1\nb=2\n");
    place.file("ignore", "*.txt\n");
    place.ok("build -f one -f two --build-arg-file args --build-arg b=3 -t localhost/i context");
    let config = said(&mut place.command("inspect localhost/i"));
    assert!(
        config.contains("\"a=1\"") && config.contains("\"b=3\""),
        "{config}"
    );
    let output = place
        .command("build -f one -f two --ignorefile ignore context")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("excluded by 'ignore'"), "{text}");
    let output = place
        .command("build -f Containerfile.in context")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("cpp -E"));
}

#[test]
fn a_containerfile_is_checked_without_being_built() {
    let place = place();
    place.file("context/poor", "FROM localhost/none\nCMD run\nENV PASSWORD=x\n");
    place.file("context/broken", "FROM localhost/none\nCMDD run\n");
    place.file("context/strict", "# check=error=true\nFROM scratch\nCMD run\n");
    insta::assert_snapshot!(place.transcript(&[
        "build --check context",
        "build --check -f context/poor context",
        "build --check -f context/broken context",
        "build --check -f context/strict context",
        "images -q",
    ]));
}

#[test]
fn kept_directories_are_listed_and_removed() {
    let Some(busybox) = oracle::require("busybox") else {
        return;
    };
    if !oracle::require_root("RUN") {
        return;
    }
    let place = place();
    fs::copy(busybox, place.path().join("context/busybox")).unwrap();
    place.file(
        "context/Containerfile",
        "FROM scratch\nCOPY busybox /\nRUN --mount=type=cache,target=/c [\"/busybox\", \"dd\", \"if=/dev/zero\", \"of=/c/x\", \"bs=1000\", \"count=2\"]\n\
         RUN --mount=type=cache,id=other,target=/c,uid=5 [\"/busybox\", \"true\"]\n",
    );
    place.ok("build -q context");
    let text = place.transcript(&[
        "cache list",
        "cache remove nothing",
        "cache remove other",
        "cache rm --all",
        "cache ls",
    ]);
    let lines = text.lines().map(|line| match line.split_once("20") {
        Some((before, after)) if after.ends_with('Z') => format!("{before}[TIME]"),
        _ => line.to_owned(),
    });
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn options_that_there_are_not_say_why() {
    let place = place();
    insta::assert_snapshot!(place.transcript(&[
        "build --layers --rm=false --force-rm --identity-label=false --security-opt label=disable --target x context",
        "build --isolation chroot context",
        "build -m 4g context",
        "build --cache-from registry.example.org/cache context",
        "build --userns host context",
        "build --security-opt seccomp=profile.json context",
        "build --device /dev/fuse context",
        "build --cpp-flag -DX context",
        "build --ulimit nofile=4096 context",
        "build --layers=false context",
        "build --stdin context",
        "build --network private context",
        "build --network ns:/run/netns/x context",
        "build --format v2s1 context",
        "build --cap-add NET_ADMIN,FLY context",
        "build --dns here context",
        "build --dns none --dns-search example.org context",
        "build --network none --dns 192.0.2.1 context",
        "build --arch amd64 --platform linux/amd64 context",
        "build --no-hosts --add-host a:192.0.2.1 context",
    ]));
}

#[test]
fn what_commands_are_told_of_names_and_rights() {
    let Some(busybox) = oracle::require("busybox") else {
        return;
    };
    if !oracle::require_root("RUN") {
        return;
    }
    let place = place();
    fs::copy(busybox, place.path().join("context/busybox")).unwrap();
    place.file("context/hosts", "192.0.2.9 of-the-image\n");
    place.file(
        "context/Containerfile",
        "FROM scratch\nCOPY busybox /\nCOPY hosts /etc/hosts\nCOPY hosts /etc/resolv.conf\n\
         RUN [\"/busybox\", \"grep\", \"-h\", \"\", \"/etc/hosts\", \"/etc/resolv.conf\"]\n\
         RUN [\"/busybox\", \"grep\", \"CapBnd\", \"/proc/self/status\"]\n",
    );
    let told = |options: &str| {
        let line = format!("--progress plain build --no-cache {options} context");
        let output = place.command(&line).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{text}");
        text
    };
    let text =
        told("--dns 192.0.2.53 --dns-search lan.example --dns-option timeout:1 --add-host there:192.0.2.8");
    for line in [
        "nameserver 192.0.2.53",
        "search lan.example",
        "options timeout:1",
        "192.0.2.8\tthere",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("of-the-image"), "{text}");
    let text = told("--dns none --no-hosts --cap-drop all --cap-add CAP_CHOWN");
    assert_eq!(text.matches("192.0.2.9 of-the-image").count(), 2, "{text}");
    assert!(text.contains("0000000000000001"), "{text}");
    let config = |options: &str| {
        place.ok(&format!(
            "build -q {options} -t localhost/arch -f nothing context"
        ));
        said(&mut place.command("inspect localhost/arch"))
    };
    place.file("nothing", "FROM scratch\n");
    assert!(config("--arch arm --variant v7").contains("\"arm\""));
    assert!(config("--arch aarch64").contains("\"arm64\""));
}
