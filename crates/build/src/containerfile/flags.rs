//! Flags between an instruction's name and its arguments: `--name=value`.

use std::ops::Range;

use super::diagnostic::nearest;
use super::instruction::{Flag, FlagKind};
use super::parse::{Parser, Rest};

impl Parser<'_> {
    pub(super) fn flags(&mut self, rest: &mut Rest<'_>) -> Vec<Flag> {
        let mut flags: Vec<Flag> = Vec::new();
        for word in rest.words(self.lines.escape) {
            let text = &rest.line.text[word.clone()];
            let Some(flag) = text.strip_prefix("--") else {
                break;
            };
            rest.at = word.end;
            if flag.is_empty() {
                break;
            }
            if let Some(flag) = self.flag(rest, word, &flags) {
                flags.push(flag);
            }
        }
        flags
    }

    fn flag(&mut self, rest: &Rest<'_>, word: Range<usize>, before: &[Flag]) -> Option<Flag> {
        let text = &rest.line.text[word.clone()];
        let span = rest.line.span(word.clone());
        let name = text
            .trim_start_matches("--")
            .split('=')
            .next()
            .unwrap_or_default();
        let known = rest.keyword.grammar().flags;
        let Some((name, kind)) = known.iter().find(|(known, _)| *known == name) else {
            let message = format!("{} has no flag `--{name}`", rest.keyword.name());
            let note = match nearest(name, known.iter().map(|(known, _)| *known)) {
                Some(known) => format!("did you mean --{known}?"),
                None if known.is_empty() => format!("it has none; if it is meant as a word: -- --{name}"),
                None => format!("it has {}", list_of_flags(known)),
            };
            self.error(span, message, note);
            return None;
        };
        let equals = word.start + 2 + name.len();
        let value = (equals < word.end).then(|| equals + 1..word.end);
        let value = match value {
            Some(range) => Some(self.expandable(rest.line, range)?),
            None => None,
        };
        if *kind != FlagKind::Switch && value.as_ref().is_none_or(|value| value.raw.is_empty()) {
            self.error(
                span,
                format!("flag --{name} needs a value"),
                format!("expected --{name}=VALUE"),
            );
            return None;
        }
        let switch_value = value.as_ref().map_or("true", |value| value.raw.as_str());
        let is_switch = ["true", "false"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(switch_value));
        if *kind == FlagKind::Switch && !is_switch && !switch_value.contains('$') {
            self.error(
                span,
                format!("flag --{name} takes true or false"),
                format!("expected --{name}, or --{name}=true or --{name}=false"),
            );
            return None;
        }
        if *kind == FlagKind::Value && before.iter().any(|flag| flag.name == *name) {
            self.error(span, format!("flag --{name} is given twice"), "expected it once");
            return None;
        }
        Some(Flag { name, value, span })
    }
}

fn list_of_flags(flags: &[(&str, FlagKind)]) -> String {
    let names: Vec<_> = flags.iter().map(|(name, _)| format!("--{name}")).collect();
    names.join(", ")
}
