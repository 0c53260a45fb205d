//! Plain lines, for logs and pipes.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use osmith_report::{Event, Observer, Step, StepId};

/// A step that goes on says so at most this often.
const PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Plain {
    progress: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    steps: Vec<Step>,
    started: HashMap<StepId, Instant>,
    spoken: HashMap<StepId, Instant>,
}

impl Plain {
    pub(super) fn new() -> Self {
        Plain {
            progress: Mutex::new(Running::default()),
        }
    }
}

impl Observer for Plain {
    fn observe(&self, event: Event) {
        let mut running = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = running.line(event, Instant::now()) {
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        }
    }
}

impl Running {
    fn line(&mut self, event: Event, now: Instant) -> Option<String> {
        match event {
            Event::Plan { steps } => {
                self.steps = steps;
                None
            }
            Event::Started { step } => {
                self.started.insert(step, now);
                self.spoken.insert(step, now);
                let title = self
                    .steps
                    .iter()
                    .find(|known| known.id == step)
                    .map(|known| known.title.as_str());
                Some(format!("{} {}", self.counter(step), title.unwrap_or_default()))
            }
            Event::Advanced { step, progress } => {
                let due = self
                    .spoken
                    .get(&step)
                    .is_none_or(|last| now.duration_since(*last) >= PAUSE);
                due.then(|| {
                    self.spoken.insert(step, now);
                    format!(
                        "{} {}",
                        self.counter(step),
                        super::advance(progress, self.elapsed(step, now))
                    )
                })
            }
            Event::Output { line, .. } => Some(line),
            Event::Finished {
                step,
                outcome,
                summary,
            } => {
                let ending = super::ending(outcome, self.elapsed(step, now), &summary);
                Some(format!("{} {ending}", self.counter(step)))
            }
            Event::Message { severity, text } => Some(format!("{}: {text}", super::label(severity))),
        }
    }

    fn counter(&self, step: StepId) -> String {
        let position = self
            .steps
            .iter()
            .position(|known| known.id == step)
            .unwrap_or_default();
        super::counter(position + 1, self.steps.len())
    }

    fn elapsed(&self, step: StepId, now: Instant) -> Duration {
        self.started
            .get(&step)
            .map(|start| now.duration_since(*start))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use osmith_report::{Outcome, Progress, Unit};

    use super::*;

    #[test]
    fn a_step_is_told_from_start_to_end() {
        let mut running = Running::default();
        let start = Instant::now();
        let step = StepId(0);
        let steps = vec![Step {
            id: step,
            title: "COPY . /srv".into(),
        }];
        assert_eq!(running.line(Event::Plan { steps }, start), None);
        assert_eq!(
            running.line(Event::Started { step }, start).unwrap(),
            "[1/1] COPY . /srv"
        );
        let progress = Progress {
            done: 5,
            total: Some(10),
            unit: Unit::Items,
        };
        assert_eq!(running.line(Event::Advanced { step, progress }, start), None);
        let later = start + PAUSE;
        assert_eq!(
            running.line(Event::Advanced { step, progress }, later).unwrap(),
            "[1/1] 5 of 10, 50 %"
        );
        let finished = Event::Finished {
            step,
            outcome: Outcome::Done,
            summary: "10 files".into(),
        };
        assert_eq!(
            running.line(finished, later).unwrap(),
            "[1/1] done in 5.0 s: 10 files"
        );
    }
}
