//! Sizes: a number of bytes, or text such as `1.5 GiB`.

/// The units; case counts.
const UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

/// The largest disk: 1024 PiB.
pub(crate) const MAX_BYTES: u64 = 1 << 60;

/// The bytes that a text means, rounded to one; or what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim_matches([' ', '\t']);
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if number.is_empty() {
        return Err(format!("'{text}' does not start with a number"));
    }
    let unit = unit.trim_start_matches([' ', '\t']);
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("'{unit}' is no unit"));
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return Err(format!("'{number}' is no number"));
    }
    // Digits behind these change no byte of the largest unit.
    let fraction = &fraction[..fraction.len().min(18)];
    let scale = 10_u128.pow(fraction.len() as u32);
    let bytes = whole
        .parse::<u64>()
        .ok()
        .zip(fraction.parse::<u64>().ok())
        .map(|(whole, fraction)| {
            let factor = u128::from(*factor);
            u128::from(whole) * factor + (u128::from(fraction) * factor + scale / 2) / scale
        });
    bytes
        .and_then(|bytes| u64::try_from(bytes).ok())
        .filter(|bytes| *bytes <= MAX_BYTES)
        .ok_or_else(|| format!("'{text}' is more than 1024 PiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_fractions() {
        for (text, bytes) in [
            ("1", 1),
            ("0", 0),
            ("20GiB", 20 << 30),
            (" 1.5 GB ", 1_500_000_000),
            ("0.5 KiB", 512),
            ("0.3 kB", 300),
            ("1.0009765625 KiB", 1025),
            ("0.0005 kB", 1),
            ("0.0004 kB", 0),
            ("1048576 TiB", 1 << 60),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_says_why() {
        for (text, reason) in [
            ("", "'' does not start with a number"),
            ("GiB", "'GiB' does not start with a number"),
            ("-1", "'-1' does not start with a number"),
            ("+1", "'+1' does not start with a number"),
            ("1e3", "'e3' is no unit"),
            ("1 gib", "'gib' is no unit"),
            ("1..2", "'1..2' is no number"),
            ("1.", "'1.' is no number"),
            (".5", "'.5' is no number"),
            ("1048577 TiB", "'1048577 TiB' is more than 1024 PiB"),
            (
                "99999999999999999999",
                "'99999999999999999999' is more than 1024 PiB",
            ),
        ] {
            assert_eq!(parse(text), Err(reason.to_owned()), "{text}");
        }
    }
}
