//! Names of signals: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`.

/// Those of signal(7), by number.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The first that has no meaning of its own, as the C library counts: two are its own.
const RTMIN: i32 = 34;
/// The last.
const RTMAX: i32 = 64;

/// Asks a process to end.
pub const TERM: i32 = 15;
/// Asks systemd as pid 1 to stop everything and exit.
pub const SYSTEMD_HALT: i32 = RTMIN + 3;

/// The number of a signal.
pub fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(position) = NAMES.iter().position(|known| *known == name) {
        return i32::try_from(position).ok().map(|position| position + 1);
    }
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => RTMIN,
        (_, Some("")) => RTMAX,
        (Some(plus), _) => RTMIN.checked_add(plus.strip_prefix('+')?.parse().ok()?)?,
        (_, Some(minus)) => RTMAX.checked_sub(minus.strip_prefix('-')?.parse().ok()?)?,
        _ => return None,
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [
            ("SIGTERM", 15),
            ("term", 15),
            ("9", 9),
            ("SIGRTMIN+3", 37),
            ("rtmax-1", 63),
            ("SIGSYS", 31),
        ] {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        for text in ["", "SIG", "0", "65", "RTMIN+99", "RTMIN-1", "SIGNOTHING"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
