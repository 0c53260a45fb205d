//! Steps and their events.

use serde::Serialize;

/// The number of a step; steps of one command are numbered in the order in which they are planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct StepId(pub u32);

/// A step that is planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its number.
    pub id: StepId,
    /// What it does, for a person: `COPY . /srv`, `write qcow2/disk.qcow2`.
    pub title: String,
}

/// What [`Progress`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things: files, layers.
    Items,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// How much is done.
    pub done: u64,
    /// How much there is, if known.
    pub total: Option<u64>,
    /// What is counted.
    pub unit: Unit,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It did its work.
    Done,
    /// Its result was there already.
    Cached,
    /// It was not needed.
    Skipped,
    /// It failed; the error follows as the result of the call.
    Failed,
}

/// Where a child process wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How much a message matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know.
    Note,
    /// The result may not be what was wanted.
    Warning,
}

/// Something that happened. As JSON: an object whose `event` names the variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Event {
    /// The steps that are to come; sent once, before the first of them starts.
    Plan {
        /// In the order of their numbers.
        steps: Vec<Step>,
    },
    /// A step begins.
    Started {
        /// Which.
        step: StepId,
    },
    /// A step goes on. Sent often; a renderer thins it out.
    Advanced {
        /// Which.
        step: StepId,
        /// How far it is.
        progress: Progress,
    },
    /// A child process of a step wrote a line (without its newline; bytes that are no UTF-8 are replaced).
    Output {
        /// Which.
        step: StepId,
        /// Where.
        stream: Stream,
        /// What.
        line: String,
    },
    /// A step ended.
    Finished {
        /// Which.
        step: StepId,
        /// How.
        outcome: Outcome,
        /// What came of it, for a person; may be empty: `1.2 GB in 3,105 files`.
        summary: String,
    },
    /// A message beside the steps.
    Message {
        /// How much it matters.
        severity: Severity,
        /// One sentence.
        text: String,
    },
}

/// The request to stop was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Who is told what happens, and who may ask to stop.
pub trait Observer: Send + Sync {
    /// Takes an event. Must be quick: it is called from the threads that do the work.
    fn observe(&self, event: Event);

    /// Whether the user asked to stop; looked at between steps and between the pieces of long ones.
    fn interrupted(&self) -> bool {
        false
    }

    /// [`Interrupted`] if the user asked to stop.
    fn require_running(&self) -> Result<(), Interrupted> {
        if self.interrupted() {
            Err(Interrupted)
        } else {
            Ok(())
        }
    }
}

/// An observer that listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn observe(&self, _: Event) {}
}
