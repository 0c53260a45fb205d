//! The instructions of a Containerfile, as written: nothing is expanded or resolved yet.

use super::source::Span;

/// The 18 instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keyword {
    /// `FROM`
    From,
    /// `RUN`
    Run,
    /// `COPY`
    Copy,
    /// `ADD`
    Add,
    /// `CMD`
    Cmd,
    /// `ENTRYPOINT`
    Entrypoint,
    /// `SHELL`
    Shell,
    /// `ENV`
    Env,
    /// `LABEL`
    Label,
    /// `ARG`
    Arg,
    /// `EXPOSE`
    Expose,
    /// `USER`
    User,
    /// `WORKDIR`
    Workdir,
    /// `STOPSIGNAL`
    StopSignal,
    /// `VOLUME`
    Volume,
    /// `HEALTHCHECK`
    Healthcheck,
    /// `ONBUILD`
    Onbuild,
    /// `MAINTAINER`
    Maintainer,
}

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FlagKind {
    /// `--name=value`, at most once.
    Value,
    /// `--name=value`, any number of times.
    Values,
    /// `--name`, `--name=true` or `--name=false`.
    Switch,
}

/// What is known of an instruction before its arguments are read.
pub(super) struct Grammar {
    pub(super) keyword: Keyword,
    pub(super) name: &'static str,
    /// What to write, for a message.
    pub(super) usage: &'static str,
    pub(super) flags: &'static [(&'static str, FlagKind)],
}

use FlagKind::{Switch, Value, Values};

const fn grammar(keyword: Keyword, name: &'static str, usage: &'static str) -> Grammar {
    Grammar {
        keyword,
        name,
        usage,
        flags: &[],
    }
}

const fn with_flags(grammar: Grammar, flags: &'static [(&'static str, FlagKind)]) -> Grammar {
    Grammar { flags, ..grammar }
}

static GRAMMAR: [Grammar; 18] = [
    with_flags(
        grammar(Keyword::From, "FROM", "FROM IMAGE [AS NAME]"),
        &[("platform", Value), ("after", Values)],
    ),
    with_flags(
        grammar(
            Keyword::Run,
            "RUN",
            "RUN COMMAND or RUN [\"PROGRAM\", \"ARGUMENT\"]",
        ),
        &[
            ("mount", Values),
            ("network", Value),
            ("security", Value),
            ("device", Values),
        ],
    ),
    with_flags(
        grammar(Keyword::Copy, "COPY", "COPY SOURCE... DESTINATION"),
        &[
            ("from", Value),
            ("chown", Value),
            ("chmod", Value),
            ("link", Switch),
            ("parents", Switch),
            ("exclude", Values),
        ],
    ),
    with_flags(
        grammar(Keyword::Add, "ADD", "ADD SOURCE... DESTINATION"),
        &[
            ("chown", Value),
            ("chmod", Value),
            ("checksum", Value),
            ("link", Switch),
            ("keep-git-dir", Switch),
            ("unpack", Switch),
            ("exclude", Values),
        ],
    ),
    grammar(
        Keyword::Cmd,
        "CMD",
        "CMD COMMAND or CMD [\"PROGRAM\", \"ARGUMENT\"]",
    ),
    grammar(
        Keyword::Entrypoint,
        "ENTRYPOINT",
        "ENTRYPOINT [\"PROGRAM\", \"ARGUMENT\"] or ENTRYPOINT COMMAND",
    ),
    grammar(Keyword::Shell, "SHELL", "SHELL [\"PROGRAM\", \"ARGUMENT\"]"),
    grammar(Keyword::Env, "ENV", "ENV NAME=VALUE... or ENV NAME VALUE"),
    grammar(Keyword::Label, "LABEL", "LABEL NAME=VALUE... or LABEL NAME VALUE"),
    grammar(Keyword::Arg, "ARG", "ARG NAME[=DEFAULT]..."),
    grammar(Keyword::Expose, "EXPOSE", "EXPOSE PORT[-LAST][/PROTOCOL]..."),
    grammar(Keyword::User, "USER", "USER NAME[:GROUP]"),
    grammar(Keyword::Workdir, "WORKDIR", "WORKDIR DIRECTORY"),
    grammar(Keyword::StopSignal, "STOPSIGNAL", "STOPSIGNAL SIGNAL"),
    grammar(
        Keyword::Volume,
        "VOLUME",
        "VOLUME DIRECTORY... or VOLUME [\"DIRECTORY\"]",
    ),
    with_flags(
        grammar(
            Keyword::Healthcheck,
            "HEALTHCHECK",
            "HEALTHCHECK [FLAGS] CMD COMMAND or HEALTHCHECK NONE",
        ),
        &[
            ("interval", Value),
            ("timeout", Value),
            ("start-period", Value),
            ("start-interval", Value),
            ("retries", Value),
        ],
    ),
    grammar(Keyword::Onbuild, "ONBUILD", "ONBUILD INSTRUCTION"),
    grammar(Keyword::Maintainer, "MAINTAINER", "MAINTAINER NAME"),
];

impl Keyword {
    /// The name in capitals.
    pub fn name(self) -> &'static str {
        self.grammar().name
    }

    /// The instruction of that name, in capitals or not.
    pub fn parse(name: &str) -> Option<Keyword> {
        GRAMMAR
            .iter()
            .find(|grammar| grammar.name.eq_ignore_ascii_case(name))
            .map(|grammar| grammar.keyword)
    }

    /// The names of all instructions.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        GRAMMAR.iter().map(|grammar| grammar.name)
    }

    pub(super) fn grammar(self) -> &'static Grammar {
        // The table is in the order of the variants; a test holds it to that.
        &GRAMMAR[self as usize]
    }
}

/// A piece of an instruction, quotes and variables as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// As written.
    pub raw: String,
    /// Where.
    pub span: Span,
}

/// `--name` or `--name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The name, one of those the instruction knows.
    pub name: &'static str,
    /// What stands after the `=`.
    pub value: Option<Text>,
    /// Where.
    pub span: Span,
}

/// A command in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A JSON array: program and arguments.
    Exec(Vec<String>),
    /// Text for a shell.
    Shell(String),
}

/// A heredoc: text between an instruction's line and its terminator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter without quotes.
    pub name: String,
    /// Whether variables in the body are replaced (where the instruction does that at all).
    pub expands: bool,
    /// The lines between; leading tabs removed for `<<-`.
    pub body: String,
    /// The same with its tabs.
    pub written: String,
    /// The line that ended it, as written.
    pub terminator: String,
    /// Where it is opened.
    pub span: Span,
}

/// What COPY or ADD takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path, pattern, URL.
    Path(Text),
    /// A file whose contents stand in the Containerfile.
    Heredoc(Heredoc),
}

/// `name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The name, quotes as written.
    pub name: Text,
    /// The value, quotes as written; only ARG may have none.
    pub value: Option<Text>,
}

/// What stands after an instruction's name and flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arguments {
    /// `FROM`
    From {
        /// The image, stage or `scratch`.
        image: Text,
        /// The name after `AS`.
        name: Option<Text>,
    },
    /// `RUN`
    Run {
        /// The command; for the shell form without the heredocs' bodies.
        command: Command,
        /// The heredocs in the order of their opening.
        heredocs: Vec<Heredoc>,
        /// Whether the command is nothing but one heredoc: its body is the script.
        is_script: bool,
    },
    /// `COPY`, `ADD`
    Transfer {
        /// At least one.
        sources: Vec<Source>,
        /// Where to.
        destination: Text,
    },
    /// `CMD`, `ENTRYPOINT`
    Command(Command),
    /// `SHELL`
    Shell(Vec<String>),
    /// `ENV`, `LABEL`, `ARG`
    Assignments(Vec<Assignment>),
    /// `EXPOSE`, `VOLUME`
    Words(Vec<Text>),
    /// `USER`, `WORKDIR`, `STOPSIGNAL`, `MAINTAINER`
    Text(Text),
    /// `HEALTHCHECK`: a command, or none to switch an inherited one off.
    Healthcheck(Option<Command>),
    /// `ONBUILD`
    Onbuild(Box<Instruction>),
}

/// An instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Which.
    pub keyword: Keyword,
    /// Its flags in the order in which they stand.
    pub flags: Vec<Flag>,
    /// The rest.
    pub arguments: Arguments,
    /// The whole instruction, joined to one line, without bodies of heredocs.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

impl Instruction {
    /// The last flag of that name.
    pub fn flag(&self, name: &str) -> Option<&Flag> {
        self.flags.iter().rev().find(|flag| flag.name == name)
    }

    /// The heredocs that it opens.
    pub fn heredocs(&self) -> Vec<&Heredoc> {
        match &self.arguments {
            Arguments::Run { heredocs, .. } => heredocs.iter().collect(),
            Arguments::Transfer { sources, .. } => sources
                .iter()
                .filter_map(|source| match source {
                    Source::Heredoc(heredoc) => Some(heredoc),
                    Source::Path(_) => None,
                })
                .collect(),
            Arguments::Onbuild(inner) => inner.heredocs(),
            _ => Vec::new(),
        }
    }

    /// Gives it, and all in it, another place.
    pub(crate) fn place_at(&mut self, place: Span) {
        self.span = place;
        for flag in &mut self.flags {
            flag.span = place;
            flag.value.iter_mut().for_each(|text| text.span = place);
        }
        match &mut self.arguments {
            Arguments::From { image, .. } => image.span = place,
            Arguments::Run { heredocs, .. } => heredocs.iter_mut().for_each(|one| one.span = place),
            Arguments::Transfer { sources, destination } => {
                destination.span = place;
                for source in sources {
                    match source {
                        Source::Path(text) => text.span = place,
                        Source::Heredoc(heredoc) => heredoc.span = place,
                    }
                }
            }
            Arguments::Assignments(pairs) => {
                for pair in pairs {
                    pair.name.span = place;
                    pair.value.iter_mut().for_each(|text| text.span = place);
                }
            }
            Arguments::Words(words) => words.iter_mut().for_each(|text| text.span = place),
            Arguments::Text(text) => text.span = place,
            Arguments::Onbuild(inner) => inner.place_at(place),
            Arguments::Command(_) | Arguments::Shell(_) | Arguments::Healthcheck(_) => {}
        }
    }

    /// All flags of that name.
    pub fn flags_named<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Flag> {
        self.flags.iter().filter(move |flag| flag.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_variants() {
        for (index, grammar) in GRAMMAR.iter().enumerate() {
            assert_eq!(grammar.keyword as usize, index);
            assert_eq!(
                Keyword::parse(&grammar.name.to_lowercase()),
                Some(grammar.keyword)
            );
            assert!(grammar.usage.starts_with(grammar.name));
        }
    }
}
