//! One account.

use osmith_config::{SshKey, User};

use super::home::{Resident, add_keys, ensure};
use super::{Accounts, GID_OF_USER, UID, password};
use crate::customize::CustomizeError;
use crate::customize::edit::Edit;
use crate::identity::Identity;

/// Fields of `passwd(5)`.
const DESCRIPTION: usize = 4;
const HOME: usize = 5;
const SHELL: usize = 6;
/// Fields of `shadow(5)`.
const HASH: usize = 1;
const LAST_CHANGE: usize = 2;
const EXPIRES: usize = 7;
const SHADOW_FIELDS: usize = 9;

impl Accounts {
    /// Makes an account, or changes one of the image.
    pub(super) fn ensure_user(
        &mut self,
        edit: &mut Edit,
        user: &User,
        identity: &Identity,
    ) -> Result<(), CustomizeError> {
        self.adopt_user(&user.name);
        let is_new = self.passwd.row(&user.name).is_none();
        let has_numbers = match is_new {
            true => self.add_user(edit, user),
            false => self.check_numbers(edit, user),
        };
        if !has_numbers {
            return Ok(());
        }
        self.set_fields(edit, user);
        self.set_shadow(edit, user, identity);
        self.join_groups(edit, user);
        let Some(row) = self.passwd.row(&user.name) else {
            return Ok(());
        };
        let home = row.get(HOME).cloned().unwrap_or_default();
        let resident = self.resident(&user.name, &home);
        let lives_nowhere = user.home.as_deref() == Some("");
        let wants_home = is_new || user.home.is_some() || !user.ssh_keys.is_empty();
        if lives_nowhere || !wants_home {
            if lives_nowhere && !user.ssh_keys.is_empty() {
                let reason = format!(
                    "the account '{}' has no home, and so no place for its key",
                    user.name
                );
                edit.problem(&format!("{}.key", user.key), reason, "take home = \"\" away");
            }
            return Ok(());
        }
        let key = format!("{}.home", user.key);
        let mode = self.home_mode(&resident);
        if ensure(edit, &key, &resident, mode, &self.defaults.skeleton).is_some() && !user.ssh_keys.is_empty()
        {
            add_keys(edit, &format!("{}.key", user.key), &resident, &user.ssh_keys)?;
        }
        Ok(())
    }

    /// Adds keys of an account that is there by now.
    pub(super) fn add_key(&mut self, edit: &mut Edit, key: &SshKey) -> Result<(), CustomizeError> {
        self.adopt_user(&key.user);
        let Some(row) = self.passwd.row(&key.user) else {
            let reason = format!(
                "there is no account '{}', neither in the image nor in the configuration",
                key.user
            );
            edit.problem(
                &format!("{}.user", key.key),
                reason,
                "make it with user, which has a key, too",
            );
            return Ok(());
        };
        let home = row.get(HOME).cloned().unwrap_or_default();
        let resident = self.resident(&key.user, &home);
        let place = format!("{}.user", key.key);
        let mode = self.home_mode(&resident);
        if ensure(edit, &place, &resident, mode, &self.defaults.skeleton).is_some() {
            add_keys(edit, &place, &resident, &key.lines)?;
        }
        Ok(())
    }

    /// An account of a package comes into the machine's own file when it is changed.
    fn adopt_user(&mut self, name: &str) {
        if self.passwd.row(name).is_none()
            && let Some(row) = self.vendor_passwd.row(name)
        {
            self.passwd.push(row.to_vec());
        }
    }

    fn resident<'a>(&self, name: &str, home: &'a str) -> Resident<'a> {
        Resident {
            uid: self.passwd.number(name, UID).unwrap_or_default(),
            gid: self.passwd.number(name, GID_OF_USER).unwrap_or_default(),
            home,
        }
    }

    fn home_mode(&self, resident: &Resident) -> u16 {
        match resident.uid {
            0 => 0o700,
            _ => self.defaults.home_mode,
        }
    }

    /// Adds an account with its numbers; `false` after a problem.
    fn add_user(&mut self, edit: &mut Edit, user: &User) -> bool {
        if let Some(uid) = user.uid {
            let own = self.passwd.named(UID, uid);
            if let Some(owner) = own.or_else(|| self.vendor_passwd.named(UID, uid)) {
                let reason = format!("the uid {uid} is that of the account '{owner}'");
                edit.problem(
                    &format!("{}.uid", user.key),
                    reason,
                    "choose another uid, or take it away for one that is free",
                );
                return false;
            }
        }
        let Some(uid) = user.uid.or_else(|| self.free_uid()) else {
            self.no_number(edit, &user.key, "uid", self.defaults.uids);
            return false;
        };
        let Some(gid) = self.primary_group(edit, user, uid) else {
            return false;
        };
        let home = format!("{}/{}", self.defaults.home_base.trim_end_matches('/'), user.name);
        let shell = self.defaults.shell.clone();
        let row = [
            &user.name,
            "x",
            &uid.to_string(),
            &gid.to_string(),
            "",
            &home,
            &shell,
        ];
        self.passwd.push(row.map(str::to_owned));
        let (uids, gids) = (self.defaults.sub_uids, self.defaults.sub_gids);
        for (table, range) in [(&mut self.subuid, uids), (&mut self.subgid, gids)] {
            let Some(table) = table else { continue };
            let start = table.highest_end().max(range.min);
            if range.count > 0 && start + range.count - 1 <= range.max {
                table.push([user.name.clone(), start.to_string(), range.count.to_string()]);
            }
        }
        true
    }

    /// The group of a new account, which is made if accounts have groups of their own.
    fn primary_group(&mut self, edit: &mut Edit, user: &User, uid: u32) -> Option<u32> {
        if let Some(gid) = user.gid {
            return self.require_group(edit, user, gid).then_some(gid);
        }
        if let Some(gid) = self.gid(&user.name) {
            return Some(gid);
        }
        if !self.defaults.has_own_groups {
            let wanted = self.defaults.group.clone().unwrap_or_else(|| "100".to_owned());
            return wanted.parse().ok().or_else(|| self.gid(&wanted));
        }
        let gid = self.free_gid(Some(uid));
        match gid {
            Some(gid) => self.add_group(&user.name, gid),
            None => self.no_number(edit, &user.key, "gid", self.defaults.gids),
        }
        gid
    }

    /// Whether there is a group with that number; a problem if not.
    fn require_group(&self, edit: &mut Edit, user: &User, gid: u32) -> bool {
        let is_there = self.group_of(gid).is_some();
        if !is_there {
            let reason = format!("there is no group with the gid {gid}");
            let remedy = "make it with group, or take gid away";
            edit.problem(&format!("{}.gid", user.key), reason, remedy);
        }
        is_there
    }

    /// Files of an account of the image have its number: it stays. `false` after a problem.
    fn check_numbers(&mut self, edit: &mut Edit, user: &User) -> bool {
        let uid = self.passwd.number(&user.name, UID);
        if let Some(wanted) = user.uid.filter(|wanted| Some(*wanted) != uid) {
            let uid = uid.map_or_else(|| "none".to_owned(), |uid| uid.to_string());
            let reason = format!(
                "the account '{}' of the image has the uid {uid}, not {wanted}",
                user.name
            );
            edit.problem(
                &format!("{}.uid", user.key),
                reason,
                "take uid away, or choose another name",
            );
            return false;
        }
        if let Some(gid) = user.gid {
            if !self.require_group(edit, user, gid) {
                return false;
            }
            self.passwd.set(&user.name, GID_OF_USER, gid.to_string());
        }
        true
    }

    fn set_fields(&mut self, edit: &mut Edit, user: &User) {
        if let Some(description) = &user.description {
            self.passwd.set(&user.name, DESCRIPTION, description);
        }
        if let Some(home) = user.home.as_ref().filter(|home| !home.is_empty()) {
            self.passwd.set(&user.name, HOME, home);
        }
        if let Some(shell) = &user.shell {
            self.passwd.set(&user.name, SHELL, shell);
        }
        let shell = self
            .passwd
            .row(&user.name)
            .and_then(|row| row.get(SHELL))
            .cloned()
            .unwrap_or_default();
        if !shell.is_empty() && !edit.is_file(&shell) {
            let reason = format!("the shell '{shell}' of '{}' is not in the image", user.name);
            edit.problem(
                &format!("{}.shell", user.key),
                reason,
                "install it in the Containerfile, or write another shell",
            );
        }
    }

    fn set_shadow(&mut self, edit: &mut Edit, user: &User, identity: &Identity) {
        let name = &user.name;
        if self.shadow.row(name).is_none() {
            let [min, max, warn] = self.defaults.password_days.clone();
            // The day 0 would ask for another password.
            let day = Some(edit.day()).filter(|day| *day > 0).map(|day| day.to_string());
            let mut row = vec![
                name.clone(),
                password::LOCKED.to_owned(),
                day.unwrap_or_default(),
                min,
                max,
                warn,
            ];
            row.push(self.defaults.inactive_days.clone());
            row.resize(SHADOW_FIELDS, String::new());
            self.shadow.push(row);
            // Where the hash was in passwd itself, it must not hide the other.
            self.passwd.set(name, HASH, "x");
        }
        if let Some(password) = &user.password {
            match password::hash(password, name, identity) {
                Some(hash) => {
                    self.shadow.set(name, HASH, hash);
                    self.passwd.set(name, HASH, "x");
                }
                None => {
                    let reason = "the password cannot be hashed";
                    edit.problem(&format!("{}.password", user.key), reason, "write a hash of it");
                }
            }
        }
        if let Some(day) = user.expires_on_day {
            self.shadow.set(name, EXPIRES, day.to_string());
        }
        if user.must_change_password {
            self.shadow.set(name, LAST_CHANGE, "0");
        }
    }

    /// The groups that are named, and for an account of the image no others.
    fn join_groups(&mut self, edit: &mut Edit, user: &User) {
        let Some(groups) = &user.groups else { return };
        self.group.remove_member(&user.name);
        if let Some(gshadow) = &mut self.gshadow {
            gshadow.remove_member(&user.name);
        }
        for (index, group) in groups.iter().enumerate() {
            if self.group.row(group).is_none() {
                match self.vendor_group.row(group).map(<[String]>::to_vec) {
                    Some(row) => self.group.push(row),
                    None => {
                        let reason = format!(
                            "there is no group '{group}', neither in the image nor in the configuration"
                        );
                        edit.problem(
                            &format!("{}.groups[{index}]", user.key),
                            reason,
                            "make it with group",
                        );
                        continue;
                    }
                }
            }
            self.group.add_member(group, &user.name);
            if let Some(gshadow) = &mut self.gshadow {
                gshadow.add_member(group, &user.name);
            }
        }
    }
}
