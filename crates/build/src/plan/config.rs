//! A stage's instructions one by one: what each does to the configuration, and the step it comes to.

use osmith_image::{Empty, ImageConfig};

use super::scope::{Globals, Scope, is_predeclared};
use super::stages::{self, Stage, expanded};
use super::{Action, Diagnostics, Run, Step, Transfer, TransferSource, ports};
use crate::containerfile::{
    Arguments, Assignment, Command, CopySource, Diagnostic, Heredoc, Instruction, Keyword, Quoting, Span,
    Text, expand, nearest,
};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A step, and the `--from` that is still a name.
pub(super) struct Wants {
    pub(super) from: Option<String>,
    pub(super) span: Span,
    pub(super) step: Step,
}

/// A stage while its instructions are gone through.
pub(super) struct StageDraft {
    config: ImageConfig,
    scope: Scope,
    escape: char,
    shell: Option<Vec<String>>,
    has_cmd: bool,
    pub(super) steps: Vec<Step>,
}

impl StageDraft {
    pub(super) fn new(config: ImageConfig, mut scope: Scope, escape: char) -> Self {
        if scope.value("PATH").is_none() {
            scope.set_env("PATH".to_owned(), DEFAULT_PATH.to_owned());
        }
        StageDraft {
            config,
            scope,
            escape,
            shell: None,
            has_cmd: false,
            steps: Vec::new(),
        }
    }

    pub(super) fn finish(mut self) -> (Vec<Step>, ImageConfig, Scope) {
        self.config.config.env = self.scope.env_lines();
        (self.steps, self.config, self.scope)
    }

    /// Instructions that the base wants to be run first.
    pub(super) fn check_triggers(&self, stage: &Stage<'_>, findings: &mut Diagnostics) {
        let triggers = self
            .config
            .config
            .extra
            .get("OnBuild")
            .and_then(|value| value.as_array());
        if triggers.is_some_and(|triggers| !triggers.is_empty()) {
            findings.push(not_supported(
                stage.base_span,
                "ONBUILD instructions in a base image",
            ));
        }
    }

    /// Goes through one instruction; `None` if it cannot be done, with a finding.
    pub(super) fn instruction(
        &mut self,
        instruction: &Instruction,
        globals: &mut Globals,
        findings: &mut Diagnostics,
    ) -> Option<Wants> {
        let mut reader = Reader {
            scope: self.scope.clone(),
            escape: self.escape,
            findings,
        };
        let mut from = None;
        let history = history(instruction);
        let mut step = Step {
            span: instruction.span,
            title: title(instruction),
            history,
            action: Action::Configure,
        };
        match (&instruction.arguments, instruction.keyword) {
            (Arguments::Run { .. }, _) => self.run(instruction, globals, &mut reader, &mut step)?,
            (Arguments::Transfer { .. }, _) => {
                let (transfer, name) = self.transfer(instruction, &mut reader)?;
                from = name;
                step.action = Action::Transfer(transfer);
            }
            (Arguments::Command(command), keyword) => self.command(keyword, command),
            (Arguments::Shell(words), _) => self.shell = Some(words.clone()),
            (Arguments::Assignments(pairs), Keyword::Arg) => self.declare(pairs, globals, &mut reader),
            (Arguments::Assignments(pairs), keyword) => self.assign(keyword, pairs, &mut reader)?,
            (Arguments::Words(words), Keyword::Volume) => step.action = self.volumes(words, &mut reader)?,
            (Arguments::Words(words), _) => self.expose(words, &mut reader)?,
            (Arguments::Text(text), keyword) => {
                if let Some(action) = self.text(keyword, text, &mut reader)? {
                    step.action = action;
                }
            }
            (Arguments::Healthcheck(_) | Arguments::Onbuild(_) | Arguments::From { .. }, keyword) => {
                reader
                    .findings
                    .push(not_supported(instruction.span, keyword.name()));
                return None;
            }
        }
        Some(Wants {
            from,
            span: instruction
                .flag("from")
                .map_or(instruction.span, |flag| flag.span),
            step,
        })
    }

    fn workdir(&self) -> &str {
        match self.config.config.working_dir.as_str() {
            "" => "/",
            workdir => workdir,
        }
    }

    fn run(
        &mut self,
        instruction: &Instruction,
        globals: &Globals,
        reader: &mut Reader<'_>,
        step: &mut Step,
    ) -> Option<()> {
        let Arguments::Run {
            command,
            heredocs,
            is_script,
        } = &instruction.arguments
        else {
            return None;
        };
        let network = self.run_flags(instruction, reader)?;
        let shell = self.shell();
        let (argv, script, shown) = match (command, heredocs.first()) {
            (Command::Exec(words), _) => (words.clone(), None, words.join(" ")),
            (Command::Shell(text), Some(heredoc)) if *is_script => {
                let shown = with_bodies(text, heredocs);
                match heredoc.body.starts_with("#!") {
                    true => (
                        Vec::new(),
                        Some((heredoc.name.clone(), heredoc.body.clone())),
                        shown,
                    ),
                    false => (with_text(&shell, &heredoc.body), None, shown),
                }
            }
            (Command::Shell(text), _) => {
                let text = with_bodies(text, heredocs);
                (with_text(&shell, &text), None, text)
            }
        };
        if argv.is_empty() && script.is_none() {
            reader.error(
                instruction.span,
                "RUN has no program",
                "expected RUN [\"PROGRAM\", \"ARGUMENT\"]",
            );
            return None;
        }
        let args = self.scope.visible_args();
        step.history = run_history(&args, &shell, matches!(command, Command::Exec(_)), &shown);
        let passing = globals
            .given
            .iter()
            .filter(|(name, _)| is_predeclared(name) && self.scope.value(name).is_none());
        let mut env = self.scope.env.clone();
        env.extend(args);
        step.action = Action::Run(Run {
            argv,
            script,
            env,
            passing_env: passing
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            workdir: self.workdir().to_owned(),
            user: self.config.config.user.clone(),
            network,
        });
        Some(())
    }

    /// The flags of RUN; whether it has a network.
    fn run_flags(&self, instruction: &Instruction, reader: &mut Reader<'_>) -> Option<bool> {
        let mut network = true;
        for flag in &instruction.flags {
            let value = match &flag.value {
                Some(text) => reader.expand(text)?,
                None => String::new(),
            };
            match (flag.name, value.as_str()) {
                ("network", "default" | "host") => network = true,
                ("network", "none") => network = false,
                ("security", "sandbox") => {}
                ("network", _) => {
                    reader.error(
                        flag.span,
                        format!("there is no network `{value}`"),
                        "expected default, host or none",
                    );
                    return None;
                }
                (name, _) => {
                    reader
                        .findings
                        .push(not_supported(flag.span, &format!("RUN --{name}={value}")));
                    return None;
                }
            }
        }
        Some(network)
    }

    fn shell(&self) -> Vec<String> {
        let default = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
        self.shell.clone().unwrap_or_else(default)
    }

    fn transfer(
        &self,
        instruction: &Instruction,
        reader: &mut Reader<'_>,
    ) -> Option<(Transfer, Option<String>)> {
        let Arguments::Transfer { sources, destination } = &instruction.arguments else {
            return None;
        };
        let is_add = instruction.keyword == Keyword::Add;
        let mut transfer = Transfer {
            extracts: is_add,
            from: None,
            sources: Vec::new(),
            destination: absolute(self.workdir(), &reader.expand(destination)?),
            workdir: self.workdir().to_owned(),
            chown: None,
            chmod: None,
            excludes: Vec::new(),
        };
        let mut from = None;
        for flag in &instruction.flags {
            let value = match &flag.value {
                Some(text) => reader.expand(text)?,
                None => "true".to_owned(),
            };
            match flag.name {
                "from" => from = Some(value),
                "chown" => transfer.chown = Some(value),
                "chmod" => transfer.chmod = Some(value),
                "exclude" => transfer.excludes.push(value),
                _ if value == "false" => {}
                name => {
                    let what = format!("{} --{name}", instruction.keyword.name());
                    reader.findings.push(not_supported(flag.span, &what));
                    return None;
                }
            }
        }
        for source in sources {
            transfer.sources.push(match source {
                CopySource::Path(text) => self.source(text, is_add, reader)?,
                CopySource::Heredoc(heredoc) => reader.inline(heredoc)?,
            });
        }
        Some((transfer, from))
    }

    fn source(&self, text: &Text, is_add: bool, reader: &mut Reader<'_>) -> Option<TransferSource> {
        let path = reader.expand(text)?;
        let is_remote = ["http://", "https://", "git://", "ssh://", "git@"]
            .iter()
            .any(|scheme| path.starts_with(scheme));
        if is_remote && is_add {
            reader
                .findings
                .push(not_supported(text.span, "ADD of something remote"));
            return None;
        }
        if path.is_empty() {
            reader.error(
                text.span,
                "the source is empty",
                "expected a path in the build context",
            );
            return None;
        }
        Some(TransferSource::Path(path))
    }

    fn command(&mut self, keyword: Keyword, command: &Command) {
        // CMD and ENTRYPOINT are for whoever runs the image, SHELL is for the build.
        let words = match command {
            Command::Exec(words) => words.clone(),
            Command::Shell(text) => vec!["/bin/sh".to_owned(), "-c".to_owned(), text.clone()],
        };
        let config = &mut self.config.config;
        if keyword == Keyword::Cmd {
            config.cmd = Some(words);
            self.has_cmd = true;
        } else {
            config.entrypoint = Some(words);
            if !self.has_cmd {
                config.cmd = None;
            }
        }
    }

    fn declare(&mut self, pairs: &[Assignment], globals: &mut Globals, reader: &mut Reader<'_>) {
        for pair in pairs {
            let Some(name) = reader.expand(&pair.name) else {
                continue;
            };
            let default = pair.value.as_ref().and_then(|value| reader.expand(value));
            if pair.value.is_some() {
                stages::require_no_platform_default(&name, pair.name.span, reader.findings);
            }
            self.scope.declare(globals, &name, default);
        }
    }

    fn assign(&mut self, keyword: Keyword, pairs: &[Assignment], reader: &mut Reader<'_>) -> Option<()> {
        for pair in pairs {
            let name = reader.expand(&pair.name)?;
            let value = reader.expand(pair.value.as_ref()?)?;
            if name.is_empty() {
                reader.error(pair.name.span, "the name is empty", "expected NAME=VALUE");
                return None;
            }
            match keyword {
                Keyword::Label => {
                    self.config.config.labels.insert(name, value);
                }
                _ => self.scope.set_env(name, value),
            }
        }
        Some(())
    }

    fn volumes(&mut self, words: &[Text], reader: &mut Reader<'_>) -> Option<Action> {
        let mut paths = Vec::new();
        for word in words {
            let path = reader.expand(word)?;
            if path.is_empty() {
                reader.error(word.span, "the directory is empty", "expected a path");
                return None;
            }
            self.config.config.volumes.insert(path.clone(), Empty::default());
            paths.push(absolute("/", &path));
        }
        Some(Action::Directories {
            paths,
            user: String::new(),
        })
    }

    fn expose(&mut self, words: &[Text], reader: &mut Reader<'_>) -> Option<()> {
        for text in words {
            for word in reader.expand(text)?.split_whitespace() {
                match ports::exposed(word) {
                    Ok(port) => {
                        self.config.config.exposed_ports.insert(port, Empty::default());
                    }
                    Err(note) => {
                        reader.error(text.span, format!("`{word}` is no port"), note);
                        return None;
                    }
                }
            }
        }
        Some(())
    }

    /// USER, WORKDIR, STOPSIGNAL, MAINTAINER.
    fn text(&mut self, keyword: Keyword, text: &Text, reader: &mut Reader<'_>) -> Option<Option<Action>> {
        if keyword == Keyword::Maintainer {
            self.config.author = Some(text.raw.clone());
            return Some(None);
        }
        let value = reader.expand(text)?;
        if value.is_empty() {
            let message = format!("{} is empty", keyword.name());
            reader.error(text.span, message, format!("`{}` has no value here", text.raw));
            return None;
        }
        match keyword {
            Keyword::User => self.config.config.user = value,
            Keyword::StopSignal => self.stop_signal(value, text.span, reader)?,
            _ => {
                let path = absolute(self.workdir(), &value);
                let path = match path.trim_end_matches('/') {
                    "" => "/".to_owned(),
                    path => path.to_owned(),
                };
                self.config.config.working_dir = path.clone();
                return Some(Some(Action::Directories {
                    paths: vec![path],
                    user: self.config.config.user.clone(),
                }));
            }
        }
        Some(None)
    }

    fn stop_signal(&mut self, value: String, span: Span, reader: &mut Reader<'_>) -> Option<()> {
        if !ports::is_signal(&value) {
            let names = ports::signal_names();
            let note = match nearest(&value, names.iter().map(String::as_str)) {
                Some(name) => format!("did you mean {name}?"),
                None => "expected a name such as SIGTERM, or a number".to_owned(),
            };
            reader.error(span, format!("there is no signal `{value}`"), note);
            return None;
        }
        self.config.config.stop_signal = Some(value);
        Some(())
    }
}

/// Replaces variables by what they were before the instruction.
struct Reader<'f> {
    scope: Scope,
    escape: char,
    findings: &'f mut Diagnostics,
}

impl Reader<'_> {
    fn expand(&mut self, text: &Text) -> Option<String> {
        let scope = &self.scope;
        expanded(text, self.escape, &|name| scope.value(name), self.findings)
    }

    fn error(&mut self, span: Span, message: impl Into<String>, note: impl Into<String>) {
        self.findings
            .push(Diagnostic::error(span, message).with_note(note));
    }

    fn inline(&mut self, heredoc: &Heredoc) -> Option<TransferSource> {
        let name = heredoc.name.clone();
        if !heredoc.expands {
            let text = heredoc.body.clone();
            return Some(TransferSource::Inline { name, text });
        }
        let scope = &self.scope;
        match expand(&heredoc.body, self.escape, Quoting::Kept, &|name| {
            scope.value(name)
        }) {
            Ok(text) => Some(TransferSource::Inline { name, text }),
            Err(error) => {
                self.error(heredoc.span, error.message, "");
                None
            }
        }
    }
}

fn not_supported(span: Span, what: &str) -> Diagnostic {
    Diagnostic::error(span, format!("{what} is not supported"))
}

/// `path` from `workdir` on, without `.` and `..`; a final `/` stays.
fn absolute(workdir: &str, path: &str) -> String {
    let whole = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{workdir}/{path}"),
    };
    let mut names: Vec<&str> = Vec::new();
    for name in whole.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    let is_directory = path.is_empty() || path.ends_with('/') || path.ends_with("/.") || path == ".";
    let clean = format!("/{}", names.join("/"));
    match is_directory && clean != "/" {
        true => clean + "/",
        false => clean,
    }
}

fn with_bodies(text: &str, heredocs: &[Heredoc]) -> String {
    let mut whole = text.to_owned();
    for (index, heredoc) in heredocs.iter().enumerate() {
        whole += if index == 0 { "\n" } else { "" };
        whole += &heredoc.body;
        whole += &heredoc.terminator;
        whole += "\n";
    }
    whole
}

fn with_text(shell: &[String], text: &str) -> Vec<String> {
    shell.iter().cloned().chain([text.to_owned()]).collect()
}

fn run_history(args: &[(String, String)], shell: &[String], is_exec: bool, shown: &str) -> String {
    let command = match is_exec {
        true => shown.to_owned(),
        false => format!("{} {shown}", shell.join(" ")),
    };
    if args.is_empty() {
        return command;
    }
    let pairs: Vec<_> = args
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!("|{} {} {command}", pairs.len(), pairs.join(" "))
}

/// The instruction in one line, its name in capitals.
fn title(instruction: &Instruction) -> String {
    format!("{} {}", instruction.keyword.name(), rest(instruction))
}

fn rest(instruction: &Instruction) -> &str {
    let after = instruction.text.split_once(char::is_whitespace);
    after.map_or("", |(_, rest)| rest.trim_start())
}

fn history(instruction: &Instruction) -> String {
    match &instruction.arguments {
        // The values of ARGs may be meant for this build alone.
        Arguments::Assignments(pairs) if instruction.keyword == Keyword::Arg => {
            let names: Vec<_> = pairs.iter().map(|pair| pair.name.raw.as_str()).collect();
            format!("/bin/sh -c #(nop) ARG {}", names.join(" "))
        }
        _ => format!("/bin/sh -c #(nop) {}", title(instruction)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute() {
        for (workdir, path, expected) in [
            ("/", "a", "/a"),
            ("/w", "a/", "/w/a/"),
            ("/w", ".", "/w/"),
            ("/w", "./", "/w/"),
            ("/w", "..", "/"),
            ("/w", "/x/../y/.", "/y/"),
            ("/", "/", "/"),
            ("/", "../../a", "/a"),
        ] {
            assert_eq!(absolute(workdir, path), expected, "{workdir} {path}");
        }
    }
}
