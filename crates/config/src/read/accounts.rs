//! Accounts, groups and SSH keys.

use super::rules::{absolute_path, account_name, passwd_field};
use super::{Fields, Seen, Text};
use crate::model::{Group, Password, SshKey, User};
use crate::problem::Problems;

/// Prefixes of hashes that `crypt(5)` knows and no one should be afraid of.
const HASHES: [&str; 8] = ["$6$", "$5$", "$2b$", "$2a$", "$2y$", "$y$", "$gy$", "$7$"];

/// Numbers that mean "nobody" or "no user" to the system.
const RESERVED_IDS: [u32; 2] = [65534, 65535];

pub(super) fn users(customizations: &Fields, problems: &mut Problems) -> Vec<User> {
    let mut names = Seen::new();
    let tables = customizations.tables("user");
    let users: Vec<_> = tables
        .iter()
        .map(|table| (table, user(table, problems)))
        .collect();
    for (table, user) in &users {
        if let (Some(name), Some(first)) = (table.text("name"), names.before(user.name.clone(), &table.path))
        {
            let reason = format!("the account '{}' is there already, in {first}", user.name);
            name.wrong(problems, reason, "put all of it into one entry");
        }
    }
    users.into_iter().map(|(_, user)| user).collect()
}

fn user(table: &Fields, problems: &mut Problems) -> User {
    let name = table.text("name").filter(|name| account_name(name, problems));
    let name = name.map(|name| name.text.to_owned()).unwrap_or_default();
    let groups = table.has("groups").then(|| supplementary_groups(table, problems));
    let uid = id(table, "uid", problems);
    if name == "root" && uid.is_some_and(|uid| uid != 0) {
        let remedy = "take uid away, or give the account another name";
        problems.add(
            table.key_span("uid"),
            &format!("{}.uid", table.path),
            "root has the uid 0",
            remedy,
        );
    }
    if uid == Some(0) && name != "root" && !name.is_empty() {
        let reason = format!("the uid 0 is that of root: '{name}' would be root under another name");
        let remedy = "choose another uid; let the account use sudo by adding it to the group that may";
        problems.add(
            table.key_span("uid"),
            &format!("{}.uid", table.path),
            reason,
            remedy,
        );
    }
    User {
        key: table.path.clone(),
        name,
        uid,
        gid: id(table, "gid", problems),
        description: one_line(table, "description", problems),
        password: table
            .text("password")
            .and_then(|password| self::password(&password, problems)),
        ssh_keys: table
            .text("key")
            .map(|key| key_lines(&key, problems))
            .unwrap_or_default(),
        groups,
        home: home(table, problems),
        shell: shell(table, problems),
        expires_on_day: table.number("expiredate"),
        must_change_password: table.boolean("force_password_reset").unwrap_or(false),
    }
}

fn id(table: &Fields, name: &str, problems: &mut Problems) -> Option<u32> {
    let id = table.number(name)?;
    if RESERVED_IDS.contains(&id) {
        let path = format!("{}.{name}", table.path);
        let reason = format!("the {name} {id} is reserved: it means that nobody is meant");
        problems.add(
            table.key_span(name),
            &path,
            reason,
            "choose another, such as one from 1000 on",
        );
    }
    Some(id)
}

fn one_line(table: &Fields, name: &str, problems: &mut Problems) -> Option<String> {
    let text = table.text(name).filter(|text| passwd_field(text, problems))?;
    Some(text.text.to_owned())
}

fn supplementary_groups(table: &Fields, problems: &mut Problems) -> Vec<String> {
    let mut seen = Seen::new();
    let mut groups = Vec::new();
    for group in table.texts("groups") {
        account_name(&group, problems);
        match seen.before(group.text, &group.path) {
            Some(_) => group.wrong(
                problems,
                format!("the group '{}' is there already", group.text),
                "name it once",
            ),
            None => groups.push(group.text.to_owned()),
        }
    }
    groups
}

fn home(table: &Fields, problems: &mut Problems) -> Option<String> {
    let mut home = table.text("home")?;
    if !home.text.is_empty() {
        home.text = match home.text.trim_end_matches('/') {
            "" => "/",
            cut => cut,
        };
        if !(absolute_path(&home, problems) && passwd_field(&home, problems)) {
            return None;
        }
    }
    Some(home.text.to_owned())
}

fn shell(table: &Fields, problems: &mut Problems) -> Option<String> {
    let shell = table.text("shell")?;
    let is_right = absolute_path(&shell, problems) && passwd_field(&shell, problems);
    is_right.then(|| shell.text.to_owned())
}

/// Empty text is no password.
fn password(password: &Text, problems: &mut Problems) -> Option<Password> {
    let text = password.text;
    if text.is_empty() {
        return None;
    }
    if HASHES.iter().any(|prefix| text.starts_with(prefix)) {
        let fields = text.split('$').count();
        let is_word = text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b":*!\\;".contains(&byte));
        if !is_word || fields < 4 || text.ends_with('$') {
            let reason = "this begins like a hash of a password, but is none";
            password.wrong(
                problems,
                reason,
                "write what openssl passwd -6 or mkpasswd prints",
            );
            return None;
        }
        return Some(Password::Hashed(text.to_owned()));
    }
    let kind = text
        .strip_prefix('$')
        .and_then(|rest| rest.split_once('$'))
        .map(|(kind, _)| kind);
    if let Some(kind) = kind.filter(|kind| kind.len() <= 16 && super::rules::is_word(kind, "-_,=")) {
        let reason = format!("this looks like a hash of the kind '${kind}$', with which no one can log in");
        let remedy = "hash it with openssl passwd -6 or mkpasswd, or write another password";
        password.wrong(problems, reason, remedy);
        return None;
    }
    if text.starts_with(['!', '*']) && text.len() == text.matches(['!', '*']).count() {
        let reason = format!("'{text}' locks an account in /etc/shadow, and is no good password");
        password.wrong(problems, reason, "leave the password away: then none fits");
        return None;
    }
    Some(Password::Plain(text.to_owned()))
}

/// The lines of one or several public keys.
fn key_lines(key: &Text, problems: &mut Problems) -> Vec<String> {
    let lines: Vec<&str> = key
        .text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let remedy = "write the line of a file such as ~/.ssh/id_ed25519.pub";
    if key.text.contains("PRIVATE KEY") {
        key.wrong(
            problems,
            "this is a private key, which must not leave its owner",
            remedy,
        );
    } else if lines.is_empty() {
        key.wrong(problems, "the key is empty", remedy);
    } else if let Some(line) = lines
        .iter()
        .find(|line| !line.starts_with('#') && !is_public_key(line))
    {
        let start: String = line.chars().take(20).collect();
        key.wrong(problems, format!("'{start}' begins no public key of SSH"), remedy);
    }
    lines.into_iter().map(str::to_owned).collect()
}

/// Whether a line has a kind of key and a key behind it, with options before it or none.
fn is_public_key(line: &str) -> bool {
    const KINDS: [&str; 4] = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    words.windows(2).any(|pair| match pair {
        [kind, key] => KINDS.iter().any(|known| kind.starts_with(known)) && super::rules::is_word(key, "+/="),
        _ => false,
    })
}

pub(super) fn groups(customizations: &Fields, problems: &mut Problems) -> Vec<Group> {
    let (mut names, mut gids) = (Seen::new(), Seen::new());
    let mut groups = Vec::new();
    for table in customizations.tables("group") {
        let Some(name) = table.text("name") else { continue };
        account_name(&name, problems);
        if let Some(first) = names.before(name.text, &table.path) {
            let reason = format!("the group '{}' is there already, in {first}", name.text);
            name.wrong(problems, reason, "take one of them away");
        }
        let gid = id(&table, "gid", problems);
        if let Some((gid, first)) = gid.and_then(|gid| Some((gid, gids.before(gid, &table.path)?))) {
            let path = format!("{}.gid", table.path);
            let reason = format!("the gid {gid} is taken by {first}");
            problems.add(table.key_span("gid"), &path, reason, "choose another");
        }
        groups.push(Group {
            key: table.path.clone(),
            name: name.text.to_owned(),
            gid,
        });
    }
    groups
}

pub(super) fn ssh_keys(customizations: &Fields, problems: &mut Problems) -> Vec<SshKey> {
    let mut seen = Seen::new();
    let mut keys = Vec::new();
    for table in customizations.tables("sshkey") {
        let (Some(user), Some(key)) = (table.text("user"), table.text("key")) else {
            continue;
        };
        account_name(&user, problems);
        let lines = key_lines(&key, problems);
        if let Some(first) = seen.before((user.text, lines.clone()), &table.path) {
            let reason = format!("the same key of '{}' is there already, in {first}", user.text);
            key.wrong(problems, reason, "take one of them away");
        }
        keys.push(SshKey {
            key: table.path.clone(),
            user: user.text.to_owned(),
            lines,
        });
    }
    keys
}
