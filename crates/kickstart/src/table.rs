//! The table of commands and sections with their options: what the parser, its suggestions and the documentation know.

mod network;
mod other;
mod section;
mod storage;
mod system;

use crate::Dialect;
use crate::arguments::Arguments;
use crate::reading::Reading;

/// A command, or a section by its first word.
#[derive(Debug)]
pub(crate) struct CommandSpec {
    /// Its names; the first is the usual one.
    pub(crate) names: &'static [&'static str],
    /// The dialects that know it.
    pub(crate) dialects: &'static [Dialect],
    /// The dialects in which it is an error because it was removed.
    pub(crate) removed_in: &'static [Dialect],
    /// Its options, in groups.
    pub(crate) options: &'static [&'static [OptionSpec]],
    /// Options of other dialects.
    pub(crate) removed: &'static [RemovedOption],
    /// The words that belong to no option.
    pub(crate) words: WordBounds,
    /// The dialects in which its words follow no rules that are checked here.
    pub(crate) free_in: &'static [Dialect],
    /// Whether an unknown option counts as a word: valid, though nonsense.
    pub(crate) takes_unknown: bool,
    /// Whether it adds up; else a second one takes the place of the first.
    pub(crate) adds_up: bool,
    /// What osmith makes of it.
    pub(crate) standing: Standing,
    /// Reads the arguments into the model.
    pub(crate) read: fn(&Arguments<'_>, &mut Reading),
}

/// What osmith makes of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is carried out.
    Done,
    /// It is accepted without effect, and why.
    Ignored(&'static str),
    /// It is valid, but cannot be carried out: why, and what to do instead.
    Refused(&'static str, &'static str),
}

/// An option.
#[derive(Debug)]
pub(crate) struct OptionSpec {
    /// Its names; the first is the usual one.
    pub(crate) names: &'static [&'static str],
    /// What it takes.
    pub(crate) kind: Kind,
    /// Whether it must be there.
    pub(crate) required: bool,
    /// Whether several add up; else the last one wins.
    pub(crate) adds_up: bool,
    /// The dialects that know it.
    pub(crate) dialects: &'static [Dialect],
    /// The dialects in which it is on its way out.
    pub(crate) deprecated: &'static [Dialect],
    /// What to write instead, if it is deprecated.
    pub(crate) instead: &'static str,
    /// Whether its value is secret.
    pub(crate) is_secret: bool,
}

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Flag,
    Text,
    /// A text that may be left out.
    OptionalText,
    Integer,
    Boolean,
    /// Texts between commas.
    List,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// The same in small or capital letters; read as small ones.
    AnyCase(&'static [&'static str]),
}

impl Kind {
    pub(crate) fn takes_value(self) -> bool {
        self != Kind::Flag
    }
}

/// How many words belong to no option.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WordBounds {
    pub(crate) least: usize,
    pub(crate) most: usize,
    /// What they are.
    pub(crate) what: &'static str,
}

/// An option that this dialect does not have, but people know.
#[derive(Debug)]
pub(crate) struct RemovedOption {
    pub(crate) name: &'static str,
    pub(crate) instead: &'static str,
}

const BOTH: &[Dialect] = &Dialect::ALL;
const NINE: &[Dialect] = &[Dialect::Rhel9];
const TEN: &[Dialect] = &[Dialect::Rhel10];
const NO_DIALECT: &[Dialect] = &[];

impl CommandSpec {
    /// A command that is carried out, in both dialects, once, without options and words.
    const fn new(names: &'static [&'static str], read: fn(&Arguments<'_>, &mut Reading)) -> Self {
        CommandSpec {
            names,
            dialects: BOTH,
            removed_in: NO_DIALECT,
            options: &[],
            removed: &[],
            words: WordBounds {
                least: 0,
                most: 0,
                what: "",
            },
            free_in: NO_DIALECT,
            takes_unknown: false,
            adds_up: false,
            standing: Standing::Done,
            read,
        }
    }

    const fn options(self, options: &'static [&'static [OptionSpec]]) -> Self {
        CommandSpec { options, ..self }
    }

    const fn words(self, least: usize, most: usize, what: &'static str) -> Self {
        CommandSpec {
            words: WordBounds { least, most, what },
            ..self
        }
    }

    const fn many(self) -> Self {
        CommandSpec {
            adds_up: true,
            ..self
        }
    }

    const fn free(self) -> Self {
        self.free_in(BOTH)
    }

    const fn free_in(self, free_in: &'static [Dialect]) -> Self {
        CommandSpec { free_in, ..self }
    }

    const fn taking_unknown(self) -> Self {
        CommandSpec {
            takes_unknown: true,
            ..self
        }
    }

    const fn only(self, dialects: &'static [Dialect]) -> Self {
        CommandSpec { dialects, ..self }
    }

    const fn removed_in(self, removed_in: &'static [Dialect]) -> Self {
        CommandSpec { removed_in, ..self }
    }

    const fn removed(self, removed: &'static [RemovedOption]) -> Self {
        CommandSpec { removed, ..self }
    }

    const fn ignored(self, why: &'static str) -> Self {
        CommandSpec {
            standing: Standing::Ignored(why),
            ..self
        }
    }

    const fn refused(self, why: &'static str, instead: &'static str) -> Self {
        CommandSpec {
            standing: Standing::Refused(why, instead),
            ..self
        }
    }

    /// The usual name.
    pub(crate) fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }

    /// The options of a dialect.
    pub(crate) fn options_of(&'static self, dialect: Dialect) -> impl Iterator<Item = &'static OptionSpec> {
        self.options
            .iter()
            .copied()
            .flatten()
            .filter(move |option| option.dialects.contains(&dialect))
    }

    /// How it is written at least.
    pub(crate) fn usage(&'static self) -> String {
        let required = self.options.iter().copied().flatten();
        let required: Vec<_> = required
            .filter(|option| option.required)
            .map(|option| format!(" {}=…", option.name()))
            .collect();
        let words = match self.words.what {
            "" => String::new(),
            what => format!(" {}", what.to_uppercase()),
        };
        format!("write {}{words}{}", self.name(), required.concat())
    }
}

impl OptionSpec {
    const fn new(names: &'static [&'static str], kind: Kind) -> Self {
        OptionSpec {
            names,
            kind,
            required: false,
            adds_up: false,
            dialects: BOTH,
            deprecated: NO_DIALECT,
            instead: "",
            is_secret: false,
        }
    }

    const fn required(self) -> Self {
        OptionSpec {
            required: true,
            ..self
        }
    }

    const fn adding(self) -> Self {
        OptionSpec {
            adds_up: true,
            ..self
        }
    }

    const fn secret(self) -> Self {
        OptionSpec {
            is_secret: true,
            ..self
        }
    }

    const fn only(self, dialects: &'static [Dialect]) -> Self {
        OptionSpec { dialects, ..self }
    }

    const fn deprecated_in(self, deprecated: &'static [Dialect], instead: &'static str) -> Self {
        OptionSpec {
            deprecated,
            instead,
            ..self
        }
    }

    /// The usual name.
    pub(crate) fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }
}

const fn flag(names: &'static [&'static str]) -> OptionSpec {
    OptionSpec::new(names, Kind::Flag)
}

const fn text(names: &'static [&'static str]) -> OptionSpec {
    OptionSpec::new(names, Kind::Text)
}

const fn integer(names: &'static [&'static str]) -> OptionSpec {
    OptionSpec::new(names, Kind::Integer)
}

const fn boolean(names: &'static [&'static str]) -> OptionSpec {
    OptionSpec::new(names, Kind::Boolean)
}

const fn list(names: &'static [&'static str]) -> OptionSpec {
    OptionSpec::new(names, Kind::List)
}

const fn choice(names: &'static [&'static str], choices: &'static [&'static str]) -> OptionSpec {
    OptionSpec::new(names, Kind::Choice(choices))
}

const fn any_case(names: &'static [&'static str], choices: &'static [&'static str]) -> OptionSpec {
    OptionSpec::new(names, Kind::AnyCase(choices))
}

/// Every command.
pub(crate) fn commands() -> impl Iterator<Item = &'static CommandSpec> {
    [
        storage::COMMANDS,
        network::COMMANDS,
        system::COMMANDS,
        other::COMMANDS,
    ]
    .into_iter()
    .flatten()
}

/// Every section.
pub(crate) fn sections() -> impl Iterator<Item = &'static CommandSpec> {
    section::SECTIONS.iter()
}

/// The command of that name, in whatever dialect.
pub(crate) fn command(name: &str) -> Option<&'static CommandSpec> {
    commands().find(|spec| spec.names.contains(&name))
}

/// The section of that name, in whatever dialect.
pub(crate) fn section(name: &str) -> Option<&'static CommandSpec> {
    sections().find(|spec| spec.names.contains(&name))
}

/// Does nothing: for commands without anything to read.
fn nothing(_: &Arguments<'_>, _: &mut Reading) {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_is_there_once() {
        let mut names = BTreeSet::new();
        for spec in commands().chain(sections()) {
            for name in spec.names {
                assert!(names.insert(*name), "{name}");
            }
            for dialect in Dialect::ALL {
                let mut options = BTreeSet::new();
                for name in spec.options_of(dialect).flat_map(|option| option.names) {
                    assert!(options.insert(*name), "{} {name}", spec.name());
                    assert!(name.starts_with("--"), "{} {name}", spec.name());
                }
            }
        }
    }

    #[test]
    fn the_documentation_names_every_command_and_section() {
        let page = include_str!("../../../docs/kickstart.md");
        for spec in commands().chain(sections()) {
            for name in spec.names {
                assert!(
                    page.contains(&format!("`{name}`")),
                    "docs/kickstart.md lacks `{name}`"
                );
            }
        }
    }
}
