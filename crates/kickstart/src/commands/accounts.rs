//! Root, users, groups and keys.

use super::id;
use crate::arguments::{Arguments, WORD};
use crate::model::{Group, GroupOfUser, Password, Rootpw, SshKey, User};
use crate::reading::Reading;

pub(crate) fn rootpw(at: &Arguments<'_>, reading: &mut Reading) {
    let text = at.word().unwrap_or_default().to_owned();
    if text.is_empty() && !at.has("--lock") {
        let message = "rootpw needs a password, or --lock";
        return reading.error(
            at,
            "",
            message,
            "write rootpw --lock, or rootpw --iscrypted 'HASH'",
        );
    }
    let password = (!text.is_empty()).then(|| password(&text, at, reading));
    reading.kickstart.rootpw = Some(Rootpw {
        position: at.position(),
        password,
        lock: at.has("--lock"),
        allow_ssh: at.has("--allow-ssh"),
    });
}

fn password(text: &str, at: &Arguments<'_>, reading: &mut Reading) -> Password {
    if at.has("--iscrypted") && at.has("--plaintext") {
        let message = "--iscrypted and --plaintext contradict each other";
        reading.unsupported(at, "--plaintext", message, "keep one of them");
    }
    // A line break or a colon would be another field of /etc/shadow.
    let is_hash = |text: &str| text.chars().all(|c| c.is_ascii_graphic() && c != ':');
    match at.has("--iscrypted") {
        true => {
            if !is_hash(text) {
                let message = "the hash of the password has characters that no hash has";
                reading.unsupported(
                    at,
                    "--iscrypted",
                    message,
                    "make one with mkpasswd or openssl passwd -6",
                );
            }
            Password::Hashed(text.to_owned())
        }
        false => {
            if is_hash(text)
                && ["$1$", "$5$", "$6$", "$y$"]
                    .iter()
                    .any(|kind| text.starts_with(kind))
            {
                let message = "this looks like a hash, and is taken for the password itself";
                reading.warning(at, "", message, "add --iscrypted");
            }
            Password::Plain(text.to_owned())
        }
    }
}

pub(crate) fn user(at: &Arguments<'_>, reading: &mut Reading) {
    let name = at.text("--name").unwrap_or_default().to_owned();
    note_name(&name, at, "--name", reading);
    if reading.is_used_again("user", &name) {
        reading.warning(
            at,
            "--name",
            format!("there is a user {name} already"),
            "keep one of them",
        );
    }
    let password = match at.text("--password") {
        None => None,
        Some("") => {
            let message = "the password is empty";
            reading.unsupported(
                at,
                "--password",
                message,
                "leave --password out to lock the account",
            );
            None
        }
        Some(text) => Some(password(text, at, reading)),
    };
    for (option, is_path) in [("--homedir", true), ("--shell", true), ("--gecos", false)] {
        let Some(text) = at.text(option) else { continue };
        let is_one_field = !text.chars().any(|c| c.is_control() || c == ':');
        if !is_one_field || is_path && !text.starts_with('/') {
            let message = format!("{option}: '{text}' makes no sense in /etc/passwd");
            let remedy = if is_path {
                "write an absolute path"
            } else {
                "leave colons out"
            };
            reading.unsupported(at, option, message, remedy);
        }
    }
    let user = User {
        position: at.position(),
        name,
        password,
        lock: at.has("--lock"),
        uid: id(at, "--uid", reading),
        gid: id(at, "--gid", reading),
        groups: groups(at, reading),
        home: at.filled("--homedir"),
        shell: at.filled("--shell"),
        gecos: at.filled("--gecos"),
    };
    reading.kickstart.users.push(user);
}

fn groups(at: &Arguments<'_>, reading: &mut Reading) -> Vec<GroupOfUser> {
    let mut groups = Vec::new();
    for text in at.list("--groups") {
        let group = match text.split_once('(') {
            None => Some(GroupOfUser {
                name: text.clone(),
                gid: None,
            }),
            Some((name, rest)) => rest
                .trim_end()
                .strip_suffix(')')
                .and_then(|number| number.trim().parse().ok())
                .map(|gid| GroupOfUser {
                    name: name.trim().to_owned(),
                    gid: Some(gid),
                }),
        };
        match group {
            Some(group) => {
                note_name(&group.name, at, "--groups", reading);
                groups.push(group);
            }
            None => {
                let message = format!("'{text}' is no group");
                reading.unsupported(at, "--groups", message, "write NAME or NAME(NUMBER)");
            }
        }
    }
    groups
}

/// Notes a name that `/etc/passwd` or `/etc/group` cannot have.
fn note_name(name: &str, at: &Arguments<'_>, option: &str, reading: &mut Reading) {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let body = name.strip_suffix('$').unwrap_or(name);
    let is_number = body.bytes().all(|byte| byte.is_ascii_digit());
    let is_wrong =
        is_number || name.len() > 32 || body.starts_with(['-', '.']) || !body.chars().all(is_letter);
    if is_wrong {
        let message = format!("'{name}' is no name of an account or a group");
        reading.unsupported(
            at,
            option,
            message,
            "at most 32 letters, digits, '_', '-' and '.', not only digits",
        );
    }
}

pub(crate) fn group(at: &Arguments<'_>, reading: &mut Reading) {
    let name = at.text("--name").unwrap_or_default().to_owned();
    note_name(&name, at, "--name", reading);
    if reading.is_used_again("group", &name) {
        let message = format!("there is a group {name} already");
        reading.warning(at, "--name", message, "keep one of them");
    }
    let group = Group {
        position: at.position(),
        name,
        gid: id(at, "--gid", reading),
    };
    reading.kickstart.groups.push(group);
}

pub(crate) fn sshkey(at: &Arguments<'_>, reading: &mut Reading) {
    let user = at.text("--username").unwrap_or_default().to_owned();
    note_name(&user, at, "--username", reading);
    let key = at.word().unwrap_or_default().trim().to_owned();
    if key.is_empty() || key.chars().any(char::is_control) || !key.contains(' ') {
        let message = "this is no line for authorized_keys";
        reading.unsupported(
            at,
            WORD,
            message,
            "write the type, the key and a comment in quotes",
        );
    }
    if reading.is_used_again("key", &format!("{user} {key}")) {
        let message = format!("{user} has this key already");
        reading.warning(at, "", message, "keep one of them");
    }
    reading.kickstart.ssh_keys.push(SshKey {
        position: at.position(),
        user,
        key,
    });
}
