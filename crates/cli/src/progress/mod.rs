//! Events of the libraries, shown on standard error: a display on a terminal, plain lines, or JSON lines.

mod json;
mod plain;
mod term;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use osmith_report::{Event, Observer, Silent};

use crate::args::ProgressMode;

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
            ProgressMode::Plain | ProgressMode::Auto => Box::new(plain::Plain::default()),
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
