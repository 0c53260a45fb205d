//! Progress in words: sizes, counters, endings.

use std::time::Duration;

use crate::{Outcome, Progress, Severity, Unit};

/// A number of bytes for a person: three digits and a decimal unit.
pub fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["kB", "MB", "GB", "TB"] {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    match unit {
        "B" => format!("{bytes} B"),
        _ if value < 9.995 => format!("{value:.2} {unit}"),
        _ if value < 99.95 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// `[ 3/12]`: the number of a step among all, padded to the width of the largest.
pub fn counter(number: usize, total: usize) -> String {
    let width = total.to_string().len();
    format!("[{number:>width$}/{total}]")
}

/// The line for the end of a step: how, how long, and what came of it.
pub fn ending(outcome: Outcome, elapsed: Duration, summary: &str) -> String {
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

/// `1.2 s`, `2 min 05 s`.
pub fn duration(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    match seconds {
        0..100 => format!("{:.1} s", elapsed.as_secs_f64()),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

/// `312 MB of 1.20 GB, 26 %`; with the time since the start, the rate as well.
pub fn advance(progress: Progress, elapsed: Duration) -> String {
    let amount = |number| match progress.unit {
        Unit::Bytes => bytes(number),
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
        text.push_str(&format!(", {}/s", bytes(rate)));
    }
    text
}

/// What a message begins with.
pub fn label(severity: Severity) -> &'static str {
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

    #[test]
    fn bytes_are_rendered_with_three_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.00 kB"),
            (999_600, "1.00 MB"),
        ] {
            assert_eq!(super::bytes(bytes), text);
        }
    }
}
