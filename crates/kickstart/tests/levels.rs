//! How bad each thing is: what is harmless, what osmith cannot do, and what is wrong.

use std::collections::BTreeMap;

use osmith_kickstart::{
    Dialect, Included, Includes, Level, MissingIncludes, NoIncludes, ParseOptions, Parsed, View, parse,
    pre_scripts,
};

fn parsed(text: &str) -> Parsed {
    parse("ks.cfg", text, &ParseOptions::default(), &mut NoIncludes)
}

fn worst(text: &str) -> Option<Level> {
    parsed(text).problems.iter().map(|problem| problem.level).max()
}

const FINE: &[&str] = &[
    "bootc --source-imgref=registry:reg.example.com/web:1",
    "ostreecontainer --url=/run/install/repo/container --transport=oci",
    "zerombr",
    "clearpart --all --initlabel --disklabel=gpt",
    "ignoredisk --only-use=sda",
    "autopart --type=plain --nohome",
    "autopart",
    "reqpart --add-boot",
    "part / --size=8192 --grow --fstype=ext4",
    "part //boot --size=10",
    "part /boot --size=1024 --fstype=xfs",
    "bootloader --append=quiet --leavebootorder",
    "network --bootproto=static --ip=192.0.2.1 --netmask=255.255.255.0 --hostname=a.example.com",
    "network --hostname=a",
    "rootpw --lock",
    "rootpw 'foo#bar'",
    "user --name=ops --groups=wheel,admins(5000)",
    "group --name=ops",
    "sshkey --username=ops 'ssh-ed25519 AAAA ops'",
    "lang en_US.UTF-8",
    "keyboard --vckeymap=us",
    "timezone Europe/Berlin --utc",
    "timesource --ntp-pool=pool.example.com",
    "services --enabled=sshd",
    "selinux --enforcing",
    "firewall --enabled --ssh --port=53:udp",
    "logging --host=a.example.com",
    "reboot --eject",
    "text",
    "%post\na\n%end",
];

const HARMLESS: &[&str] = &[
    "repo --name=a",
    "url --url=http://a.example",
    "nfs --server=a --dir=b",
    "cdrom",
    "harddrive --partition=a --dir=b",
    "hmc",
    "module --name=a",
    "vnc",
    "rdp",
    "xconfig",
    "skipx",
    "firstboot",
    "eula --agreed",
    "mediacheck",
    "updates http://a.example",
    "sshpw --username=a b",
    "%addon org_fedora_oscap\n%end",
    "%anaconda\n%end",
    "%packages\n%end",
    "bootc --source-imgref=registry:a/b\n%packages\n%end",
    "%traceback\na\n%end",
    "rootpw foo#bar",
    "\u{feff}text",
    "reboot\npoweroff",
    "text\ncmdline",
    "clearpart --all\nclearpart --drives=sda",
    "selinux --enforcing --permissive",
    "bootloader --timeout=5",
    "ostreecontainer --url=a/b --remote=c",
    "user --name=ops\nuser --name=ops",
    "network --device=eth0\nnetwork --device=eth0",
    "lang en_US --addsupport=de_DE",
    "part / --size=10 --passphrase=x",
];

const TOO_MUCH: &[&str] = &[
    "liveimg --url=http://a.example",
    "ostreesetup --osname=a --url=http://b --ref=c",
    "iscsi --ipaddr=192.0.2.1",
    "iscsiname a",
    "fcoe --nic=a",
    "zfcp --devnum=a",
    "driverdisk sda1",
    "rescue",
    "snapshot a/b --name=c --when=pre-install",
    "zipl",
    "authselect select sssd",
    "realm join example.com",
    "rhsm --organization=a --activation-key=b",
    "syspurpose",
    "%packages\nvim\n%end",
    "%addon com_redhat_kdump --enable\n%end",
    "part / --size=0",
    "part / --size=-1",
    "part foo --size=10",
    "part / --noformat",
    "part / --fstype=zfs --size=10",
    "part / --fstype=xfs --size=10",
    "mount /dev/sda1 / --reformat=ext4",
    "part / --size=10\npart / --size=20",
    "part /boot --size=10\npart /boot/ --size=20",
    "part / --encrypted --passphrase=x",
    "part / --encrypted",
    "part pv.1 --size=10",
    "part raid.1 --size=10",
    "clearpart --all --disklabel=sun",
    "autopart --type=lvm",
    "autopart --type=thinp",
    "autopart --encrypted --passphrase=x",
    "volgroup a pv.1",
    "logvol / --vgname=a --name=b --size=10",
    "raid / raid.1 raid.2 --device=md0 --level=1",
    "bootloader --location=partition",
    "bootloader --password=x",
    "network --essid=a",
    "network --teamslaves=a --device=b",
    "network --bondslaves=a --device=b",
    "network --bridgeslaves=a --device=b",
    "network --vlanid=5 --device=b",
    "network --bootproto=static",
    "network --ip=a",
    "network --netmask=255.0.255.0",
    "network --mtu=x",
    "network --hostname=a_b",
    "network --device=a/b",
    "network --vlanid=5000 --device=a",
    "user --name=ops --password=",
    "user --name='o ps'",
    "timezone 'a b'",
    "firewall --port=x:y",
];

const WRONG: &[&str] = &[
    "bootc",
    "bootc --source-imgref=ftp:/a",
    "bootc --source-imgref=registry:A",
    "bootc --source-imgref=registry:a/b\nostreecontainer --url=a/b",
    "bootc --source-imgref=registry:a/b\nliveimg --url=a",
    "bootc --source-imgref=registry:a/b\n%packages\nvim\n%end",
    "%packages\nvim\n%end\nostreecontainer --url=a/b",
    "frob",
    "auth --enableshadow",
    "btrfs none",
    "part / --fstype=btrfs",
    "part / --size=10G",
    "timezone --isUtc UTC",
    "rootpw 'open",
    "text \\",
    "''",
    "%end",
    "%frob\n%end",
    "%post",
    "%include",
    "%include gone.ks",
    "%include /gone.ks",
    "cmdline --non-interactive",
];

#[test]
fn each_thing_has_its_level() {
    for (level, texts) in [
        (None, FINE),
        (Some(Level::Warning), HARMLESS),
        (Some(Level::Unsupported), TOO_MUCH),
        (Some(Level::Error), WRONG),
    ] {
        for text in texts {
            let problems: Vec<_> = parsed(text).problems.iter().map(ToString::to_string).collect();
            assert_eq!(worst(text), level, "{text}: {problems:#?}");
        }
    }
}

#[test]
fn the_documented_file_is_right() {
    let page = include_str!("../../../docs/kickstart.md");
    let file = page
        .split("```")
        .find(|block| block.starts_with("\nbootc "))
        .expect("docs/kickstart.md has a file");
    let parsed = parsed(file);
    assert!(parsed.is_accepted(View::Installer, true), "{:?}", parsed.problems);
}

#[test]
fn who_asks_decides_what_is_accepted() {
    for (text, language, installer) in [
        ("text", true, true),
        ("cdrom", true, true),
        ("rescue", true, false),
        ("frob", false, false),
    ] {
        let parsed = parsed(text);
        assert_eq!(parsed.is_accepted(View::Language, false), language, "{text}");
        assert_eq!(parsed.is_accepted(View::Installer, false), installer, "{text}");
        assert_eq!(
            parsed.is_accepted(View::Installer, true),
            text == "text",
            "{text}"
        );
        let refused = parsed.require_accepted(View::Installer, false);
        assert_eq!(refused.is_ok(), installer, "{text}");
    }
}

/// Files by name.
struct Files(BTreeMap<&'static str, &'static str>);

impl Includes for Files {
    fn read(&mut self, path: &str, _: &str) -> Result<Included, String> {
        let text = self.0.get(path).ok_or("there is none")?;
        Ok(Included {
            name: path.to_owned(),
            text: (*text).to_owned(),
        })
    }
}

fn said(
    text: &str,
    missing_includes: MissingIncludes,
    files: &[(&'static str, &'static str)],
) -> Vec<String> {
    let options = ParseOptions {
        dialect: Dialect::Rhel10,
        missing_includes,
    };
    let mut files = Files(files.iter().copied().collect());
    let parsed = parse("ks.cfg", text, &options, &mut files);
    parsed.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn files_that_are_missing_matter_when_a_machine_is_installed() {
    let text = "%include /run/a.ks\n%include https://a.example/b.ks\n%include c.ks\n";
    assert_eq!(
        said(text, MissingIncludes::Tolerate, &[]),
        [
            "ks.cfg:1:10: warning: cannot include '/run/a.ks': there is none",
            "ks.cfg:2:10: warning: cannot include 'https://a.example/b.ks': there is none",
            "ks.cfg:3:10: error: cannot include 'c.ks': there is none",
        ]
    );
    let refused = said(text, MissingIncludes::Refuse, &[]);
    assert!(
        refused.iter().all(|problem| problem.contains(": error: ")),
        "{refused:?}"
    );
}

#[test]
fn what_includes_itself_ends() {
    let files = [("a.ks", "%include b.ks\n"), ("b.ks", "text\n%include a.ks\n")];
    assert_eq!(
        said("%include a.ks\n", MissingIncludes::Refuse, &files),
        ["b.ks:2:10: error: 'a.ks' includes itself"]
    );
}

#[test]
fn what_includes_ever_more_ends() {
    /// Every file includes two of other names.
    struct More(usize);
    impl Includes for More {
        fn read(&mut self, _: &str, _: &str) -> Result<Included, String> {
            self.0 += 1;
            Ok(Included {
                name: self.0.to_string(),
                text: "%include a\n%include b\n".to_owned(),
            })
        }
    }
    let mut includes = More(0);
    let parsed = parse("ks.cfg", "%include a", &ParseOptions::default(), &mut includes);
    assert!(includes.0 <= 1000, "{}", includes.0);
    assert!(!parsed.is_accepted(View::Language, false));
}

#[test]
fn scripts_that_run_before_are_found_in_any_file() {
    let text = "%include /run/disk.ks\nfrob 'x\n%pre --erroronfail\na\n%include /run/body\n%end\n\
                %include pre.ks\n%post\nb\n%end\n";
    let mut files = Files(BTreeMap::from([("pre.ks", "%pre\nc\n%end\nmore frob\n")]));
    let found = pre_scripts("ks.cfg", text, &ParseOptions::default(), &mut files);
    let bodies: Vec<_> = found.scripts.iter().map(|script| script.body.as_str()).collect();
    assert_eq!(bodies, ["a\n", "c\n"]);
    assert!(found.scripts.first().is_some_and(|script| script.error_on_fail));
    assert_eq!(found.problems, []);
    let found = pre_scripts(
        "ks.cfg",
        "%pre --frob\na\n%end\n%pre\n",
        &ParseOptions::default(),
        &mut files,
    );
    assert_eq!(found.problems.len(), 2);
}

#[test]
fn a_thousand_problems_are_enough() {
    let mut text = "frob\n".repeat(3000);
    text.push_str("rescue\n");
    let parsed = parsed(&text);
    assert!(parsed.problems.len() < 1010);
    let levels: Vec<_> = parsed.problems.iter().map(|problem| problem.level).collect();
    assert!(levels.contains(&Level::Unsupported) && levels.contains(&Level::Error));
}
