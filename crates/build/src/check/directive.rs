//! `# check=skip=RULE,RULE;error=true`.

use super::Warning;
use crate::containerfile::{Diagnostic, Source, nearest};

/// All rules that can be skipped.
pub(super) const RULES: [&str; 21] = [
    "ConsistentInstructionCasing",
    "DuplicateStageName",
    "ExposeProtoCasing",
    "FromAsCasing",
    "FromPlatformFlagConstDisallowed",
    "InvalidBaseImagePlatform",
    "InvalidDefaultArgInFrom",
    "JSONArgsRecommended",
    "LegacyKeyValueFormat",
    "MaintainerDeprecated",
    "MultipleInstructionsDisallowed",
    "NoEmptyContinuation",
    "PackageListOnly",
    "RedundantTargetPlatform",
    "ReservedStageName",
    "SecretsUsedInArgOrEnv",
    "StageNameCasing",
    "SystemctlStart",
    "UndefinedArgInFrom",
    "UndefinedVar",
    "WorkdirRelativePath",
];

/// What the file says of checks.
#[derive(Debug, Default)]
pub(super) struct Directive {
    skipped: Vec<String>,
    skips_all: bool,
    pub(super) is_strict: bool,
    pub(super) problems: Vec<Warning>,
}

impl Directive {
    /// Reads the comments that the file begins with.
    pub(super) fn of(source: &Source) -> Self {
        let mut directive = Directive::default();
        for index in 0..source.line_count() {
            let span = source.line_span(index);
            let Some(comment) = source.slice(span).trim().strip_prefix('#') else {
                break;
            };
            let Some((name, value)) = comment.split_once('=') else {
                break;
            };
            if name.trim().eq_ignore_ascii_case("check") {
                directive.read(value.trim(), source, index);
            }
        }
        directive
    }

    fn read(&mut self, text: &str, source: &Source, line: usize) {
        let mut problem = |message: String, note: String| {
            let finding = Diagnostic::warning(source.line_span(line), message).with_note(note);
            self.problems.push(Warning { rule: "", finding });
        };
        for setting in text
            .split(';')
            .map(str::trim)
            .filter(|setting| !setting.is_empty())
        {
            match setting.split_once('=') {
                Some(("skip", "all")) => self.skips_all = true,
                Some(("skip", names)) => {
                    for name in names.split(',').map(str::trim) {
                        if !RULES.contains(&name) {
                            let note = match nearest(name, RULES) {
                                Some(known) => format!("did you mean {known}?"),
                                None => {
                                    "expected the name of a rule, as it stands behind a warning".to_owned()
                                }
                            };
                            problem(format!("there is no rule `{name}` to skip"), note);
                        }
                        self.skipped.push(name.to_owned());
                    }
                }
                Some(("error", "true" | "True" | "1")) => self.is_strict = true,
                Some(("error", "false" | "False" | "0")) => {}
                _ => problem(
                    format!("`{setting}` is no setting of checks"),
                    "expected skip=RULE,RULE or error=true".to_owned(),
                ),
            }
        }
    }

    pub(super) fn skips(&self, rule: &str) -> bool {
        !rule.is_empty() && (self.skips_all || self.skipped.iter().any(|name| name == rule))
    }
}
