//! Accounts and groups, as `useradd(8)`, `usermod(8)` and `groupadd(8)` of the image would make them.

mod defaults;
mod home;
mod password;
mod table;
mod user;

use std::collections::{BTreeSet, HashMap};

use osmith_config::{Configuration, Group};

use super::CustomizeError;
use super::edit::Edit;
use crate::identity::Identity;
use defaults::Defaults;
use table::Table;

const PASSWD: &str = "/etc/passwd";
const SHADOW: &str = "/etc/shadow";
const GROUP: &str = "/etc/group";
const GSHADOW: &str = "/etc/gshadow";
const SUBUID: &str = "/etc/subuid";
const SUBGID: &str = "/etc/subgid";
/// Where distributions with an image keep the accounts of packages.
const VENDOR_PASSWD: &str = "/usr/lib/passwd";
const VENDOR_GROUP: &str = "/usr/lib/group";

/// The fields of `passwd(5)` and `group(5)` with numbers.
const UID: usize = 2;
const GID: usize = 2;
const GID_OF_USER: usize = 3;

/// Names of accounts and groups, and their numbers.
pub(super) struct Names {
    uids: HashMap<String, u32>,
    gids: HashMap<String, u32>,
}

impl Names {
    /// Those of the tree as it is now.
    pub(super) fn read(edit: &mut Edit) -> Result<Self, CustomizeError> {
        let mut numbers = |vendor: &str, own: &str, field| {
            let mut found = HashMap::new();
            // The machine's own come last: they count.
            for path in [vendor, own] {
                found.extend(read(edit, path)?.named_numbers(field));
            }
            Ok::<_, CustomizeError>(found)
        };
        Ok(Names {
            uids: numbers(VENDOR_PASSWD, PASSWD, UID)?,
            gids: numbers(VENDOR_GROUP, GROUP, GID)?,
        })
    }

    pub(super) fn uid(&self, name: &str) -> Option<u32> {
        self.uids.get(name).copied()
    }

    pub(super) fn gid(&self, name: &str) -> Option<u32> {
        self.gids.get(name).copied()
    }
}

/// The files of the system's accounts.
struct Accounts {
    passwd: Table,
    shadow: Table,
    group: Table,
    gshadow: Option<Table>,
    subuid: Option<Table>,
    subgid: Option<Table>,
    vendor_passwd: Table,
    vendor_group: Table,
    defaults: Defaults,
}

/// Makes groups, accounts and keys.
pub(super) fn apply(
    edit: &mut Edit,
    configuration: &Configuration,
    identity: &Identity,
) -> Result<(), CustomizeError> {
    let Configuration {
        users,
        groups,
        ssh_keys,
        ..
    } = configuration;
    if users.is_empty() && groups.is_empty() && ssh_keys.is_empty() {
        return Ok(());
    }
    let mut accounts = Accounts::read(edit)?;
    // Numbers that are asked for come before those that are only free.
    for group in groups.iter().filter(|group| group.gid.is_some()) {
        accounts.ensure_group(edit, group);
    }
    for group in groups.iter().filter(|group| group.gid.is_none()) {
        accounts.ensure_group(edit, group);
    }
    for user in users.iter().filter(|user| user.uid.is_some()) {
        accounts.ensure_user(edit, user, identity)?;
    }
    for user in users.iter().filter(|user| user.uid.is_none()) {
        accounts.ensure_user(edit, user, identity)?;
    }
    for key in ssh_keys {
        accounts.add_key(edit, key)?;
    }
    accounts.write(edit)
}

impl Accounts {
    fn read(edit: &mut Edit) -> Result<Self, CustomizeError> {
        let mut optional = |path| Ok::<_, CustomizeError>(edit.text(path)?.as_deref().map(Table::parse));
        let (gshadow, subuid, subgid) = (optional(GSHADOW)?, optional(SUBUID)?, optional(SUBGID)?);
        Ok(Accounts {
            passwd: read(edit, PASSWD)?,
            shadow: read(edit, SHADOW)?,
            group: read(edit, GROUP)?,
            gshadow,
            subuid,
            subgid,
            vendor_passwd: read(edit, VENDOR_PASSWD)?,
            vendor_group: read(edit, VENDOR_GROUP)?,
            defaults: Defaults::read(edit)?,
        })
    }

    /// Writes what has changed.
    fn write(&self, edit: &mut Edit) -> Result<(), CustomizeError> {
        let files = [
            (PASSWD, Some(&self.passwd), 0o644),
            (SHADOW, Some(&self.shadow), 0o600),
            (GROUP, Some(&self.group), 0o644),
            (GSHADOW, self.gshadow.as_ref(), 0o600),
            (SUBUID, self.subuid.as_ref(), 0o644),
            (SUBGID, self.subgid.as_ref(), 0o644),
        ];
        for (path, table, mode) in files {
            let Some(text) = table.map(Table::to_text) else {
                continue;
            };
            if edit.text(path)?.unwrap_or_default() != text {
                edit.write_etc("customizations.user", path, &text, mode);
            }
        }
        Ok(())
    }

    fn gid(&self, group: &str) -> Option<u32> {
        let own = self.group.number(group, GID);
        own.or_else(|| self.vendor_group.number(group, GID))
    }

    fn group_of(&self, gid: u32) -> Option<&str> {
        let own = self.group.named(GID, gid);
        own.or_else(|| self.vendor_group.named(GID, gid))
    }

    fn ensure_group(&mut self, edit: &mut Edit, group: &Group) {
        let key = format!("{}.gid", group.key);
        if let Some(gid) = self.gid(&group.name) {
            if group.gid.is_some_and(|wanted| wanted != gid) {
                let reason = format!("the group '{}' is there already, with the gid {gid}", group.name);
                edit.problem(&key, reason, "take gid away, or choose another name");
            }
            return;
        }
        if let Some((gid, owner)) = group
            .gid
            .and_then(|gid| Some((gid, self.group_of(gid)?.to_owned())))
        {
            let reason = format!("the gid {gid} is that of the group '{owner}'");
            edit.problem(
                &key,
                reason,
                "choose another gid, or take it away for one that is free",
            );
            return;
        }
        match group.gid.or_else(|| self.free_gid(None)) {
            Some(gid) => self.add_group(&group.name, gid),
            None => self.no_number(edit, &group.key, "gid", self.defaults.gids),
        }
    }

    fn no_number(&self, edit: &mut Edit, key: &str, what: &str, (min, max): (u32, u32)) {
        let reason =
            format!("no {what} from {min} to {max} is free, which /etc/login.defs of the image allows");
        edit.problem(key, reason, format!("write a {what}"));
    }

    fn add_group(&mut self, name: &str, gid: u32) {
        let row = [name, "x", &gid.to_string(), ""];
        self.group.push(row.map(str::to_owned));
        if let Some(gshadow) = &mut self.gshadow {
            gshadow.push([name, password::LOCKED, "", ""].map(str::to_owned));
        }
    }

    /// A free number for a group; that of its user, if it is.
    fn free_gid(&self, of_user: Option<u32>) -> Option<u32> {
        let mut taken = self.group.numbers(GID);
        taken.extend(self.vendor_group.numbers(GID));
        of_user
            .filter(|gid| !taken.contains(gid))
            .or_else(|| free(&taken, self.defaults.gids))
    }

    fn free_uid(&self) -> Option<u32> {
        let mut taken = self.passwd.numbers(UID);
        taken.extend(self.vendor_passwd.numbers(UID));
        free(&taken, self.defaults.uids)
    }
}

/// The number behind the highest of the range, or else the first that is free.
fn free(taken: &BTreeSet<u32>, (min, max): (u32, u32)) -> Option<u32> {
    if min > max {
        return None;
    }
    let next = taken
        .range(min..=max)
        .next_back()
        .map_or(min, |highest| highest.saturating_add(1));
    match next <= max {
        true => Some(next),
        false => (min..=max).find(|number| !taken.contains(number)),
    }
}

fn read(edit: &mut Edit, path: &str) -> Result<Table, CustomizeError> {
    Ok(Table::parse(&edit.text(path)?.unwrap_or_default()))
}
