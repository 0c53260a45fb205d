//! Whether what osmith made of a case is what it should be.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::case::{Case, Outcome};

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

/// The verdict on what was built or said.
pub(crate) fn of(case: &Case, outcome: &Outcome) -> Verdict {
    let wrong = problem(case, outcome);
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
fn problem(case: &Case, outcome: &Outcome) -> Option<String> {
    let Some(golden) = case.golden() else {
        return Some("there is no `== buildah`: record it".to_owned());
    };
    let expected = match case.difference() {
        Some((_, text)) if text == golden => {
            return Some("`== osmith` is no other than `== buildah`: take it out".to_owned());
        }
        Some((_, text)) => text,
        None => golden,
    };
    let said = outcome.said.as_deref().map(str::trim_end);
    if outcome.made != expected {
        let mut text = difference(expected, &outcome.made);
        if let Some(said) = said {
            let _ = write!(text, "\nosmith says: {said}");
        }
        return Some(text);
    }
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
pub(crate) fn accept(case: &mut Case, outcome: &Outcome) {
    if let Some((reason, _)) = case.difference() {
        let heading = format!("osmith: {reason}");
        case.set(&heading, Some(&outcome.made));
    }
    let expected = case
        .difference()
        .map_or_else(|| case.golden(), |(_, text)| Some(text));
    if case.not_yet.is_none() {
        let is_expected = expected == Some(outcome.made.as_str());
        let said = outcome.said.clone().filter(|_| is_expected);
        case.set("error", said.as_deref());
    }
    case.write();
}

/// Prints what is wrong, a line of counts for every suite and one for all, and before them what `lists` asks for: what
/// else is not as buildah. With each verdict stands how many builds it is about.
pub(crate) fn report(verdicts: &BTreeMap<String, (usize, Verdict)>, lists: bool) {
    let mut suites: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    let mut details = String::new();
    for (name, (builds, verdict)) in verdicts {
        let suite = name.split('/').next().unwrap_or_default();
        let column = match verdict {
            Verdict::Passed => 0,
            Verdict::Different(reason) => {
                details += &format!("{name}: differs: {reason}\n");
                1
            }
            Verdict::NotYet(what) => {
                details += &format!("{name}: not yet: {what}\n");
                2
            }
            Verdict::Wrong(problem) => {
                println!("{name}:\n{problem}\n");
                3
            }
        };
        suites.entry(suite).or_default()[column] += builds;
    }
    if lists {
        print!("{details}");
    }
    let mut total = [0; 4];
    for (suite, counts) in suites {
        print_counts(suite, counts);
        total
            .iter_mut()
            .zip(counts)
            .for_each(|(sum, count)| *sum += count);
    }
    print_counts("all suites", total);
}

fn print_counts(title: &str, [passed, different, not_yet, wrong]: [usize; 4]) {
    let total = passed + different + not_yet + wrong;
    println!(
        "conformance: {title}: {total} cases: {passed} passed, {different} differ on purpose, \
         {not_yet} not yet, {wrong} wrong"
    );
}
