//! The base image of the cases: busybox, a few accounts, and the directories that a system has.

use std::path::Path;

use crate::archive::{self, Member};
use crate::material::{Item, Kind, items};
use crate::outcome::BASE_TIME;

/// The name under which cases have it.
pub(crate) const NAME: &str = "localhost/base";

/// Both builders make it of the same archive.
pub(crate) const CONTAINERFILE: &str = "FROM scratch\nADD rootfs.tar /\nENV PATH=/bin\n";

const TREE: &str = r#"
d 0755 bin
d 0755 dev
d 0755 etc
f 0644 etc/group "root:x:0:\ndaemon:x:1:\nstaff:x:50:worker\nworker:x:1000:\n"
f 0644 etc/hostname ""
f 0644 etc/hosts ""
f 0644 etc/passwd "root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/:/bin/sh\nworker:x:1000:1000::/srv:/bin/sh\n"
f 0644 etc/resolv.conf ""
d 0755 proc
d 0700 root
d 0755 run
d 0755 srv
d 0755 sys
d 1777 tmp
d 0755 usr
d 0755 var
"#;

const APPLETS: &str = "cat chgrp chmod chown cp date echo env false find grep head id ln ls mkdir mkfifo mv printf \
    pwd readlink rm rmdir sed sh sort stat tail tee test touch tr true uname wc";

/// The archive of the base's files.
pub(crate) fn rootfs(busybox: &Path) -> Vec<u8> {
    let program = std::fs::read(busybox).unwrap();
    let mut items = items(TREE);
    items.extend(
        APPLETS
            .split(' ')
            .map(|name| item(&format!("bin/{name}"), "busybox")),
    );
    for item in &mut items {
        item.mtime = BASE_TIME;
    }
    let mut members: Vec<Member<'_>> = items.iter().map(Member::of).collect();
    members.push(Member::program("bin/busybox", &program, BASE_TIME));
    archive::tar(&members)
}

fn item(path: &str, target: &str) -> Item {
    Item {
        kind: Kind::Symlink(target.to_owned()),
        path: path.to_owned(),
        mode: 0o777,
        owner: (0, 0),
        mtime: BASE_TIME,
        xattrs: Vec::new(),
    }
}
