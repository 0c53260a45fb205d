//! Plain lines, for logs and pipes.

use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use osmith_report::{Event, Lines, Observer};

#[derive(Default)]
pub(super) struct Plain {
    lines: Mutex<Lines>,
}

impl Observer for Plain {
    fn observe(&self, event: Event) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.line(event, Instant::now()) {
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        }
    }
}
