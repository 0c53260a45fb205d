//! Network interfaces.

use super::{BOTH, CommandSpec, TEN, boolean, choice, flag, text};
use crate::commands::network;

pub(super) const COMMANDS: &[CommandSpec] = &[CommandSpec::new(&["network"], network::network)
    .many()
    .options(&[&[
        choice(&["--bootproto"], &["dhcp", "bootp", "static", "query", "ibft"]),
        text(&["--device"]),
        text(&["--ip"]),
        text(&["--netmask"]),
        text(&["--gateway"]),
        text(&["--nameserver"]),
        text(&["--ipv6"]),
        text(&["--ipv6gateway"]),
        flag(&["--noipv4"]),
        flag(&["--noipv6"]),
        flag(&["--nodns"]),
        flag(&["--nodefroute"]),
        text(&["--mtu"]),
        boolean(&["--onboot"]),
        flag(&["--activate"]),
        flag(&["--no-activate"]),
        text(&["--hostname"]),
        choice(&["--bindto"], &["mac"]),
        text(&["--interfacename"]),
        text(&["--vlanid"]),
        text(&["--bondslaves"]),
        text(&["--bondopts"]),
        text(&["--bridgeslaves"]),
        text(&["--bridgeopts"]),
        text(&["--ipv4-dns-search"]),
        text(&["--ipv6-dns-search"]),
        flag(&["--ipv4-ignore-auto-dns"]),
        flag(&["--ipv6-ignore-auto-dns"]),
        text(&["--ethtool"]),
        text(&["--dhcpclass"]),
        flag(&["--notksdevice"]),
        text(&["--essid"]),
        text(&["--wpakey"]).secret(),
        text(&["--wepkey"]).secret(),
        text(&["--teamslaves"])
            .only(BOTH)
            .deprecated_in(TEN, "use --bondslaves"),
        text(&["--teamconfig"])
            .only(BOTH)
            .deprecated_in(TEN, "use --bondopts"),
    ]])];
