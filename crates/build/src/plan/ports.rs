//! Words of EXPOSE and STOPSIGNAL.

/// `80`, `80/udp`, `8000-8010` as the configuration has them: with the protocol.
pub(super) fn exposed(word: &str) -> Result<String, &'static str> {
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err("expected the protocol tcp, udp or sctp");
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if first <= last && first > 0 => Ok(format!("{range}/{protocol}")),
        _ => Err("expected PORT or FIRST-LAST, from 1 to 65535"),
    }
}

const SIGNALS: [&str; 33] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "IOT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Whether Linux has that signal: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`.
pub(super) fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<u8>() {
        return (1..=64).contains(&number);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let offset = |rest: &str, sign: char| {
        rest.is_empty()
            || rest
                .strip_prefix(sign)
                .and_then(|digits| digits.parse::<u8>().ok())
                .is_some_and(|offset| offset <= 30)
    };
    SIGNALS.contains(&name)
        || name.strip_prefix("RTMIN").is_some_and(|rest| offset(rest, '+'))
        || name.strip_prefix("RTMAX").is_some_and(|rest| offset(rest, '-'))
}

/// The names of the signals with `SIG`, for a suggestion.
pub(super) fn signal_names() -> Vec<String> {
    SIGNALS.iter().map(|name| format!("SIG{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_a_protocol() {
        assert_eq!(exposed("80").unwrap(), "80/tcp");
        assert_eq!(exposed("53/UDP").unwrap(), "53/udp");
        assert_eq!(exposed("8000-8002").unwrap(), "8000-8002/tcp");
        for wrong in ["", "x", "0", "70000", "3-2", "80/ftp", "-", "80-"] {
            assert!(exposed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn signals_by_name_and_number() {
        for right in ["SIGTERM", "term", "9", "SIGRTMIN+3", "RTMAX-2", "SIGRTMIN"] {
            assert!(is_signal(right), "{right}");
        }
        for wrong in ["", "0", "65", "SIGTREM", "SIGRTMIN+99", "RTMIN3"] {
            assert!(!is_signal(wrong), "{wrong}");
        }
    }
}
