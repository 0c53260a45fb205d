//! `--chmod`: a mode in octal, or changes as chmod(1) takes them: `u+rwX,go-w`, `a=r`.

/// A change of permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ModeChange {
    /// The whole mode.
    Octal(u16),
    /// Changes one after the other.
    Symbolic(Vec<Clause>),
}

/// The text is no mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an octal mode such as 0644, or changes such as u+x,go-w")]
pub struct BadMode;

/// `u+rw`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Clause {
    /// Bits of `u`, `g` and `o`: 4, 2 and 1.
    who: u16,
    operator: char,
    permissions: Vec<char>,
}

impl ModeChange {
    pub(crate) fn parse(text: &str) -> Result<ModeChange, BadMode> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let mode = u16::from_str_radix(text, 8).map_err(|_| BadMode)?;
            return if mode <= 0o7777 {
                Ok(ModeChange::Octal(mode))
            } else {
                Err(BadMode)
            };
        }
        let clauses = text.split(',').map(clauses).collect::<Result<Vec<_>, _>>()?;
        Ok(ModeChange::Symbolic(clauses.into_iter().flatten().collect()))
    }

    pub(crate) fn apply(&self, mode: u16, is_directory: bool) -> u16 {
        match self {
            ModeChange::Octal(octal) => *octal,
            ModeChange::Symbolic(clauses) => clauses
                .iter()
                .fold(mode, |mode, clause| clause.apply(mode, is_directory)),
        }
    }
}

/// One piece between commas: `u+r-w` is two clauses.
fn clauses(text: &str) -> Result<Vec<Clause>, BadMode> {
    let operators = ['+', '-', '='];
    let start = text.find(operators).ok_or(BadMode)?;
    let (letters, mut rest) = text.split_at(start);
    let mut who = 0;
    for letter in letters.chars() {
        who |= match letter {
            'u' => 4,
            'g' => 2,
            'o' => 1,
            'a' => 7,
            _ => return Err(BadMode),
        };
    }
    let who = if who == 0 { 7 } else { who };
    let mut clauses = Vec::new();
    while let Some(operator) = rest.chars().next() {
        let tail = rest.get(1..).unwrap_or_default();
        let end = tail.find(operators).unwrap_or(tail.len());
        let (permissions, after) = tail.split_at(end);
        if !permissions.chars().all(|letter| "rwxXstugo".contains(letter)) {
            return Err(BadMode);
        }
        clauses.push(Clause {
            who,
            operator,
            permissions: permissions.chars().collect(),
        });
        rest = after;
    }
    Ok(clauses)
}

impl Clause {
    fn apply(&self, mode: u16, is_directory: bool) -> u16 {
        let mut bits = 0;
        let mut special = 0;
        for letter in &self.permissions {
            match letter {
                'r' => bits |= 4,
                'w' => bits |= 2,
                'x' => bits |= 1,
                'X' if is_directory || mode & 0o111 != 0 => bits |= 1,
                's' => special |= (self.who & 4) << 9 | (self.who & 2) << 9,
                't' => special |= 0o1000,
                'u' => bits |= mode >> 6 & 7,
                'g' => bits |= mode >> 3 & 7,
                'o' => bits |= mode & 7,
                _ => {}
            }
        }
        let spread = |bits: u16| {
            let class = |member: u16, shift: u16| if self.who & member != 0 { bits << shift } else { 0 };
            class(4, 6) | class(2, 3) | class(1, 0)
        };
        let all = spread(7) | (self.who & 4) << 9 | (self.who & 2) << 9;
        match self.operator {
            '+' => mode | spread(bits) | special,
            '-' => mode & !(spread(bits) | special),
            _ => mode & !all | spread(bits) | special,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_change_as_chmod_changes_them() {
        for (change, mode, is_directory, expected) in [
            ("0644", 0o777, false, 0o644),
            ("4755", 0o600, false, 0o4755),
            ("u+x", 0o644, false, 0o744),
            ("+x", 0o644, false, 0o755),
            ("a-w", 0o666, false, 0o444),
            ("go=", 0o777, false, 0o700),
            ("u=rw,go=r", 0o777, false, 0o644),
            ("a+X", 0o644, false, 0o644),
            ("a+X", 0o744, false, 0o755),
            ("a+X", 0o600, true, 0o711),
            ("u+s", 0o755, false, 0o4755),
            ("g+s,o+t", 0o755, true, 0o3755),
            ("g=u", 0o640, false, 0o660),
            ("u+r-w", 0o200, false, 0o400),
        ] {
            assert_eq!(
                ModeChange::parse(change).unwrap().apply(mode, is_directory),
                expected,
                "{change}"
            );
        }
        for wrong in ["", "x", "8", "77777", "u+q", "z+x", "u"] {
            assert!(ModeChange::parse(wrong).is_err(), "{wrong}");
        }
    }
}
