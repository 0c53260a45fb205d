use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;
use crate::boot_options::BootOptions;

/// What becomes of a kernel command line: the files of both programs.
fn files_of(command_line: &str) -> String {
    let options = BootOptions::parse(command_line).unwrap();
    let connections = connections_of(&options);
    all_files(&connections, &options.interface_names)
}

fn all_files(connections: &[Connection], names: &[crate::boot_options::InterfaceName]) -> String {
    let mut text = String::new();
    for backend in [Backend::NetworkManager, Backend::Networkd] {
        for file in configuration_files(connections, names, backend, Place::Live) {
            let body = String::from_utf8(file.bytes).unwrap();
            let _ = write!(text, "==> {} {:o}\n{body}\n", file.path.display(), file.mode);
        }
    }
    text
}

fn line(change: impl FnOnce(&mut NetworkLine)) -> NetworkLine {
    let mut line = NetworkLine::default();
    change(&mut line);
    line
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

#[test]
fn without_a_word_every_card_asks_dhcp() {
    insta::assert_snapshot!(files_of("quiet"));
    assert_eq!(
        connections_of(&BootOptions::parse("BOOTIF=01-52-54-00-aa-bb-cc").unwrap())[0].name(),
        "52-54-00-aa-bb-cc"
    );
    assert!(connections_of(&BootOptions::parse("ip=off").unwrap()).is_empty());
}

#[test]
fn everything_that_a_command_line_can_say() {
    insta::assert_snapshot!(files_of(
        "ip=192.0.2.10::192.0.2.1:255.255.255.0:web1:lan0:none:9000 ip=[2001:db8::10]::[2001:db8::1]:48::lan0:none \
         ip=ens4:dhcp6 nameserver=192.0.2.53 nameserver=[2001:db8::53] ifname=lan0:52:54:00:aa:bb:cc \
         rd.route=198.51.100.0/24:192.0.2.254:lan0 rd.route=[2001:db8:1::]/48:[2001:db8::2]:lan0"
    ));
}

#[test]
fn kickstart_lines() {
    let lines = [
        line(|line| {
            line.device = text("52-54-00-AA-BB-CC");
            line.no_ipv6 = true;
            line.dhcp_class = text("a;b c");
            line.hostname = text("web1.example.org");
            line.no_dns = true;
            line.no_default_route = true;
            line.on_boot = Some(false);
        }),
        line(|line| {
            line.device = text("ens4");
            line.bootproto = text("static");
            line.ip = text("192.0.2.10");
            line.netmask = text("255.255.255.128");
            line.gateway = text("192.0.2.1");
            line.ipv6 = text("2001:db8::10/48");
            line.ipv6_gateway = text("2001:db8::1");
            line.nameservers = vec!["192.0.2.53".to_owned(), "2001:db8::53".to_owned()];
            line.ipv4_dns_search = vec!["example.org".to_owned(), "example.com".to_owned()];
            line.mtu = text("1400");
        }),
        line(|line| {
            line.device = text("ens5");
            line.no_ipv4 = true;
            line.ipv6 = text("dhcp");
            line.ipv6_ignores_dns = true;
        }),
    ];
    let connections: Vec<Connection> = lines.iter().map(|line| line.connection().unwrap()).collect();
    insta::assert_snapshot!(all_files(&connections, &[]));
    let twice = [connections[2].clone(), connections[2].clone()];
    let files = configuration_files(&twice, &[], Backend::Networkd, Place::Installed);
    assert_eq!(
        files[1].path,
        Path::new("etc/systemd/network/10-osmith-ens5-2.network")
    );
}

#[test]
fn a_line_that_only_names_the_machine_is_no_connection() {
    assert!(line(|line| line.hostname = text("web1")).is_only_a_name());
    assert!(!line(|line| line.device = text("ens3")).is_only_a_name());
    let both = line(|line| {
        line.hostname = text("web1");
        line.bootproto = text("dhcp");
    });
    assert!(!both.is_only_a_name());
}

#[test]
fn everything_wrong_with_a_line_is_said() {
    let wrong = line(|line| {
        line.bootproto = text("static");
        line.device = text("a/b");
        line.gateway = text("2001:db8::1");
        line.netmask = text("255.0.255.0");
        line.nameservers = vec!["dns".to_owned()];
        line.ipv6 = text("192.0.2.1");
        line.ipv6_gateway = text("x");
        line.mtu = text("1");
        line.hostname = text("a_b");
        line.bind_to = text("name");
        line.ipv4_dns_search = vec!["a b".to_owned()];
        line.dhcp_class = text("ä");
        line.others = vec![("--vlanid".to_owned(), "10".to_owned())];
    });
    insta::assert_snapshot!(wrong.connection().unwrap_err());
    let unsupported = line(|line| line.bootproto = text("ibft"));
    insta::assert_snapshot!(unsupported.connection().unwrap_err(), @"network --bootproto=ibft: it is not supported (right is: --bootproto=dhcp)");
}

/// A root folder with these interfaces: name, address, flags, carrier.
fn machine(interfaces: &[(&str, &str, &str, &str)]) -> tempfile::TempDir {
    let host = tempfile::tempdir().unwrap();
    for (name, mac, flags, carrier) in interfaces {
        let folder = host.path().join("sys/class/net").join(name);
        fs::create_dir_all(folder.join("device")).unwrap();
        for (file, value) in [
            ("address", *mac),
            ("flags", flags),
            ("carrier", carrier),
            ("type", "1"),
        ] {
            fs::write(folder.join(file), format!("{value}\n")).unwrap();
        }
    }
    fs::create_dir_all(host.path().join("proc/net")).unwrap();
    host
}

const ROUTES: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

#[test]
fn interfaces_as_the_kernel_shows_them() {
    let host = machine(&[
        ("ens3", "52:54:00:00:00:03", "0x1003", "1"),
        ("ens4", "52:54:00:00:00:04", "0x1003", "0"),
        ("ens5", "52:54:00:00:00:05", "0x1002", ""),
        ("ens6", "52:54:00:00:00:06", "0x1003", "1"),
        ("ens7", "52:54:00:00:00:07", "0x1003", "1"),
        ("lo", "00:00:00:00:00:00", "0x9", "1"),
    ]);
    fs::write(host.path().join("sys/class/net/lo/type"), "772\n").unwrap();
    let net = host.path().join("proc/net");
    fs::write(
        net.join("route"),
        format!("{ROUTES}ens3\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\nens6\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\nbroken\n"),
    )
    .unwrap();
    let zeros = "0".repeat(32);
    fs::write(
        net.join("ipv6_route"),
        format!(
            "{zeros} 00 {zeros} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00450003     ens7\n\
             {zeros} 00 {zeros} 00 {zeros} ffffffff 00000001 00000000 00200200       lo\n"
        ),
    )
    .unwrap();
    fs::write(
        net.join("if_inet6"),
        "20010db8000000000000000000000010 02 40 00 00     ens7\nfe800000000000000000000000000003 02 40 20 80     ens6\n",
    )
    .unwrap();
    let interfaces = probe_interfaces(host.path());
    let states: Vec<String> = interfaces.iter().map(Interface::to_string).collect();
    assert_eq!(
        states,
        [
            "ens3: up, with a default route",
            "ens4: no carrier",
            "ens5: turned off",
            "ens6: up, with an address, but no default route",
            "ens7: up, with a default route",
        ]
    );
    assert!(interfaces[4].has_ipv6 && !interfaces[3].has_ipv6);

    let resolve =
        |device| Connection::automatic(device).resolve(&interfaces, Some(crate::network::MacAddress([2; 6])));
    assert_eq!(
        resolve(DeviceSelector::Link).unwrap().device,
        DeviceSelector::Name("ens3".to_owned())
    );
    assert_eq!(
        resolve(DeviceSelector::Boot).unwrap().device,
        DeviceSelector::Mac(MacAddress([2; 6]))
    );
    let bound = Connection {
        binds_to_mac: true,
        ..Connection::automatic(DeviceSelector::Name("ens4".to_owned()))
    };
    assert_eq!(
        bound.resolve(&interfaces, None).unwrap().name(),
        "52-54-00-00-00-04"
    );
    let without = Connection::automatic(DeviceSelector::Link).resolve(&interfaces[1..3], None);
    insta::assert_snapshot!(without.unwrap_err(), @"no network interface has a carrier (ens4: no carrier; ens5: turned off)");
}

#[test]
fn the_program_that_the_image_enables_is_used() {
    let image = tempfile::tempdir().unwrap();
    let root = image.path();
    assert!(matches!(Backend::of_image(root), Err(NetworkError::NoProgram)));
    let units = root.join("usr/lib/systemd/system");
    fs::create_dir_all(&units).unwrap();
    fs::write(units.join("systemd-networkd.service"), "").unwrap();
    assert_eq!(Backend::of_image(root).unwrap(), Backend::Networkd);
    fs::write(units.join("NetworkManager.service"), "").unwrap();
    assert_eq!(Backend::of_image(root).unwrap(), Backend::NetworkManager);
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants).unwrap();
    symlink(
        "/usr/lib/systemd/system/systemd-networkd.service",
        wants.join("systemd-networkd.service"),
    )
    .unwrap();
    assert_eq!(Backend::of_image(root).unwrap(), Backend::Networkd);
    symlink(
        "/usr/lib/systemd/system/NetworkManager.service",
        wants.join("NetworkManager.service"),
    )
    .unwrap();
    assert_eq!(Backend::of_image(root).unwrap(), Backend::NetworkManager);
    symlink(
        "/dev/null",
        root.join("etc/systemd/system/NetworkManager.service"),
    )
    .unwrap();
    assert_eq!(Backend::of_image(root).unwrap(), Backend::Networkd);
}
