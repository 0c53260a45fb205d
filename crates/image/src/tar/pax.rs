//! The records of an extended header: `LENGTH KEY=VALUE\n`, the length counting itself.

use super::HeaderError;

/// A key and its value.
type Record<'a> = (&'a [u8], &'a [u8]);

/// Appends a record.
pub(super) fn push(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // The blank, the equals sign and the newline.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + decimal_digits(rest);
    if rest + decimal_digits(length) != length {
        length += 1;
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn decimal_digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// The keys and values of an extended header, in order.
pub(super) fn parse(mut bytes: &[u8]) -> Result<Vec<Record<'_>>, HeaderError> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (record, rest) = split_record(bytes).ok_or(HeaderError::Pax)?;
        records.push(record);
        bytes = rest;
    }
    Ok(records)
}

fn split_record(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let blank = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let digits = std::str::from_utf8(bytes.get(..blank)?).ok()?;
    let length: usize = Some(digits)
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?
        .parse()
        .ok()?;
    let record = bytes.get(blank + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let (key, value) = record.split_at(equals);
    Some(((key, value.get(1..)?), bytes.get(length..)?))
}

/// A time: seconds with a fraction, which is cut to nanoseconds; rounded down, so that the fraction is not negative.
pub(super) fn parse_time(value: &[u8]) -> Result<(i64, u32), HeaderError> {
    let bad = HeaderError::Number("modification time");
    let text = std::str::from_utf8(value).map_err(|_| bad.clone())?;
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return Err(bad);
    }
    let seconds: i64 = whole.parse().map_err(|_| bad.clone())?;
    let padded: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = padded.parse().map_err(|_| bad)?;
    Ok(match (negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

/// The text of a time, without a fraction if there is none.
pub(super) fn format_time(seconds: i64, nanoseconds: u32) -> String {
    if nanoseconds == 0 {
        return seconds.to_string();
    }
    let (sign, seconds, nanoseconds) = match seconds {
        0.. => ("", seconds, nanoseconds),
        _ => ("-", -(seconds + 1), 1_000_000_000 - nanoseconds),
    };
    let text = format!("{sign}{seconds}.{nanoseconds:09}");
    text.trim_end_matches('0').to_owned()
}

/// A number that is not negative.
pub(super) fn parse_number(value: &[u8], what: &'static str) -> Result<u64, HeaderError> {
    let text = std::str::from_utf8(value).map_err(|_| HeaderError::Number(what))?;
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().map_err(|_| HeaderError::Number(what)),
        false => Err(HeaderError::Number(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_themselves() {
        for length in (0..120).chain(980..1010) {
            let value = vec![b'x'; length];
            let mut records = Vec::new();
            push(&mut records, b"path", &value);
            push(&mut records, b"k", b"a=b\n\0");
            assert_eq!(
                parse(&records),
                Ok(vec![(&b"path"[..], &value[..]), (b"k", b"a=b\n\0")])
            );
        }
    }

    #[test]
    fn bad_records_are_refused() {
        for text in [
            "x",
            "5 a=b\n",
            "7 a=b\n",
            "6 ab\n\n",
            "0 a=b\n",
            "99999999999999999999 a=b\n",
            "+6 a=b\n",
            " 6 a=b\n",
            "6 a=bc",
        ] {
            assert_eq!(parse(text.as_bytes()), Err(HeaderError::Pax), "{text:?}");
        }
    }

    #[test]
    fn times_round_trip() {
        for (text, time) in [
            ("0", (0, 0)),
            ("1.5", (1, 500_000_000)),
            ("1700000000.123456789", (1_700_000_000, 123_456_789)),
            ("-1", (-1, 0)),
            ("-1.25", (-2, 750_000_000)),
            ("-0.000000001", (-1, 999_999_999)),
        ] {
            assert_eq!(parse_time(text.as_bytes()), Ok(time), "{text}");
            assert_eq!(format_time(time.0, time.1), text);
        }
        assert_eq!(parse_time(b"1.1234567899"), Ok((1, 123_456_789)));
        for text in ["", ".5", "1e3", "--1", "1.x", "99999999999999999999", "+1"] {
            assert!(parse_time(text.as_bytes()).is_err(), "{text}");
        }
    }
}
