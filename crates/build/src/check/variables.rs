//! Rules about variables that have no value.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::{Variables, Warning};
use crate::containerfile::{
    Arguments, Assignment, Containerfile, CopySource, Diagnostic, Instruction, Keyword, Quoting, Text,
    expand, nearest,
};

/// What every command finds, and shells set themselves.
const KNOWN: [&str; 6] = ["PATH", "HOME", "HOSTNAME", "TERM", "PWD", "USER"];
const AUTOMATIC: [&str; 9] = [
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETARCH",
    "TARGETVARIANT",
    "TARGETSTAGE",
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDARCH",
    "BUILDVARIANT",
];

pub(super) fn check(file: &Containerfile, images: &Variables) -> Vec<Warning> {
    let mut globals: BTreeSet<String> = AUTOMATIC.map(str::to_owned).into();
    let mut with_value = globals.clone();
    let mut warnings = Vec::new();
    // Of a stage on an image that is not known, nothing can be said.
    let mut scope: Option<BTreeSet<String>> = None;
    let mut stage_name: Option<&str> = None;
    let mut stages: BTreeMap<&str, Option<BTreeSet<String>>> = BTreeMap::new();
    let mut is_before_from = true;
    for instruction in &file.instructions {
        match &instruction.arguments {
            Arguments::From { image, name } => {
                is_before_from = false;
                warnings.extend(base(file, image, &globals, &with_value));
                if let Some(name) = stage_name {
                    stages.insert(name, scope);
                }
                stage_name = name.as_ref().map(|name| name.raw.as_str());
                let raw = image.raw.as_str();
                let inherited = match (stages.get(raw), raw) {
                    (Some(stage), _) => stage.clone(),
                    (None, "scratch") => Some(BTreeSet::new()),
                    (None, _) => images.get(raw).cloned().flatten(),
                };
                scope = inherited.map(|mut names| {
                    names.extend(KNOWN.map(str::to_owned));
                    names
                });
            }
            Arguments::Assignments(pairs) if is_before_from => {
                for Assignment { name, value } in pairs {
                    globals.insert(name.raw.clone());
                    if value.is_some() {
                        with_value.insert(name.raw.clone());
                    }
                }
            }
            _ => {
                if let Some(scope) = &mut scope {
                    warnings.extend(undefined(file, instruction, scope));
                    declare(instruction, scope);
                }
            }
        }
    }
    warnings
}

/// A base image's name with variables that have no value, or only one if it is given.
fn base(
    file: &Containerfile,
    image: &Text,
    globals: &BTreeSet<String>,
    with_value: &BTreeSet<String>,
) -> Vec<Warning> {
    let warning = |rule, name: &str, message: String| {
        let note = match nearest(name, globals.iter().map(String::as_str)).filter(|known| *known != name) {
            Some(known) => format!("did you mean {known}?"),
            None => format!("expected ARG {name}=DEFAULT above the first FROM"),
        };
        Warning {
            rule,
            finding: Diagnostic::warning(image.span, message).with_note(note),
        }
    };
    let names = missing(file, image, with_value).into_iter();
    names
        .map(|name| match globals.contains(&name) {
            true => warning(
                "InvalidDefaultArgInFrom",
                &name,
                format!("without --build-arg {name} the name of the image is incomplete"),
            ),
            false => warning(
                "UndefinedArgInFrom",
                &name,
                format!("no ARG above declares `{name}`"),
            ),
        })
        .collect()
}

fn undefined(file: &Containerfile, instruction: &Instruction, scope: &BTreeSet<String>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for text in texts(instruction) {
        for name in missing(file, text, scope) {
            let note = match nearest(&name, scope.iter().map(String::as_str)) {
                Some(known) => format!("did you mean {known}?"),
                None => format!("expected ARG {name} or ENV {name}=VALUE above"),
            };
            let finding =
                Diagnostic::warning(text.span, format!("the variable `{name}` is not set")).with_note(note);
            warnings.push(Warning {
                rule: "UndefinedVar",
                finding,
            });
        }
    }
    warnings
}

/// The texts in which variables are replaced.
fn texts(instruction: &Instruction) -> Vec<&Text> {
    let mut texts: Vec<&Text> = instruction
        .flags
        .iter()
        .filter_map(|flag| flag.value.as_ref())
        .collect();
    match &instruction.arguments {
        Arguments::Transfer { sources, destination } => {
            texts.extend(sources.iter().filter_map(|source| match source {
                CopySource::Path(text) => Some(text),
                CopySource::Heredoc(_) => None,
            }));
            texts.push(destination);
        }
        Arguments::Assignments(pairs) => texts.extend(pairs.iter().filter_map(|pair| pair.value.as_ref())),
        Arguments::Words(words) => texts.extend(words),
        Arguments::Text(text) if instruction.keyword != Keyword::Maintainer => texts.push(text),
        _ => {}
    }
    texts
}

fn declare(instruction: &Instruction, scope: &mut BTreeSet<String>) {
    if let (Arguments::Assignments(pairs), Keyword::Arg | Keyword::Env) =
        (&instruction.arguments, instruction.keyword)
    {
        scope.extend(pairs.iter().map(|pair| pair.name.raw.clone()));
    }
}

/// The variables of a text that are not known and have no alternative there (`${x:-y}`).
fn missing(file: &Containerfile, text: &Text, known: &BTreeSet<String>) -> Vec<String> {
    let asked = RefCell::new(BTreeSet::new());
    let lookup = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        None
    };
    // What cannot be read at all is an error elsewhere.
    let _ = expand(&text.raw, file.escape, Quoting::Removed, &lookup);
    let is_name = |name: &String| name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let has_alternative = |name: &String| {
        let start = format!("${{{name}");
        text.raw.match_indices(&start).any(|(at, _)| {
            let after = text.raw.get(at + start.len()..).unwrap_or_default();
            after.starts_with([':', '-', '+', '?'])
        })
    };
    let names = asked.into_inner().into_iter();
    names
        .filter(|name| is_name(name) && !known.contains(name) && !has_alternative(name))
        .collect()
}
