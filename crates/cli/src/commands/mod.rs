//! One module an area; each command turns its arguments into a library's request and the result into output.

pub(crate) mod build;
pub(crate) mod cache;
pub(crate) mod container;
pub(crate) mod copy;
pub(crate) mod disk;
pub(crate) mod drift;
pub(crate) mod image_builder;
pub(crate) mod images;
pub(crate) mod import;
pub(crate) mod install;
pub(crate) mod installation;
pub(crate) mod iso;
pub(crate) mod kickstart;
pub(crate) mod layout;
pub(crate) mod lint;
pub(crate) mod machine;
pub(crate) mod reference_pages;
pub(crate) mod transfer;

use osmith_report::{Event, Failure, Observer, Outcome, Step, StepId};

/// Runs work that is one step, and tells the observer about its beginning and end.
fn single_step<T>(
    observer: &dyn Observer,
    title: String,
    work: impl FnOnce(StepId) -> Result<T, Box<dyn Failure>>,
) -> Result<T, Box<dyn Failure>> {
    let step = StepId(0);
    observer.observe(Event::Plan {
        steps: vec![Step { id: step, title }],
    });
    observer.observe(Event::Started { step });
    let result = work(step);
    let outcome = if result.is_ok() {
        Outcome::Done
    } else {
        Outcome::Failed
    };
    observer.observe(Event::Finished {
        step,
        outcome,
        summary: String::new(),
    });
    result
}
