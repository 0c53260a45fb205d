//! What the image's own tools would give a new account: `login.defs(5)` and `/etc/default/useradd`.

use super::super::CustomizeError;
use super::super::edit::Edit;

/// Defaults of new accounts, as `useradd(8)` has them.
#[derive(Debug, Clone)]
pub(super) struct Defaults {
    pub(super) uids: (u32, u32),
    pub(super) gids: (u32, u32),
    pub(super) sub_uids: SubIds,
    pub(super) sub_gids: SubIds,
    pub(super) has_own_groups: bool,
    pub(super) group: Option<String>,
    pub(super) home_mode: u16,
    pub(super) home_base: String,
    pub(super) shell: String,
    pub(super) skeleton: String,
    pub(super) password_days: [String; 3],
    pub(super) inactive_days: String,
}

/// A range of numbers for user namespaces.
#[derive(Debug, Clone, Copy)]
pub(super) struct SubIds {
    pub(super) min: u64,
    pub(super) max: u64,
    pub(super) count: u64,
}

impl Defaults {
    pub(super) fn read(edit: &mut Edit) -> Result<Self, CustomizeError> {
        let login = edit.text("/etc/login.defs")?;
        // Where /usr has the vendor's files.
        let login = match login {
            Some(login) => login,
            None => edit.text("/usr/etc/login.defs")?.unwrap_or_default(),
        };
        let useradd = edit.text("/etc/default/useradd")?.unwrap_or_default();
        Ok(Defaults::parse(&login, &useradd))
    }

    fn parse(login: &str, useradd: &str) -> Self {
        let login = |name: &str| {
            let mut settings = login
                .lines()
                .filter_map(|line| line.trim().split_once([' ', '\t']));
            let found = settings.rfind(|(key, _)| *key == name);
            found.map(|(_, value)| value.trim().trim_matches('"').to_owned())
        };
        let useradd = |name: &str| {
            let mut settings = useradd.lines().filter_map(|line| line.trim().split_once('='));
            let found = settings.rfind(|(key, value)| *key == name && !value.is_empty());
            found.map(|(_, value)| value.trim().trim_matches('"').to_owned())
        };
        let number = |name: &str, default: u64| login(name).and_then(|text| parse(&text)).unwrap_or(default);
        let id = |name: &str, default| u32::try_from(number(name, default)).unwrap_or(u32::MAX - 1);
        let sub_ids = |kind: &str| SubIds {
            min: number(&format!("SUB_{kind}_MIN"), 100_000),
            max: number(&format!("SUB_{kind}_MAX"), 600_100_000),
            count: number(&format!("SUB_{kind}_COUNT"), 65_536),
        };
        let mask = 0o777 & !number("UMASK", 0o022);
        Defaults {
            uids: (id("UID_MIN", 1000), id("UID_MAX", 60_000)),
            gids: (id("GID_MIN", 1000), id("GID_MAX", 60_000)),
            sub_uids: sub_ids("UID"),
            sub_gids: sub_ids("GID"),
            has_own_groups: login("USERGROUPS_ENAB").is_none_or(|answer| answer.eq_ignore_ascii_case("yes")),
            group: useradd("GROUP"),
            home_mode: (number("HOME_MODE", mask) & 0o7777) as u16,
            home_base: useradd("HOME").unwrap_or_else(|| "/home".to_owned()),
            shell: useradd("SHELL").unwrap_or_else(|| "/bin/sh".to_owned()),
            skeleton: useradd("SKEL").unwrap_or_else(|| "/etc/skel".to_owned()),
            password_days: [
                login("PASS_MIN_DAYS").unwrap_or_else(|| "0".to_owned()),
                login("PASS_MAX_DAYS").unwrap_or_else(|| "99999".to_owned()),
                login("PASS_WARN_AGE").unwrap_or_else(|| "7".to_owned()),
            ],
            inactive_days: useradd("INACTIVE")
                .filter(|days| days != "-1")
                .unwrap_or_default(),
        }
    }
}

/// Decimal, octal or hexadecimal, as C has it.
fn parse(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => u64::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    }
}
