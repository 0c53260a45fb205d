//! The time zone, and whom the machine asks for the time.

use osmith_config::Timezone;

use super::CustomizeError;
use super::edit::Edit;

const ZONES: &str = "/usr/share/zoneinfo";
const TIMESYNCD_DROP_IN: &str = "/etc/systemd/timesyncd.conf.d/50-osmith.conf";
const TIMESYNCD_UNIT: &str = "/usr/lib/systemd/system/systemd-timesyncd.service";
/// Fedora's place, and Debian's.
const CHRONY: [&str; 2] = ["/etc/chrony.conf", "/etc/chrony/chrony.conf"];

pub(super) fn apply(edit: &mut Edit, wanted: &Timezone) -> Result<(), CustomizeError> {
    if let Some(zone) = &wanted.timezone {
        time_zone(edit, zone);
    }
    if wanted.ntp_servers.is_empty() {
        return Ok(());
    }
    servers(edit, &wanted.ntp_servers)
}

fn time_zone(edit: &mut Edit, zone: &str) {
    const KEY: &str = "customizations.timezone.timezone";
    if !edit.is_file(&format!("{ZONES}/{zone}")) {
        let reason = format!("the image has no time zone '{zone}' in {ZONES}");
        edit.problem(
            KEY,
            reason,
            "check its name with timedatectl list-timezones, or install tzdata in the Containerfile",
        );
        return;
    }
    if let Some(real) = edit.place(KEY, "/etc/localtime", false) {
        edit.link(&real, &format!("..{ZONES}/{zone}"));
    }
    // Debian says it in words, too.
    if edit.is_file("/etc/timezone") {
        edit.write_etc(KEY, "/etc/timezone", &format!("{zone}\n"), 0o644);
    }
}

fn servers(edit: &mut Edit, servers: &[String]) -> Result<(), CustomizeError> {
    const KEY: &str = "customizations.timezone.ntpservers";
    for path in CHRONY {
        if let Some(text) = edit.text(path)? {
            edit.write_etc(KEY, path, &chrony(&text, servers), 0o644);
            return Ok(());
        }
    }
    if edit.is_file(TIMESYNCD_UNIT) {
        let text = format!("[Time]\nNTP=\nNTP={}\n", servers.join(" "));
        edit.write_etc(KEY, TIMESYNCD_DROP_IN, &text, 0o644);
        return Ok(());
    }
    let reason = "the image has nothing that sets the clock: neither chrony nor systemd-timesyncd";
    edit.problem(KEY, reason, "install one of them in the Containerfile");
    Ok(())
}

/// The configuration of chrony with other sources.
fn chrony(text: &str, servers: &[String]) -> String {
    let is_source = |line: &str| {
        let word = line.split_ascii_whitespace().next().unwrap_or_default();
        ["server", "pool", "peer"].contains(&word.to_ascii_lowercase().as_str())
    };
    let kept = text
        .lines()
        .filter(|line| !is_source(line))
        .map(|line| format!("{line}\n"));
    let added = servers.iter().map(|server| format!("server {server} iburst\n"));
    kept.chain(added).collect()
}
