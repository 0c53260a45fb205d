//! Zones of firewalld.

use osmith_config::Firewall;

use super::CustomizeError;
use super::edit::Edit;

const CONFIG: &str = "/etc/firewalld/firewalld.conf";
/// The machine's own zones, and those of the package; a zone of one's own replaces one of the package.
const OWN_ZONES: &str = "/etc/firewalld/zones";
const ZONES: &str = "/usr/lib/firewalld/zones";
const SERVICES: [&str; 2] = ["/etc/firewalld/services", "/usr/lib/firewalld/services"];
const END: &str = "</zone>";

pub(super) fn apply(edit: &mut Edit, firewall: &Firewall) -> Result<(), CustomizeError> {
    const KEY: &str = "customizations.firewall";
    if *firewall == Firewall::default() {
        return Ok(());
    }
    let Some(config) = edit.text(CONFIG)? else {
        edit.problem(
            KEY,
            "the image has no firewalld",
            "install firewalld in the Containerfile",
        );
        return Ok(());
    };
    check_services(edit, firewall);
    let default = config
        .lines()
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| key.trim() == "DefaultZone");
    let default = default.map_or("public", |(_, zone)| zone.trim()).to_owned();
    let elements: Vec<String> = firewall
        .ports
        .iter()
        .map(|(port, protocol)| format!("<port port=\"{port}\" protocol=\"{protocol}\"/>"))
        .chain(firewall.enabled_services.iter().map(|name| service(name)))
        .collect();
    let removed: Vec<String> = firewall
        .disabled_services
        .iter()
        .map(|name| service(name))
        .collect();
    if !elements.is_empty() || !removed.is_empty() {
        change(edit, KEY, &default, &elements, &removed)?;
    }
    for zone in &firewall.zones {
        let sources: Vec<_> = zone
            .sources
            .iter()
            .map(|source| format!("<source address=\"{source}\"/>"))
            .collect();
        change(edit, &format!("{}.name", zone.key), &zone.name, &sources, &[])?;
    }
    Ok(())
}

fn service(name: &str) -> String {
    format!("<service name=\"{name}\"/>")
}

fn check_services(edit: &mut Edit, firewall: &Firewall) {
    for (index, name) in firewall.enabled_services.iter().enumerate() {
        if !SERVICES
            .iter()
            .any(|folder| edit.is_file(&format!("{folder}/{name}.xml")))
        {
            let key = format!("customizations.firewall.services.enabled[{index}]");
            let reason = format!("firewalld of the image knows no service '{name}'");
            edit.problem(
                &key,
                reason,
                "check its name with firewall-cmd --get-services, or write ports",
            );
        }
    }
}

/// Writes a zone with elements more and elements less.
fn change(
    edit: &mut Edit,
    key: &str,
    zone: &str,
    added: &[String],
    removed: &[String],
) -> Result<(), CustomizeError> {
    let own = format!("{OWN_ZONES}/{zone}.xml");
    let text = match edit.text(&own)? {
        Some(text) => Some(text),
        None => edit.text(&format!("{ZONES}/{zone}.xml"))?,
    };
    let text = text.unwrap_or_else(|| {
        format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<zone>\n  <short>{zone}</short>\n{END}\n")
    });
    let squeezed = |line: &str| line.replace(' ', "").replace('\'', "\"");
    let is_kept = |line: &&str| {
        !removed
            .iter()
            .chain(added)
            .any(|element| squeezed(element) == squeezed(line.trim()))
    };
    let kept: Vec<_> = text
        .lines()
        .filter(is_kept)
        .map(|line| format!("{line}\n"))
        .collect();
    let kept = kept.concat();
    let Some((before, after)) = kept.rsplit_once(END) else {
        let reason = format!("the zone '{zone}' of firewalld in the image is no zone: '{END}' is missing");
        edit.problem(key, reason, "write the zone in the Containerfile");
        return Ok(());
    };
    let added: String = added.iter().map(|element| format!("  {element}\n")).collect();
    edit.write_etc(key, &own, &format!("{before}{added}{END}{after}"), 0o644);
    Ok(())
}
