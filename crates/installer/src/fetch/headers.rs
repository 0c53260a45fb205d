//! What servers are told of the machine: Anaconda's request headers, by which they choose a Kickstart file.

use std::fs;
use std::path::Path;

use crate::boot_options::BootOptions;
use crate::network::probe_interfaces;

/// The headers: architecture and name of the system always, network cards and serial number if boot options say so.
pub fn identity_headers(host: &Path, options: &BootOptions) -> Vec<(String, String)> {
    let mut headers = vec![("X-Anaconda-Architecture".to_owned(), architecture().to_owned())];
    if let Some(name) = system_name(host) {
        headers.push(("X-Anaconda-System-Release".to_owned(), name));
    }
    if options.sends_mac {
        let interfaces = probe_interfaces(host);
        let cards = interfaces
            .iter()
            .filter_map(|interface| Some((&interface.name, interface.mac?)));
        for (number, (name, mac)) in cards.enumerate() {
            headers.push((
                format!("X-RHN-Provisioning-MAC-{number}"),
                format!("{name} {mac}"),
            ));
        }
    }
    let serial = fs::read_to_string(host.join("sys/class/dmi/id/product_serial"));
    if let (true, Ok(serial)) = (options.sends_serial, serial) {
        headers.push(("X-System-Serial-Number".to_owned(), serial));
    }
    for (_, value) in &mut headers {
        *value = printable(value);
    }
    headers.retain(|(_, value)| !value.is_empty());
    headers
}

/// As `uname -m` says.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        other => other,
    }
}

/// `NAME` of os-release(5).
fn system_name(host: &Path) -> Option<String> {
    let paths = ["etc/os-release", "usr/lib/os-release"];
    let text = paths
        .iter()
        .find_map(|path| fs::read_to_string(host.join(path)).ok())?;
    let value = text.lines().find_map(|line| line.trim().strip_prefix("NAME="))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

fn printable(value: &str) -> String {
    let characters = value.trim().chars();
    characters
        .filter(|character| (' '..='~').contains(character))
        .collect()
}
