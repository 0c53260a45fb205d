//! Events as plain lines: for logs, pipes and consoles.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::{Event, Progress, Step, StepId, words};

/// How often a step that goes on says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// After this time at the latest, if it went on.
    pub pause: Duration,
    /// Before that, after so many percent more, but not twice within a second.
    pub percent: Option<u64>,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            pause: Duration::from_secs(5),
            percent: None,
        }
    }
}

/// No console is to be flooded by what is over in no time.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// Makes lines of events.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    pace: Pace,
    steps: Vec<Step>,
    started: HashMap<StepId, Instant>,
    spoken: HashMap<StepId, Spoken>,
}

/// What was said last of a step.
#[derive(Debug, Clone, Copy)]
struct Spoken {
    at: Instant,
    percent: u64,
}

impl Lines {
    /// At that pace.
    pub fn new(pace: Pace) -> Self {
        Lines {
            pace,
            ..Lines::default()
        }
    }

    /// The line for an event, if it is to be told.
    pub fn line(&mut self, event: Event, now: Instant) -> Option<String> {
        match event {
            Event::Plan { steps } => {
                self.steps = steps;
                None
            }
            Event::Started { step } => {
                self.started.insert(step, now);
                self.speak(step, 0, now);
                let title = self
                    .steps
                    .iter()
                    .find(|known| known.id == step)
                    .map(|known| known.title.as_str());
                Some(format!("{} {}", self.counter(step), title.unwrap_or_default()))
            }
            Event::Advanced { step, progress } => self.is_due(step, progress, now).then(|| {
                self.speak(step, percent(progress), now);
                let counter = self.counter(step);
                format!("{counter} {}", words::advance(progress, self.elapsed(step, now)))
            }),
            Event::Output { line, .. } => Some(line),
            Event::Finished {
                step,
                outcome,
                summary,
            } => {
                let ending = words::ending(outcome, self.elapsed(step, now), &summary);
                Some(format!("{} {ending}", self.counter(step)))
            }
            Event::Message { severity, text } => Some(format!("{}: {text}", words::label(severity))),
        }
    }

    fn is_due(&self, step: StepId, progress: Progress, now: Instant) -> bool {
        let Some(last) = self.spoken.get(&step) else {
            return true;
        };
        let passed = now.duration_since(last.at);
        let gained = percent(progress).saturating_sub(last.percent);
        passed >= self.pace.pause
            || passed >= SHORTEST_PAUSE && self.pace.percent.is_some_and(|wanted| gained >= wanted)
    }

    fn speak(&mut self, step: StepId, percent: u64, now: Instant) {
        self.spoken.insert(step, Spoken { at: now, percent });
    }

    fn counter(&self, step: StepId) -> String {
        let position = self
            .steps
            .iter()
            .position(|known| known.id == step)
            .unwrap_or_default();
        words::counter(position + 1, self.steps.len())
    }

    fn elapsed(&self, step: StepId, now: Instant) -> Duration {
        self.started
            .get(&step)
            .map(|start| now.duration_since(*start))
            .unwrap_or_default()
    }
}

fn percent(progress: Progress) -> u64 {
    match progress.total {
        Some(total @ 1..) => progress.done.saturating_mul(100) / total,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, Unit};

    #[test]
    fn a_step_is_told_from_start_to_end() {
        let mut running = Lines::default();
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
        let later = start + Pace::default().pause;
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

    #[test]
    fn five_percent_are_told_sooner_but_not_at_once() {
        let mut lines = Lines::new(Pace {
            percent: Some(5),
            ..Pace::default()
        });
        let start = Instant::now();
        let step = StepId(0);
        lines.line(Event::Started { step }, start);
        let mut tell = |done, milliseconds| {
            let progress = Progress {
                done,
                total: Some(1000),
                unit: Unit::Items,
            };
            let now = start + Duration::from_millis(milliseconds);
            lines.line(Event::Advanced { step, progress }, now).is_some()
        };
        assert!(!tell(100, 999));
        assert!(tell(100, 1000));
        assert!(!tell(149, 3000));
        assert!(tell(150, 3000));
        assert!(!tell(151, 7999));
        assert!(tell(151, 8000));
    }
}
