use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;
use osmith_kickstart::{NoIncludes, ParseOptions, parse};

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

/// The connections of a Kickstart file, and what is wrong with them.
fn of_kickstart(lines: &str) -> (Vec<Connection>, String) {
    let parsed = parse("ks.cfg", lines, &ParseOptions::default(), &mut NoIncludes);
    let (connections, problems) = crate::plan::connections_of("ks.cfg", &parsed.kickstart);
    let problems = parsed.problems.iter().chain(&problems);
    let lines: Vec<_> = problems.map(|problem| format!("{problem}\n")).collect();
    (connections, lines.concat())
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
    let (connections, problems) = of_kickstart(
        "network --device=52:54:00:AA:BB:CC --noipv6 --dhcpclass=\"a;b c\" --hostname=web1.example.org --nodns \
         --nodefroute --onboot=off\n\
         network --device=ens4 --bootproto=static --ip=192.0.2.10 --netmask=255.255.255.128 --gateway=192.0.2.1 \
         --ipv6=2001:db8::10/48 --ipv6gateway=2001:db8::1 --nameserver=192.0.2.53,2001:db8::53 \
         --ipv4-dns-search=example.org,example.com --mtu=1400\n\
         network --device=ens5 --noipv4 --ipv6=dhcp --ipv6-ignore-auto-dns\n\
         network --hostname=web1\n",
    );
    assert_eq!(problems, "");
    insta::assert_snapshot!(all_files(&connections, &[]));
    let twice = [connections[2].clone(), connections[2].clone()];
    let files = configuration_files(&twice, &[], Backend::Networkd, Place::Installed);
    assert_eq!(
        files[1].path,
        Path::new("etc/systemd/network/10-osmith-ens5-2.network")
    );
}

#[test]
fn what_a_kickstart_line_cannot_be_is_said() {
    let (_, problems) = of_kickstart(
        "network --device=ens3 --bootproto=ibft\nnetwork --device=ens4 --bootproto=static --ip=192.0.2.1\n\
         network --device=ens5 --dhcpclass=\u{e4}\nnetwork --device=bond0 --bondslaves=ens6,ens7\n",
    );
    insta::assert_snapshot!(problems);
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
