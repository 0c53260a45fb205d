//! Sizes on the command line: `20GiB`, `1.5 GB`, `1048576`.

pub(crate) use osmith_report::words::bytes as render;

/// The units upstream's disk builder knows; case counts.
const UNITS: [(&str, u64); 8] = [
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

/// Parses a size into bytes; a fraction of a byte is rounded.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = (&text[..digits], text[digits..].trim());
    let factor = match unit {
        "" => 1,
        unit => UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, factor)| *factor)
            .ok_or_else(|| {
                format!("'{unit}' is no unit: kB, KiB, MB, MiB, GB, GiB, TB or TiB are, as in 20GiB")
            })?,
    };
    let value: f64 = number
        .parse()
        .map_err(|_| format!("'{text}' does not start with a number, as in 20GiB"))?;
    let bytes = value * factor as f64;
    if bytes < 1.0 || bytes > (1_u64 << 60) as f64 {
        return Err(format!("'{text}' is out of range: 1 byte to 1024 PiB"));
    }
    Ok(bytes.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("1", 1),
            ("20GiB", 20 << 30),
            ("1.5 GB", 1_500_000_000),
            ("0.5KiB", 512),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "-1", "0", "1 gib", "1e3", "1..2", "9999999TiB"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
