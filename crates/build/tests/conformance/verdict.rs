//! Whether what osmith made of a case is what it should be.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::case::Case;

/// How a case ended.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// As buildah.
    Passed,
    /// As the case says, and why that is not as buildah.
    Different(String),
    /// A feature is missing, and without it the case does not pass.
    NotYet(String),
    /// Something is to be done.
    Wrong(String),
}

/// What stands in a golden for a build that fails.
pub(crate) const FAILS: &str = "fails";

/// The verdict on what was built or said.
pub(crate) fn of(case: &Case, built: &Result<String, String>) -> Verdict {
    let wrong = problem(case, built);
    match (&case.not_yet, wrong) {
        (Some(_), None) => Verdict::Wrong("it passes: take the line `not yet` out".to_owned()),
        (Some(what), Some(_)) => Verdict::NotYet(what.clone()),
        (None, Some(problem)) => Verdict::Wrong(problem),
        (None, None) => case.difference().map_or(Verdict::Passed, |(reason, _)| {
            Verdict::Different(reason.to_owned())
        }),
    }
}

/// What is wrong with what was built; `None` if it is as it should be.
fn problem(case: &Case, built: &Result<String, String>) -> Option<String> {
    let Some(golden) = case.golden() else {
        return Some("there is no `== buildah`: record it".to_owned());
    };
    let made = built.as_deref().unwrap_or(FAILS);
    let expected = match case.difference() {
        Some((_, text)) if text == golden => {
            return Some("`== osmith` is no other than `== buildah`: take it out".to_owned());
        }
        Some((_, text)) => text,
        None => golden,
    };
    if made != expected {
        let mut text = difference(expected, made);
        if let Err(said) = built {
            let _ = write!(text, "\nosmith says: {said}");
        }
        return Some(text);
    }
    let said = built.as_ref().err().map(|said| said.trim_end());
    (said != case.error()).then(|| match (case.error(), said) {
        (Some(expected), Some(said)) => difference(expected, said),
        (_, said) => format!(
            "`== error` does not have what is said: {}",
            said.unwrap_or("nothing")
        ),
    })
}

/// Lines of only one of two texts.
fn difference(expected: &str, made: &str) -> String {
    let mut text = String::new();
    let only = |one: &str, other: &str, sign: &str, text: &mut String| {
        for line in one
            .lines()
            .filter(|line| !other.lines().any(|known| known == *line))
        {
            let _ = writeln!(text, "  {sign} {line}");
        }
    };
    only(expected, made, "expected", &mut text);
    only(made, expected, "but made", &mut text);
    match text.is_empty() {
        true => format!("the order of lines is another:\n{made}"),
        false => text.trim_end().to_owned(),
    }
}

/// Writes what osmith made or said into the case, where it has a place for it.
pub(crate) fn accept(case: &mut Case, built: &Result<String, String>) {
    if let Some((reason, _)) = case.difference() {
        let heading = format!("osmith: {reason}");
        case.set(&heading, Some(built.as_deref().unwrap_or(FAILS)));
    }
    let expected = case
        .difference()
        .map_or_else(|| case.golden(), |(_, text)| Some(text));
    if case.not_yet.is_none() {
        let said = built.as_ref().err().filter(|_| expected == Some(FAILS)).cloned();
        case.set("error", said.as_deref());
    }
    case.write();
}

/// Prints what is wrong, a line of counts for every suite, and before it what `lists` asks for: what else is not as buildah.
pub(crate) fn report(verdicts: &BTreeMap<String, Verdict>, lists: bool) {
    let mut suites: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    let mut details = String::new();
    for (name, verdict) in verdicts {
        let suite = name.split('/').next().unwrap_or_default();
        let counts = suites.entry(suite).or_default();
        match verdict {
            Verdict::Passed => counts[0] += 1,
            Verdict::Different(reason) => {
                counts[1] += 1;
                details += &format!("{name}: differs: {reason}\n");
            }
            Verdict::NotYet(what) => {
                counts[2] += 1;
                details += &format!("{name}: not yet: {what}\n");
            }
            Verdict::Wrong(problem) => {
                counts[3] += 1;
                println!("{name}:\n{problem}\n");
            }
        }
    }
    if lists {
        print!("{details}");
    }
    for (suite, [passed, different, not_yet, wrong]) in suites {
        let total = passed + different + not_yet + wrong;
        println!(
            "conformance: {suite}: {total} cases: {passed} passed, {different} differ on purpose, \
             {not_yet} not yet, {wrong} wrong"
        );
    }
}
