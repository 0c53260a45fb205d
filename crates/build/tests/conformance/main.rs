//! Conformance: cases of the language, built and compared with what buildah made of them.
//!
//! The cases are data in `testing/conformance`; its README says how to add one. Without arguments, all of them run and
//! a line for each suite says how many pass, differ on purpose, or wait for a feature.
//!
//! ```text
//! cargo test -p osmith-build --test conformance -- [WORD...]       only cases whose names have one of the words
//!     --list             say which cases differ on purpose or wait, and why
//!     --accept           take what osmith makes as `== osmith` where there is one, and what it says as `== error`
//!     --record ROOT      take what buildah in the root file system ROOT makes as `== buildah`
//! ```
#![allow(missing_docs, clippy::print_stdout, clippy::print_stderr)]

mod archive;
mod base;
mod buildah;
mod case;
mod material;
mod osmith;
mod outcome;
mod rights;
#[path = "../site/mod.rs"]
mod site;
mod verdict;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;

use buildah::Buildah;
use case::{Case, all_cases};
use osmith::Osmith;
use osmith_testing::oracle;
use verdict::Verdict;

#[derive(Default)]
struct Arguments {
    words: Vec<String>,
    list: bool,
    accept: bool,
    record: Option<PathBuf>,
}

fn arguments() -> Arguments {
    let mut arguments = Arguments::default();
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--list" => arguments.list = true,
            "--accept" => arguments.accept = true,
            "--record" => arguments.record = Some(given.next().expect("--record needs a directory").into()),
            // Flags for the usual test programs, as `cargo test -- --include-ignored` passes to all.
            flag if flag.starts_with('-') => {}
            _ => arguments.words.push(argument),
        }
    }
    arguments
}

fn main() -> ExitCode {
    if osmith_sys::sandbox::run_if_child().is_some() {
        return ExitCode::SUCCESS;
    }
    let arguments = arguments();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testing/conformance");
    let is_wanted =
        |name: &str| arguments.words.is_empty() || arguments.words.iter().any(|word| name.contains(word));
    let mut cases = all_cases(&root.join("cases"));
    cases.retain(|case| is_wanted(&case.name));
    let Some(busybox) = oracle::require("busybox") else {
        return ExitCode::SUCCESS;
    };
    if let Some(directory) = &arguments.record {
        record(&Buildah::new(directory, &busybox), cases);
        return ExitCode::SUCCESS;
    }
    if !rights::acquire() {
        return ExitCode::SUCCESS;
    }
    match compare(&Osmith::new(&busybox), cases, &arguments) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Calls the function for every case, on as many threads as there are processors.
fn for_each(cases: Vec<Case>, work: impl Fn(Case) + Sync) {
    let threads = std::thread::available_parallelism().map_or(2, Into::into);
    let queue = Mutex::new(cases.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().next();
                    let Some(case) = next else { break };
                    work(case);
                }
            });
        }
    });
}

fn record(buildah: &Buildah, cases: Vec<Case>) {
    for_each(cases, |mut case| {
        let outcome = case.carry_out(|case| buildah.record(case));
        if let Some(said) = &outcome.said {
            println!("{}: fails: {}", case.name, said.trim_end());
        }
        case.set(&format!("buildah {}", buildah.version), Some(&outcome.made));
        case.write();
    });
}

/// Whether every case is as it should be.
fn compare(osmith: &Osmith, cases: Vec<Case>, arguments: &Arguments) -> bool {
    let verdicts = Mutex::new(BTreeMap::new());
    for_each(cases, |mut case| {
        let outcome = case.carry_out(|case| osmith.build(case));
        if arguments.accept {
            verdict::accept(&mut case, &outcome);
        }
        let verdict = verdict::of(&case, &outcome);
        verdicts
            .lock()
            .unwrap()
            .insert(case.name, (outcome.builds, verdict));
    });
    let verdicts = verdicts.into_inner().unwrap();
    verdict::report(&verdicts, arguments.list);
    verdicts
        .values()
        .all(|(_, verdict)| !matches!(verdict, Verdict::Wrong(_)))
}
