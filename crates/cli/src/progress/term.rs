//! A display on a terminal: finished steps stay as lines, running ones show a bar that moves.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use osmith_report::{Event, Observer, Progress, Step, StepId, Unit, words};

const TICK: Duration = Duration::from_millis(120);

pub(super) struct Term {
    display: MultiProgress,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    steps: Vec<Step>,
    bars: HashMap<StepId, (ProgressBar, Instant)>,
}

impl Term {
    pub(super) fn new() -> Self {
        Term {
            display: MultiProgress::new(),
            running: Mutex::new(Running::default()),
        }
    }

    /// Whether the terminal can be drawn on. The console of a service, without `TERM`, cannot.
    pub(super) fn is_drawn(&self) -> bool {
        !self.display.is_hidden()
    }

    fn print(&self, line: &str) {
        // A terminal that went away must not stop the work.
        let _ = match self.is_drawn() {
            true => self.display.println(line),
            false => writeln!(std::io::stderr().lock(), "{line}"),
        };
    }
}

impl Observer for Term {
    fn observe(&self, event: Event) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Plan { steps } => running.steps = steps,
            Event::Started { step } => {
                let bar = self.display.add(ProgressBar::no_length());
                bar.set_style(spinner());
                bar.set_prefix(running.heading(step));
                bar.enable_steady_tick(TICK);
                running.bars.insert(step, (bar, Instant::now()));
            }
            Event::Advanced { step, progress } => {
                if let Some((bar, _)) = running.bars.get(&step) {
                    advance(bar, progress);
                }
            }
            Event::Output { line, .. } => self.print(&line),
            Event::Finished {
                step,
                outcome,
                summary,
            } => {
                let heading = running.heading(step);
                let elapsed = running.bars.remove(&step).map(|(bar, start)| {
                    bar.finish_and_clear();
                    start.elapsed()
                });
                self.print(&format!(
                    "{heading} · {}",
                    words::ending(outcome, elapsed.unwrap_or_default(), &summary)
                ));
            }
            Event::Message { severity, text } => self.print(&format!("{}: {text}", words::label(severity))),
        }
    }
}

impl Running {
    fn heading(&self, step: StepId) -> String {
        let position = self
            .steps
            .iter()
            .position(|known| known.id == step)
            .unwrap_or_default();
        let title = self
            .steps
            .get(position)
            .map(|known| known.title.as_str())
            .unwrap_or_default();
        format!("{} {title}", words::counter(position + 1, self.steps.len()))
    }
}

fn advance(bar: &ProgressBar, progress: Progress) {
    if bar.length().is_none()
        && let Some(total) = progress.total
    {
        bar.set_length(total);
        bar.set_style(filling(progress.unit));
    }
    bar.set_position(progress.done);
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{prefix} {spinner} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn filling(unit: Unit) -> ProgressStyle {
    let template = match unit {
        Unit::Bytes => {
            "{prefix} [{bar:24}] {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left"
        }
        Unit::Items => "{prefix} [{bar:24}] {pos} of {len}, {eta} left",
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}
