use std::os::unix::fs::PermissionsExt as _;

use osmith_report::Silent;

use super::*;
use crate::boot_options::BootOptions;
use crate::network::{Ipv6, connections_of};

fn interface(name: &str) -> Interface {
    Interface {
        name: name.to_owned(),
        mac: None,
        is_hardware: true,
        is_up: true,
        has_carrier: true,
        has_ipv4: false,
        has_ipv6: false,
        has_default_route: false,
    }
}

#[test]
fn a_route_by_ipv6_alone_is_not_the_whole() {
    let dhcp = [Connection::automatic(DeviceSelector::Any)];
    let mut ens3 = interface("ens3");
    assert_eq!(Readiness::of(&[ens3.clone()], &dhcp), Readiness::None);
    ens3.has_default_route = true;
    assert_eq!(Readiness::of(&[ens3.clone()], &dhcp), Readiness::None);
    ens3.has_ipv6 = true;
    assert_eq!(Readiness::of(&[ens3.clone()], &dhcp), Readiness::WithoutIpv4);
    ens3.has_ipv4 = true;
    assert_eq!(
        Readiness::of(&[interface("ens4"), ens3.clone()], &dhcp),
        Readiness::Whole
    );
    let isolated = [Connection {
        has_default_route: false,
        ..Connection::automatic(DeviceSelector::Any)
    }];
    ens3.has_default_route = false;
    assert_eq!(Readiness::of(&[ens3.clone()], &dhcp), Readiness::None);
    assert_eq!(Readiness::of(&[ens3], &isolated), Readiness::Whole);
}

/// A live system whose programs are scripts: each writes down how it was called, and then does this.
struct Live(tempfile::TempDir);

const NO_ROUTES: &str = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n";

impl Live {
    fn new(programs: &[(&str, &str)]) -> Self {
        let live = Live(tempfile::tempdir().unwrap());
        for (number, name) in ["ens3", "ens4"].iter().enumerate() {
            let folder = live.path(&format!("sys/class/net/{name}"));
            fs::create_dir_all(folder.join("device")).unwrap();
            let carrier = if *name == "ens3" { "1" } else { "0" };
            for (file, value) in [
                ("type", "1"),
                ("flags", "0x1003"),
                ("carrier", carrier),
                ("ifindex", &(number + 2).to_string()),
                ("address", &format!("52:54:00:00:00:0{}", number + 3)),
            ] {
                fs::write(folder.join(file), value).unwrap();
            }
        }
        for folder in [
            "proc/net",
            "etc",
            "usr/bin",
            "usr/lib/systemd/system",
            "run/systemd/netif/links",
        ] {
            fs::create_dir_all(live.path(folder)).unwrap();
        }
        fs::write(live.path("proc/net/route"), NO_ROUTES).unwrap();
        for (name, script) in programs {
            let path = live.path("usr/bin").join(name);
            let root = live.0.path().display();
            let text = format!("#!/bin/sh\nroot={root}\necho {name} \"$@\" >> $root/calls\n{script}\n");
            write_program(&path, &text);
        }
        live
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.0.path().join(path)
    }

    fn bring_up(
        &self,
        backend: Backend,
        connections: Vec<Connection>,
    ) -> Result<Vec<Connection>, NetworkError> {
        let network = Network {
            connections,
            ..Network::default()
        };
        bring_up(
            self.0.path(),
            &network,
            backend,
            Duration::from_millis(900),
            &Silent,
        )
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.path("calls")).unwrap()
    }
}

/// By another process: a file that this one has open for writing, if only in a child that is about to be another program,
/// cannot be executed.
fn write_program(path: &Path, text: &str) {
    let mut shell = Command::new("sh");
    shell.args(["-c", "cat > \"$0\" && chmod 755 \"$0\""]).arg(path);
    let mut child = shell.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

const NETWORKD: &str = "case \"$*\" in *restart*networkd*)
  printf 'ens3 00000000 010200C0 0003 0 0 0 00000000 0 0 0\\n' >> $root/proc/net/route
  printf 'ADMIN_STATE=configured\\nNETWORK_FILE=/run/systemd/network/10-osmith-ens3.network\\n' > $root/run/systemd/netif/links/2
  printf 'DNS=192.0.2.53 2001:db8::53\\nDOMAINS=example.org\\n' > $root/run/systemd/netif/state;; esac";

#[test]
fn networkd_is_restarted_with_our_files() {
    let live = Live::new(&[("systemctl", NETWORKD)]);
    let resolved = live.path("usr/lib/systemd/system/systemd-resolved.service");
    fs::write(resolved, "").unwrap();
    fs::create_dir_all(live.path("run/systemd/network")).unwrap();
    for (name, text) in [("10-osmith-a.network", HEAD), ("20-own.network", "[Match]\n")] {
        fs::write(live.path("run/systemd/network").join(name), text).unwrap();
    }
    let options =
        BootOptions::parse("ip=192.0.2.10::192.0.2.1:24 ip=[2001:db8::10]:::64::ens3:none").unwrap();
    let connections = live
        .bring_up(Backend::Networkd, connections_of(&options))
        .unwrap();
    assert_eq!(connections.len(), 1);
    assert_eq!(connections[0].name(), "ens3");
    assert!(matches!(connections[0].ipv4, Ipv4::Static { .. }));
    assert!(matches!(connections[0].ipv6, Ipv6::Static { .. }));
    assert_eq!(
        live.calls(),
        "systemctl start systemd-resolved.service\nsystemctl reset-failed systemd-networkd.service\nsystemctl restart systemd-networkd.service\n"
    );
    let names = fs::read_dir(live.path("run/systemd/network")).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["10-osmith-ens3.network", "20-own.network"]);
    assert_eq!(
        fs::read_link(live.path("etc/resolv.conf")).unwrap(),
        Path::new("../run/systemd/resolve/stub-resolv.conf")
    );
}

#[test]
fn without_resolved_the_name_servers_are_written_down() {
    let live = Live::new(&[("systemctl", NETWORKD)]);
    fs::write(live.path("etc/resolv.conf"), "# empty\n").unwrap();
    let wanted = Connection::automatic(DeviceSelector::Name("ens3".to_owned()));
    live.bring_up(Backend::Networkd, vec![wanted.clone()]).unwrap();
    let resolv_conf = || fs::read_to_string(live.path("etc/resolv.conf")).unwrap();
    assert_eq!(
        resolv_conf(),
        "nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch example.org\n"
    );
    // What names servers stays.
    fs::write(live.path("etc/resolv.conf"), "nameserver 192.0.2.1\n").unwrap();
    live.bring_up(Backend::Networkd, vec![wanted]).unwrap();
    assert_eq!(resolv_conf(), "nameserver 192.0.2.1\n");
}

#[test]
fn network_manager_is_told_and_asked() {
    let wanted = Connection::automatic(DeviceSelector::Name("ens3".to_owned()));
    let uuid = uuid_of(&wanted);
    let nmcli = format!(
        "case \"$*\" in *UUID*) echo {uuid}:activated;; *up*)
         printf 'ens3 00000000 010200C0 0003 0 0 0 00000000 0 0 0\\n' >> $root/proc/net/route
         mkdir -p $root/run/NetworkManager; touch $root/run/NetworkManager/resolv.conf;; esac"
    );
    let live = Live::new(&[("systemctl", ""), ("nmcli", &nmcli)]);
    live.bring_up(Backend::NetworkManager, vec![wanted]).unwrap();
    let calls = live.calls();
    let expected = format!(
        "systemctl start NetworkManager.service\nnmcli connection reload\nnmcli --wait 0 connection up uuid {uuid}\n"
    );
    assert!(calls.starts_with(&expected), "{calls}");
    let profile = live.path("run/NetworkManager/system-connections/ens3.nmconnection");
    assert_eq!(fs::metadata(profile).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        fs::read_link(live.path("etc/resolv.conf")).unwrap(),
        Path::new("../run/NetworkManager/resolv.conf")
    );
}

#[test]
fn what_is_wrong_is_said_of_each_interface() {
    let live = Live::new(&[("systemctl", "")]);
    let named = |name: &str| Connection::automatic(DeviceSelector::Name(name.to_owned()));
    let error = live
        .bring_up(Backend::Networkd, vec![named("ens3"), named("ens4")])
        .unwrap_err();
    insta::assert_snapshot!(error, @"no network after 0 s (ens3: up, no address from DHCP; ens4: no carrier)");
    let error = live.bring_up(Backend::Networkd, vec![named("ens4")]).unwrap_err();
    insta::assert_snapshot!(error, @"no network after 0 s (ens3: up, no address, not asked for; ens4: no carrier)");
    let bound = Connection {
        binds_to_mac: true,
        ..named("ens9")
    };
    let error = live.bring_up(Backend::Networkd, vec![bound]).unwrap_err();
    insta::assert_snapshot!(error, @"there is no network interface 'ens9' (ens3: up, no address; ens4: no carrier)");
}

#[test]
fn a_program_that_fails_is_quoted() {
    let live = Live::new(&[("systemctl", "echo Unit not found. >&2; exit 5")]);
    let wanted = Connection::automatic(DeviceSelector::Any);
    let error = live
        .bring_up(Backend::Networkd, vec![wanted.clone()])
        .unwrap_err();
    insta::assert_snapshot!(error, @"'systemctl restart systemd-networkd.service' failed: Unit not found. (exit status: 5)");
    fs::remove_file(live.path("usr/bin/systemctl")).unwrap();
    let error = live
        .bring_up(Backend::Networkd, vec![wanted])
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("No such file or directory"), "{error}");
}

#[test]
fn cards_get_their_names_first() {
    let udevadm = "case $1 in trigger) mv $root/sys/class/net/ens3 $root/sys/class/net/lan0;; esac";
    let networkd = NETWORKD.replace("ens3", "lan0");
    let live = Live::new(&[("systemctl", &networkd), ("udevadm", udevadm)]);
    let network = Network {
        connections: vec![Connection::automatic(DeviceSelector::Name("lan0".to_owned()))],
        interface_names: vec![InterfaceName {
            name: "lan0".to_owned(),
            mac: "52:54:00:00:00:03".parse().unwrap(),
        }],
        boot_mac: None,
    };
    let wait = Duration::from_secs(10);
    for _ in 0..2 {
        bring_up(live.0.path(), &network, Backend::Networkd, wait, &Silent).unwrap();
    }
    assert_eq!(
        live.calls(),
        "udevadm control --reload\nudevadm trigger --action=add --subsystem-match=net\nudevadm settle\n\
         systemctl reset-failed systemd-networkd.service\nsystemctl restart systemd-networkd.service\n\
         systemctl reset-failed systemd-networkd.service\nsystemctl restart systemd-networkd.service\n"
    );
    assert!(live.path("run/systemd/network/10-osmith-lan0.link").exists());
}
