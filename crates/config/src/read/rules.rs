//! What names, paths and identifiers look like. Each rule says what is wrong and returns whether nothing is.

use super::Text;
use crate::problem::Problems;

/// `^[A-Za-z_][A-Za-z0-9_.-]{0,31}$`: names of accounts and groups.
pub(super) fn account_name(name: &Text, problems: &mut Problems) -> bool {
    let is_right = is_account_name(name.text);
    if !is_right {
        let reason = format!("'{}' is no name of an account or a group", name.text);
        let remedy = "use a letter or '_', then letters, digits, '_', '.' and '-', 32 characters at most";
        name.wrong(problems, reason, remedy);
    }
    is_right
}

fn is_account_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && name.len() <= 32
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// An absolute path in its shortest form, without a final slash.
pub(super) fn absolute_path(path: &Text, problems: &mut Problems) -> bool {
    let text = path.text;
    if !text.starts_with('/') {
        let reason = match text {
            "" => "the path is empty".to_owned(),
            _ => format!("'{text}' is no absolute path"),
        };
        path.wrong(problems, reason, "begin it with '/'");
        return false;
    }
    if text == "/" {
        return true;
    }
    let shortest = shortest_form(text);
    if shortest != text {
        let reason = format!("'{text}' is not the shortest form of the path");
        path.wrong(problems, reason, format!("write '{shortest}'"));
        return false;
    }
    let longest_name = text.split('/').map(str::len).max().unwrap_or_default();
    if text.len() > 4095 || longest_name > 255 {
        path.wrong(
            problems,
            "the path is too long",
            "a path has 4095 bytes at most, a name in it 255",
        );
        return false;
    }
    true
}

fn shortest_form(path: &str) -> String {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

/// Whether a path is below a directory.
pub(super) fn is_below(path: &str, directory: &str) -> bool {
    let rest = path.strip_prefix(directory.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.starts_with('/') && rest.len() > 1)
}

/// What `/etc/passwd` keeps between colons.
pub(super) fn passwd_field(field: &Text, problems: &mut Problems) -> bool {
    let is_right = !field.text.contains(':');
    if !is_right {
        let reason = "the text has a ':', which separates the fields of /etc/passwd";
        field.wrong(problems, reason, "write it without");
    }
    is_right
}

/// `^0?[0-7]{3}$`: permissions.
pub(super) fn mode(mode: &Text, problems: &mut Problems) -> Option<u16> {
    let digits = match mode.text.len() {
        4 => mode.text.strip_prefix('0'),
        3 => Some(mode.text),
        _ => None,
    };
    let parsed = digits
        .filter(|digits| digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte)))
        .and_then(|digits| u16::from_str_radix(digits, 8).ok());
    if parsed.is_none() {
        let reason = format!("'{}' are no permissions", mode.text);
        mode.wrong(
            problems,
            reason,
            "write three octal digits, such as \"644\" or \"0755\"",
        );
    }
    parsed
}

/// A GUID, in lower case.
pub(super) fn guid(guid: &Text, problems: &mut Problems) -> Option<String> {
    let groups: Vec<&str> = guid.text.split('-').collect();
    let is_right = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups
            .iter()
            .all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if !is_right {
        let reason = format!("'{}' is no UUID", guid.text);
        guid.wrong(problems, reason, "write 32 hexadecimal digits as 8-4-4-4-12");
    }
    is_right.then(|| guid.text.to_ascii_lowercase())
}

/// The name of a machine, as `hostname(7)` has it.
pub(super) fn hostname(name: &Text, problems: &mut Problems) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_right = name.text.len() <= 64 && name.text.split('.').all(is_label);
    if !is_right {
        let reason = format!("'{}' is no host name", name.text);
        let remedy = "use letters, digits and '-', in parts between '.', 64 characters at most";
        name.wrong(problems, reason, remedy);
    }
    is_right
}

/// A word of these characters beside letters and digits.
pub(super) fn is_word(text: &str, others: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}
