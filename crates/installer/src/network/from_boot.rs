//! The connections that the kernel command line asks for, as dracut and NetworkManager's initramfs generator read it.

use super::{Connection, DeviceSelector, Ipv4, Ipv6};
use crate::boot_options::{BootOptions, IpArgument, IpMethod};
use std::net::IpAddr;

/// The connections that boot options ask for; if they say nothing, addresses come by DHCP on the card that the machine
/// was started from, or else on every card.
pub fn connections_of(options: &BootOptions) -> Vec<Connection> {
    let mut connections: Vec<Connection> = Vec::new();
    for argument in &options.addresses {
        let is_off = argument.method == IpMethod::Static && argument.address.is_none();
        if is_off && argument.interface.is_none() {
            continue;
        }
        let device = device_of(argument, options);
        let same = connections
            .iter()
            .position(|connection| connection.device == device);
        let place = same.unwrap_or_else(|| {
            connections.push(Connection {
                ipv4: Ipv4::Disabled,
                ipv6: Ipv6::Disabled,
                ..Connection::automatic(device)
            });
            connections.len() - 1
        });
        if let Some(connection) = connections.get_mut(place) {
            add(connection, argument);
        }
    }
    if options.addresses.is_empty() {
        let device = implied_device(options).unwrap_or(DeviceSelector::Any);
        connections.push(Connection::automatic(device));
    }
    for connection in &mut connections {
        connection.nameservers.extend(&options.nameservers);
    }
    add_routes(&mut connections, options);
    connections
}

fn device_of(argument: &IpArgument, options: &BootOptions) -> DeviceSelector {
    let named = argument.interface.clone().map(DeviceSelector::Name);
    let otherwise = match argument.address {
        Some(_) => DeviceSelector::Link,
        None => DeviceSelector::Any,
    };
    named.or_else(|| implied_device(options)).unwrap_or(otherwise)
}

fn implied_device(options: &BootOptions) -> Option<DeviceSelector> {
    let named = options.boot_device.clone().map(DeviceSelector::Name);
    named.or(options.boot_mac.map(DeviceSelector::Mac))
}

/// Adds what one argument says; several for one interface add up, as one can only have one kind of address.
fn add(connection: &mut Connection, argument: &IpArgument) {
    match argument.method {
        IpMethod::Dhcp => {
            connection.ipv4 = Ipv4::Dhcp;
            if connection.ipv6 == Ipv6::Disabled {
                connection.ipv6 = Ipv6::Auto;
            }
        }
        IpMethod::Dhcp6 => connection.ipv6 = Ipv6::Dhcp,
        IpMethod::Auto6 => connection.ipv6 = Ipv6::Auto,
        IpMethod::LinkLocal6 => connection.ipv6 = Ipv6::LinkLocal,
        IpMethod::Static => add_address(connection, argument),
    }
    connection.nameservers.extend(&argument.nameservers);
    connection.mtu = argument.mtu.or(connection.mtu);
    connection.cloned_mac = argument.mac.or(connection.cloned_mac);
    if argument.hostname.is_some() {
        connection.dhcp_hostname.clone_from(&argument.hostname);
    }
}

fn add_address(connection: &mut Connection, argument: &IpArgument) {
    let Some(found) = argument.address else {
        return;
    };
    match found.address {
        IpAddr::V4(address) => {
            connection.ipv4 = Ipv4::Static {
                address,
                prefix: found.prefix,
                gateway: match argument.gateway {
                    Some(IpAddr::V4(gateway)) => Some(gateway),
                    _ => None,
                },
            };
        }
        IpAddr::V6(address) => {
            connection.ipv6 = Ipv6::Static {
                address,
                prefix: found.prefix,
                gateway: match argument.gateway {
                    Some(IpAddr::V6(gateway)) => Some(gateway),
                    _ => None,
                },
            };
        }
    }
}

fn add_routes(connections: &mut Vec<Connection>, options: &BootOptions) {
    for route in &options.routes {
        let place = match &route.interface {
            None => 0,
            Some(interface) => {
                let device = DeviceSelector::Name(interface.clone());
                let same = connections
                    .iter()
                    .position(|connection| connection.device == device);
                same.unwrap_or_else(|| {
                    connections.push(Connection::automatic(device));
                    connections.len() - 1
                })
            }
        };
        if let Some(connection) = connections.get_mut(place) {
            connection.routes.push(route.route.clone());
        }
    }
}
