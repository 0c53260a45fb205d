//! Users and groups by the image's own `/etc/passwd` and `/etc/group`.

use std::io::Read;

use osmith_formats::tree::{Content, Node, Resolved, Tree};
use osmith_image::store::{Store, StoreError};
use osmith_report::{Class, Failure};

/// These files are small; more than this is not read.
const FILE_MAX_BYTES: u64 = 16 << 20;

/// Why a user cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// There is no such user.
    #[error("the image has no user '{0}' in /etc/passwd")]
    NoUser(String),
    /// There is no such group.
    #[error("the image has no group '{0}' in /etc/group")]
    NoGroup(String),
    /// A file of the image cannot be read.
    #[error("cannot read '{0}' of the image")]
    Read(&'static str, #[source] std::io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Failure for UserError {
    fn class(&self) -> Class {
        match self {
            UserError::NoUser(_) | UserError::NoGroup(_) => Class::NotFound,
            UserError::Read(_, source) => io_class(source),
            UserError::Store(error) => error.class(),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            UserError::NoUser(_) | UserError::NoGroup(_) => {
                vec![
                    "create it in the image, with a RUN above in its Containerfile, or give its number"
                        .to_owned(),
                ]
            }
            _ => Vec::new(),
        }
    }
}

/// Owner and group by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// Who runs a command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// The user and the group.
    pub owner: Owner,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The home directory.
    pub home: String,
}

struct Account {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

/// The text of `/etc/passwd` and of `/etc/group`.
pub(crate) fn account_files(store: &Store, tree: &Tree<Content>) -> Result<(String, String), UserError> {
    Ok((
        text_of(store, tree, "/etc/passwd")?,
        text_of(store, tree, "/etc/group")?,
    ))
}

/// The accounts of a tree.
pub struct Accounts {
    accounts: Vec<Account>,
    groups: Vec<Group>,
}

impl Accounts {
    /// Those of a tree; a file that is missing has none.
    pub fn read(store: &Store, tree: &Tree<Content>) -> Result<Accounts, UserError> {
        let (passwd, group) = account_files(store, tree)?;
        Ok(Accounts::parse(&passwd, &group))
    }

    pub(crate) fn parse(passwd: &str, group: &str) -> Accounts {
        let account = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            Some(Account {
                name: (*fields.first()?).to_owned(),
                uid: fields.get(2)?.parse().ok()?,
                gid: fields.get(3)?.parse().ok()?,
                home: (*fields.get(5)?).to_owned(),
            })
        };
        let group_of = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            let members = fields.get(3).copied().unwrap_or_default().trim();
            Some(Group {
                name: (*fields.first()?).to_owned(),
                gid: fields.get(2)?.parse().ok()?,
                members: members.split(',').map(str::to_owned).collect(),
            })
        };
        Accounts {
            accounts: passwd.lines().filter_map(account).collect(),
            groups: group.lines().filter_map(group_of).collect(),
        }
    }

    /// Who `USER text` is: `name`, `uid`, `name:group`, `uid:gid`; empty for root.
    pub fn user(&self, text: &str) -> Result<User, UserError> {
        let (name, group) = split(text);
        let name = if name.is_empty() { "0" } else { name };
        let account = self.account(name);
        let uid = match (account, name.parse()) {
            (Some(account), _) => account.uid,
            (None, Ok(uid)) => uid,
            (None, Err(_)) => return Err(UserError::NoUser(name.to_owned())),
        };
        let gid = match group {
            Some(group) => self.gid(group)?,
            None => account.map_or(0, |account| account.gid),
        };
        let is_member = |group: &&Group| account.is_some_and(|account| group.members.contains(&account.name));
        let supplementary = self.groups.iter().filter(|_| group.is_none()).filter(is_member);
        Ok(User {
            owner: Owner { uid, gid },
            groups: supplementary.map(|group| group.gid).collect(),
            home: account.map_or("/", |account| &account.home).to_owned(),
        })
    }

    /// Whom `--chown=text` means: a number alone is also the group.
    pub fn owner(&self, text: &str) -> Result<Owner, UserError> {
        let (name, group) = split(text);
        let mut owner = self.user(text)?.owner;
        if group.is_none()
            && let Ok(number) = name.parse()
        {
            owner.gid = number;
        }
        Ok(owner)
    }

    fn account(&self, name: &str) -> Option<&Account> {
        let by_name = self.accounts.iter().find(|account| account.name == name);
        by_name.or_else(|| {
            let uid: u32 = name.parse().ok()?;
            self.accounts.iter().find(|account| account.uid == uid)
        })
    }

    fn gid(&self, name: &str) -> Result<u32, UserError> {
        let by_name = self.groups.iter().find(|group| group.name == name);
        match (by_name, name.parse()) {
            (Some(group), _) => Ok(group.gid),
            (None, Ok(gid)) => Ok(gid),
            (None, Err(_)) => Err(UserError::NoGroup(name.to_owned())),
        }
    }
}

/// User and group; an empty group is none.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((name, "")) => (name, None),
        Some((name, group)) => (name, Some(group)),
        None => (text, None),
    }
}

/// The text of a file of the tree; empty if there is none.
fn text_of(store: &Store, tree: &Tree<Content>, path: &'static str) -> Result<String, UserError> {
    let found = tree.resolve(path.as_bytes()).ok().filter(Resolved::exists);
    let Some(Node::Regular(content)) = found.map(|found| &tree.inode(found.inode).node) else {
        return Ok(String::new());
    };
    let mut bytes = Vec::new();
    let mut reader = store.read_content(content)?.take(FILE_MAX_BYTES);
    reader
        .read_to_end(&mut bytes)
        .map_err(|error| UserError::Read(path, error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn io_class(error: &std::io::Error) -> Class {
    match error.kind() {
        std::io::ErrorKind::NotFound => Class::NotFound,
        _ => Class::Environment,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_owners() {
        let passwd = "root:x:0:0::/root:/bin/sh\nbroken\nweb:x:33:34::/srv:/bin/sh\n";
        let group = "root:x:0:\nweb:x:34:\nlogs:x:50:web,other\nadm:x:4:web\n";
        let accounts = Accounts::parse(passwd, group);
        let web = accounts.user("web").unwrap();
        assert_eq!(
            (web.owner, web.groups, web.home.as_str()),
            (Owner { uid: 33, gid: 34 }, vec![50, 4], "/srv")
        );
        assert_eq!(accounts.user("33:50").unwrap().owner, Owner { uid: 33, gid: 50 });
        assert!(accounts.user("33:logs").unwrap().groups.is_empty());
        assert_eq!(accounts.user("").unwrap().home, "/root");
        let unknown = accounts.user("77").unwrap();
        assert_eq!(
            (unknown.owner, unknown.home.as_str()),
            (Owner { uid: 77, gid: 0 }, "/")
        );
        assert!(matches!(accounts.user("nobody"), Err(UserError::NoUser(_))));
        assert!(matches!(accounts.user("web:none"), Err(UserError::NoGroup(_))));
        assert_eq!(accounts.owner("5").unwrap(), Owner { uid: 5, gid: 5 });
        assert_eq!(accounts.owner("web").unwrap(), Owner { uid: 33, gid: 34 });
        assert_eq!(accounts.owner("1:logs").unwrap(), Owner { uid: 1, gid: 50 });
    }
}
