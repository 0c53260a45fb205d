//! Passwords, passphrases and keys in the text of a file: found by the look of a line, whether it makes sense or not.

use std::ops::Range;

use crate::arguments::nearest;
use crate::table::{self, OptionSpec};
use crate::words::{self, Word};

/// What stands for a secret.
const COVER: &str = "***";

/// The file's text with stars for passwords, passphrases, keys and the credentials of URLs, line by line, whether the
/// lines make sense or not: for the copy that stays on the machine.
pub fn without_secrets(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for whole in text.split_inclusive('\n') {
        let line = whole.strip_suffix('\n').unwrap_or(whole);
        shown += &covered(line, 0..0).0;
        shown += whole.get(line.len()..).unwrap_or_default();
    }
    shown
}

/// A line with its secrets covered, and where a span of it is then.
pub(crate) fn covered(line: &str, span: Range<usize>) -> (String, Range<usize>) {
    let mut shown = String::with_capacity(line.len());
    let mut at = 0;
    let mut moved = span.clone();
    let end_of = |shown: &str, place: usize, secret: &Range<usize>| {
        if place >= secret.end {
            shown.len() + (place - secret.end)
        } else {
            shown.len()
        }
    };
    for secret in secrets(line) {
        shown += line.get(at..secret.start).unwrap_or_default();
        let start = shown.len();
        shown += COVER;
        at = secret.end;
        if span.start > secret.start {
            moved.start = match span.start >= secret.end {
                true => end_of(&shown, span.start, &secret),
                false => start,
            };
        }
        if span.end > secret.start {
            moved.end = end_of(&shown, span.end, &secret);
        }
    }
    shown += line.get(at..).unwrap_or_default();
    (shown, moved)
}

/// A message with the credentials of its URLs covered; rather too much than too little.
pub(crate) fn without_credentials(message: String) -> String {
    let found = credentials(&message, |_| false);
    let mut shown = message;
    for secret in found.into_iter().rev() {
        shown.replace_range(secret, COVER);
    }
    shown
}

/// Whether a command's words without options are secret.
pub(crate) fn has_secret_words(command: &str) -> bool {
    matches!(command, "rootpw" | "sshpw")
}

/// Whether a word of a command is secret, though it may look like an option: one that there is not, and that resembles
/// none.
pub(crate) fn is_secret_word(command: &str, word: &str) -> bool {
    if !has_secret_words(command) {
        return false;
    }
    let options = table::command(command)
        .map(|spec| spec.options)
        .unwrap_or_default();
    let names = || options.iter().copied().flatten().flat_map(|option| option.names);
    let name = word.split('=').next().unwrap_or_default();
    let known: Vec<_> = names().copied().collect();
    !(name.starts_with("--") && (is_option(name, options) || nearest(name, &known).is_some()))
}

/// Whether a word is the name of an option, shortened or not.
fn is_option(name: &str, options: &[&[OptionSpec]]) -> bool {
    let mut names = options.iter().copied().flatten().flat_map(|option| option.names);
    name.len() > 2 && names.any(|known| known.starts_with(name))
}

/// Where a line has secrets, in order and apart from each other.
fn secrets(line: &str) -> Vec<Range<usize>> {
    let mut found = words_of(line);
    found.extend(credentials(line, char::is_whitespace));
    found.sort_by_key(|secret| (secret.start, std::cmp::Reverse(secret.end)));
    let mut apart: Vec<Range<usize>> = Vec::new();
    for secret in found {
        match apart.last_mut() {
            Some(last) if secret.start < last.end => last.end = last.end.max(secret.end),
            _ => apart.push(secret),
        }
    }
    apart
}

/// The secret words and option values of a line.
fn words_of(line: &str) -> Vec<Range<usize>> {
    let commented = line.trim_start().trim_start_matches(['#', ' ', '\t']);
    let offset = line.len() - commented.len();
    let split = words::split(commented);
    let mut words = split.words;
    // What follows a `#` inside a word, or an open quote, was probably meant to be part of it.
    let rest = split.comment_in_word.or(split.broken.map(|(_, at)| at));
    if let Some(rest) = rest {
        let start = match words.last() {
            Some(last) if last.span.end == rest => last.span.start,
            _ => commented
                .get(..rest)
                .and_then(|before| before.rfind([' ', '\t']))
                .map_or(0, |blank| blank + 1),
        };
        words.retain(|word| word.span.start < start);
        words.push(Word {
            text: commented.get(start..).unwrap_or_default().to_owned(),
            span: start..commented.trim_end().len().max(start),
        });
    }
    let command = words.first().map(|word| word.text.clone()).unwrap_or_default();
    let spec = table::command(&command);
    let mut found = Vec::new();
    let mut is_value = false;
    let options = spec.map(|spec| spec.options).unwrap_or_default();
    // In a word, blanks are quoted.
    for Word { span, .. } in &words {
        let raw = commented.get(span.clone()).unwrap_or_default();
        let inner = credentials(raw, |_| false).into_iter();
        found.extend(inner.map(|inner| span.start + inner.start..span.start + inner.end));
    }
    for word in words.into_iter().skip(1) {
        let Word { text, span } = word;
        let raw = commented.get(span.clone()).unwrap_or_default();
        let name = text.split('=').next().unwrap_or_default();
        let is_option_like = name.starts_with('-') && name.len() > 1;
        let is_given = std::mem::take(&mut is_value) && !is_option(name, options);
        if is_given || is_secret_word(&command, &text) {
            found.push(span);
        } else if is_option_like && is_secret(name, options) {
            match raw.find('=') {
                Some(sign) => found.push(span.start + sign + 1..span.end),
                None => is_value = true,
            }
        }
    }
    found
        .into_iter()
        .filter(|span| span.start < span.end)
        .map(|span| span.start + offset..span.end + offset)
        .collect()
}

/// Whether the value of an option is secret: by the table, shortened and misspelled too, and by what its name looks like.
fn is_secret(name: &str, options: &[&[OptionSpec]]) -> bool {
    let known = || options.iter().copied().flatten();
    if let Some(option) = known().find(|option| option.names.contains(&name)) {
        return option.is_secret;
    }
    let secret_names = || {
        known()
            .filter(|option| option.is_secret)
            .flat_map(|option| option.names)
    };
    let lower = name.to_lowercase();
    [
        "pass",
        "pwd",
        "secret",
        "token",
        "wpakey",
        "wepkey",
        "activation-key",
    ]
    .iter()
    .any(|part| lower.contains(part))
        || secret_names().any(|secret| name.len() > 2 && secret.starts_with(name))
        || name.len() < 64 && secret_names().any(|secret| strsim::damerau_levenshtein(secret, name) <= 2)
}

/// The `user:password` of each URL in a text, in which a URL ends at some characters.
fn credentials(text: &str, is_end: impl Fn(char) -> bool) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, sign) in text.match_indices("://") {
        let start = at + sign.len();
        let rest = text.get(start..).unwrap_or_default();
        let end = rest.find(|c: char| c == '/' || is_end(c)).unwrap_or(rest.len());
        let authority = rest.get(..end).unwrap_or_default();
        if let Some(length) = authority.rfind('@').filter(|length| *length > 0) {
            found.push(start..start + length);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_covered() {
        for (line, expected) in [
            ("rootpw secret", "rootpw ***"),
            (
                "rootpw --iscrypted '$6$a b' # why",
                "rootpw --iscrypted *** # why",
            ),
            ("rootpw -secret", "rootpw ***"),
            ("rootpw --hunter2", "rootpw ***"),
            ("rootpw --lok", "rootpw --lok"),
            ("rootpw --lock", "rootpw --lock"),
            ("user --password -secret --name=a", "user --password *** --name=a"),
            (
                "user --password --secret --name=a",
                "user --password *** --name=a",
            ),
            ("user --password --name=a", "user --password --name=a"),
            ("rootpw two words", "rootpw *** ***"),
            ("rootpw foo#bar baz", "rootpw ***"),
            ("rootpw 'foo bar", "rootpw ***"),
            ("# rootpw secret", "# rootpw ***"),
            ("user --name=a --password=b", "user --name=a --password=***"),
            (
                "user --name=a --passw b --gid 5",
                "user --name=a --passw *** --gid 5",
            ),
            ("user --name=a --pasword=b", "user --name=a --pasword=***"),
            ("sshpw --username=a b", "sshpw --username=a ***"),
            (
                "part / --passphrase=\"a b\" --grow",
                "part / --passphrase=*** --grow",
            ),
            (
                "logvol / --passphrase a --grow",
                "logvol / --passphrase *** --grow",
            ),
            ("raid / --passph=a", "raid / --passph=***"),
            (
                "autopart --encrypted --passphrase='x'",
                "autopart --encrypted --passphrase=***",
            ),
            (
                "bootloader --password=x --md5pass=y",
                "bootloader --password=*** --md5pass=***",
            ),
            (
                "network --wpakey=a --wepkey b",
                "network --wpakey=*** --wepkey ***",
            ),
            (
                "rhsm --activation-key=a --organization=b",
                "rhsm --activation-key=*** --organization=b",
            ),
            ("url --url=http://a:b@host/p", "url --url=http://***@host/p"),
            ("%include https://me:x@y@host/ks", "%include https://***@host/ks"),
            ("vnc --password=x", "vnc --password=***"),
            (
                "bootc --source-imgref=registry:a/b:1",
                "bootc --source-imgref=registry:a/b:1",
            ),
            (
                "sshkey --username=a \"ssh-ed25519 AAAA\"",
                "sshkey --username=a \"ssh-ed25519 AAAA\"",
            ),
            ("timezone UTC", "timezone UTC"),
        ] {
            assert_eq!(without_secrets(line), expected, "{line}");
        }
    }

    #[test]
    fn lines_and_their_ends_stay() {
        assert_eq!(
            without_secrets("text\r\nrootpw a\r\n\nreboot"),
            "text\r\nrootpw ***\r\n\nreboot"
        );
    }

    #[test]
    fn a_marker_stays_at_its_word() {
        let line = "user --password=abcdefgh --nam=x";
        let (shown, span) = covered(line, 25..32);
        assert_eq!(shown.get(span), Some("--nam=x"));
        let (shown, span) = covered("rootpw abcdefgh", 7..15);
        assert_eq!(shown.get(span), Some("***"));
    }
}
