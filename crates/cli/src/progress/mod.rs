//! Events of the libraries, shown on standard error: a display on a terminal, plain lines, or JSON lines.

mod json;
mod plain;
mod term;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use osmith_report::{Event, Observer, Outcome, Progress, Severity, Silent, Unit};

use crate::args::ProgressMode;
use crate::size;

/// The observer of this command: a renderer, and the user's wish to stop.
pub(crate) struct Console {
    renderer: Box<dyn Observer>,
    interrupt: Arc<AtomicBool>,
    json: bool,
}

impl Console {
    /// The renderer for that mode; `interrupt` becomes true when the user asks to stop.
    pub(crate) fn new(mode: ProgressMode, interrupt: Arc<AtomicBool>) -> Self {
        let mode = match mode {
            ProgressMode::Auto if std::io::stderr().is_terminal() && term::Term::new().is_drawn() => {
                ProgressMode::Term
            }
            ProgressMode::Auto => ProgressMode::Plain,
            chosen => chosen,
        };
        let renderer: Box<dyn Observer> = match mode {
            ProgressMode::Term => Box::new(term::Term::new()),
            ProgressMode::Json => Box::new(json::JsonLines),
            ProgressMode::None => Box::new(Silent),
            ProgressMode::Plain | ProgressMode::Auto => Box::new(plain::Plain::new()),
        };
        Console {
            renderer,
            interrupt,
            json: mode == ProgressMode::Json,
        }
    }

    /// Whether standard error is a stream of JSON lines.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }
}

impl Observer for Console {
    fn observe(&self, event: Event) {
        self.renderer.observe(event);
    }

    fn interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }
}

/// An observer for commands that are to be quiet: only messages are shown.
pub(crate) struct Messages<'a>(pub(crate) &'a Console);

impl Observer for Messages<'_> {
    fn observe(&self, event: Event) {
        if let Event::Message { .. } = event {
            self.0.observe(event);
        }
    }

    fn interrupted(&self) -> bool {
        self.0.interrupted()
    }
}

/// `[ 3/12]`: the number of a step among all, padded to the width of the largest.
fn counter(number: usize, total: usize) -> String {
    let width = total.to_string().len();
    format!("[{number:>width$}/{total}]")
}

/// The line for the end of a step: how, how long, and what came of it.
fn ending(outcome: Outcome, elapsed: Duration, summary: &str) -> String {
    let mut text = match outcome {
        Outcome::Done => format!("done in {}", duration(elapsed)),
        Outcome::Cached => "cached".to_owned(),
        Outcome::Skipped => "not needed".to_owned(),
        Outcome::Failed => format!("failed after {}", duration(elapsed)),
    };
    if !summary.is_empty() {
        text.push_str(": ");
        text.push_str(summary);
    }
    text
}

fn duration(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    match seconds {
        0..100 => format!("{:.1} s", elapsed.as_secs_f64()),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

/// `312 MB of 1.20 GB, 26 %`; with the time since the start, the rate as well.
fn advance(progress: Progress, elapsed: Duration) -> String {
    let amount = |number| match progress.unit {
        Unit::Bytes => size::render(number),
        Unit::Items => number.to_string(),
    };
    let mut text = amount(progress.done);
    if let Some(total) = progress.total.filter(|total| *total > 0) {
        text.push_str(&format!(
            " of {}, {} %",
            amount(total),
            progress.done.saturating_mul(100) / total
        ));
    }
    if progress.unit == Unit::Bytes && elapsed >= Duration::from_secs(1) {
        let rate = (progress.done as f64 / elapsed.as_secs_f64()) as u64;
        text.push_str(&format!(", {}/s", size::render(rate)));
    }
    text
}

fn label(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_put_into_words() {
        let progress = Progress {
            done: 312_000_000,
            total: Some(1_200_000_000),
            unit: Unit::Bytes,
        };
        assert_eq!(
            advance(progress, Duration::from_secs(2)),
            "312 MB of 1.20 GB, 26 %, 156 MB/s"
        );
        let progress = Progress {
            done: 7,
            total: None,
            unit: Unit::Items,
        };
        assert_eq!(advance(progress, Duration::from_secs(2)), "7");
        assert_eq!(counter(3, 12), "[ 3/12]");
        assert_eq!(
            ending(Outcome::Done, Duration::from_millis(1_240), "2 files"),
            "done in 1.2 s: 2 files"
        );
        assert_eq!(ending(Outcome::Cached, Duration::from_secs(1), ""), "cached");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 05 s");
    }
}
