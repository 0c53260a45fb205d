//! Rules about single instructions, and about those of a stage together.

use super::Warning;
use crate::containerfile::{
    Arguments, Assignment, Command, Containerfile, Diagnostic, Instruction, Keyword, Span,
};

/// What the names of variables that hold secrets are made of.
const SECRET_WORDS: [&str; 8] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "passwd",
    "password",
    "secret",
];
/// What makes them harmless.
const PUBLIC_WORDS: [&str; 2] = ["public", "fingerprint"];
/// Of these a stage has use for one only.
const SINGLE: [Keyword; 3] = [Keyword::Cmd, Keyword::Entrypoint, Keyword::Healthcheck];

pub(super) fn check(file: &Containerfile) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for instruction in &file.instructions {
        warnings.extend(one(file, instruction));
    }
    for stage in stages(file) {
        warnings.extend(repeated(stage));
        warnings.extend(relative_directory(stage));
    }
    warnings
}

fn warning(rule: &'static str, span: Span, message: impl Into<String>, note: impl Into<String>) -> Warning {
    Warning {
        rule,
        finding: Diagnostic::warning(span, message).with_note(note),
    }
}

/// The instructions of each stage, without FROM.
fn stages(file: &Containerfile) -> Vec<&[Instruction]> {
    let is_from = |one: &Instruction| one.keyword == Keyword::From;
    file.instructions.split(is_from).skip(1).collect()
}

fn one(file: &Containerfile, instruction: &Instruction) -> Vec<Warning> {
    match (&instruction.arguments, instruction.keyword) {
        (Arguments::From { .. }, _) => platform(instruction),
        (Arguments::Text(_), Keyword::Maintainer) => vec![warning(
            "MaintainerDeprecated",
            instruction.span,
            "MAINTAINER is deprecated",
            "LABEL org.opencontainers.image.authors=\"NAME\"",
        )],
        (Arguments::Command(Command::Shell(_)), keyword) => vec![warning(
            "JSONArgsRecommended",
            instruction.span,
            format!(
                "{} in shell form: signals reach the shell, not the program",
                keyword.name()
            ),
            format!("expected {} [\"PROGRAM\", \"ARGUMENT\"]", keyword.name()),
        )],
        (Arguments::Assignments(pairs), keyword) => assignments(file, instruction, keyword, pairs),
        (Arguments::Words(words), Keyword::Expose) => {
            let is_upper =
                |text: &str| text.chars().any(|letter| letter.is_ascii_uppercase()) && !text.contains('$');
            let words = words.iter().filter(|word| is_upper(&word.raw));
            let note = "expected the protocol in lower case, such as 80/tcp";
            words
                .map(|word| {
                    warning(
                        "ExposeProtoCasing",
                        word.span,
                        format!("`{}` has upper-case letters", word.raw),
                        note,
                    )
                })
                .collect()
        }
        (
            Arguments::Run {
                command, heredocs, ..
            },
            _,
        ) => {
            let mut text = match command {
                Command::Shell(text) => text.clone(),
                Command::Exec(words) => words.join(" "),
            };
            text.extend(heredocs.iter().map(|heredoc| heredoc.body.as_str()));
            commands(instruction, &text)
        }
        _ => Vec::new(),
    }
}

fn platform(from: &Instruction) -> Vec<Warning> {
    let Some(flag) = from.flag("platform") else {
        return Vec::new();
    };
    let value = flag.value.as_ref().map_or("", |value| value.raw.as_str());
    let note = "expected no flag, or one with a variable such as $BUILDPLATFORM";
    match value {
        "$TARGETPLATFORM" | "${TARGETPLATFORM}" => vec![warning(
            "RedundantTargetPlatform",
            flag.span,
            "the platform is that of the build without being named",
            "expected no flag",
        )],
        value if !value.contains('$') => vec![warning(
            "FromPlatformFlagConstDisallowed",
            flag.span,
            "the stage is for one kind of machine only, whatever --platform says",
            note,
        )],
        _ => Vec::new(),
    }
}

fn assignments(
    file: &Containerfile,
    instruction: &Instruction,
    keyword: Keyword,
    pairs: &[Assignment],
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if keyword != Keyword::Arg && !has_equals_sign(file, pairs) {
        let message = format!("{} with a blank instead of `=`", keyword.name());
        let note = format!("expected {} NAME=VALUE", keyword.name());
        warnings.push(warning("LegacyKeyValueFormat", instruction.span, message, note));
    }
    if matches!(keyword, Keyword::Arg | Keyword::Env) {
        let secrets = pairs.iter().filter(|pair| is_secret(&pair.name.raw));
        warnings.extend(secrets.map(|pair| {
            let message = format!(
                "`{}` looks like a secret, and everybody who has the image can read it",
                pair.name.raw
            );
            let note = "expected RUN --mount=type=secret,id=NAME and osmith build --secret id=NAME,src=FILE";
            warning("SecretsUsedInArgOrEnv", pair.name.span, message, note)
        }));
    }
    warnings
}

/// Whether the first name is followed by `=`.
fn has_equals_sign(file: &Containerfile, pairs: &[Assignment]) -> bool {
    let Some(Assignment {
        name,
        value: Some(value),
    }) = pairs.first()
    else {
        return true;
    };
    let between = Span {
        start: name.span.end,
        end: value.span.start.max(name.span.end),
    };
    file.source.slice(between).contains('=')
}

fn is_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let mut words = lower.split(|letter: char| !letter.is_ascii_alphanumeric());
    let is_public = words.clone().any(|word| PUBLIC_WORDS.contains(&word));
    !is_public && words.any(|word| SECRET_WORDS.contains(&word) || word == "token")
}

/// What shells are told that does not do what was meant.
fn commands(instruction: &Instruction, text: &str) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let updates = text.contains("apt-get update") || text.contains("apt update");
    let installs = ["install", "upgrade", "download", "build-dep"]
        .iter()
        .any(|word| text.contains(word));
    if updates && !installs {
        warnings.push(warning(
            "PackageListOnly",
            instruction.span,
            "the package lists are fetched in a step of their own: a later step uses them when they are old",
            "expected apt-get update && apt-get install -y ... in one RUN",
        ));
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let starts = words
        .windows(2)
        .any(|pair| matches!(pair, ["systemctl", "start" | "restart" | "reload"]));
    if starts {
        warnings.push(warning(
            "SystemctlStart",
            instruction.span,
            "no systemd runs while an image is built",
            "expected systemctl enable NAME: the machine starts it",
        ));
    }
    warnings
}

/// Of several CMD, ENTRYPOINT or HEALTHCHECK only the last one counts.
fn repeated(stage: &[Instruction]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for keyword in SINGLE {
        let all: Vec<&Instruction> = stage.iter().filter(|one| one.keyword == keyword).collect();
        let without_effect = all.len().saturating_sub(1);
        warnings.extend(all.iter().take(without_effect).map(|one| {
            let message = format!("a later {} of the stage replaces this one", keyword.name());
            warning(
                "MultipleInstructionsDisallowed",
                one.span,
                message,
                "expected one only",
            )
        }));
    }
    warnings
}

/// A relative WORKDIR depends on the base image, unless the stage has an absolute one before it.
fn relative_directory(stage: &[Instruction]) -> Vec<Warning> {
    let first = stage.iter().find(|one| one.keyword == Keyword::Workdir);
    let Some(Arguments::Text(text)) = first.map(|one| &one.arguments) else {
        return Vec::new();
    };
    let is_relative = !text.raw.trim_matches(['"', '\'']).starts_with(['/', '$']);
    let warned = is_relative.then(|| {
        let message = format!("`{}` begins at the working directory of the base image", text.raw);
        warning(
            "WorkdirRelativePath",
            text.span,
            message,
            format!("expected /{}", text.raw),
        )
    });
    warned.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::is_secret;

    #[test]
    fn names_of_secrets() {
        for name in ["PASSWORD", "db_password", "API_TOKEN", "SSH-KEY", "auth"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["PUBLIC_KEY", "KEYBOARD", "AUTHOR", "TOKENIZER", "key_fingerprint"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
