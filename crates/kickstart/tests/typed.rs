//! What files ask for, as data.

use std::net::Ipv4Addr;

use osmith_kickstart::{
    BootProtocol, Clear, Dialect, DiskChoice, End, ImageSource, Kickstart, Network, NetworkDevice,
    NoIncludes, ParseOptions, Password, RaidLevel, Reformat, Secret, Section, SelinuxMode, Target,
    TimeServer, Transport, parse,
};

fn read(text: &str) -> Kickstart {
    read_as(text, Dialect::Rhel10)
}

fn read_as(text: &str, dialect: Dialect) -> Kickstart {
    let options = ParseOptions {
        dialect,
        ..ParseOptions::default()
    };
    parse("ks.cfg", text, &options, &mut NoIncludes).kickstart
}

fn network(line: &str) -> Network {
    let mut networks = read(line).networks;
    assert_eq!(networks.len(), 1, "{line}");
    networks.remove(0)
}

#[test]
fn a_whole_disk_from_a_registry() {
    let kickstart = read(include_str!("corpus/whole/registry.ks"));
    let image = kickstart.image.expect("there is an image");
    assert_eq!(image.source().transport, Transport::Registry);
    assert_eq!(image.source().name, "reg.example.com/web:1");
    assert_eq!(image.stateroot(), "default");
    assert_eq!((image.position().line, image.position().column), (2, 1));
    let ImageSource::Bootc(bootc) = image else {
        panic!()
    };
    assert_eq!(bootc.target.as_deref(), Some("reg.example.com/web:1"));
    let ignoredisk = kickstart.ignoredisk.expect("disks are chosen");
    assert_eq!(
        ignoredisk.disks,
        DiskChoice::Only(vec!["/dev/disk/by-path/*nvme-1".to_owned()])
    );
    assert!(kickstart.zerombr.is_some());
    let clearpart = kickstart.clearpart.expect("disks are cleared");
    assert_eq!(clearpart.clear, Clear::All);
    assert!(clearpart.initlabel && clearpart.drives.is_empty());
    assert!(kickstart.reqpart.is_some_and(|reqpart| reqpart.add_boot));
    let [root] = kickstart.partitions.as_slice() else {
        panic!()
    };
    assert_eq!(root.target, Target::Path("/".to_owned()));
    assert_eq!((root.storage.size_mib, root.storage.grow), (Some(8192), true));
    assert_eq!(root.storage.fstype.as_deref(), Some("xfs"));
    assert!(
        kickstart
            .rootpw
            .is_some_and(|rootpw| rootpw.lock && rootpw.password.is_none())
    );
    assert_eq!(
        kickstart.users.first().map(|user| user.name.as_str()),
        Some("ops")
    );
    assert_eq!(
        kickstart.ssh_keys.first().map(|key| key.user.as_str()),
        Some("ops")
    );
    assert!(kickstart.timezone.is_some_and(|timezone| timezone.utc));
    assert!(
        kickstart
            .end
            .is_some_and(|end| end.end == End::Reboot && end.eject)
    );
}

#[test]
fn what_osmith_cannot_do_is_typed_too() {
    let kickstart = read(include_str!("corpus/whole/media.ks"));
    let [volume] = kickstart.partitions.as_slice() else {
        panic!()
    };
    assert_eq!(volume.target, Target::PhysicalVolume("pv.1".to_owned()));
    let encryption = volume.storage.encryption.as_ref().expect("it is encrypted");
    assert_eq!(encryption.passphrase, Some(Secret("change me".to_owned())));
    assert_eq!(
        kickstart
            .volume_groups
            .first()
            .map(|group| group.physical_volumes.len()),
        Some(1)
    );
    let names: Vec<_> = kickstart
        .logical_volumes
        .iter()
        .map(|volume| volume.name.as_str())
        .collect();
    assert_eq!(names, ["root", "var"]);
    let rootpw = kickstart.rootpw.expect("root has a password");
    assert_eq!(rootpw.password, Some(Password::Hashed("$6$salt$hash".to_owned())));
    let [script] = kickstart.scripts.as_slice() else {
        panic!()
    };
    assert_eq!(
        (script.section, script.chroot, script.error_on_fail),
        (Section::Post, true, true)
    );
    assert_eq!(script.interpreter, "/bin/sh");
    assert!(script.body.starts_with("bootc switch ") && script.body.ends_with(":1\n"));
    let raid = read("raid / raid.1 --device=/dev/md0 --level=RAID1 raid.2")
        .raids
        .remove(0);
    assert_eq!(
        (raid.device.as_str(), raid.level),
        ("md0", Some(RaidLevel::Raid1))
    );
    assert_eq!(raid.members, ["raid.1", "raid.2"]);
}

#[test]
fn images_have_transports_and_targets_none() {
    for (line, transport, name, target) in [
        ("bootc --source-imgref=a/b", Transport::Registry, "a/b", None),
        (
            "bootc --source-imgref=docker://a/b",
            Transport::Registry,
            "a/b",
            None,
        ),
        (
            "bootc --source-imgref=oci:/a --target-imgref=registry:c/d",
            Transport::Oci,
            "/a",
            Some("c/d"),
        ),
        (
            "bootc --source-imgref=oci:/a --target-imgref=docker://c/d",
            Transport::Oci,
            "/a",
            Some("c/d"),
        ),
    ] {
        let Some(ImageSource::Bootc(bootc)) = read(line).image else {
            panic!("{line}")
        };
        assert_eq!(
            (bootc.source.transport, bootc.source.name.as_str()),
            (transport, name),
            "{line}"
        );
        assert_eq!(bootc.target.as_deref(), target, "{line}");
    }
}

#[test]
fn the_last_line_counts_whole() {
    let kickstart = read(
        "bootc --source-imgref=registry:a/b --target-imgref=a/b\nbootc --source-imgref=registry:a/c\n\
         clearpart --all --initlabel\nclearpart --drives=sda\nhalt\nshutdown --eject\n",
    );
    let Some(ImageSource::Bootc(bootc)) = kickstart.image else {
        panic!()
    };
    assert_eq!((bootc.source.name.as_str(), bootc.target), ("a/c", None));
    let clearpart = kickstart.clearpart.expect("there is one");
    assert_eq!((clearpart.clear, clearpart.initlabel), (Clear::None, false));
    assert!(
        kickstart
            .end
            .is_some_and(|end| end.end == End::Poweroff && end.eject)
    );
}

#[test]
fn networks() {
    let found = network(
        "network --bootproto=static --ip=192.0.2.10 --netmask=255.255.252.0 --gateway=192.0.2.1 \
         --nameserver=192.0.2.2,2001:db8::1 --device=52:54:00:aa:bb:cc --onboot=off --no-activate --mtu=9000",
    );
    assert_eq!(found.protocol, BootProtocol::Static);
    assert_eq!(found.address, Some(Ipv4Addr::new(192, 0, 2, 10)));
    assert_eq!(found.prefix_length, Some(22));
    assert_eq!(found.nameservers.len(), 2);
    assert_eq!(
        found.device,
        NetworkDevice::Mac([0x52, 0x54, 0, 0xaa, 0xbb, 0xcc])
    );
    assert_eq!(
        (found.on_boot, found.activate, found.mtu_bytes),
        (Some(false), Some(false), Some(9000))
    );
    assert!(found.has_connection);
    let found = network("network --hostname=a.example.com");
    assert!(!found.has_connection);
    assert_eq!(found.hostname.as_deref(), Some("a.example.com"));
    let found = network("network");
    assert!(!found.has_connection && found.device == NetworkDevice::Link);
    assert_eq!(network("network --netmask=0.0.0.0").prefix_length, Some(0));
}

#[test]
fn accounts() {
    let kickstart = read(
        "user --name=ops --groups=\"wheel, admins(5000)\" --password=x --uid=1000 --shell=/bin/zsh\n\
         user --name=key\nrootpw --iscrypted --lock h\ngroup --name=admins --gid=5000\n",
    );
    let [ops, key] = kickstart.users.as_slice() else {
        panic!()
    };
    let groups: Vec<_> = ops
        .groups
        .iter()
        .map(|group| (group.name.as_str(), group.gid))
        .collect();
    assert_eq!(groups, [("wheel", None), ("admins", Some(5000))]);
    assert_eq!(ops.password, Some(Password::Plain("x".to_owned())));
    assert_eq!((ops.uid, ops.shell.as_deref()), (Some(1000), Some("/bin/zsh")));
    assert_eq!(key.password, None);
    assert!(
        kickstart
            .rootpw
            .is_some_and(|rootpw| rootpw.lock && rootpw.password.is_some())
    );
}

#[test]
fn settings() {
    let kickstart = read(
        "firewall --service=ssh,http --service=dns --port=53:udp,8080 --remove-service=cockpit --ftp\n\
         selinux --enforcing --permissive\ntimesource --ntp-server=a --nts\ntimesource --ntp-pool=b\n\
         keyboard us --xlayouts='us','de (nodeadkeys)'\nservices --disabled=a,b\n",
    );
    let firewall = kickstart.firewall.expect("there is one");
    assert!(firewall.enabled && !firewall.use_system_defaults);
    assert_eq!(firewall.services, ["ssh", "http", "dns", "ftp"]);
    let ports: Vec<_> = firewall
        .ports
        .iter()
        .map(|port| format!("{}/{}", port.port, port.protocol))
        .collect();
    assert_eq!(ports, ["53/udp", "8080/tcp"]);
    assert!(
        kickstart
            .selinux
            .is_some_and(|selinux| selinux.mode == Some(SelinuxMode::Permissive))
    );
    let [server, pool] = kickstart.timesources.as_slice() else {
        panic!()
    };
    assert_eq!(
        (&server.server, server.nts),
        (&TimeServer::Server("a".to_owned()), true)
    );
    assert_eq!(pool.server, TimeServer::Pool("b".to_owned()));
    let keyboard = kickstart.keyboard.expect("there is one");
    assert_eq!(keyboard.console_keymap(), Some("us"));
    assert_eq!(keyboard.x_layouts, ["us", "de (nodeadkeys)"]);
    let old = read_as("timezone --isUtc UTC --ntpservers=a,b", Dialect::Rhel9);
    assert!(
        old.timezone
            .is_some_and(|timezone| timezone.utc && timezone.ntp_servers.len() == 2)
    );
}

#[test]
fn mounts_and_mistakes() {
    let kickstart = read(
        "mount /dev/sda1 /boot//efi/\nmount /dev/sda2 / --reformat=xfs\nmount /dev/sda3 None --reformat\n\
         mount /dev/sda4 relative\nfrob\n",
    );
    let mounts: Vec<_> = kickstart
        .mounts
        .iter()
        .map(|mount| (mount.mount_point.as_deref(), mount.reformat.clone()))
        .collect();
    assert_eq!(
        mounts,
        [
            (Some("/boot/efi"), Reformat::No),
            (Some("/"), Reformat::As("xfs".to_owned())),
            (None, Reformat::Same),
        ]
    );
}

#[test]
fn scripts_and_certificates() {
    let kickstart = read(
        "%pre --interpreter=/usr/bin/python3 --log=/tmp/a\nif 'x':\n  # kept\r\n\n%end\n%post --nochroot\nb\n%end\n\
         %onerror\n\n%end\n%certificate --filename=a.pem --type=anchor\n-----BEGIN CERTIFICATE-----\n%end\n",
    );
    let [pre, post] = kickstart.scripts.as_slice() else {
        panic!()
    };
    assert_eq!(pre.interpreter, "/usr/bin/python3");
    assert_eq!(pre.log.as_deref(), Some("/tmp/a"));
    assert_eq!(pre.body, "if 'x':\n  # kept\n\n");
    assert!(!pre.chroot && !post.chroot);
    assert_eq!(kickstart.scripts_of(Section::Post).count(), 1);
    let [certificate] = kickstart.certificates.as_slice() else {
        panic!()
    };
    assert_eq!(
        (certificate.filename.as_str(), certificate.kind.as_deref()),
        ("a.pem", Some("anchor"))
    );
    assert_eq!(certificate.body, "-----BEGIN CERTIFICATE-----\n");
}
