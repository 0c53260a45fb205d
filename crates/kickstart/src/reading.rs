//! Commands and sections become the model; what contradicts what came before is noted.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::Dialect;
use crate::arguments::{self, Arguments};
use crate::line::{Line, Problems};
use crate::model::Kickstart;
use crate::problem::{Level, Position};
use crate::table::{self, CommandSpec, Standing};
use crate::words::{self, Broken, Word, Words};

/// Pairs of commands that exclude each other, each of the first with each of the second.
const CONFLICTS: &[(&[&str], &[&str])] = &[
    (&["bootc"], &["ostreecontainer", "ostreesetup", "liveimg"]),
    (&["ostreecontainer"], &["ostreesetup", "liveimg"]),
    (
        &["autopart"],
        &["part", "raid", "volgroup", "logvol", "reqpart", "mount"],
    ),
    (&["mount"], &["part", "raid", "volgroup", "logvol", "reqpart"]),
];

/// What to do with packages.
const NO_PACKAGES: &str =
    "packages belong to the image: add `RUN dnf install …` to its Containerfile and remove %packages";

/// Commands of which the last one counts.
const REPLACING: &[&[&str]] = &[&["reboot", "poweroff", "halt"], &["text", "graphical", "cmdline"]];

/// What was read so far.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) dialect: Dialect,
    pub(crate) kickstart: Kickstart,
    pub(crate) problems: Problems,
    /// The last command of each kind, by its usual name.
    seen: BTreeMap<&'static str, Seen>,
    /// The sections of packages, and whether there are any in it.
    packages: Vec<(Line, bool)>,
    /// What is used, by kind and name: mount points, `pv.1`, users …
    used: BTreeSet<(&'static str, String)>,
}

/// A command that was read.
#[derive(Debug)]
struct Seen {
    spec: &'static CommandSpec,
    /// The name as it is written.
    name: String,
    place: Position,
}

impl Reading {
    pub(crate) fn new(dialect: Dialect) -> Self {
        Reading {
            dialect,
            kickstart: Kickstart::default(),
            problems: Problems::default(),
            seen: BTreeMap::new(),
            packages: Vec::new(),
            used: BTreeSet::new(),
        }
    }

    /// An error at an option of a command, or at the command if the option is not there.
    pub(crate) fn error(
        &mut self,
        at: &Arguments<'_>,
        option: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.problems
            .add(Level::Error, at.line, at.span(option), message, remedy);
    }

    /// The same for what osmith cannot do, and for nonsense.
    pub(crate) fn unsupported(
        &mut self,
        at: &Arguments<'_>,
        option: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.problems
            .add(Level::Unsupported, at.line, at.span(option), message, remedy);
    }

    /// The same for what has no effect.
    pub(crate) fn warning(
        &mut self,
        at: &Arguments<'_>,
        option: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.problems
            .add(Level::Warning, at.line, at.span(option), message, remedy);
    }

    /// Reads a line outside of sections whose words are known.
    pub(crate) fn command(&mut self, line: &Line, words: Vec<Word>) {
        let Some(first) = words.first() else { return };
        let name = first.text.clone();
        let span = first.span.clone();
        let Some(spec) = table::command(&name) else {
            return self.unknown_command(line, &name, span);
        };
        if !spec.dialects.contains(&self.dialect) {
            let message = format!("there is no command '{name}' in {}", self.dialect);
            let known: Vec<_> = spec.dialects.iter().map(Dialect::to_string).collect();
            let instead = match name.as_str() {
                "bootc" => "; write ostreecontainer --url=…",
                _ => "",
            };
            let remedy = format!("it is in {}{instead}", known.join(" and "));
            return self.problems.add(Level::Error, line, span, message, remedy);
        }
        if spec.removed_in.contains(&self.dialect) {
            let message = format!("{name} was removed from {}", self.dialect);
            let remedy = match spec.standing {
                Standing::Refused(_, instead) => instead.to_owned(),
                Standing::Ignored(why) if !spec.removed_in.contains(&Dialect::Rhel9) => why.to_owned(),
                _ => "leave the line out".to_owned(),
            };
            return self.problems.add(Level::Error, line, span, message, remedy);
        }
        self.note_conflicts(spec, line, &name, &span);
        let arguments = match spec.free_in.contains(&self.dialect) {
            true => Arguments::free(line, words),
            false => arguments::parse(line, spec, words, self.dialect, &mut self.problems),
        };
        if let Some(arguments) = arguments {
            self.note_standing(spec, &arguments, &name);
            (spec.read)(&arguments, self);
        }
        let place = line.position(span.start);
        self.seen.insert(spec.name(), Seen { spec, name, place });
    }

    fn unknown_command(&mut self, line: &Line, name: &str, span: Range<usize>) {
        if self.problems.is_full() {
            return self.problems.add(Level::Error, line, span, "", "");
        }
        let known: Vec<_> = table::commands()
            .filter(|spec| spec.dialects.contains(&self.dialect))
            .flat_map(|spec| spec.names.iter().copied())
            .collect();
        let remedy = match arguments::nearest(name, &known) {
            Some(near) => format!("did you mean '{near}'?"),
            None if name.starts_with("--") => {
                "options stand on the line of their command; no line goes on in the next one".to_owned()
            }
            None => "commands are case-sensitive, one a line".to_owned(),
        };
        let message = format!("unknown command '{name}'");
        self.problems.add(Level::Error, line, span, message, remedy);
    }

    /// Notes what excludes this command, or is replaced by it.
    fn note_conflicts(&mut self, spec: &'static CommandSpec, line: &Line, name: &str, span: &Range<usize>) {
        let excludes = |one: &str, other: &str| {
            CONFLICTS
                .iter()
                .any(|(first, second)| first.contains(&one) && second.contains(&other))
        };
        let one = spec.name();
        let conflict = self.seen.values().find(|seen| {
            let other = seen.spec.name();
            excludes(one, other) || excludes(other, one)
        });
        if let Some(Seen {
            name: other, place, ..
        }) = conflict
        {
            let message = format!("{other} and {name} exclude each other");
            let remedy = format!("{other} is at {place}: keep one of them");
            self.problems
                .add(Level::Error, line, span.clone(), message, remedy);
        }
        if spec.adds_up {
            return;
        }
        let group = REPLACING.iter().find(|group| group.contains(&one));
        let group = group.copied().unwrap_or(&[]);
        let replaced = self
            .seen
            .values()
            .find(|seen| seen.spec.name() == one || group.contains(&seen.spec.name()));
        if let Some(Seen {
            name: other, place, ..
        }) = replaced
        {
            let message = format!("this {name} takes the place of the whole {other} before");
            let remedy = format!("{other} is at {place}: keep one of them");
            self.problems
                .add(Level::Warning, line, span.clone(), message, remedy);
        }
    }

    /// Notes that a command has no effect, or cannot be carried out.
    fn note_standing(&mut self, spec: &CommandSpec, arguments: &Arguments<'_>, name: &str) {
        match spec.standing {
            Standing::Done => {}
            Standing::Ignored(why) => self.warning(arguments, "", format!("{name} is ignored: {why}"), ""),
            Standing::Refused(why, instead) => {
                self.unsupported(arguments, "", format!("{name}: {why}"), instead);
            }
        }
    }

    /// Notes that a name of some kind is used; whether it was used before.
    pub(crate) fn is_used_again(&mut self, kind: &'static str, name: &str) -> bool {
        !self.used.insert((kind, name.to_owned()))
    }

    /// Whether a name of some kind was used.
    pub(crate) fn is_used(&self, kind: &'static str, name: &str) -> bool {
        self.used.contains(&(kind, name.to_owned()))
    }

    /// The words of a line; none if it cannot be split, which is among the problems then.
    pub(crate) fn words(&mut self, line: &Line) -> Vec<Word> {
        let Words {
            words,
            comment_in_word,
            broken,
        } = words::split(&line.text);
        if let Some((broken, at)) = broken {
            let (message, remedy) = match broken {
                Broken::OpenQuote => (
                    "this quote is not closed on its line",
                    "close it; a quoted text cannot go over several lines",
                ),
                Broken::FinalBackslash => (
                    "a line cannot go on in the next one",
                    "write the command in one line without the backslash",
                ),
            };
            self.problems
                .add(Level::Error, line, at..line.text.len(), message, remedy);
            return Vec::new();
        }
        if let Some(at) = comment_in_word {
            self.problems.add(
                Level::Warning,
                line,
                at..at + 1,
                "'#' begins a comment, also inside a word",
                "put the word in quotes",
            );
        }
        if let Some(first) = words.first().filter(|word| word.text.is_empty()) {
            let span = first.span.clone();
            self.problems.add(
                Level::Error,
                line,
                span,
                "the command is empty",
                "take the quotes out",
            );
            return Vec::new();
        }
        words
    }

    /// Checks what only the whole file tells.
    pub(crate) fn finish(&mut self) {
        let image = ["bootc", "ostreecontainer"]
            .into_iter()
            .find(|name| self.seen.contains_key(name));
        for (line, is_filled) in std::mem::take(&mut self.packages) {
            let (level, message) = match (is_filled, image) {
                (true, Some(image)) => (
                    Level::Error,
                    format!("%packages cannot change the image of {image}"),
                ),
                (true, None) => (Level::Unsupported, "osmith installs no packages".to_owned()),
                (false, _) => (
                    Level::Warning,
                    "%packages is ignored: packages belong to the image".to_owned(),
                ),
            };
            let remedy = if is_filled { NO_PACKAGES } else { "" };
            self.problems.add(level, &line, line.whole(), message, remedy);
        }
    }

    /// Remembers a section of packages until it is known whether there is an image.
    pub(crate) fn saw_packages(&mut self, line: &Line, is_filled: bool) {
        self.packages.push((line.clone(), is_filled));
    }
}

impl<'l> Arguments<'l> {
    /// A command whose words follow no rules that are checked here.
    pub(crate) fn free(line: &'l Line, words: Vec<Word>) -> Option<Self> {
        let mut words = words.into_iter();
        let command = words.next()?;
        Some(Arguments::of_words(line, command, words.collect()))
    }
}
