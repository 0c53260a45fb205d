//! `osmith lint`: what every check says, and that a good image is not complained of.

use insta::assert_snapshot;

use super::program::Place;

/// What makes an image that passes every check.
const GOOD: &[(&str, &str)] = &[
    ("boot/", ""),
    ("dev/", ""),
    ("proc/", ""),
    ("run/", ""),
    ("sys/", ""),
    ("sysroot/", ""),
    ("tmp/", ""),
    ("var/lib/", ""),
    ("etc/machine-id", ""),
    ("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
    ("etc/group", "root:x:0:\n"),
    ("etc/shadow", "root:*:1::::::\n"),
    ("sbin/init", "init"),
    ("usr/lib/os-release", "ID=sample\nPRETTY_NAME=Sample\n"),
    ("usr/lib/sysusers.d/basic.conf", "u root 0 - /root /bin/sh\n"),
    (
        "usr/lib/bootc/kargs.d/10-console.toml",
        "kargs = [\"console=ttyS0\"]\n",
    ),
    ("usr/lib/modules/6.12/initramfs.img", "initramfs"),
    ("usr/lib/modules/6.12/vmlinuz", "kernel"),
    ("usr/lib/systemd/boot/efi/systemd-bootx64.efi", "loader"),
    ("usr/lib/systemd/boot/efi/systemd-bootaa64.efi", "loader"),
];

/// What does not.
const BAD: &[(&str, &str)] = &[
    ("boot/vmlinuz", "kernel"),
    ("run/systemd/resolve/stub-resolv.conf", ""),
    ("run/lock/x", ""),
    ("tmp/left", "x"),
    ("home/", ""),
    ("etc/hostname", ""),
    ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    (
        "etc/passwd",
        "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/:/bin/sh\nann:x:1000:1000::/:/bin/sh\n",
    ),
    ("etc/group", "root:x:0:\nweb:x:33:\n"),
    ("etc/shadow", "root::1::::::\nweb:*:1::::::\n"),
    ("etc/ssh/ssh_host_ed25519_key", "secret"),
    ("usr/etc/x", ""),
    (
        "usr/lib/bootc/kargs.d/10-a.toml",
        "kargs = [\"quiet\"]\nkarg-deletes = []\n",
    ),
    ("usr/lib/bootc/kargs.d/README", "not for machines"),
    ("usr/lib/bootc/kargs.d/30-c.toml", "kargs = quiet\n"),
    ("usr/lib/ostree/prepare-root.conf", "[composefs]\nenabled = no\n"),
    ("usr/lib/modules/6.12/vmlinuz", "kernel"),
    ("usr/lib/tmpfiles.d/a.conf", "d /var/lib/known 0755 root root -\n"),
    ("var/lib/known/", ""),
    ("var/lib/new/deep/file", "x"),
    ("var/lib/new2", "x"),
    ("var/log/apt/history.log", "installed\n"),
    ("var/run/x", ""),
];

#[test]
fn a_good_image_passes_and_a_bad_one_is_told_why() {
    let place = Place::new();
    for (tree, files) in [("good", GOOD), ("bad", BAD)] {
        for (path, text) in files {
            let path = format!("{tree}/{path}");
            match path.strip_suffix('/') {
                Some(directory) => std::fs::create_dir_all(place.path().join(directory)).unwrap(),
                None => drop(place.file(&path, text)),
            }
        }
    }
    let wants = place
        .path()
        .join("bad/etc/systemd/system/multi-user.target.wants");
    std::fs::create_dir_all(&wants).unwrap();
    std::os::unix::fs::symlink("/usr/lib/systemd/system/gone.service", wants.join("gone.service")).unwrap();
    let cache =
        std::fs::File::create_new(place.file("bad/var/cache/apt/x", "").with_extension("deb")).unwrap();
    cache.set_len(3_000_000).unwrap();
    place.file("good.txt", "FROM scratch\nCOPY . /\nLABEL containers.bootc=1\n");
    place.file("bad.txt", "FROM scratch\nCOPY . /\n");
    place.ok("build -q -t localhost/good -f good.txt good");
    place.ok("build -q -t localhost/bad -f bad.txt bad");
    assert_snapshot!(place.transcript(&[
        "lint localhost/good",
        "lint localhost/bad",
        "lint --fatal-warnings --skip var-tmpfiles localhost/good",
        "lint --skip kernal localhost/good",
        "lint localhost/none",
        "lint",
        "lint --list",
    ]));
    let output = place
        .command("lint --format json localhost/bad")
        .output()
        .unwrap();
    let json = String::from_utf8(output.stdout).unwrap();
    assert!(
        json.contains("\"check\": \"etc-usretc\"") && json.contains("\"severity\": \"error\""),
        "{json}"
    );
}
