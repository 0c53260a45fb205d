//! One JSON object a line, as [`osmith_report::Event`] documents it.

use std::io::Write as _;

use osmith_report::{Event, Observer};

pub(super) struct JsonLines;

impl Observer for JsonLines {
    fn observe(&self, event: Event) {
        if let Ok(mut line) = serde_json::to_vec(&event) {
            line.push(b'\n');
            // A reader that went away must not stop the work.
            let _ = std::io::stderr().lock().write_all(&line);
        }
    }
}
