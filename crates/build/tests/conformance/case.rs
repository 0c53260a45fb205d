//! A case: a text file that says what is built, what buildah makes of it, and where osmith differs on purpose.
//!
//! ```text
//! One sentence that says what the case pins.
//! options: --build-arg a=b            as on the command line of osmith
//! not yet: RUN --mount                the feature that is missing
//!
//! == context                          see `material`; `== context NAME` takes contexts/NAME
//! == file PATH                        a file of the context, as it stands
//! == Containerfile                    `== Containerfile without newline` ends without one
//! == each                             lines, each built on its own: it stands for `{line}` in the Containerfile
//! == buildah 1.39.3                   what buildah makes: written by --record
//! == osmith: REASON                   what osmith makes where it differs on purpose: written by --accept
//! == error                            what osmith says where it fails: written by --accept
//! ```
//!
//! With `== each` the last three have a block for each line, which begins with `> ` and the line; what is in the images of
//! all lines is left out.

use std::fs;
use std::path::{Path, PathBuf};

/// A part of a case that begins with `== HEADING`.
#[derive(Debug, Clone)]
struct Section {
    heading: String,
    /// The lines, each with its newline.
    text: String,
}

impl Section {
    /// The text without blank lines at its end.
    fn body(&self) -> &str {
        let end = self.text.trim_end_matches('\n').len();
        &self.text[..self.text.len().min(end + 1)]
    }
}

/// A case as its file has it.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// `SUITE/NAME`.
    pub(crate) name: String,
    /// The words of `options:`.
    pub(crate) options: Vec<String>,
    /// The feature that is missing.
    pub(crate) not_yet: Option<String>,
    path: PathBuf,
    head: String,
    sections: Vec<Section>,
}

/// What comes of a case.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// How often something was built.
    pub(crate) builds: usize,
    /// What was made, or [`FAILS`].
    pub(crate) made: String,
    /// What is said of what fails.
    pub(crate) said: Option<String>,
}

/// What stands in a golden for a build that fails.
const FAILS: &str = "fails";

/// The cases below a directory, in the order of their names. A directory in it is a suite.
pub(crate) fn all_cases(root: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    for suite in sorted(root).filter(|path| path.is_dir()) {
        for path in sorted(&suite).filter(|path| path.extension().is_some_and(|end| end == "case")) {
            let name = path.strip_prefix(root).unwrap().with_extension("");
            cases.push(Case::read(name.to_str().unwrap(), &path));
        }
    }
    cases
}

fn sorted(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter()
}

impl Case {
    fn read(name: &str, path: &Path) -> Case {
        let text = fs::read_to_string(path).unwrap();
        let (head, sections) = split(&text);
        let header = |key: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(key));
            line.map(|value| value.trim().to_owned())
        };
        let case = Case {
            name: name.to_owned(),
            options: header("options:").map_or_else(Vec::new, |words| {
                words.split_whitespace().map(str::to_owned).collect()
            }),
            not_yet: header("not yet:"),
            path: path.to_owned(),
            head: head.to_owned(),
            sections,
        };
        assert!(
            case.section("Containerfile").is_some(),
            "{name} has no `== Containerfile`"
        );
        let known = [
            "context",
            "file",
            "Containerfile",
            "each",
            "buildah",
            "osmith",
            "error",
        ];
        for section in &case.sections {
            let word = section.heading.split([' ', ':']).next().unwrap_or_default();
            assert!(
                known.contains(&word),
                "{name}: unknown section `{}`",
                section.heading
            );
        }
        case
    }

    fn section(&self, word: &str) -> Option<&Section> {
        let is_it = |section: &&Section| section.heading.split([' ', ':']).next() == Some(word);
        self.sections.iter().find(is_it)
    }

    pub(crate) fn containerfile(&self) -> &str {
        match self.section("Containerfile") {
            Some(section) if section.heading.ends_with(" without newline") => {
                section.text.trim_end_matches('\n')
            }
            section => section.map_or("", Section::body),
        }
    }

    /// What comes of building the case or, with `== each`, every line of it.
    pub(crate) fn carry_out(&self, build: impl Fn(&Case) -> Result<String, String>) -> Outcome {
        let Some(each) = self.section("each") else {
            let built = build(self);
            return Outcome {
                builds: 1,
                made: built.as_deref().unwrap_or(FAILS).to_owned(),
                said: built.err(),
            };
        };
        let lines: Vec<&str> = each.body().lines().collect();
        let built: Vec<_> = lines.iter().map(|line| build(&self.with_line(line))).collect();
        let is_common = |wanted: &str| {
            let mut made = built.iter().flatten();
            built.iter().flatten().count() > 1 && made.all(|text| text.lines().any(|line| line == wanted))
        };
        let mut outcome = Outcome {
            builds: lines.len(),
            made: String::new(),
            said: None,
        };
        for (line, built) in lines.iter().zip(&built) {
            let made = built.as_deref().unwrap_or(FAILS);
            outcome.made += &format!("> {line}\n");
            let own = made.lines().filter(|line| built.is_err() || !is_common(line));
            outcome.made.extend(own.map(|line| format!("{line}\n")));
            if let Err(said) = built {
                *outcome.said.get_or_insert_default() += &format!("> {line}\n{}\n", said.trim_end());
            }
        }
        outcome.made.truncate(outcome.made.trim_end().len());
        outcome
    }

    /// The case of a line of `== each`.
    fn with_line(&self, line: &str) -> Case {
        let mut case = self.clone();
        case.sections.retain(|section| section.heading != "each");
        for section in &mut case.sections {
            if section.heading.starts_with("Containerfile") {
                section.text = section.text.replace("{line}", line);
            }
        }
        case
    }

    /// The description of the context, and the directory's files that stand in sections of their own.
    pub(crate) fn context(&self) -> (String, Vec<(&str, &str)>) {
        let mut description = String::new();
        if let Some(section) = self.section("context") {
            if let Some(name) = section.heading.strip_prefix("context ") {
                let shared = self.path.parent().unwrap().join("../../contexts").join(name);
                description = fs::read_to_string(&shared)
                    .unwrap_or_else(|error| panic!("{}: {error}", shared.display()));
            }
            description += &section.text;
        }
        let files = self.sections.iter().filter_map(|section| {
            let path = section.heading.strip_prefix("file ")?;
            Some((path, section.body()))
        });
        (description, files.collect())
    }

    /// What buildah made.
    pub(crate) fn golden(&self) -> Option<&str> {
        self.section("buildah").map(|section| section.text.trim_end())
    }

    /// What osmith makes on purpose, if that is something else; and why.
    pub(crate) fn difference(&self) -> Option<(&str, &str)> {
        let section = self.section("osmith")?;
        let reason = section.heading.strip_prefix("osmith:").unwrap_or_default().trim();
        assert!(!reason.is_empty(), "{}: `== osmith` has no reason", self.name);
        Some((reason, section.text.trim_end()))
    }

    /// What osmith says when it fails.
    pub(crate) fn error(&self) -> Option<&str> {
        self.section("error").map(|section| section.text.trim_end())
    }

    /// Replaces the section whose heading begins with the same word, or adds it; `None` removes it.
    pub(crate) fn set(&mut self, heading: &str, text: Option<&str>) {
        let word = heading.split([' ', ':']).next().unwrap_or_default();
        let position = self
            .sections
            .iter()
            .position(|section| section.heading.split([' ', ':']).next() == Some(word));
        match (position, text) {
            (Some(at), Some(text)) => {
                self.sections[at] = Section {
                    heading: heading.to_owned(),
                    text: format!("{}\n\n", text.trim_end()),
                };
            }
            (Some(at), None) => drop(self.sections.remove(at)),
            (None, Some(text)) => self.sections.push(Section {
                heading: heading.to_owned(),
                text: format!("{}\n\n", text.trim_end()),
            }),
            (None, None) => {}
        }
    }

    /// Writes the file.
    pub(crate) fn write(&self) {
        let mut text = self.head.clone();
        for section in &self.sections {
            let blank = if text.is_empty() || text.ends_with("\n\n") {
                ""
            } else {
                "\n"
            };
            text += &format!("{blank}== {}\n{}", section.heading, section.text);
        }
        fs::write(&self.path, format!("{}\n", text.trim_end())).unwrap();
    }
}

/// What stands before the first section, and the sections.
fn split(text: &str) -> (&str, Vec<Section>) {
    let start = match text.starts_with("== ") {
        true => 0,
        false => text.find("\n== ").map_or(text.len(), |at| at + 1),
    };
    let (head, rest) = text.split_at(start);
    let mut sections: Vec<Section> = Vec::new();
    for line in rest.split_inclusive('\n') {
        match (line.strip_prefix("== "), sections.last_mut()) {
            (Some(heading), _) => sections.push(Section {
                heading: heading.trim_end().to_owned(),
                text: String::new(),
            }),
            (None, Some(section)) => section.text += line,
            (None, None) => {}
        }
    }
    (head, sections)
}
