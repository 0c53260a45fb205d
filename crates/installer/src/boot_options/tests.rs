use proptest::prelude::*;

use super::*;

fn parse(command_line: &str) -> BootOptions {
    BootOptions::parse(command_line).unwrap()
}

fn problems(command_line: &str) -> String {
    BootOptions::parse(command_line).unwrap_err().to_string()
}

fn source(text: &str) -> KickstartSource {
    text.parse().unwrap()
}

fn address(command_line: &str) -> IpArgument {
    parse(command_line).addresses.remove(0)
}

#[test]
fn an_empty_command_line_asks_for_nothing() {
    let options = parse("BOOT_IMAGE=/vmlinuz root=live quiet rd.break=x");
    assert_eq!(options, BootOptions::default());
    assert!(options.verifies_tls);
    assert_eq!(options.network_wait, Duration::from_secs(60));
}

#[test]
fn the_last_kickstart_wins_or_all_are_tried() {
    let line = "inst.ks=http://a.example/1 inst.ks=cdrom";
    assert_eq!(parse(line).kickstart, [source("cdrom")]);
    assert_eq!(
        parse(&format!("{line} inst.ks.all")).kickstart,
        [source("http://a.example/1"), source("cdrom")]
    );
    assert_eq!(parse(&format!("inst.ks.all=0 {line}")).kickstart.len(), 1);
}

#[test]
fn flags_and_values() {
    let options = parse(
        "inst.ks.sendmac inst.ks.sendsn=1 inst.ksstrict inst.noverifyssl inst.waitfornet=5 inst.proxy=u:p@proxy:3128 \
         inst.syslog=[2001:db8::1]:10514 console=tty0 console=ttyS0,115200n8 BOOTIF=01-52-54-00-AA-bb-cc bootdev=ens3 \
         ifname=lan0:52:54:00:aa:bb:cc nameserver=192.0.2.53 nameserver=[2001:db8::53] \
         rd.route=198.51.100.0/24:192.0.2.1:ens3 rd.route=[2001:db8:1::]/48:[2001:db8::1]",
    );
    assert!(options.sends_mac && options.sends_serial && options.strict && !options.verifies_tls);
    assert_eq!(options.network_wait, Duration::from_secs(5));
    assert_eq!(options.proxy.as_deref(), Some("http://u:p@proxy:3128"));
    let server = options.syslog.unwrap();
    assert_eq!((server.host.as_str(), server.port), ("2001:db8::1", 10514));
    assert_eq!(options.consoles, ["tty0", "ttyS0,115200n8"]);
    assert_eq!(options.boot_mac.unwrap().to_string(), "52:54:00:aa:bb:cc");
    assert_eq!(options.boot_device.as_deref(), Some("ens3"));
    assert_eq!(options.interface_names[0].name, "lan0");
    assert_eq!(options.nameservers.len(), 2);
    assert_eq!(options.routes[0].interface.as_deref(), Some("ens3"));
    assert_eq!(options.routes[1].route.target.to_string(), "2001:db8:1::/48");
    assert_eq!(parse("inst.syslog=log").syslog.unwrap().port, 514);
    assert_eq!(parse("inst.syslog=::1").syslog.unwrap().host, "::1");
}

#[test]
fn what_other_installers_need_is_noted() {
    let options = parse("inst.stage2=hd:LABEL=V inst.text inst.sshd inst.whatever=1 ks=http://u:secret@x/y");
    let noted: Vec<_> = options
        .ignored
        .iter()
        .map(|ignored| (ignored.argument.as_str(), ignored.reason))
        .collect();
    assert_eq!(
        noted,
        [
            ("inst.stage2=hd:LABEL=V", "the installer is the image itself"),
            ("inst.text", "the installation is always unattended"),
            ("inst.sshd", "the image decides whether it has an SSH server"),
            ("inst.whatever=1", "it is not known"),
            (
                "ks=http://x/y",
                "only arguments that begin with 'inst.' are for the installer"
            ),
        ]
    );
}

#[test]
fn all_forms_of_ip() {
    for (line, method) in [
        ("ip=dhcp", IpMethod::Dhcp),
        ("ip=on", IpMethod::Dhcp),
        ("ip=dhcp6", IpMethod::Dhcp6),
        ("ip=auto6", IpMethod::Auto6),
        ("ip=link6", IpMethod::LinkLocal6),
        ("ip=off", IpMethod::Static),
    ] {
        let argument = address(line);
        assert_eq!((argument.interface, argument.method), (None, method), "{line}");
    }
    let argument = address("ip=ens3:dhcp:9000:52:54:00:aa:bb:cc");
    assert_eq!(argument.interface.as_deref(), Some("ens3"));
    assert_eq!(argument.mtu, Some(9000));
    assert_eq!(argument.mac.unwrap().to_string(), "52:54:00:aa:bb:cc");
    assert_eq!(address("ip=ens3:dhcp::52:54:00:aa:bb:cc").mtu, None);

    let argument = address("ip=192.0.2.10::192.0.2.1:255.255.255.0:web1.example.org:ens3:none:1400");
    assert_eq!(argument.address.unwrap().to_string(), "192.0.2.10/24");
    assert_eq!(argument.gateway, parse_address("192.0.2.1"));
    assert_eq!(argument.hostname.as_deref(), Some("web1.example.org"));
    assert_eq!((argument.method, argument.mtu), (IpMethod::Static, Some(1400)));

    let argument = address("ip=192.0.2.10:192.0.2.2:192.0.2.1:25::ens3:off:192.0.2.53:192.0.2.54:192.0.2.9");
    assert_eq!(argument.address.unwrap().prefix, 25);
    assert_eq!(argument.nameservers.len(), 2);

    let argument = address("ip=[2001:db8::10]::[2001:db8::1]:48::ens3:none");
    assert_eq!(argument.address.unwrap().to_string(), "2001:db8::10/48");
    assert_eq!(argument.gateway, parse_address("2001:db8::1"));
    assert_eq!(
        address("ip=[2001:db8::10]:::::ens3:none").address.unwrap().prefix,
        64
    );

    let argument = address("ip=::::web1:ens3:dhcp");
    assert_eq!((argument.method, argument.address), (IpMethod::Dhcp, None));
    assert_eq!(argument.hostname.as_deref(), Some("web1"));
    assert_eq!(address("ip=192.0.2.10:::24").interface, None);
}

#[test]
fn the_first_host_name_is_the_machine_s() {
    let host_name = |line: &str| BootOptions::parse(line).unwrap().host_name();
    assert_eq!(host_name("ip=dhcp"), None);
    let line = "ip=dhcp ip=::::web1:ens3:dhcp ip=::::web2:ens4:dhcp";
    assert_eq!(host_name(line).as_deref(), Some("web1"));
}

#[test]
fn places_of_kickstart_files() {
    let device = |device, path: &str| KickstartSource::Device {
        device,
        path: path.to_owned(),
    };
    let path = |text: &str| DeviceName::Path(text.to_owned());
    let label = |text: &str| DeviceName::Label(text.to_owned());
    for (text, expected) in [
        ("hd:sda1:/ks/a.cfg", device(path("sda1"), "/ks/a.cfg")),
        ("hd:sda1", device(path("sda1"), "/ks.cfg")),
        ("hd:/dev/sda1:a.cfg", device(path("sda1"), "/a.cfg")),
        (
            "hd:/dev/disk/by-path/pci-0000:00:1f.2-ata-1:/a",
            device(path("disk/by-path/pci-0000:00:1f.2-ata-1"), "/a"),
        ),
        (
            "hd:/dev/disk/by-path/pci-0000:00:1f.2",
            device(path("disk/by-path/pci-0000:00:1f.2"), "/ks.cfg"),
        ),
        (
            r"hd:LABEL=MY\x20DISK:/my\x20ks",
            device(label("MY DISK"), "/my ks"),
        ),
        (r"hd:LABEL=a\xZZ\x", device(label(r"a\xZZ\x"), "/ks.cfg")),
        ("hd:CDLABEL=V:/osbuild.ks", device(label("V"), "/osbuild.ks")),
        (
            "hd:UUID=AB-CD:/k",
            device(DeviceName::Uuid("AB-CD".to_owned()), "/k"),
        ),
        (
            "hd:PARTUUID=1",
            device(DeviceName::PartitionUuid("1".to_owned()), "/ks.cfg"),
        ),
        (
            "hd:PARTLABEL=1",
            device(DeviceName::PartitionLabel("1".to_owned()), "/ks.cfg"),
        ),
        (
            "cdrom:/a",
            KickstartSource::Cdrom {
                path: "/a".to_owned(),
            },
        ),
        (
            "file:/a",
            KickstartSource::File {
                path: "/a".to_owned(),
            },
        ),
        (
            "file:///a",
            KickstartSource::File {
                path: "/a".to_owned(),
            },
        ),
        (
            "/a:b",
            KickstartSource::File {
                path: "/a:b".to_owned(),
            },
        ),
        (
            "a.cfg",
            KickstartSource::File {
                path: "/a.cfg".to_owned(),
            },
        ),
    ] {
        assert_eq!(source(text), expected, "{text}");
    }
    assert_eq!(
        source("http://jo:secret@a.example/k?x=@").to_string(),
        "http://a.example/k?x=@"
    );
}

#[test]
fn everything_wrong_is_said_with_a_right_example() {
    insta::assert_snapshot!(problems(
        "inst.ks inst.ks=nfs:a:/b inst.ks=ftp://a/b inst.ks=http:///x inst.ks=hd:NAME=x inst.ks=hd::/x inst.ks=gopher:x \
         inst.ksstrict=maybe inst.waitfornet=-1 inst.proxy=socks5://a:b@c:1 inst.proxy=u:secret@h:port \
         inst.syslog=a:b:c ip= ip=ens3 ip=ens3: ip=ibft ip=192.0.2.1 ip=192.0.2.1::: ip=192.0.2.1:::255.0.255.0::ens3:none \
         ip=192.0.2.1::[::1]:24::ens3:none ip=192.0.2.1:::24:a_b:ens3:none ip=ens3:dhcp:1 ip=ens3:dhcp:1500:52 \
         ip=192.0.2.1:::24::way-too-long-name:none ip=:::::: nameserver=x bootdev=a/b ifname=a BOOTIF=1 rd.route=1:2 \
         rd.route=10.0.0.0/8:[::1] bond=bond0:a,b vlan=v:a bridge=b:a"
    ));
}

proptest! {
    #[test]
    fn any_text_is_options_or_problems(text in "(inst\\.ks=|ip=|rd\\.route=|ifname=|inst\\.proxy=|inst.syslog=)?[ -~é]{0,60}") {
        if let Err(error) = BootOptions::parse(&text) {
            prop_assert!(!error.problems.is_empty());
        }
    }

    #[test]
    fn colons_and_brackets_never_panic(text in "ip=[\\[\\]:0-9a-f./]{0,40}") {
        let _ = BootOptions::parse(&text);
    }
}
