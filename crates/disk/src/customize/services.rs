//! Units of systemd: enabled, disabled and masked as `systemctl(1) --root` does it.

use osmith_config::Services;

use super::CustomizeError;
use super::edit::Edit;

const OWN: &str = "/etc/systemd/system";
/// Where units are, the first that has one counts.
const PLACES: [&str; 3] = [OWN, "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"];
/// Decides again about units when a machine starts for the first time.
const PRESET: &str = "/etc/systemd/system-preset/00-osmith.preset";
const MASK: &str = "/dev/null";

/// What `[Install]` says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Install {
    wanted_by: Vec<String>,
    required_by: Vec<String>,
    upheld_by: Vec<String>,
    aliases: Vec<String>,
    also: Vec<String>,
    default_instance: Option<String>,
}

pub(super) fn apply(edit: &mut Edit, services: &Services) -> Result<(), CustomizeError> {
    let mut preset = String::new();
    for (index, unit) in services.enabled.iter().enumerate() {
        enable(edit, &format!("customizations.services.enabled[{index}]"), unit)?;
        preset.push_str(&format!("enable {unit}\n"));
    }
    for (index, unit) in services.disabled.iter().enumerate() {
        let key = format!("customizations.services.disabled[{index}]");
        if find(edit, unit).is_none() && !services.masked.contains(unit) {
            missing(edit, &key, unit);
        }
        disable(edit, unit);
        preset.push_str(&format!("disable {unit}\n"));
    }
    for (index, unit) in services.masked.iter().enumerate() {
        mask(edit, &format!("customizations.services.masked[{index}]"), unit);
    }
    if !preset.is_empty() {
        edit.write_etc("customizations.services", PRESET, &preset, 0o644);
    }
    Ok(())
}

/// The name of a template: `a@.service` of `a@b.service`.
fn template(unit: &str) -> Option<(String, &str)> {
    let (prefix, rest) = unit.split_once('@')?;
    let (instance, suffix) = rest.rsplit_once('.')?;
    Some((format!("{prefix}@.{suffix}"), instance))
}

/// The path of the file of a unit.
fn find(edit: &Edit, unit: &str) -> Option<String> {
    let names = [Some(unit.to_owned()), template(unit).map(|(name, _)| name)];
    let paths = names
        .into_iter()
        .flatten()
        .flat_map(|name| PLACES.map(|place| format!("{place}/{name}")));
    let mut paths =
        paths.filter(|path| edit.is_file(path) || edit.link_target(path).as_deref() == Some(MASK));
    paths.next()
}

fn missing(edit: &mut Edit, key: &str, unit: &str) {
    let reason = format!("the image has no unit '{unit}'");
    let remedy = "install what brings it in the Containerfile, or write it below /etc/systemd/system there";
    edit.problem(key, reason, remedy);
}

fn enable(edit: &mut Edit, key: &str, unit: &str) -> Result<(), CustomizeError> {
    let mut pending = vec![unit.to_owned()];
    let mut done: Vec<String> = Vec::new();
    while let Some(unit) = pending.pop() {
        if done.contains(&unit) {
            continue;
        }
        done.push(unit.clone());
        let Some(path) = find(edit, &unit) else {
            missing(edit, key, &unit);
            continue;
        };
        if edit.link_target(&path).as_deref() == Some(MASK) {
            let remedy = "unmask it in the Containerfile: RUN systemctl unmask";
            edit.problem(key, format!("the unit '{unit}' is masked in the image"), remedy);
            continue;
        }
        // An alias is enabled by the unit that it stands for.
        let real = edit.real_path(&path, true).unwrap_or_default();
        let real_name = real.rsplit('/').next().unwrap_or_default().to_owned();
        let is_instance = template(&unit).is_some_and(|(name, _)| name == real_name);
        if real_name != unit && !is_instance {
            pending.push(real_name);
            continue;
        }
        let install = Install::parse(&edit.text(&path)?.unwrap_or_default());
        if install.is_empty() {
            let reason = format!("the unit '{unit}' cannot be enabled: it has no [Install] section");
            let remedy = "others start it when they need it; enable one of them, or leave it away";
            edit.problem(key, reason, remedy);
            continue;
        }
        pending.extend(install.also.iter().cloned());
        link(edit, key, &unit, &format!("/{real}"), &install);
    }
    Ok(())
}

fn link(edit: &mut Edit, key: &str, unit: &str, file: &str, install: &Install) {
    let (template, instance) = match template(unit) {
        Some((template, instance)) => (Some(template), instance),
        None => (None, ""),
    };
    let instance = match (&template, instance, &install.default_instance) {
        (Some(_), "", Some(default)) => default.as_str(),
        (Some(_), "", None) => {
            let reason = format!("the template '{unit}' has no instance of its own");
            edit.problem(key, reason, "write the name of an instance behind the '@'");
            return;
        }
        (_, instance, _) => instance,
    };
    let name = match &template {
        Some(template) => template.replacen('@', &format!("@{instance}"), 1),
        None => unit.to_owned(),
    };
    let prefix = name.split(['@', '.']).next().unwrap_or_default().to_owned();
    let expand = |text: &String| {
        text.replace("%i", instance)
            .replace("%p", &prefix)
            .replace("%n", &name)
    };
    let kinds = [
        (&install.wanted_by, "wants"),
        (&install.required_by, "requires"),
        (&install.upheld_by, "upholds"),
    ];
    for (units, kind) in kinds {
        for wanting in units.iter().map(expand) {
            place_link(edit, key, &format!("{OWN}/{wanting}.{kind}/{name}"), file);
        }
    }
    for alias in install.aliases.iter().map(expand).filter(|alias| *alias != name) {
        place_link(edit, key, &format!("{OWN}/{alias}"), file);
    }
}

fn place_link(edit: &mut Edit, key: &str, path: &str, target: &str) {
    if edit.link_target(path).as_deref() == Some(target) {
        return;
    }
    if let Some(real) = edit.place(key, path, false) {
        edit.link(&real, target);
    }
}

/// Takes away all links by which a unit starts, and its other names.
fn disable(edit: &mut Edit, unit: &str) {
    let leads_to = |edit: &Edit, path: &str| {
        let target = edit.link_target(path);
        target.is_some_and(|target| target.rsplit('/').next() == Some(unit))
    };
    for name in edit.names(OWN) {
        let path = format!("{OWN}/{name}");
        let is_of_links = [".wants", ".requires", ".upholds"]
            .iter()
            .any(|suffix| name.ends_with(suffix));
        let links = match is_of_links && edit.is_directory(&path) {
            true => edit
                .names(&path)
                .into_iter()
                .map(|link| format!("{path}/{link}"))
                .collect(),
            false => vec![path],
        };
        for link in links {
            let is_named = link.rsplit('/').next() == Some(unit) && is_of_links;
            if is_named || leads_to(edit, &link) {
                edit.remove(link.trim_start_matches('/'));
            }
        }
    }
}

fn mask(edit: &mut Edit, key: &str, unit: &str) {
    let path = format!("{OWN}/{unit}");
    if edit.exists(&path) && edit.link_target(&path).is_none() {
        let reason = format!("'{path}' of the image is a file, which a mask cannot replace");
        edit.problem(
            key,
            reason,
            "put the unit into /usr/lib/systemd/system in the Containerfile, or disable it",
        );
        return;
    }
    place_link(edit, key, &path, MASK);
}

impl Install {
    fn parse(text: &str) -> Self {
        let mut install = Install::default();
        let mut is_inside = false;
        // A backslash joins lines.
        let text = text.replace("\\\n", " ");
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                is_inside = line == "[Install]";
            }
            let Some((name, value)) = line.split_once('=').filter(|_| is_inside) else {
                continue;
            };
            let words = value.split_ascii_whitespace().map(str::to_owned);
            match name.trim() {
                "WantedBy" => install.wanted_by.extend(words),
                "RequiredBy" => install.required_by.extend(words),
                "UpheldBy" => install.upheld_by.extend(words),
                "Alias" => install.aliases.extend(words),
                "Also" => install.also.extend(words),
                "DefaultInstance" => install.default_instance = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        install
    }

    fn is_empty(&self) -> bool {
        *self == Install::default()
    }
}
