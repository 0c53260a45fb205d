use std::collections::BTreeMap;
use std::io;
use std::process::Command;

use osmith_config::Format;
use osmith_formats::tree::{Content, Inode, InodeId, Metadata, Node, Timestamp};
use osmith_image::Sha256Digest;

use super::*;

/// What an image of a distribution has; a text that begins with `->` is a link.
const IMAGE: &[(&str, &str)] = &[
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/bash\nsync:x:4:65534:sync:/bin:/bin/sync\nold:x:1000:1000::/home/old:/bin/sh\n",
    ),
    (
        "etc/shadow",
        "root:*:19000:0:99999:7:::\nold:!:19000:0:99999:7:::\n",
    ),
    (
        "etc/group",
        "root:x:0:\nsudo:x:27:old\nusers:x:100:\nold:x:1000:\nbackup:x:34:old\n",
    ),
    (
        "etc/gshadow",
        "root:*::\nsudo:*::old\nusers:*::\nold:!::\nbackup:*::old\n",
    ),
    ("etc/subuid", "old:100000:65536\n"),
    ("etc/subgid", "old:100000:65536\n"),
    (
        "etc/login.defs",
        "# comment\nUID_MIN\t\t1000\nUMASK 022\nHOME_MODE 0700\nUSERGROUPS_ENAB yes\nPASS_MAX_DAYS 99999\n",
    ),
    ("etc/default/useradd", "SHELL=/bin/bash\n# HOME=/home\n"),
    (
        "etc/skel/.bashrc",
        "# an example that is longer than what a tree keeps in itself, as most are\n",
    ),
    ("etc/skel/.config/app", "a=1\n"),
    (
        "etc/ssh/sshd_config",
        "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n",
    ),
    ("etc/localtime", "-> ../usr/share/zoneinfo/Etc/UTC"),
    ("etc/resolv.conf", "-> ../run/systemd/resolve/stub-resolv.conf"),
    ("etc/vconsole.conf", "KEYMAP=us\nFONT=eurlatgr\n"),
    ("etc/machine-id", ""),
    (
        "etc/systemd/system/multi-user.target.wants/ssh.service",
        "-> /usr/lib/systemd/system/ssh.service",
    ),
    (
        "etc/systemd/system/sshd.service",
        "-> /usr/lib/systemd/system/ssh.service",
    ),
    ("etc/systemd/system/masked.service", "-> /dev/null"),
    (
        "etc/systemd/system/local.service",
        "[Install]\nWantedBy=multi-user.target\n",
    ),
    ("etc/firewalld/firewalld.conf", "# Default\nDefaultZone=work\n"),
    ("etc/escape", "-> ../usr"),
    ("home", "-> var/home"),
    ("root", "-> var/roothome"),
    ("bin", "-> usr/bin"),
    ("usr/local", "-> ../var/usrlocal"),
    ("usr/bin/bash", "#!"),
    ("usr/bin/sync", "#!"),
    ("usr/bin/sh", "-> bash"),
    ("usr/lib/group", "wheel:x:10:\n"),
    ("usr/lib/passwd", "app:x:400:400:App:/var/lib/app:/bin/sh\n"),
    ("usr/lib/locale/C.utf8/LC_TIME", ""),
    ("usr/lib/locale/de_DE.utf8/LC_TIME", ""),
    (
        "usr/lib/systemd/system/ssh.service",
        "[Unit]\nDescription=x\n[Install]\nWantedBy=multi-user.target\nAlias=sshd.service\n",
    ),
    (
        "usr/lib/systemd/system/web.service",
        "[Install]\nWantedBy=multi-user.target graphical.target\nRequiredBy=x.target\nAlias=www.service\nAlso=web.socket\n",
    ),
    (
        "usr/lib/systemd/system/web.socket",
        "[Install]\nWantedBy=sockets.target\n",
    ),
    (
        "usr/lib/systemd/system/getty@.service",
        "[Install]\nWantedBy=getty.target\nDefaultInstance=tty1\n",
    ),
    (
        "usr/lib/systemd/system/instance@.service",
        "[Install]\nWantedBy=multi-user.target\n",
    ),
    (
        "usr/lib/systemd/system/static.service",
        "[Service]\nExecStart=/bin/true\n",
    ),
    (
        "usr/lib/systemd/system/systemd-timesyncd.service",
        "[Install]\nWantedBy=sysinit.target\n",
    ),
    (
        "usr/lib/firewalld/zones/work.xml",
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<zone>\n  <short>Work</short>\n  <service name=\"ssh\"/>\n  <service name=\"dhcpv6-client\"/>\n</zone>\n",
    ),
    ("usr/lib/firewalld/services/http.xml", "<service/>"),
    ("usr/share/zoneinfo/Europe/Berlin", "TZif2"),
    ("usr/share/zoneinfo/Etc/UTC", "TZif2"),
    ("usr/share/keymaps/i386/qwertz/de-nodeadkeys.map.gz", "x"),
    ("var/lib/app", "-> nowhere"),
];

const SECONDS: i64 = 1_700_000_000;

struct Image {
    tree: Tree,
    objects: BTreeMap<String, Vec<u8>>,
}

impl Image {
    fn new() -> Self {
        let mtime = Timestamp {
            seconds: SECONDS,
            nanoseconds: 0,
        };
        let metadata = Metadata {
            mode: 0o755,
            mtime,
            ..Metadata::default()
        };
        let mut image = Image {
            tree: Tree::new(metadata),
            objects: BTreeMap::new(),
        };
        for (path, text) in IMAGE {
            image.add(path, text);
        }
        image
    }

    fn without(path: &str) -> Self {
        let mut image = Image::new();
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = image.tree.lookup(parent.as_bytes()).unwrap();
        image.tree.unlink(parent, name.as_bytes()).unwrap();
        image
    }

    fn add(&mut self, path: &str, text: &str) {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut directory = self.tree.root();
        for name in parent.split('/').filter(|name| !name.is_empty()) {
            directory = self.tree.child(directory, name.as_bytes()).unwrap_or_else(|| {
                let metadata = self.tree.inode(self.tree.root()).metadata.clone();
                let id = self.tree.add(Inode {
                    metadata,
                    node: Node::Directory(BTreeMap::new()),
                });
                self.tree.link(directory, name.as_bytes(), id);
                id
            });
        }
        let node = match text.strip_prefix("-> ") {
            Some(target) => Node::Symlink(target.as_bytes().into()),
            None if text.len() <= 64 => Node::Regular(Content::Inline(text.as_bytes().into())),
            None => {
                let digest = osmith_formats::verity::Digest::of(text.as_bytes());
                self.objects.insert(digest.to_string(), text.as_bytes().to_vec());
                Node::Regular(Content::Object {
                    digest,
                    size_bytes: text.len() as u64,
                })
            }
        };
        let metadata = Metadata {
            mode: 0o644,
            ..self.tree.inode(directory).metadata.clone()
        };
        let id = self.tree.add(Inode { metadata, node });
        self.tree.link(directory, name.as_bytes(), id);
    }

    fn customized(&self, toml: &str) -> Result<Changed, CustomizeError> {
        let configuration =
            Configuration::parse(toml.as_bytes(), Format::Toml).unwrap_or_else(|error| panic!("{error}"));
        let identity = Identity {
            seed: 7,
            manifest_digest: &Sha256Digest::of(b"manifest"),
        };
        let mut read = |digest: &osmith_formats::verity::Digest| {
            let object = self.objects.get(&digest.to_string()).cloned();
            object.ok_or_else(|| io::Error::other("no such object"))
        };
        let tree = customize(
            self.tree.clone(),
            &configuration,
            &MountSettings::default(),
            "amd64",
            &identity,
            &mut read,
        )?;
        Ok(Changed {
            tree,
            objects: self.objects.clone(),
        })
    }
}

struct Changed {
    tree: Tree,
    objects: BTreeMap<String, Vec<u8>>,
}

impl Changed {
    fn id(&self, path: &str) -> InodeId {
        self.tree
            .lookup(path.as_bytes())
            .unwrap_or_else(|| panic!("{path} is missing"))
    }

    fn text(&self, path: &str) -> String {
        let bytes = match &self.tree.inode(self.id(path)).node {
            Node::Regular(Content::Inline(bytes)) => bytes.to_vec(),
            Node::Regular(Content::Object { digest, .. }) => self.objects[&digest.to_string()].clone(),
            Node::Symlink(target) => [b"-> ".as_slice(), target].concat(),
            other => panic!("{path} is {other:?}"),
        };
        String::from_utf8(bytes).unwrap()
    }

    fn has(&self, path: &str) -> bool {
        self.tree.lookup(path.as_bytes()).is_some()
    }

    /// Mode, uid and gid.
    fn owner(&self, path: &str) -> (u16, u32, u32) {
        let metadata = &self.tree.inode(self.id(path)).metadata;
        (metadata.mode, metadata.uid, metadata.gid)
    }
}

fn customized(toml: &str) -> Changed {
    Image::new()
        .customized(toml)
        .unwrap_or_else(|error| panic!("{error}"))
}

const USERS: &str = r#"
[[customizations.user]]
name = "admin"
description = "The Administrator"
password = "$6$salt$hash"
key = "ssh-ed25519 AAAA admin"
groups = ["sudo", "wheel", "team"]
expiredate = 21000
[[customizations.user]]
name = "team"
uid = 2000
force_password_reset = true
shell = "/bin/sh"
[[customizations.user]]
name = "nowhere"
home = ""
gid = 100
[[customizations.group]]
name = "team"
[[customizations.group]]
name = "files"
gid = 1500
[[customizations.sshkey]]
user = "admin"
key = "ssh-rsa BBBB"
[[customizations.sshkey]]
user = "root"
key = "ssh-rsa CCCC"
"#;

#[test]
fn accounts_are_those_that_the_tools_of_the_image_would_make() {
    let changed = customized(USERS);
    let passwd = changed.text("etc/passwd");
    let added: Vec<_> = passwd.lines().skip(3).collect();
    assert_eq!(
        added,
        [
            "team:x:2000:1501::/home/team:/bin/sh",
            "admin:x:2001:2001:The Administrator:/home/admin:/bin/bash",
            "nowhere:x:2002:100::/home/nowhere:/bin/bash",
        ]
    );
    let shadow = changed.text("etc/shadow");
    let added: Vec<_> = shadow.lines().skip(2).collect();
    assert_eq!(
        added,
        [
            "team:!:0:0:99999:7:::",
            "admin:$6$salt$hash:19675:0:99999:7::21000:",
            "nowhere:!:19675:0:99999:7:::",
        ]
    );
    assert_eq!(
        changed.text("etc/group"),
        "root:x:0:\nsudo:x:27:old,admin\nusers:x:100:\nold:x:1000:\nbackup:x:34:old\nfiles:x:1500:\nteam:x:1501:admin\n\
         admin:x:2001:\nwheel:x:10:admin\n"
    );
    let gshadow = changed.text("etc/gshadow");
    assert!(
        gshadow.contains("sudo:*::old,admin\n") && gshadow.ends_with("files:!::\nteam:!::admin\nadmin:!::\n"),
        "{gshadow}"
    );
    let subuid = "old:100000:65536\nteam:165536:65536\nadmin:231072:65536\nnowhere:296608:65536\n";
    assert_eq!(changed.text("etc/subuid"), subuid);
    assert_eq!(changed.text("etc/subgid"), subuid);
}

#[test]
fn homes_have_the_skeleton_and_the_keys() {
    let changed = customized(USERS);
    assert_eq!(changed.owner("var/home"), (0o755, 0, 0));
    assert_eq!(changed.owner("var/home/admin"), (0o700, 2001, 2001));
    assert_eq!(changed.owner("var/home/admin/.bashrc"), (0o644, 2001, 2001));
    assert_eq!(changed.owner("var/home/admin/.config/app"), (0o644, 2001, 2001));
    assert_eq!(changed.owner("var/home/admin/.ssh"), (0o700, 2001, 2001));
    assert_eq!(
        changed.owner("var/home/admin/.ssh/authorized_keys"),
        (0o600, 2001, 2001)
    );
    assert_eq!(
        changed.text("var/home/admin/.ssh/authorized_keys"),
        "ssh-ed25519 AAAA admin\nssh-rsa BBBB\n"
    );
    assert_eq!(changed.owner("var/roothome"), (0o700, 0, 0));
    assert!(!changed.has("var/roothome/.bashrc"));
    assert_eq!(
        changed.text("var/roothome/.ssh/authorized_keys"),
        "ssh-rsa CCCC\n"
    );
    assert!(!changed.has("var/home/nowhere"));
    assert_eq!(changed.owner("etc/skel/.bashrc"), (0o644, 0, 0));
}

#[test]
fn an_account_of_the_image_is_changed() {
    let changed = customized(
        "[[customizations.user]]\nname = 'old'\ngroups = ['users']\nuid = 1000\ngid = 100\nhome = '/var/lib/old'\n\
         description = 'Old'\n[[customizations.user]]\nname = 'app'\npassword = '$y$j9T$salt$hash'\n",
    );
    let passwd = changed.text("etc/passwd");
    assert!(
        passwd.contains("old:x:1000:100:Old:/var/lib/old:/bin/sh\n"),
        "{passwd}"
    );
    assert!(
        passwd.ends_with("app:x:400:400:App:/var/lib/app:/bin/sh\n"),
        "{passwd}"
    );
    assert!(
        changed
            .text("etc/shadow")
            .ends_with("app:$y$j9T$salt$hash:19675:0:99999:7:::\n")
    );
    let group = changed.text("etc/group");
    assert!(
        group.contains("sudo:x:27:\n")
            && group.contains("users:x:100:old\n")
            && group.contains("backup:x:34:\n"),
        "{group}"
    );
    assert_eq!(changed.owner("var/lib/old"), (0o700, 1000, 100));
    // What nothing is asked of stays away.
    assert!(!changed.has("var/home"));
}

#[test]
fn a_plain_password_becomes_a_hash_that_other_programs_make_too() {
    let toml = "[[customizations.user]]\nname = 'admin'\npassword = 'correct horse'\n";
    let shadow = customized(toml).text("etc/shadow");
    let hash = shadow.lines().last().unwrap().split(':').nth(1).unwrap();
    let (salt, _) = hash.strip_prefix("$6$").unwrap().rsplit_once('$').unwrap();
    assert_eq!(
        shadow,
        customized(toml).text("etc/shadow"),
        "the same disk has the same salt"
    );
    if let Some(openssl) = osmith_testing::oracle::require("openssl") {
        let output = Command::new(openssl)
            .args(["passwd", "-6", "-salt", salt, "correct horse"])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), hash);
    }
}

#[test]
fn without_a_skeleton_or_user_groups_the_defaults_of_useradd_count() {
    let mut image = Image::without("etc/skel");
    image.add("etc/login.defs", "USERGROUPS_ENAB no\nUMASK 077\nUID_MIN 5000\n");
    image.add(
        "etc/default/useradd",
        "HOME=/var/people\nGROUP=users\nINACTIVE=30\nSHELL=/bin/sh\n",
    );
    let changed = image
        .customized("[[customizations.user]]\nname = 'admin'\n")
        .unwrap();
    assert!(
        changed
            .text("etc/passwd")
            .ends_with("admin:x:5000:100::/var/people/admin:/bin/sh\n")
    );
    assert_eq!(changed.owner("var/people/admin"), (0o700, 5000, 100));
    assert!(
        changed
            .text("etc/shadow")
            .ends_with("admin:!:19675:0:99999:7:30::\n")
    );
}

#[test]
fn files_and_directories_are_made() {
    let changed = customized(
        r##"
[[customizations.user]]
name = "app2"
[[customizations.directories]]
path = "/etc/a/b"
user = "app2"
group = "wheel"
mode = "0750"
ensure_parents = true
[[customizations.files]]
path = "/etc/a/b/c.conf"
user = "app2"
group = 12
mode = "600"
data = "x = 1\n"
[[customizations.files]]
path = "/root/.profile"
data = ""
[[customizations.files]]
path = "/usr/local/bin/tool"
mode = "0755"
data = "#!/bin/sh"
[[customizations.files]]
path = "/etc/resolv.conf"
data = "nameserver 192.0.2.1\n"
[[customizations.directories]]
path = "/etc/ssh"
mode = "700"
"##,
    );
    assert_eq!(changed.owner("etc/a"), (0o755, 0, 0));
    assert_eq!(changed.owner("etc/a/b"), (0o750, 1001, 10));
    assert_eq!(changed.owner("etc/a/b/c.conf"), (0o600, 1001, 12));
    assert_eq!(changed.text("etc/a/b/c.conf"), "x = 1\n");
    assert_eq!(changed.owner("var/roothome"), (0o700, 0, 0));
    assert_eq!(changed.text("var/roothome/.profile"), "");
    assert_eq!(changed.owner("var/usrlocal/bin/tool"), (0o755, 0, 0));
    assert_eq!(changed.text("etc/resolv.conf"), "nameserver 192.0.2.1\n");
    assert_eq!(changed.owner("etc/ssh").0, 0o700);
    assert!(changed.has("etc/ssh/sshd_config"));
}

#[test]
fn settings_are_files() {
    let changed = customized(
        r#"
architecture = "x86_64"
[customizations]
hostname = "machine.example.org"
[customizations.timezone]
timezone = "Europe/Berlin"
ntpservers = ["ntp1.example.org", "ntp2.example.org"]
[customizations.locale]
languages = ["de_DE.UTF-8", "C.UTF-8"]
keyboard = "de-nodeadkeys"
[customizations.sshd]
password_authentication = false
kbd_interactive_authentication = true
permit_root_login = "no"
client_alive_interval = 60
[customizations.firewall]
ports = ["443:tcp"]
services.enabled = ["http"]
services.disabled = ["dhcpv6-client"]
zones = [{ name = "own", sources = ["192.0.2.0/24"] }]
"#,
    );
    assert_eq!(changed.text("etc/hostname"), "machine.example.org\n");
    assert_eq!(
        changed.text("etc/localtime"),
        "-> ../usr/share/zoneinfo/Europe/Berlin"
    );
    let timesyncd = changed.text("etc/systemd/timesyncd.conf.d/50-osmith.conf");
    assert_eq!(timesyncd, "[Time]\nNTP=\nNTP=ntp1.example.org ntp2.example.org\n");
    assert_eq!(changed.text("etc/locale.conf"), "LANG=de_DE.UTF-8\n");
    assert_eq!(
        changed.text("etc/vconsole.conf"),
        "FONT=eurlatgr\nKEYMAP=de-nodeadkeys\n"
    );
    let sshd = "PasswordAuthentication no\nKbdInteractiveAuthentication yes\nPermitRootLogin no\nClientAliveInterval 60\n";
    assert_eq!(changed.text("etc/ssh/sshd_config.d/00-osmith.conf"), sshd);
    assert_eq!(changed.owner("etc/ssh/sshd_config.d/00-osmith.conf").0, 0o600);
    assert_eq!(
        changed.text("etc/firewalld/zones/work.xml"),
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<zone>\n  <short>Work</short>\n  <service name=\"ssh\"/>\n  <port \
         port=\"443\" protocol=\"tcp\"/>\n  <service name=\"http\"/>\n</zone>\n"
    );
    assert!(
        changed
            .text("etc/firewalld/zones/own.xml")
            .contains("<source address=\"192.0.2.0/24\"/>")
    );
}

#[test]
fn chrony_has_other_servers() {
    let mut image = Image::new();
    image.add(
        "etc/chrony.conf",
        "pool 2.example.org iburst\ndriftfile /var/lib/chrony/drift\n",
    );
    let changed = image
        .customized("[customizations.timezone]\nntpservers = ['a.example.org']")
        .unwrap();
    assert_eq!(
        changed.text("etc/chrony.conf"),
        "driftfile /var/lib/chrony/drift\nserver a.example.org iburst\n"
    );
    assert!(!changed.has("etc/systemd/timesyncd.conf.d"));
}

#[test]
fn units_are_enabled_disabled_and_masked() {
    let changed = customized(
        "[customizations.services]\nenabled = ['web', 'getty@', 'instance@a', 'local']\ndisabled = ['ssh']\n\
         masked = ['static', 'not-there.socket']\n",
    );
    let own = "etc/systemd/system";
    let web = "-> /usr/lib/systemd/system/web.service";
    for place in [
        "multi-user.target.wants/web.service",
        "graphical.target.wants/web.service",
        "x.target.requires/web.service",
        "www.service",
    ] {
        assert_eq!(changed.text(&format!("{own}/{place}")), web, "{place}");
    }
    for (place, target) in [
        (
            "sockets.target.wants/web.socket",
            "/usr/lib/systemd/system/web.socket",
        ),
        (
            "getty.target.wants/getty@tty1.service",
            "/usr/lib/systemd/system/getty@.service",
        ),
        (
            "multi-user.target.wants/instance@a.service",
            "/usr/lib/systemd/system/instance@.service",
        ),
        (
            "multi-user.target.wants/local.service",
            "/etc/systemd/system/local.service",
        ),
        ("static.service", "/dev/null"),
        ("not-there.socket", "/dev/null"),
    ] {
        assert_eq!(
            changed.text(&format!("{own}/{place}")),
            format!("-> {target}"),
            "{place}"
        );
    }
    assert!(!changed.has("etc/systemd/system/multi-user.target.wants/ssh.service"));
    assert!(!changed.has("etc/systemd/system/sshd.service"));
    assert_eq!(
        changed.text("etc/systemd/system-preset/00-osmith.preset"),
        "enable web.service\nenable getty@.service\nenable instance@a.service\nenable local.service\ndisable ssh.service\n"
    );
}

#[test]
fn what_was_configured_is_no_drift() {
    let changed = customized(
        "[customizations]\nhostname = 'a'\n[[customizations.sshkey]]\nuser = 'root'\nkey = 'ssh-rsa AAAA'\n",
    );
    assert_eq!(
        changed.text("etc/osmith/drift.d/50-configuration.conf"),
        "# What the configuration of this machine's disk changed.\n/etc/hostname\n\
         /etc/osmith/drift.d/50-configuration.conf\n"
    );
    assert!(!customized("").has("etc/osmith"));
}

/// What the image lacks, with its key.
#[test]
fn everything_that_the_image_lacks_is_told() {
    let user = "[[customizations.user]]\nname = 'a'\n";
    let services = "[customizations.services]\n";
    let file = "[[customizations.files]]\npath = ";
    let cases: &[(String, &str, &str)] = &[
        (
            "architecture = 'arm64'".to_owned(),
            "architecture",
            "for amd64, not for arm64",
        ),
        (
            format!("{user}uid = 1000"),
            "customizations.user[0].uid",
            "that of the account 'old'",
        ),
        (
            format!("{user}uid = 400"),
            "customizations.user[0].uid",
            "that of the account 'app'",
        ),
        (
            format!("{user}gid = 4711"),
            "customizations.user[0].gid",
            "no group with the gid 4711",
        ),
        (
            format!("{user}groups = ['sudo', 'b']"),
            "customizations.user[0].groups[1]",
            "no group 'b'",
        ),
        (
            format!("{user}shell = '/bin/zsh'"),
            "customizations.user[0].shell",
            "'/bin/zsh' of 'a' is not in the image",
        ),
        (
            format!("{user}home = '/usr/a'"),
            "customizations.user[0].home",
            "'/usr/a' belongs to the image",
        ),
        (
            format!("{user}home = '/etc/passwd'"),
            "customizations.user[0].home",
            "is no directory",
        ),
        (
            format!("{user}home = '/etc/passwd/a'"),
            "customizations.user[0].home",
            "which is no directory",
        ),
        (
            format!("{user}home = ''\nkey = 'ssh-rsa AAAA'"),
            "customizations.user[0].key",
            "has no home",
        ),
        (
            "[[customizations.user]]\nname = 'old'\nuid = 7".to_owned(),
            "customizations.user[0].uid",
            "has the uid 1000, not 7",
        ),
        (
            "[[customizations.user]]\nname = 'old'\ngid = 7".to_owned(),
            "customizations.user[0].gid",
            "no group with the gid 7",
        ),
        (
            "[[customizations.group]]\nname = 'a'\ngid = 27".to_owned(),
            "customizations.group[0].gid",
            "that of the group 'sudo'",
        ),
        (
            "[[customizations.group]]\nname = 'a'\ngid = 10".to_owned(),
            "customizations.group[0].gid",
            "that of the group 'wheel'",
        ),
        (
            "[[customizations.group]]\nname = 'sudo'\ngid = 28".to_owned(),
            "customizations.group[0].gid",
            "with the gid 27",
        ),
        (
            "[[customizations.sshkey]]\nuser = 'b'\nkey = 'ssh-rsa AAAA'".to_owned(),
            "customizations.sshkey[0].user",
            "no account 'b'",
        ),
        (
            "[customizations.timezone]\ntimezone = 'Europe/Nowhere'".to_owned(),
            "customizations.timezone.timezone",
            "no time zone",
        ),
        (
            "[customizations.locale]\nlanguages = ['fr_FR.UTF-8']".to_owned(),
            "customizations.locale.languages[0]",
            "no locale",
        ),
        (
            "[customizations.locale]\nkeyboard = 'fr'".to_owned(),
            "customizations.locale.keyboard",
            "no keyboard 'fr'",
        ),
        (
            format!("{services}enabled = ['nothing']"),
            "customizations.services.enabled[0]",
            "no unit 'nothing.service'",
        ),
        (
            format!("{services}disabled = ['nothing']"),
            "customizations.services.disabled[0]",
            "no unit 'nothing.service'",
        ),
        (
            format!("{services}enabled = ['static']"),
            "customizations.services.enabled[0]",
            "no [Install] section",
        ),
        (
            format!("{services}enabled = ['masked']"),
            "customizations.services.enabled[0]",
            "masked in the image",
        ),
        (
            format!("{services}enabled = ['instance@']"),
            "customizations.services.enabled[0]",
            "no instance",
        ),
        (
            format!("{services}masked = ['local']"),
            "customizations.services.masked[0]",
            "which a mask cannot replace",
        ),
        (
            "[customizations.firewall]\nservices.enabled = ['nothing']".to_owned(),
            "customizations.firewall.services.enabled[0]",
            "knows no service",
        ),
        (
            format!("{file}'/etc/passwd/a'"),
            "customizations.files[0].path",
            "which is no directory",
        ),
        (
            format!("{file}'/etc/nothing/a'"),
            "customizations.files[0].path",
            "'/etc/nothing' does not exist",
        ),
        (
            format!("{file}'/etc/ssh'"),
            "customizations.files[0].path",
            "is a directory of the image",
        ),
        (
            format!("{file}'/etc/escape/a'"),
            "customizations.files[0].path",
            "'/usr/a', which belongs to the image",
        ),
        (
            format!("{file}'/etc/a'\nuser = 'b'"),
            "customizations.files[0].user",
            "no account 'b'",
        ),
        (
            format!("{file}'/etc/a'\ngroup = 'b'"),
            "customizations.files[0].group",
            "no group 'b'",
        ),
        (
            "[[customizations.directories]]\npath = '/etc/hosts.d/a'".to_owned(),
            "customizations.directories[0].path",
            "does not exist",
        ),
        (
            "[[customizations.directories]]\npath = '/etc/passwd'".to_owned(),
            "customizations.directories[0].path",
            "is a file of the image",
        ),
    ];
    for (toml, key, reason) in cases {
        require_problem(&Image::new(), toml, key, reason);
    }
    let lacking: [(&str, &str, &str, &str); 4] = [
        (
            "etc/firewalld",
            "[customizations.firewall]\nports = ['80:tcp']",
            "customizations.firewall",
            "no firewalld",
        ),
        (
            "etc/ssh",
            "[customizations.sshd]\npermit_root_login = 'no'",
            "customizations.sshd",
            "no SSH server",
        ),
        (
            "usr/share",
            "[customizations.timezone]\ntimezone = 'Etc/UTC'",
            "customizations.timezone.timezone",
            "no time zone",
        ),
        (
            "usr/lib/systemd",
            "[customizations.timezone]\nntpservers = ['a']",
            "customizations.timezone.ntpservers",
            "neither chrony nor",
        ),
    ];
    for (path, toml, key, reason) in lacking {
        require_problem(&Image::without(path), toml, key, reason);
    }
}

fn require_problem(image: &Image, toml: &str, key: &str, reason: &str) {
    let error = match image.customized(toml) {
        Ok(_) => panic!("this is taken:\n{toml}"),
        Err(CustomizeError::Configuration(error)) => error,
        Err(error) => panic!("{error}"),
    };
    let [problem] = &error.problems[..] else {
        panic!("{toml}\nhas not one problem: {error}");
    };
    assert_eq!(problem.key, key, "{error}");
    assert!(problem.reason.contains(reason), "{error}");
    assert!(
        !problem.remedy.is_empty() && problem.position.is_some(),
        "{error}"
    );
}

#[test]
fn several_problems_come_together_in_the_order_of_the_file() {
    let toml = "[customizations.locale]\nkeyboard = 'fr'\n[customizations.services]\nenabled = ['a']\n\
                [[customizations.user]]\nname = 'a'\ngid = 7\n";
    let Err(error) = Image::new().customized(toml) else {
        panic!()
    };
    let shown = error.to_string();
    assert!(
        shown.starts_with(
            "the configuration has 3 errors:\n  line 2, column 1: customizations.locale.keyboard: "
        ),
        "{shown}"
    );
    assert!(
        shown.contains("\n  line 7, column 1: customizations.user[0].gid: "),
        "{shown}"
    );
}

#[test]
fn an_object_that_cannot_be_read_is_named() {
    let mut image = Image::new();
    image.add("etc/passwd", &format!("{}\n", "x".repeat(100)));
    image.objects.clear();
    let Err(error) = image.customized("[[customizations.group]]\nname = 'a'\n") else {
        panic!()
    };
    assert_eq!(error.to_string(), "cannot read '/etc/passwd' of the image");
    assert_eq!(error.class(), Class::Corrupt);
}
