//! The settings of a Kickstart file as the configuration of a disk: what `osmith disk --config` reads, a Kickstart file says in
//! other words. So both have the same rules, and what is made of them is the same.
//!
//! The configuration is written as its JSON and read back: all its checks apply, and the keys of its problems lead to the
//! places in the Kickstart file.

use std::collections::BTreeMap;

use osmith_config::{Configuration, ConfigurationError, Directory, File, FileContents, Format, Password};
use osmith_kickstart::{self as kickstart, Kickstart, Position};
use serde_json::{Value, json};

use super::layout::Request;
use super::problems::Problems;

/// No password has this hash.
const LOCKED: &str = "!";

/// Which key of the configuration stands where in the Kickstart file.
#[derive(Debug, Clone, Default)]
pub struct Places(Vec<(String, Position)>);

impl Places {
    fn add(&mut self, key: impl Into<String>, position: &Position) {
        self.0.push((key.into(), position.clone()));
    }

    /// Where a key stands, or the nearest key around it.
    pub fn of(&self, key: &str) -> Option<&Position> {
        let is_in = |outer: &str| {
            let rest = key.strip_prefix(outer);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let places = self.0.iter().filter(|(outer, _)| is_in(outer));
        places
            .max_by_key(|(outer, _)| outer.len())
            .map(|(_, position)| position)
    }
}

/// A file of the machine that osmith writes in the words of another program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsFile {
    /// From the root directory on: below `/etc`.
    pub path: String,
    /// Its permissions.
    pub mode: u16,
    /// What is in it.
    pub contents: Vec<u8>,
}

/// The configuration, if nothing is wrong with it.
pub(super) fn of(
    kickstart: &Kickstart,
    requests: &[Request],
    problems: &mut Problems,
) -> Option<(Configuration, Places)> {
    let mut writer = Writer::default();
    writer.accounts(kickstart, problems);
    writer.settings(kickstart, problems);
    writer.services(kickstart);
    writer.firewall(kickstart);
    writer.partitions(requests);
    let (text, places) = writer.finish();
    let mut configuration = match Configuration::parse(text.as_bytes(), Format::Json) {
        Ok(configuration) => configuration,
        Err(error) => {
            refuse_all(&error, &places, problems);
            return None;
        }
    };
    set_passwords(&mut configuration, kickstart);
    set_mount_options(&mut configuration, requests);
    Some((configuration, places))
}

/// The problems of a configuration as problems of the Kickstart file.
pub(super) fn refuse_all(error: &ConfigurationError, places: &Places, problems: &mut Problems) {
    for problem in &error.problems {
        problems.refuse(places.of(&problem.key), &problem.reason, &problem.remedy);
    }
}

/// Adds files of the machine, with the directories on the way.
pub(super) fn add_files(configuration: &mut Configuration, files: impl IntoIterator<Item = SettingsFile>) {
    for file in files {
        let directory = file
            .path
            .rsplit_once('/')
            .map_or("/etc", |(directory, _)| directory);
        let is_new = !configuration
            .directories
            .iter()
            .any(|known| known.path == directory);
        if is_new && directory != "/etc" {
            configuration.directories.push(Directory {
                key: String::new(),
                path: directory.to_owned(),
                user: None,
                group: None,
                mode: None,
                ensure_parents: true,
            });
        }
        configuration.files.push(File {
            key: String::new(),
            path: file.path,
            user: None,
            group: None,
            mode: Some(file.mode),
            contents: FileContents::Bytes(file.contents),
        });
    }
}

/// The configuration as JSON, growing.
#[derive(Default)]
struct Writer {
    lists: BTreeMap<&'static str, Vec<Value>>,
    value: serde_json::Map<String, Value>,
    places: Places,
}

impl Writer {
    /// Adds an entry of a list.
    fn push(&mut self, name: &'static str, entry: Value, position: &Position) {
        let list = self.lists.entry(name).or_default();
        let key = format!("customizations.{name}[{}]", list.len());
        list.push(entry);
        self.places.add(key, position);
    }

    fn finish(mut self) -> (String, Places) {
        let lists = self.lists.into_iter();
        self.value
            .extend(lists.map(|(name, list)| (name.to_owned(), Value::Array(list))));
        (json!({ "customizations": self.value }).to_string(), self.places)
    }

    fn set(&mut self, name: &str, value: Value, position: &Position) {
        self.value.insert(name.to_owned(), value);
        self.places.add(format!("customizations.{name}"), position);
    }

    fn accounts(&mut self, kickstart: &Kickstart, problems: &mut Problems) {
        let mut groups: Vec<(&str, Option<u32>, &Position)> = kickstart
            .groups
            .iter()
            .map(|group| (group.name.as_str(), group.gid, &group.position))
            .collect();
        // `wheel(5000)` fixes a number.
        for user in &kickstart.users {
            let numbered = user.groups.iter().filter(|group| group.gid.is_some());
            for group in numbered {
                if !groups.iter().any(|(name, ..)| *name == group.name) {
                    groups.push((&group.name, group.gid, &user.position));
                }
            }
        }
        for (name, gid, position) in groups {
            self.push(
                "group",
                without_null(json!({ "name": name, "gid": gid })),
                position,
            );
        }
        if let Some(rootpw) = &kickstart.rootpw {
            self.push("user", json!({ "name": "root" }), &rootpw.position);
            if rootpw.allow_ssh {
                self.set("sshd", json!({ "permit_root_login": "yes" }), &rootpw.position);
            }
        }
        for user in &kickstart.users {
            if user.name == "root" {
                problems.refuse(
                    Some(&user.position),
                    "root is no user to make",
                    "write rootpw and sshkey",
                );
                continue;
            }
            let groups: Vec<_> = user.groups.iter().map(|group| group.name.as_str()).collect();
            let entry = json!({
                "name": user.name, "uid": user.uid, "gid": user.gid, "home": user.home, "shell": user.shell,
                "description": user.gecos, "groups": (!groups.is_empty()).then_some(groups),
            });
            self.push("user", without_null(entry), &user.position);
        }
        for key in &kickstart.ssh_keys {
            self.push(
                "sshkey",
                json!({ "user": key.user, "key": key.key }),
                &key.position,
            );
        }
    }

    fn settings(&mut self, kickstart: &Kickstart, problems: &mut Problems) {
        let named = kickstart
            .networks
            .iter()
            .rev()
            .find(|network| network.hostname.is_some());
        if let Some(network) = named {
            self.set("hostname", json!(network.hostname), &network.position);
        }
        if let Some(bootloader) = &kickstart.bootloader
            && let Some(append) = bootloader
                .append
                .as_deref()
                .filter(|append| !append.trim().is_empty())
        {
            self.set("kernel", json!({ "append": append }), &bootloader.position);
        }
        let mut locale = serde_json::Map::new();
        if let Some(lang) = &kickstart.lang {
            locale.insert("languages".to_owned(), json!([lang.lang]));
            self.places.add("customizations.locale.languages", &lang.position);
        }
        if let Some(keyboard) = &kickstart.keyboard
            && let Some(keymap) = keyboard.console_keymap()
        {
            locale.insert("keyboard".to_owned(), json!(keymap));
            self.places
                .add("customizations.locale.keyboard", &keyboard.position);
        }
        if !locale.is_empty() {
            self.value.insert("locale".to_owned(), Value::Object(locale));
        }
        self.time(kickstart, problems);
    }

    fn time(&mut self, kickstart: &Kickstart, problems: &mut Problems) {
        let mut time = serde_json::Map::new();
        let mut servers = Vec::new();
        if let Some(timezone) = &kickstart.timezone {
            self.places.add("customizations.timezone", &timezone.position);
            servers.extend(timezone.ntp_servers.iter().cloned());
            if let Some(zone) = &timezone.zone {
                time.insert("timezone".to_owned(), json!(zone));
            }
        }
        for source in &kickstart.timesources {
            self.places
                .add("customizations.timezone.ntpservers", &source.position);
            match &source.server {
                kickstart::TimeServer::Server(name) | kickstart::TimeServer::Pool(name) => {
                    servers.push(name.clone());
                }
                kickstart::TimeServer::Disabled => {}
            }
            if source.nts {
                let message = "--nts is not set up: the time is asked for without it";
                problems.warn(Some(&source.position), message, "configure chrony in the image");
            }
        }
        if !servers.is_empty() {
            time.insert("ntpservers".to_owned(), json!(servers));
        }
        if !time.is_empty() {
            self.value.insert("timezone".to_owned(), Value::Object(time));
        }
    }

    fn services(&mut self, kickstart: &Kickstart) {
        let mut enabled: Vec<String> = Vec::new();
        let mut disabled: Vec<String> = Vec::new();
        if let Some(services) = &kickstart.services {
            self.places.add("customizations.services", &services.position);
            enabled.extend(services.enabled.iter().cloned());
            // Both: disabled, then enabled.
            disabled.extend(
                services
                    .disabled
                    .iter()
                    .filter(|name| !services.enabled.contains(name))
                    .cloned(),
            );
        }
        if let Some(firewall) = kickstart
            .firewall
            .as_ref()
            .filter(|firewall| !firewall.use_system_defaults)
        {
            let (list, index) = match firewall.enabled {
                true => (&mut enabled, "enabled"),
                false => (&mut disabled, "disabled"),
            };
            self.places.add(
                format!("customizations.services.{index}[{}]", list.len()),
                &firewall.position,
            );
            list.push("firewalld.service".to_owned());
        }
        let is_disabled = |source: &kickstart::Timesource| source.server == kickstart::TimeServer::Disabled;
        if let Some(source) = kickstart.timesources.iter().find(|source| is_disabled(source)) {
            self.places.add(
                format!("customizations.services.disabled[{}]", disabled.len()),
                &source.position,
            );
            disabled.push("chronyd.service".to_owned());
        }
        if !enabled.is_empty() || !disabled.is_empty() {
            let value = json!({ "enabled": enabled, "disabled": disabled });
            self.value.insert("services".to_owned(), value);
        }
    }

    fn firewall(&mut self, kickstart: &Kickstart) {
        let wanted = kickstart.firewall.as_ref();
        let Some(firewall) = wanted.filter(|firewall| firewall.enabled && !firewall.use_system_defaults)
        else {
            return;
        };
        let ports: Vec<_> = firewall
            .ports
            .iter()
            .map(|port| format!("{}:{}", port.port, port.protocol))
            .collect();
        let mut services = firewall.services.clone();
        let ssh = "ssh".to_owned();
        if !services.contains(&ssh) && !firewall.removed_services.contains(&ssh) {
            services.push(ssh);
        }
        let value = json!({
            "ports": ports,
            "services": { "enabled": services, "disabled": firewall.removed_services },
        });
        self.set("firewall", value, &firewall.position);
    }

    fn partitions(&mut self, requests: &[Request]) {
        let partition = |request: &Request| {
            without_null(json!({
                "type": "plain", "mountpoint": request.path, "fs_type": request.file_system,
                "minsize": request.size_bytes, "label": request.label,
            }))
        };
        let partitions: Vec<_> = requests.iter().map(partition).collect();
        for (index, request) in requests.iter().enumerate() {
            let key = format!("customizations.disk.partitions[{index}]");
            self.places.add(key, &request.position);
        }
        self.value.insert(
            "disk".to_owned(),
            json!({ "type": "gpt", "partitions": partitions }),
        );
    }
}

fn without_null(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(fields.collect())
        }
        other => other,
    }
}

/// What stands in the file as a hash is one, whatever it begins with; so passwords do not go through the JSON.
fn set_passwords(configuration: &mut Configuration, kickstart: &Kickstart) {
    for user in &mut configuration.users {
        let wanted = match user.name.as_str() {
            "root" => kickstart
                .rootpw
                .as_ref()
                .map(|root| (root.password.as_ref(), root.lock)),
            name => {
                let user = kickstart.users.iter().find(|user| user.name == name);
                user.map(|user| (user.password.as_ref(), user.lock))
            }
        };
        user.password = match wanted {
            // A locked account that is unlocked later has its password; that of plain text would have to be hashed for that.
            Some((Some(kickstart::Password::Hashed(hash)), true)) => {
                Some(Password::Hashed(format!("{LOCKED}{hash}")))
            }
            Some((_, true)) => Some(Password::Hashed(LOCKED.to_owned())),
            Some((Some(kickstart::Password::Hashed(hash)), false)) => Some(Password::Hashed(hash.clone())),
            Some((Some(kickstart::Password::Plain(text)), false)) => Some(Password::Plain(text.clone())),
            Some((None, false)) | None => None,
        };
    }
}

fn set_mount_options(configuration: &mut Configuration, requests: &[Request]) {
    let osmith_config::Storage::Disk(disk) = &mut configuration.storage else {
        return;
    };
    for (partition, request) in disk.partitions.iter_mut().zip(requests) {
        partition.mount_options.clone_from(&request.mount_options);
    }
}
