//! Settings of the system: each is one file, or a few.

use std::collections::BTreeMap;

use super::rules::{hostname, is_word};
use super::{Fields, Seen, Text};
use crate::model::{Configuration, Firewall, FirewallZone, Locale, Services, Sshd, Timezone};
use crate::problem::Problems;
use crate::value::below;

/// The part of the configuration that is settings.
pub(super) fn read(customizations: &Fields, problems: &mut Problems) -> Configuration {
    check_fips(customizations, problems);
    let hostname = customizations
        .text("hostname")
        .filter(|name| hostname(name, problems));
    Configuration {
        kernel_arguments: kernel_arguments(&customizations.table("kernel"), problems),
        sshd: sshd(&customizations.table("sshd"), problems),
        hostname: hostname.map(|name| name.text.to_owned()),
        timezone: timezone(&customizations.table("timezone"), problems),
        locale: locale(&customizations.table("locale"), problems),
        services: services(&customizations.table("services"), problems),
        firewall: firewall(&customizations.table("firewall"), problems),
        ..Configuration::default()
    }
}

fn check_fips(customizations: &Fields, problems: &mut Problems) {
    if customizations.boolean("fips") == Some(true) {
        let path = below(&customizations.path, "fips");
        let reason = "FIPS mode needs more than a disk can add: the initramfs must have its checks";
        let remedy = "in the Containerfile, RUN update-crypto-policies --set FIPS, write kargs = [\"fips=1\"] below \
                      /usr/lib/bootc/kargs.d, and make the initramfs with dracut --add fips";
        problems.add(customizations.key_span("fips"), &path, reason, remedy);
    }
}

/// One line; quotes keep blanks together and must be closed.
fn kernel_arguments(kernel: &Fields, problems: &mut Problems) -> Option<String> {
    let append = kernel.text("append")?;
    if append.text.matches('"').count() % 2 == 1 {
        append.wrong(
            problems,
            "a quotation mark is not closed",
            "write another '\"' where the value ends",
        );
    }
    let own = ["composefs=", "composefs.digest=", "root="];
    let words = append.text.split_ascii_whitespace();
    for word in words.filter(|word| {
        own.iter()
            .any(|name| word.trim_start_matches('"').starts_with(name))
    }) {
        let reason =
            format!("'{word}' is an argument that osmith sets: with another, the machine does not start");
        append.wrong(problems, reason, "take it away");
    }
    Some(append.text.to_owned())
}

fn sshd(table: &Fields, problems: &mut Problems) -> Sshd {
    const WORDS: [&str; 4] = ["yes", "prohibit-password", "forced-commands-only", "no"];
    let root = table.text("permit_root_login").inspect(|word| {
        if !WORDS.contains(&word.text) {
            let reason = format!("'{}' is no answer to whether root may log in", word.text);
            word.wrong(problems, reason, format!("write one of: {}", WORDS.join(", ")));
        }
    });
    Sshd {
        password_authentication: table.boolean("password_authentication"),
        keyboard_interactive_authentication: table.boolean("kbd_interactive_authentication"),
        permit_root_login: root.map(|word| word.text.to_owned()),
        client_alive_interval_seconds: table.number("client_alive_interval"),
    }
}

fn timezone(table: &Fields, problems: &mut Problems) -> Timezone {
    let timezone = table.text("timezone").inspect(|name| {
        let is_part = |part: &str| is_word(part, "_+-");
        if !name.text.split('/').all(is_part) {
            let reason = format!("'{}' is no time zone", name.text);
            name.wrong(
                problems,
                reason,
                "write one that timedatectl list-timezones prints, such as Europe/Berlin",
            );
        }
    });
    let servers = table.texts("ntpservers");
    let ntp_servers = servers.iter().map(|server| {
        if !is_word(server.text, ".-:") {
            let reason = format!("'{}' is no name or address of a machine", server.text);
            server.wrong(problems, reason, "write one such as 0.pool.ntp.org");
        }
        server.text.to_owned()
    });
    Timezone {
        timezone: timezone.map(|name| name.text.to_owned()),
        ntp_servers: ntp_servers.collect(),
    }
}

fn locale(table: &Fields, problems: &mut Problems) -> Locale {
    let languages = table.texts("languages");
    let languages = languages.iter().map(|language| {
        if !is_word(language.text, "_.@-") {
            let reason = format!("'{}' is no locale", language.text);
            language.wrong(problems, reason, "write one such as en_US.UTF-8");
        }
        language.text.to_owned()
    });
    let languages = languages.collect();
    let keyboard = table.text("keyboard").inspect(|keymap| {
        if !is_word(keymap.text, "_.-") {
            let reason = format!("'{}' is no keyboard", keymap.text);
            keymap.wrong(
                problems,
                reason,
                "write one that localectl list-keymaps prints, such as us or de-nodeadkeys",
            );
        }
    });
    Locale {
        languages,
        keyboard: keyboard.map(|keymap| keymap.text.to_owned()),
    }
}

fn services(table: &Fields, problems: &mut Problems) -> Services {
    let mut seen: BTreeMap<String, (String, &str)> = BTreeMap::new();
    let mut list = |name: &'static str| {
        let mut units = Vec::new();
        for unit in table.texts(name) {
            let Some(full) = unit_name(&unit, problems) else {
                continue;
            };
            match seen.get(&full) {
                Some((first, list)) if *list == name => {
                    unit.wrong(
                        problems,
                        format!("'{full}' is there already, in {first}"),
                        "take one of them away",
                    );
                }
                // A masked service is disabled, too; systemd sees it the same.
                Some((_, "disabled")) if name == "masked" => units.push(full),
                Some((first, list)) => {
                    let reason = format!("'{full}' is {list}, too, in {first}");
                    unit.wrong(problems, reason, "decide for one of them");
                }
                None => {
                    seen.insert(full.clone(), (unit.path.clone(), name));
                    units.push(full);
                }
            }
        }
        units
    };
    Services {
        enabled: list("enabled"),
        disabled: list("disabled"),
        masked: list("masked"),
    }
}

/// The name of a unit with its suffix, `.service` if there is none.
fn unit_name(unit: &Text, problems: &mut Problems) -> Option<String> {
    const KINDS: [&str; 9] = [
        "service",
        "socket",
        "target",
        "timer",
        "path",
        "mount",
        "automount",
        "swap",
        "slice",
    ];
    let has_suffix = unit
        .text
        .rsplit_once('.')
        .is_some_and(|(_, kind)| KINDS.contains(&kind));
    let is_right =
        is_word(unit.text, ":-_.\\@") && !unit.text.starts_with(['.', '@']) && unit.text.len() <= 240;
    if !is_right {
        let reason = format!("'{}' is no name of a unit of systemd", unit.text);
        unit.wrong(problems, reason, "write one such as sshd.service");
        return None;
    }
    Some(match has_suffix {
        true => unit.text.to_owned(),
        false => format!("{}.service", unit.text),
    })
}

fn firewall(table: &Fields, problems: &mut Problems) -> Firewall {
    let ports = table.texts("ports");
    let services = table.table("services");
    let mut names = Seen::new();
    let zones = table.tables("zones");
    let firewall = Firewall {
        ports: ports.iter().filter_map(|text| port(text, problems)).collect(),
        enabled_services: firewall_services(&services, "enabled", problems),
        disabled_services: firewall_services(&services, "disabled", problems),
        zones: zones
            .iter()
            .filter_map(|table| zone(table, &mut names, problems))
            .collect(),
    };
    for text in services.texts("disabled") {
        if firewall
            .enabled_services
            .iter()
            .any(|enabled| enabled == text.text)
        {
            text.wrong(
                problems,
                format!("'{}' is enabled, too", text.text),
                "decide for one of them",
            );
        }
    }
    firewall
}

fn firewall_services(services: &Fields, name: &str, problems: &mut Problems) -> Vec<String> {
    let texts = services.texts(name);
    let names = texts.iter().map(|text| {
        account_like(text, "a service of firewalld", problems);
        text.text.to_owned()
    });
    names.collect()
}

fn account_like(text: &Text, what: &str, problems: &mut Problems) {
    if !is_word(text.text, "-_") {
        text.wrong(
            problems,
            format!("'{}' is no name of {what}", text.text),
            "use letters, digits, '-' and '_'",
        );
    }
}

/// `80:tcp`, `8000-8100:udp`.
fn port(text: &Text, problems: &mut Problems) -> Option<(String, String)> {
    let is_port =
        |digits: &str| digits.parse::<u16>().is_ok_and(|port| port > 0) && !digits.starts_with(['+', '0']);
    let found = text.text.split_once(':').filter(|(ports, protocol)| {
        let is_range = match ports.split_once('-') {
            Some((first, last)) => {
                is_port(first) && is_port(last) && first.parse::<u16>().ok() < last.parse::<u16>().ok()
            }
            None => is_port(ports),
        };
        is_range && ["tcp", "udp", "sctp", "dccp"].contains(protocol)
    });
    if found.is_none() {
        let reason = format!("'{}' is no port", text.text);
        text.wrong(
            problems,
            reason,
            "write number and protocol, as in \"443:tcp\" or \"8000-8100:udp\"",
        );
    }
    found.map(|(ports, protocol)| (ports.to_owned(), protocol.to_owned()))
}

fn zone<'a>(table: &Fields<'a>, names: &mut Seen<&'a str>, problems: &mut Problems) -> Option<FirewallZone> {
    let name = table.text("name")?;
    account_like(&name, "a zone of firewalld", problems);
    if let Some(first) = names.before(name.text, &table.path) {
        let reason = format!("the zone '{}' is there already, in {first}", name.text);
        name.wrong(problems, reason, "put all of it into one entry");
    }
    let sources = table.texts("sources");
    let sources = sources.iter().map(|source| {
        if !is_source(source.text) {
            let reason = format!("'{}' is no address", source.text);
            source.wrong(
                problems,
                reason,
                "write one such as 192.168.1.0/24 or 2001:db8::/32",
            );
        }
        source.text.to_owned()
    });
    Some(FirewallZone {
        key: table.path.clone(),
        name: name.text.to_owned(),
        sources: sources.collect(),
    })
}

/// An address, or a network: an address and the length of its prefix.
fn is_source(text: &str) -> bool {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<std::net::IpAddr>() else {
        return false;
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    prefix.is_none_or(|prefix| prefix.parse::<u8>().is_ok_and(|prefix| prefix <= most))
}
