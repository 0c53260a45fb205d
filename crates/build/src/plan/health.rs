//! HEALTHCHECK as the configuration of Docker's format has it.

use serde_json::{Map, Value};

use super::reader::Reader;
use crate::containerfile::{Command, Flag, Instruction};

/// The shortest interval that container engines take.
const MIN_NANOSECONDS: u64 = 1_000_000;

/// The object for `Healthcheck`; `None`, with findings, if a flag is wrong.
pub(super) fn healthcheck(
    instruction: &Instruction,
    command: Option<&Command>,
    reader: &mut Reader<'_, '_>,
) -> Option<Value> {
    let mut check = Map::new();
    let test: Vec<&str> = match command {
        None => vec!["NONE"],
        Some(Command::Exec(words)) => ["CMD"]
            .into_iter()
            .chain(words.iter().map(String::as_str))
            .collect(),
        Some(Command::Shell(text)) => vec!["CMD-SHELL", text],
    };
    check.insert("Test".to_owned(), test.into());
    if let (None, Some(flag)) = (command, instruction.flags.first()) {
        let message = "flags of HEALTHCHECK NONE mean nothing";
        reader.warn(flag.span, message, "expected HEALTHCHECK NONE");
        return Some(check.into());
    }
    for flag in &instruction.flags {
        let (name, value) = match flag.name {
            "interval" => ("Interval", duration(flag, reader)?),
            "timeout" => ("Timeout", duration(flag, reader)?),
            "start-period" => ("StartPeriod", duration(flag, reader)?),
            "start-interval" => ("StartInterval", duration(flag, reader)?),
            _ => ("Retries", retries(flag, reader)?),
        };
        if value > 0 {
            check.insert(name.to_owned(), value.into());
        }
    }
    Some(check.into())
}

fn retries(flag: &Flag, reader: &mut Reader<'_, '_>) -> Option<u64> {
    let value = reader.flag(flag)?;
    match value.parse() {
        // None is as many as the engine takes by itself.
        Ok(number @ 0..=1_000_000) => Some(number),
        _ => {
            let message = format!("`{value}` is no number of retries");
            reader.error(
                flag.span,
                message,
                "expected a number from 1 on, or 0 for the usual one",
            );
            None
        }
    }
}

/// Nanoseconds.
fn duration(flag: &Flag, reader: &mut Reader<'_, '_>) -> Option<u64> {
    let value = reader.flag(flag)?;
    match nanoseconds(&value) {
        Some(number) if number == 0 || number >= MIN_NANOSECONDS => Some(number),
        _ => {
            let message = format!("`{value}` is no duration");
            let note = match value.bytes().all(|byte| byte.is_ascii_digit()) {
                true => format!("expected a unit: {value}s are seconds"),
                false => "expected a duration of 1ms or more, such as 30s or 1m30s".to_owned(),
            };
            reader.error(flag.span, message, note);
            None
        }
    }
}

/// `1h2m3.5s`, `100ms`, `0`.
fn nanoseconds(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 7] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60 * 1_000_000_000),
        ("h", 3600 * 1_000_000_000),
    ];
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|next: char| !next.is_ascii_digit() && next != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit_end = after
            .find(|next: char| next.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let whole: u64 = whole.parse().ok()?;
        total = total.checked_add(whole.checked_mul(*factor)?)?;
        let mut place = *factor;
        for digit in fraction.chars() {
            place /= 10;
            total = total.checked_add(u64::from(digit.to_digit(10)?).checked_mul(place)?)?;
        }
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::nanoseconds;

    #[test]
    fn durations_are_sums_of_units() {
        for (text, expected) in [
            ("30s", Some(30_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("100ms", Some(100_000_000)),
            ("0", Some(0)),
            ("", None),
            ("5", None),
            ("s", None),
            ("1d", None),
            ("-1s", None),
            ("1..5s", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(nanoseconds(text), expected, "{text}");
        }
    }
}
