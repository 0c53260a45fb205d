//! `RUN --mount=type=…,key=value,…`: what a command sees beside its tree.
//!
//! Source: buildah's and BuildKit's manuals of `RUN --mount`. Options of podman that say nothing here (labels,
//! propagation, consistency) are read and do nothing.

use super::path::absolute_name;
use super::reader::Reader;
use super::{MountKind, Origin, RunMount, Sharing};
use crate::containerfile::{Flag, Span, nearest};

const KINDS: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];
/// Options that are accepted for every type and change nothing.
const WITHOUT_EFFECT: [&str; 8] = [
    "z",
    "Z",
    "U",
    "relabel",
    "bind-propagation",
    "bind-nonrecursive",
    "consistency",
    "dev",
];

/// The mount of a flag; `None`, with a finding, if it cannot be done.
pub(super) fn mount(flag: &Flag, workdir: &str, reader: &mut Reader<'_, '_>) -> Option<RunMount> {
    let text = reader.flag(flag)?;
    let pairs = match pairs(&text) {
        Some(pairs) => pairs,
        None => {
            let note = "expected --mount=type=TYPE,KEY=VALUE,... with quotes around what contains a comma";
            reader.error(flag.span, "a quote in --mount is never closed", note);
            return None;
        }
    };
    let mut options = Options {
        pairs,
        workdir,
        span: flag.span,
        reader,
        kind: String::new(),
    };
    options.kind = options.value(&["type"]).unwrap_or_else(|| "bind".to_owned());
    let mount = match options.kind.as_str() {
        "bind" => options.bind(),
        "cache" => options.cache(),
        "tmpfs" => options.tmpfs(),
        "secret" => options.secret(),
        "ssh" => options.ssh(),
        kind => {
            let message = format!("there is no mount of type `{kind}`");
            let note = match nearest(kind, KINDS) {
                Some(known) => format!("did you mean {known}?"),
                None => format!("expected one of {}", KINDS.join(", ")),
            };
            options.error(message, note);
            None
        }
    }?;
    options.require_nothing_left()?;
    Some(mount)
}

/// Words between commas; `"…"` protects commas, and `""` inside is a quote (CSV). `None` if a quote is never closed.
fn pairs(text: &str) -> Option<Vec<(String, Option<String>)>> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let word = words.last_mut()?;
        match character {
            '"' if is_quoted && characters.next_if_eq(&'"').is_some() => word.push('"'),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => words.push(String::new()),
            character => word.push(character),
        }
    }
    let split = |word: String| match word.split_once('=') {
        Some((key, value)) => (key.trim().to_owned(), Some(value.to_owned())),
        None => (word.trim().to_owned(), None),
    };
    let words = words.into_iter().filter(|word| !word.trim().is_empty());
    (!is_quoted).then(|| words.map(split).collect())
}

/// The options of a mount that are not read yet.
struct Options<'o, 'p, 'a> {
    pairs: Vec<(String, Option<String>)>,
    workdir: &'o str,
    span: Span,
    reader: &'o mut Reader<'p, 'a>,
    kind: String,
}

impl Options<'_, '_, '_> {
    fn error(&mut self, message: impl Into<String>, note: impl Into<String>) {
        self.reader.error(self.span, message, note);
    }

    /// Takes the option out; of several the last one counts.
    fn take(&mut self, names: &[&str]) -> Option<(String, Option<String>)> {
        let mut found = None;
        self.pairs.retain(|pair| {
            let is_meant = names.contains(&pair.0.as_str());
            if is_meant {
                found = Some(pair.clone());
            }
            !is_meant
        });
        found
    }

    fn value(&mut self, names: &[&str]) -> Option<String> {
        self.take(names).and_then(|(_, value)| value)
    }

    /// A switch: `name`, `name=true`, `name=false`.
    fn switch(&mut self, names: &[&str]) -> Option<Option<bool>> {
        match self.take(names) {
            None => Some(None),
            Some((_, None)) => Some(Some(true)),
            Some((name, Some(value))) => match value.as_str() {
                "true" | "1" => Some(Some(true)),
                "false" | "0" => Some(Some(false)),
                _ => {
                    self.error(format!("`{name}={value}` in --mount"), "expected true or false");
                    None
                }
            },
        }
    }

    /// Whether it may be written to: `rw`, `readwrite`, or the opposite of `ro`, `readonly`.
    fn is_writable(&mut self, default: bool) -> Option<bool> {
        let written = self.switch(&["rw", "readwrite"])?;
        let read_only = self.switch(&["ro", "readonly"])?;
        Some(
            written
                .or(read_only.map(|read_only| !read_only))
                .unwrap_or(default),
        )
    }

    fn number<T>(
        &mut self,
        names: &[&str],
        parse: fn(&str) -> Option<T>,
        expected: &str,
    ) -> Option<Option<T>> {
        let Some((name, value)) = self.take(names) else {
            return Some(None);
        };
        let value = value.unwrap_or_default();
        let number = parse(&value);
        if number.is_none() {
            self.error(
                format!("`{name}={value}` in --mount"),
                format!("expected {expected}"),
            );
            return None;
        }
        Some(number)
    }

    fn mode(&mut self, names: &[&str], default: u32) -> Option<u32> {
        let parse = |text: &str| u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
        Some(
            self.number(names, parse, "an octal mode such as 0755")?
                .unwrap_or(default),
        )
    }

    fn id(&mut self, name: &str) -> Option<u32> {
        Some(
            self.number(&[name], |text| text.parse().ok(), "a number")?
                .unwrap_or(0),
        )
    }

    fn target(&mut self) -> Option<String> {
        let target = self.value(&["target", "dst", "destination"])?;
        (!target.is_empty()).then(|| absolute_name(self.workdir, &target))
    }

    fn required_target(&mut self) -> Option<String> {
        let target = self.target();
        if target.is_none() {
            let message = format!("a mount of type {} needs a target", self.kind);
            self.error(message, "expected target=DIRECTORY");
        }
        if target.as_deref() == Some("/") {
            self.error(
                "a mount cannot hide the root directory",
                "expected a target below /",
            );
            return None;
        }
        target
    }

    fn from(&mut self) -> Option<Option<Origin>> {
        match self.value(&["from"]) {
            None => Some(None),
            Some(name) => Some(Some(self.reader.origin(&name, self.span)?)),
        }
    }

    fn bind(&mut self) -> Option<RunMount> {
        let kind = MountKind::Bind {
            from: self.from()?,
            source: self.value(&["source", "src"]).unwrap_or_default(),
            is_writable: self.is_writable(false)?,
        };
        for name in ["nosuid", "nodev", "noexec", "suid", "exec"] {
            self.take(&[name]);
        }
        let target = self.required_target()?;
        Some(RunMount { target, kind })
    }

    fn cache(&mut self) -> Option<RunMount> {
        let target = self.required_target()?;
        let sharing = match self.value(&["sharing"]).as_deref() {
            None | Some("shared") => Sharing::Shared,
            Some("private") => Sharing::Private,
            Some("locked") => Sharing::Locked,
            Some(other) => {
                let message = format!("`sharing={other}` in --mount");
                self.error(message, "expected shared, private or locked");
                return None;
            }
        };
        let from = self.from()?;
        let source = self.value(&["source", "src"]);
        if from.is_none() && source.is_some() {
            let message = "`source` of a cache without `from`";
            self.error(message, "expected from=STAGE or from=IMAGE beside it");
            return None;
        }
        Some(RunMount {
            kind: MountKind::Cache {
                id: self.value(&["id"]).unwrap_or_else(|| target.clone()),
                sharing,
                from,
                source: source.unwrap_or_default(),
                mode: self.mode(&["mode"], 0o755)?,
                uid: self.id("uid")?,
                gid: self.id("gid")?,
                is_writable: self.is_writable(true)?,
            },
            target,
        })
    }

    fn tmpfs(&mut self) -> Option<RunMount> {
        let target = self.required_target()?;
        let size_bytes = self.number(&["size", "tmpfs-size"], parse_size, "a size such as 64m")?;
        Some(RunMount {
            kind: MountKind::Memory {
                size_bytes,
                mode: self.mode(&["tmpfs-mode"], 0o1777)?,
                copies_target: self.switch(&["tmpcopyup"])?.unwrap_or(false),
                is_writable: self.is_writable(true)?,
            },
            target,
        })
    }

    fn secret(&mut self) -> Option<RunMount> {
        let env = self.value(&["env"]);
        let target = self.target();
        let name_of = |path: &String| path.rsplit('/').next().unwrap_or_default().to_owned();
        let Some(id) = self.value(&["id"]).or_else(|| target.as_ref().map(name_of)) else {
            self.error("a secret without a name", "expected id=NAME");
            return None;
        };
        // As a variable alone, it is no file.
        let is_file = env.is_none() || target.is_some();
        let target = target.unwrap_or_else(|| format!("/run/secrets/{id}"));
        Some(RunMount {
            target,
            kind: MountKind::Secret {
                id,
                env,
                is_file,
                is_required: self.switch(&["required"])?.unwrap_or(false),
                mode: self.mode(&["mode"], 0o400)?,
                uid: self.id("uid")?,
                gid: self.id("gid")?,
            },
        })
    }

    fn ssh(&mut self) -> Option<RunMount> {
        let target = self.target();
        Some(RunMount {
            target: target.unwrap_or_default(),
            kind: MountKind::Ssh {
                id: self.value(&["id"]).unwrap_or_else(|| "default".to_owned()),
                is_required: self.switch(&["required"])?.unwrap_or(false),
                mode: self.mode(&["mode"], 0o600)?,
                uid: self.id("uid")?,
                gid: self.id("gid")?,
            },
        })
    }

    fn require_nothing_left(&mut self) -> Option<()> {
        let left = std::mem::take(&mut self.pairs);
        let unknown = left
            .iter()
            .find(|(name, _)| !WITHOUT_EFFECT.contains(&name.as_str()));
        let Some((name, _)) = unknown else {
            return Some(());
        };
        let known: &[&str] = match self.kind.as_str() {
            "bind" => &["target", "source", "from", "rw", "ro"],
            "cache" => &[
                "target", "id", "sharing", "from", "source", "mode", "uid", "gid", "ro",
            ],
            "tmpfs" => &["target", "size", "tmpfs-mode", "tmpcopyup", "ro"],
            "secret" => &["id", "target", "env", "required", "mode", "uid", "gid"],
            _ => &["id", "target", "required", "mode", "uid", "gid"],
        };
        let note = match nearest(name, known.iter().copied()) {
            Some(known) => format!("did you mean {known}?"),
            None => format!("it has type, {}", known.join(", ")),
        };
        self.error(
            format!("a mount of type {} has no option `{name}`", self.kind),
            note,
        );
        None
    }
}

/// `64m`, `1g`, `4096`: bytes.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text
        .strip_suffix("ib")
        .or_else(|| text.strip_suffix('b'))
        .unwrap_or(&text);
    let (digits, shift) = match text.chars().last()? {
        'k' => (text.strip_suffix('k')?, 10),
        'm' => (text.strip_suffix('m')?, 20),
        'g' => (text.strip_suffix('g')?, 30),
        't' => (text.strip_suffix('t')?, 40),
        _ => (text, 0),
    };
    let number: u64 = digits.trim().parse().ok()?;
    number.checked_mul(1 << shift).filter(|size| *size > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_split_at_commas_outside_of_quotes() {
        let pair = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
        assert_eq!(
            pairs(r#"type=bind, "source=a,""b""",ro,"#).unwrap(),
            [
                pair("type", Some("bind")),
                pair("source", Some("a,\"b\"")),
                pair("ro", None)
            ]
        );
        assert_eq!(pairs("\"a"), None);
    }

    #[test]
    fn sizes_have_units() {
        for (text, expected) in [
            ("4096", Some(4096)),
            ("64m", Some(64 << 20)),
            ("1G", Some(1 << 30)),
            ("2KiB", Some(2048)),
            ("0", None),
            ("m", None),
            ("-1", None),
            ("99999999999t", None),
        ] {
            assert_eq!(parse_size(text), expected, "{text}");
        }
    }
}
