//! `osmith kickstart`: what is said of files that are right, wrong, and too much for osmith.

use insta::assert_snapshot;

use super::program::Place;

const GOOD: &str = "\
bootc --source-imgref=registry:registry.example.com/os/web:1
zerombr
clearpart --all --initlabel
reqpart --add-boot
part / --fstype=xfs --size=8192 --grow
network --device=link --bootproto=dhcp
rootpw --lock
%include accounts.ks
reboot
";

const ACCOUNTS: &str = "\
user --name=ops --groups=wheel
sshkey --username=ops \"ssh-ed25519 AAAA ops\"
";

const BAD: &str = "\
bootc --source-imgref=oci: --traget-imgref=registry.example.com/os/web:1
clearpart --all --initlable
part / --size=10G
part foo --size=1
user --name=ops --passwrd=hunter2
rootpw hunter2#7
network --bootproto=sttaic
autopart
rotpw --lock
%include gone.ks
%include wrong.ks
%packages
httpd
%end
%post
echo
";

const UNSUPPORTED: &str = "\
ostreecontainer --url=registry.example.com/os/web:1
raid / --device=md0 --level=1 raid.1 raid.2
repo --name=extras --baseurl=https://repo.example.com
%include /run/made-by-pre.ks
%include https://user:secret@ks.example.com/more.ks
";

#[test]
fn files_are_checked() {
    let place = Place::new();
    place.file("good.ks", GOOD);
    place.file("accounts.ks", ACCOUNTS);
    place.file("bad.ks", BAD);
    place.file("wrong.ks", "ignoredisk\n%include wrong.ks\n");
    place.file("unsupported.ks", UNSUPPORTED);
    place.file("latin1.ks", b"text\n# Gr\xfc\xdfe\n");
    place.file("sub/loop.ks", "%include loop.ks\n");
    assert_snapshot!(place.transcript(&[
        "kickstart check good.ks",
        "kickstart check --dialect rhel9 good.ks",
        "kickstart check bad.ks",
        "kickstart check unsupported.ks",
        "kickstart check --dialect rhel10 unsupported.ks",
        "kickstart check --dialect rhel10 --strict unsupported.ks",
        "kickstart check --format json unsupported.ks",
        "kickstart check --format json good.ks",
        "kickstart check sub/loop.ks",
        "kickstart check latin1.ks",
        "kickstart check gone.ks",
        "kickstart check -",
        "kickstart check",
        "kickstart check --dialect fedora good.ks",
    ]));
}
