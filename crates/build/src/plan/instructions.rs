//! A stage's instructions one by one: what each does to the configuration, and the step it comes to.

use osmith_image::{Empty, ImageConfig};
use serde_json::Value;

use super::evaluate::Planner;
use super::health::healthcheck;
use super::path::{absolute, absolute_name};
use super::reader::Reader;
use super::scope::Scope;
use super::transfer::transfer;
use super::{Action, ImageFormat, Step, command, history, ports, stages, triggers};
use crate::containerfile::{Arguments, Assignment, Command, Instruction, Keyword, Span, Text, nearest};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A stage while its instructions are gone through.
pub(super) struct StageDraft {
    config: ImageConfig,
    scope: Scope,
    shell: Option<Vec<String>>,
    has_cmd: bool,
    steps: Vec<Step>,
}

impl StageDraft {
    pub(super) fn new(config: ImageConfig, mut scope: Scope) -> Self {
        if scope.value("PATH").is_none() {
            scope.set_env("PATH".to_owned(), DEFAULT_PATH.to_owned());
        }
        scope.begin_stage();
        StageDraft {
            config,
            scope,
            shell: None,
            has_cmd: false,
            steps: Vec::new(),
        }
    }

    pub(super) fn finish(mut self) -> (Vec<Step>, ImageConfig, Scope) {
        self.config.config.env = self.scope.env_lines();
        (self.steps, self.config, self.scope)
    }

    /// Goes through one instruction; nothing is added if it cannot be done, and there is a finding.
    pub(super) fn instruction(&mut self, instruction: &Instruction, stage: usize, planner: &mut Planner<'_>) {
        let mut reader = Reader {
            stage,
            scope: self.scope.clone(),
            planner,
        };
        let mut step = Step {
            span: instruction.span,
            title: history::title(instruction),
            history: history::entry(instruction),
            action: Action::Configure,
        };
        if self.carry_out(instruction, &mut reader, &mut step).is_some() {
            self.steps.push(step);
        }
    }

    fn carry_out(
        &mut self,
        instruction: &Instruction,
        reader: &mut Reader<'_, '_>,
        step: &mut Step,
    ) -> Option<()> {
        match (&instruction.arguments, instruction.keyword) {
            (Arguments::Run { .. }, _) => {
                let (run, history) = command::run(instruction, self, reader)?;
                step.action = Action::Run(run);
                step.history = history;
            }
            (Arguments::Transfer { .. }, _) => {
                step.action = Action::Transfer(transfer(instruction, self.workdir(), reader)?);
            }
            (Arguments::Command(command), keyword) => self.command(keyword, command),
            (Arguments::Shell(words), _) => self.set_shell(instruction, words, reader),
            (Arguments::Assignments(pairs), Keyword::Arg) => {
                self.declare(pairs, reader);
                step.history = history::arg_entry(self.scope.args.keys().map(String::as_str));
            }
            (Arguments::Assignments(pairs), keyword) => self.assign(keyword, pairs, reader)?,
            (Arguments::Words(words), Keyword::Volume) => step.action = self.volumes(words, reader)?,
            (Arguments::Words(words), _) => self.expose(words, reader)?,
            (Arguments::Text(text), keyword) => {
                if let Some(action) = self.text(keyword, text, reader)? {
                    step.action = action;
                }
            }
            (Arguments::Healthcheck(command), _) => {
                let check = healthcheck(instruction, command.as_ref(), reader)?;
                self.set_docker_field("Healthcheck", check, instruction, reader);
            }
            (Arguments::Onbuild(trigger), _) => self.add_trigger(instruction, trigger, reader),
            (Arguments::From { .. }, _) => return None,
        }
        Some(())
    }

    /// SHELL, for the commands below; only Docker's format remembers it for others.
    fn set_shell(&mut self, instruction: &Instruction, words: &[String], reader: &mut Reader<'_, '_>) {
        self.shell = Some(words.to_vec());
        if reader.planner.format() == ImageFormat::Docker {
            self.set_docker_field("Shell", words.into(), instruction, reader);
        }
    }

    fn add_trigger(&mut self, instruction: &Instruction, trigger: &Instruction, reader: &mut Reader<'_, '_>) {
        let field = self.config.config.extra.get(triggers::ON_BUILD);
        let mut triggers = field.and_then(Value::as_array).cloned().unwrap_or_default();
        triggers.push(history::with_bodies(&trigger.text, &trigger.heredocs()).into());
        self.set_docker_field(triggers::ON_BUILD, triggers.into(), instruction, reader);
    }

    /// A field of the configuration that only Docker's format has.
    fn set_docker_field(
        &mut self,
        name: &str,
        value: Value,
        instruction: &Instruction,
        reader: &mut Reader<'_, '_>,
    ) {
        if reader.planner.format() == ImageFormat::Docker {
            self.config.config.extra.insert(name.to_owned(), value);
            return;
        }
        let message = format!(
            "{} is not kept in the image: the OCI format has no place for it",
            instruction.keyword.name()
        );
        reader.warn(instruction.span, message, "osmith build --format docker keeps it");
    }

    /// The working directory.
    pub(super) fn workdir(&self) -> &str {
        match self.config.config.working_dir.as_str() {
            "" => "/",
            workdir => workdir,
        }
    }

    /// As USER has it; empty for root.
    pub(super) fn user(&self) -> &str {
        &self.config.config.user
    }

    /// What runs commands in shell form.
    pub(super) fn shell(&self) -> Vec<String> {
        let default = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
        self.shell.clone().unwrap_or_else(default)
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

    fn declare(&mut self, pairs: &[Assignment], reader: &mut Reader<'_, '_>) {
        for pair in pairs {
            let Some(name) = reader.expand(&pair.name) else {
                continue;
            };
            let default = pair.value.as_ref().and_then(|value| reader.expand(value));
            if pair.value.is_some() {
                stages::require_no_platform_default(&name, pair.name.span, &mut reader.planner.findings);
            }
            self.scope.declare(&mut reader.planner.globals, &name, default);
        }
    }

    fn assign(&mut self, keyword: Keyword, pairs: &[Assignment], reader: &mut Reader<'_, '_>) -> Option<()> {
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

    fn volumes(&mut self, words: &[Text], reader: &mut Reader<'_, '_>) -> Option<Action> {
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

    fn expose(&mut self, words: &[Text], reader: &mut Reader<'_, '_>) -> Option<()> {
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
    fn text(&mut self, keyword: Keyword, text: &Text, reader: &mut Reader<'_, '_>) -> Option<Option<Action>> {
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
                let path = absolute_name(self.workdir(), &value);
                self.config.config.working_dir = path.clone();
                return Some(Some(Action::Directories {
                    paths: vec![path],
                    user: self.config.config.user.clone(),
                }));
            }
        }
        Some(None)
    }

    fn stop_signal(&mut self, value: String, span: Span, reader: &mut Reader<'_, '_>) -> Option<()> {
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
