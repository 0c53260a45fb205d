//! Language, keyboard, time, services, SELinux, the firewall, logs, and how the installation ends.

use crate::arguments::{Arguments, WORD, comma_separated};
use crate::model::{
    Display, DisplayMode, End, EndAction, Firewall, FirewallPort, Keyboard, Lang, Logging, Selinux,
    SelinuxMode, Services, TimeServer, Timesource, Timezone,
};
use crate::reading::Reading;

pub(crate) fn lang(at: &Arguments<'_>, reading: &mut Reading) {
    let lang = at.word().unwrap_or_default().to_owned();
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@');
    if lang.is_empty() || !lang.chars().all(is_letter) {
        let message = format!("'{lang}' is no language");
        reading.unsupported(at, WORD, message, "write a name such as en_US.UTF-8");
    }
    if at.has("--addsupport") {
        let message = "--addsupport is ignored: languages belong to the image";
        reading.warning(at, "--addsupport", message, "install them in its Containerfile");
    }
    reading.kickstart.lang = Some(Lang {
        position: at.position(),
        lang,
        addsupport: at.list("--addsupport"),
    });
}

pub(crate) fn keyboard(at: &Arguments<'_>, reading: &mut Reading) {
    let layout = at.word().map(str::to_owned);
    let vc_keymap = at.filled("--vckeymap");
    let x_layouts = at.list("--xlayouts");
    if layout.is_none() && vc_keymap.is_none() && x_layouts.is_empty() {
        let message = "keyboard needs a layout";
        return reading.error(at, "", message, "write keyboard --vckeymap=us");
    }
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    for (option, keymap) in [("--vckeymap", &vc_keymap), (WORD, &layout)] {
        if let Some(keymap) = keymap
            && (keymap.is_empty() || !keymap.chars().all(is_letter))
        {
            let message = format!("'{keymap}' is no keymap");
            reading.unsupported(at, option, message, "write a name such as us or de-nodeadkeys");
        }
    }
    reading.kickstart.keyboard = Some(Keyboard {
        position: at.position(),
        layout,
        vc_keymap,
        x_layouts,
        switch: at.list("--switch"),
    });
}

pub(crate) fn timezone(at: &Arguments<'_>, reading: &mut Reading) {
    let zone = at.word().map(str::to_owned);
    let utc = at.has("--utc") || at.has("--isUtc");
    let ntp_servers = at.list("--ntpservers");
    let no_ntp = at.has("--nontp");
    let has_any = zone.is_some() || at.has_other_than("");
    if !has_any {
        let message = "timezone needs a zone";
        return reading.error(at, "", message, "write timezone Europe/Berlin --utc");
    }
    if no_ntp && !ntp_servers.is_empty() {
        let message = "--nontp and --ntpservers exclude each other";
        return reading.error(at, "--nontp", message, "keep one of them");
    }
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/');
    if let Some(zone) = &zone
        && (zone.is_empty() || zone.starts_with('/') || !zone.chars().all(is_letter))
    {
        let message = format!("'{zone}' is no time zone");
        reading.unsupported(at, WORD, message, "write a name such as Europe/Berlin or UTC");
    }
    reading.kickstart.timezone = Some(Timezone {
        position: at.position(),
        zone,
        utc,
        ntp_servers,
        no_ntp,
    });
}

pub(crate) fn timesource(at: &Arguments<'_>, reading: &mut Reading) {
    let server = at.filled("--ntp-server").map(TimeServer::Server);
    let pool = at.filled("--ntp-pool").map(TimeServer::Pool);
    let disabled = at.has("--ntp-disable").then_some(TimeServer::Disabled);
    let mut given = [server, pool, disabled].into_iter().flatten();
    let remedy = "write one of --ntp-server=NAME, --ntp-pool=NAME and --ntp-disable, a line each";
    let server = match (given.next(), given.next()) {
        (Some(server), None) => server,
        (None, _) => return reading.error(at, "", "timesource names no source of time", remedy),
        (Some(_), Some(_)) => {
            return reading.error(at, "", "timesource names more than one source of time", remedy);
        }
    };
    if let TimeServer::Server(name) | TimeServer::Pool(name) = &server
        && name.chars().any(|c| c.is_whitespace() || c.is_control())
    {
        let message = format!("'{name}' is no name of a machine");
        reading.unsupported(at, "", message, remedy);
    }
    reading.kickstart.timesources.push(Timesource {
        position: at.position(),
        server,
        nts: at.has("--nts"),
    });
}

pub(crate) fn services(at: &Arguments<'_>, reading: &mut Reading) {
    let (enabled, disabled) = (at.list("--enabled"), at.list("--disabled"));
    if enabled.is_empty() && disabled.is_empty() {
        let message = "services needs --enabled or --disabled with names";
        return reading.error(at, "", message, "write services --enabled=NAME,NAME");
    }
    for (option, names) in [("--enabled", &enabled), ("--disabled", &disabled)] {
        let is_letter = |c: char| c.is_ascii_alphanumeric() || "-_.:@\\".contains(c);
        if let Some(name) = names.iter().find(|name| !name.chars().all(is_letter)) {
            let message = format!("'{name}' is no name of a unit");
            reading.unsupported(at, option, message, "write names between commas");
        }
    }
    reading.kickstart.services = Some(Services {
        position: at.position(),
        enabled,
        disabled,
    });
}

pub(crate) fn selinux(at: &Arguments<'_>, reading: &mut Reading) {
    let modes = ["--enforcing", "--permissive", "--disabled"];
    let mode = at.last_of(&modes).map(|mode| match mode {
        "--enforcing" => SelinuxMode::Enforcing,
        "--permissive" => SelinuxMode::Permissive,
        _ => SelinuxMode::Disabled,
    });
    if modes.into_iter().filter(|mode| at.has(mode)).count() > 1 {
        let message = "there is more than one mode; the last one counts";
        reading.warning(at, "", message, "keep one of them");
    }
    if mode.is_none() {
        let message = "selinux names no mode and changes nothing";
        reading.warning(at, "", message, "add --enforcing, --permissive or --disabled");
    }
    reading.kickstart.selinux = Some(Selinux {
        position: at.position(),
        mode,
    });
}

pub(crate) fn firewall(at: &Arguments<'_>, reading: &mut Reading) {
    let mut services = Vec::new();
    for service in at.list("--service") {
        services.push(service);
    }
    for (option, service) in [
        ("--ftp", "ftp"),
        ("--http", "http"),
        ("--smtp", "smtp"),
        ("--ssh", "ssh"),
    ] {
        if at.has(option) {
            services.push(service.to_owned());
        }
    }
    let mut ports = Vec::new();
    for text in at.list("--port") {
        let (port, protocol) = text.split_once(':').unwrap_or((&text, "tcp"));
        let (port, protocol) = (port.trim(), protocol.trim());
        if !is_port(port) || !matches!(protocol, "tcp" | "udp" | "sctp" | "dccp") {
            let message = format!("'{text}' is no port");
            let remedy = "write NUMBER:PROTOCOL, such as 53:udp or 8000-8080:tcp";
            reading.unsupported(at, "--port", message, remedy);
            continue;
        }
        ports.push(FirewallPort {
            port: port.to_owned(),
            protocol: protocol.to_owned(),
        });
    }
    let enabled = at.last_of(&["--enabled", "--disabled"]) != Some("--disabled");
    if at.has("--enabled") && at.has("--disabled") {
        let message = "the firewall is on and off; what comes last counts";
        reading.warning(at, "--disabled", message, "keep one of them");
    }
    reading.kickstart.firewall = Some(Firewall {
        position: at.position(),
        enabled,
        use_system_defaults: at.has("--use-system-defaults"),
        ports,
        services,
        removed_services: at.list("--remove-service"),
        trusted: at
            .list("--trust")
            .iter()
            .flat_map(|text| comma_separated(text))
            .collect(),
    });
}

/// Whether a text is a number, a range, or the name of a service.
fn is_port(text: &str) -> bool {
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    if let Some((first, last)) = text.split_once('-')
        && let (Some(first), Some(last)) = (number(first), number(last))
    {
        return first <= last;
    }
    let is_name = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    number(text).is_some() || is_name && text.contains(|c: char| c.is_ascii_alphabetic())
}

pub(crate) fn logging(at: &Arguments<'_>, reading: &mut Reading) {
    let (host, port) = (at.filled("--host"), at.filled("--port"));
    if port.is_some() && host.is_none() {
        let message = "--port needs --host";
        return reading.error(at, "--port", message, "say where the log goes");
    }
    let number = port.as_deref().and_then(|port| port.parse().ok());
    if port.is_some() && number.is_none() {
        let message = format!("'{}' is no port", port.unwrap_or_default());
        reading.unsupported(at, "--port", message, "write a number");
    }
    reading.kickstart.logging = Some(Logging {
        position: at.position(),
        host,
        port: number,
    });
}

pub(crate) fn end(at: &Arguments<'_>, reading: &mut Reading) {
    let end = match at.command.text.as_str() {
        "reboot" => End::Reboot,
        "halt" => End::Halt,
        _ => End::Poweroff,
    };
    if at.has("--kexec") && end != End::Reboot {
        let message = "--kexec has no effect: nothing is started afterwards";
        reading.warning(at, "--kexec", message, "write reboot --kexec");
    }
    reading.kickstart.end = Some(EndAction {
        position: at.position(),
        end,
        eject: at.has("--eject"),
        kexec: at.has("--kexec"),
    });
}

pub(crate) fn display(at: &Arguments<'_>, reading: &mut Reading) {
    let mode = match at.command.text.as_str() {
        "text" => DisplayMode::Text,
        "cmdline" => DisplayMode::Cmdline,
        _ => DisplayMode::Graphical,
    };
    if mode == DisplayMode::Cmdline && at.has("--non-interactive") {
        let message = "cmdline is never interactive and has no --non-interactive";
        return reading.error(at, "--non-interactive", message, "take it out");
    }
    reading.kickstart.display = Some(Display {
        position: at.position(),
        mode,
        non_interactive: at.has("--non-interactive"),
    });
}
