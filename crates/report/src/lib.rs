//! What an osmith library tells its caller: a plan, the events of its steps, and failures with a class and hints.
//!
//! A library never prints and never decides how something looks. It takes an [`Observer`], tells it [`Event`]s, and
//! asks it whether the work should stop. The program at the top renders events as a terminal display, as plain lines
//! or as JSON lines.

mod failure;
mod lines;
mod observer;
mod printable;
pub mod words;

pub use failure::{Class, Failure};
pub use lines::{Lines, Pace};
pub use observer::{
    Event, Interrupted, Observer, Outcome, Progress, Severity, Silent, Step, StepId, Stream, Unit,
};
pub use printable::printable;
