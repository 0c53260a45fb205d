//! The verdicts of osmith compared with those of pykickstart, for every case of `tests/corpus` in both dialects.
//!
//! `tests/golden.txt` has what pykickstart said (`scripts/kickstart-oracle record`). Where osmith differs on purpose
//! stands in `tests/differences.txt` with the reason. Where pykickstart is installed, it is asked again and must still
//! say what is recorded.
//!
//! With `--list` every difference is printed, with `--differences` the lines that the table lacks.

#![allow(clippy::print_stdout, clippy::print_stderr)] // It tells what it counted.

mod corpus;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use corpus::Case;
use osmith_kickstart::{Dialect, MissingIncludes, ParseOptions, View, parse};

/// What pykickstart said of a case, by dialect.
type Golden = BTreeMap<String, [Said; 2]>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Accepted,
    Rejected,
    /// It died of the file, which is as good as a rejection.
    Crashed,
}

/// A difference that is meant: the dialect, the case, and why.
type Differences = BTreeMap<(Dialect, String), String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    let golden_text = corpus::read("golden.txt");
    let golden = golden(&golden_text);
    let mut differences = differences(&corpus::read("differences.txt"));
    let cases = corpus::cases();
    let mut wrong = unknown_or_missing(&cases, &golden);
    let (mut same, mut different) = (0, 0);
    for case in &cases {
        for (dialect, said) in Dialect::ALL
            .into_iter()
            .zip(golden.get(&case.name).into_iter().flatten())
        {
            let is_same = is_accepted(case, dialect) == (*said == Said::Accepted);
            let reason = differences.remove(&(dialect, case.name.clone()));
            match (is_same, reason) {
                (true, None) => same += 1,
                (false, Some(reason)) => {
                    different += 1;
                    if has("--list") {
                        println!("{dialect}: {}: {reason}", case.name);
                    }
                }
                (false, None) if has("--differences") => println!("{dialect} {}", case.name),
                (false, None) => wrong.push(disagreement(case, dialect, *said)),
                (true, Some(_)) => wrong.push(format!(
                    "{dialect}: {}: it is as pykickstart: take it out of differences.txt",
                    case.name
                )),
            }
        }
    }
    for (dialect, name) in differences.keys() {
        wrong.push(format!(
            "{dialect}: {name}: differences.txt has it, but the corpus does not"
        ));
    }
    wrong.extend(asked_again(&golden_text));
    for problem in &wrong {
        println!("{problem}");
    }
    println!(
        "kickstart: {} cases: {same} as pykickstart, {different} differ on purpose (each with its reason), {} wrong",
        2 * cases.len(),
        wrong.len()
    );
    // For who counts tests, of which each dialect of a case is one.
    println!("{} passed, {} failed", same + different, wrong.len());
    match wrong.is_empty() && !cases.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn is_accepted(case: &Case, dialect: Dialect) -> bool {
    parsed(case, dialect).is_accepted(View::Language, false)
}

fn parsed(case: &Case, dialect: Dialect) -> osmith_kickstart::Parsed {
    let options = ParseOptions {
        dialect,
        missing_includes: MissingIncludes::Tolerate,
    };
    parse("ks.cfg", case.text(), &options, &mut case.includes())
}

fn disagreement(case: &Case, dialect: Dialect, said: Said) -> String {
    let problems: Vec<_> = parsed(case, dialect)
        .problems
        .iter()
        .map(|problem| format!("\n  {}", problem.rendered().replace('\n', "\n  ")))
        .collect();
    format!(
        "{dialect}: {}: pykickstart has it {said:?}, osmith not:{}",
        case.name,
        problems.concat()
    )
}

/// Cases without a verdict, and verdicts without a case.
fn unknown_or_missing(cases: &[Case], golden: &Golden) -> Vec<String> {
    let mut names = BTreeSet::new();
    let mut wrong = Vec::new();
    for case in cases {
        if !names.insert(&case.name) {
            wrong.push(format!("{}: it is there twice", case.name));
        }
        if !golden.contains_key(&case.name) {
            wrong.push(format!("{}: run scripts/kickstart-oracle record", case.name));
        }
    }
    for name in golden.keys().filter(|name| !names.contains(name)) {
        wrong.push(format!("{name}: golden.txt has it, but the corpus does not"));
    }
    wrong
}

/// What is wrong if pykickstart, where it is installed, says other things than are recorded.
fn asked_again(golden: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let oracle = |verb: &str| -> Command {
        let mut command = Command::new(root.join("scripts/kickstart-oracle"));
        // The tests' own programs are below the target directory.
        if let Some(target) = target_directory() {
            command.env("CARGO_TARGET_DIR", target);
        }
        command.arg(verb);
        command
    };
    let is_installed = oracle("installed").status().is_ok_and(|status| status.success());
    if !is_installed {
        if osmith_testing::oracle::in_ci() {
            return vec![
                "pykickstart is missing, and CI=true does not allow to skip it: scripts/setup test"
                    .to_owned(),
            ];
        }
        eprintln!("SKIPPED: pykickstart is missing; what it said is compared as recorded");
        return Vec::new();
    }
    match oracle("print").output() {
        Ok(output) if output.status.success() => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let recorded: BTreeSet<&str> = golden.lines().collect();
            let said: BTreeSet<&str> = said.lines().collect();
            said.symmetric_difference(&recorded)
                .map(|line| format!("pykickstart says something else than recorded: {line}"))
                .collect()
        }
        Ok(output) => vec![String::from_utf8_lossy(&output.stderr).into_owned()],
        Err(error) => vec![format!("scripts/kickstart-oracle: {error}")],
    }
}

/// Where cargo puts what it builds: this program is in `debug/deps` of it.
fn target_directory() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    program.ancestors().nth(3).map(Path::to_owned)
}

fn golden(text: &str) -> Golden {
    text.lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ' ');
            let said = [said(parts.next()?)?, said(parts.next()?)?];
            Some((parts.next()?.to_owned(), said))
        })
        .collect()
}

fn said(word: &str) -> Option<Said> {
    match word {
        "accepted" => Some(Said::Accepted),
        "rejected" => Some(Said::Rejected),
        "crashed" => Some(Said::Crashed),
        _ => None,
    }
}

/// Lines `# …` are comments, `== REASON` is the reason of the lines `DIALECT CASE` after it.
fn differences(text: &str) -> Differences {
    let mut reason = String::new();
    let mut differences = Differences::new();
    for line in text.lines() {
        if let Some(text) = line.strip_prefix("== ") {
            text.clone_into(&mut reason);
        } else if !line.starts_with('#')
            && let Some((dialect, case)) = line.split_once(' ')
        {
            let Ok(dialect) = dialect.parse() else {
                panic!("differences.txt: {line}: no dialect");
            };
            assert!(!reason.is_empty(), "differences.txt: {line}: no reason");
            differences.insert((dialect, case.to_owned()), reason.clone());
        }
    }
    differences
}
