//! The settings that are one file each: host name, language, SSH server.

use osmith_config::{Configuration, Locale, Sshd};

use super::CustomizeError;
use super::edit::Edit;

const LOCALES: &str = "/usr/lib/locale";
/// Where distributions have the keyboards of the console.
const KEYMAPS: [&str; 3] = [
    "/usr/lib/kbd/keymaps",
    "/usr/share/kbd/keymaps",
    "/usr/share/keymaps",
];
const SSHD_CONFIG: &str = "/etc/ssh/sshd_config";
/// The first value counts, so the name comes before those of others.
const SSHD_DROP_IN: &str = "/etc/ssh/sshd_config.d/00-osmith.conf";

pub(super) fn apply(edit: &mut Edit, configuration: &Configuration) -> Result<(), CustomizeError> {
    if let Some(name) = &configuration.hostname {
        edit.write_etc(
            "customizations.hostname",
            "/etc/hostname",
            &format!("{name}\n"),
            0o644,
        );
    }
    language(edit, &configuration.locale)?;
    keyboard(edit, &configuration.locale)?;
    sshd(edit, &configuration.sshd)
}

fn language(edit: &mut Edit, locale: &Locale) -> Result<(), CustomizeError> {
    const KEY: &str = "customizations.locale.languages";
    for (index, language) in locale.languages.iter().enumerate() {
        if !has_locale(edit, language) {
            let reason = format!("the image has no locale '{language}' in {LOCALES}");
            let remedy = "install it in the Containerfile: glibc-langpack-... (Fedora), locales and locale-gen (Debian)";
            edit.problem(&format!("{KEY}[{index}]"), reason, remedy);
        }
    }
    let Some(first) = locale.languages.first() else {
        return Ok(());
    };
    // Debian's PAM reads the second, which may be a link to the first.
    for path in ["/etc/locale.conf", "/etc/default/locale"] {
        if path == "/etc/locale.conf" || edit.is_file(path) {
            let text = edit.text(path)?.unwrap_or_default();
            edit.write_etc(KEY, path, &with_setting(&text, "LANG", first), 0o644);
        }
    }
    Ok(())
}

/// Whether a language works. What is in an archive of locales cannot be told without the programs of the image.
fn has_locale(edit: &Edit, language: &str) -> bool {
    let normal = |name: &str| name.to_lowercase().replace("utf-8", "utf8");
    let built_in = ["c", "posix", "c.utf8"];
    built_in.contains(&normal(language).as_str())
        || edit.exists(&format!("{LOCALES}/locale-archive"))
        || edit
            .names(LOCALES)
            .iter()
            .any(|name| normal(name) == normal(language))
}

fn keyboard(edit: &mut Edit, locale: &Locale) -> Result<(), CustomizeError> {
    const KEY: &str = "customizations.locale.keyboard";
    const FILE: &str = "/etc/vconsole.conf";
    let Some(keymap) = &locale.keyboard else {
        return Ok(());
    };
    if !KEYMAPS.iter().any(|folder| has_keymap(edit, folder, keymap)) {
        let reason = format!("the image has no keyboard '{keymap}'");
        edit.problem(
            KEY,
            reason,
            "install the keyboards in the Containerfile: kbd (Fedora), kbd and console-data (Debian)",
        );
        return Ok(());
    }
    let text = edit.text(FILE)?.unwrap_or_default();
    edit.write_etc(KEY, FILE, &with_setting(&text, "KEYMAP", keymap), 0o644);
    Ok(())
}

fn has_keymap(edit: &Edit, folder: &str, keymap: &str) -> bool {
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        for name in edit.names(&folder) {
            let path = format!("{folder}/{name}");
            let stem = name.strip_suffix(".gz").unwrap_or(&name);
            if stem.strip_suffix(".map").is_some_and(|stem| stem == keymap) {
                return true;
            }
            // Links to folders are names of folders that are there anyway.
            if edit.link_target(&path).is_none() && edit.is_directory(&path) {
                pending.push(path);
            }
        }
    }
    false
}

/// A file of `NAME=value` lines with another value.
fn with_setting(text: &str, name: &str, value: &str) -> String {
    let is_it = |line: &str| {
        line.trim_start()
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('='))
    };
    let kept: Vec<_> = text
        .lines()
        .filter(|line| !is_it(line))
        .map(|line| format!("{line}\n"))
        .collect();
    format!("{}{name}={value}\n", kept.concat())
}

fn sshd(edit: &mut Edit, sshd: &Sshd) -> Result<(), CustomizeError> {
    const KEY: &str = "customizations.sshd";
    let yes_or_no = |value: bool| if value { "yes" } else { "no" }.to_owned();
    let settings = [
        (
            "PasswordAuthentication",
            sshd.password_authentication.map(yes_or_no),
        ),
        (
            "KbdInteractiveAuthentication",
            sshd.keyboard_interactive_authentication.map(yes_or_no),
        ),
        ("PermitRootLogin", sshd.permit_root_login.clone()),
        (
            "ClientAliveInterval",
            sshd.client_alive_interval_seconds
                .map(|seconds| seconds.to_string()),
        ),
    ];
    let lines: Vec<_> = settings
        .iter()
        .filter_map(|(name, value)| Some(format!("{name} {}\n", value.as_ref()?)))
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    let Some(configuration) = edit.text(SSHD_CONFIG)? else {
        edit.problem(
            KEY,
            format!("the image has no SSH server: {SSHD_CONFIG} is missing"),
            "install openssh-server in the Containerfile",
        );
        return Ok(());
    };
    let includes = configuration.lines().any(|line| {
        let mut words = line.split_ascii_whitespace();
        let is_include = words
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case("include"));
        is_include && words.any(|word| word == "/etc/ssh/sshd_config.d/*.conf")
    });
    if !includes {
        edit.problem(
            KEY,
            format!("{SSHD_CONFIG} of the image does not read /etc/ssh/sshd_config.d"),
            "begin it with 'Include /etc/ssh/sshd_config.d/*.conf' in the Containerfile",
        );
        return Ok(());
    }
    edit.write_etc(KEY, SSHD_DROP_IN, &lines.concat(), 0o600);
    Ok(())
}
