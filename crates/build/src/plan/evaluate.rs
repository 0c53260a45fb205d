//! From stages to a plan: which stages are needed, in which order, and what each of them comes to.

use osmith_image::ImageConfig;

use super::config::{StageDraft, Wants};
use super::scope::{self, Globals, Scope};
use super::stages::{self, Stage};
use super::{BaseImages, Diagnostics, Origin, Plan, Read, StagePlan, Wanted};
use crate::containerfile::{Diagnostic, Instruction, Keyword, Severity};

/// More stages than anybody writes; stages are planned recursively.
const MAX_STAGES: usize = 500;

/// Plans the build of a Containerfile that was read without errors. `Err` has every finding that prevents it.
pub fn plan(file: Read<'_>, wanted: &Wanted, images: &mut dyn BaseImages) -> Result<Plan, Diagnostics> {
    let mut findings = Diagnostics::new();
    let mut globals = Globals {
        given: wanted.build_args.clone(),
        automatic: scope::automatic(&wanted.platforms, wanted.target.as_deref().unwrap_or("default")),
        ..Globals::default()
    };
    let stages = stages::split(file, &mut globals, &mut findings);
    if let Some(stage) = stages.get(MAX_STAGES) {
        return Err(vec![Diagnostic::error(
            stage.from.span,
            format!("there are more than {MAX_STAGES} stages"),
        )]);
    }
    stages::warn_duplicates(&stages, &mut findings);
    let target = stages::target(&stages, wanted, &mut findings);
    let mut planner = Planner {
        file,
        platforms: wanted,
        planned: vec![None; stages.len()],
        stages,
        globals,
        images,
        findings,
        done: Vec::new(),
    };
    if let Some(target) = target
        && !has_errors(&planner.findings)
    {
        planner.stage(target);
        planner.warn_of_shell(target);
    }
    planner.warn_unused();
    let mut findings = planner.findings;
    findings.sort_by_key(|finding| finding.span.start);
    match has_errors(&findings) {
        true => Err(findings),
        false => Ok(Plan {
            stages: planner.done.into_iter().map(|(stage, _)| stage).collect(),
            warnings: findings,
        }),
    }
}

fn stage_of(origin: &Origin) -> Option<usize> {
    match origin {
        Origin::Stage(position) => Some(*position),
        Origin::Scratch | Origin::Image(_) => None,
    }
}

fn has_errors(findings: &[Diagnostic]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

struct Planner<'a> {
    file: Read<'a>,
    platforms: &'a Wanted,
    stages: Vec<Stage<'a>>,
    globals: Globals,
    images: &'a mut dyn BaseImages,
    findings: Diagnostics,
    /// The position in `done` of the stages that are planned.
    planned: Vec<Option<usize>>,
    done: Vec<(StagePlan, Scope)>,
}

impl Planner<'_> {
    /// Plans a stage and those it needs; its position among the planned ones.
    fn stage(&mut self, index: usize) -> Option<usize> {
        if let Some(done) = self.planned.get(index).copied().flatten() {
            return Some(done);
        }
        let stage = self.stages.get(index)?.clone();
        let (base, config, scope) = self.base(index, &stage)?;
        let mut draft = StageDraft::new(config, scope, self.file.escape);
        self.check_from_flags(&stage);
        draft.check_triggers(&stage, &mut self.findings);
        let mut needs: Vec<usize> = stage_of(&base).into_iter().collect();
        for instruction in stage.instructions {
            let wants = draft.instruction(instruction, &mut self.globals, &mut self.findings);
            let Some(Wants { from, span, mut step }) = wants else {
                continue;
            };
            if let Some(name) = from {
                let origin = self.source(index, &name, span);
                needs.extend(origin.as_ref().and_then(stage_of));
                if let super::Action::Transfer(transfer) = &mut step.action {
                    transfer.from = origin;
                }
            }
            draft.steps.push(step);
        }
        let (steps, config, scope) = draft.finish();
        self.done.push((
            StagePlan {
                title: stage.title(index),
                base,
                needs,
                base_name: stage.base.clone(),
                span: stage.from.span,
                steps,
                config,
            },
            scope,
        ));
        let position = self.done.len() - 1;
        if let Some(planned) = self.planned.get_mut(index) {
            *planned = Some(position);
        }
        Some(position)
    }

    /// What a stage begins with.
    fn base(&mut self, index: usize, stage: &Stage<'_>) -> Option<(Origin, ImageConfig, Scope)> {
        if let Some(earlier) = stages::find(&self.stages, index, &stage.base) {
            let position = self.stage(earlier)?;
            let (plan, scope) = self.done.get(position)?;
            return Some((Origin::Stage(position), plan.config.clone(), scope.clone()));
        }
        if stage.base == "scratch" {
            let target = &self.platforms.platforms.target;
            let mut config = ImageConfig::new(&target.architecture, &target.os);
            config.variant = target.variant.clone();
            return Some((Origin::Scratch, config, Scope::default()));
        }
        match self.images.config(&stage.base) {
            Ok(config) => {
                let scope = Scope::of_image(&config.config.env);
                Some((Origin::Image(stage.base.clone()), config, scope))
            }
            Err(missing) => {
                let finding = Diagnostic::error(stage.base_span, missing.message);
                self.findings.push(finding.with_note(missing.note));
                None
            }
        }
    }

    /// What `--from` names.
    fn source(&mut self, index: usize, name: &str, span: crate::containerfile::Span) -> Option<Origin> {
        if let Some(earlier) = stages::find(&self.stages, index, name) {
            return self.stage(earlier).map(Origin::Stage);
        }
        match self.images.config(name) {
            Ok(_) => Some(Origin::Image(name.to_owned())),
            Err(missing) => {
                let later = stages::find(&self.stages, self.stages.len(), name);
                let note = match later {
                    Some(_) => "a stage can only use stages above it".to_owned(),
                    None => missing.note,
                };
                self.findings
                    .push(Diagnostic::error(span, missing.message).with_note(note));
                None
            }
        }
    }

    fn check_from_flags(&mut self, stage: &Stage<'_>) {
        for flag in &stage.from.flags {
            let finding = match flag.name {
                "platform" => self.check_platform(flag, stage.from.span),
                _ => Some(Diagnostic::error(
                    flag.span,
                    format!("FROM --{} is not supported", flag.name),
                )),
            };
            self.findings.extend(finding);
        }
    }

    /// Only the platform of the build itself can be asked for.
    fn check_platform(
        &self,
        flag: &crate::containerfile::Flag,
        span: crate::containerfile::Span,
    ) -> Option<Diagnostic> {
        let text = flag.value.as_ref()?;
        let mut findings = Diagnostics::new();
        let lookup = |name: &str| self.globals.value(name);
        let value = stages::expanded(text, self.file.escape, &lookup, &mut findings);
        let target = self.globals.automatic.get("TARGETPLATFORM");
        match value {
            Some(value) if Some(&value) == target => None,
            Some(value) => {
                let note = format!(
                    "this build is for {}",
                    target.map_or("another one", String::as_str)
                );
                Some(
                    Diagnostic::error(text.span, format!("platform `{value}` is not supported"))
                        .with_note(note),
                )
            }
            None => Some(Diagnostic::error(span, "the platform cannot be read")),
        }
    }

    /// Warns that the SHELL of the image's own stage does not outlive the build.
    fn warn_of_shell(&mut self, target: usize) {
        let instructions = self.stages.get(target).map(|stage| stage.instructions);
        let is_shell = |instruction: &&Instruction| instruction.keyword == Keyword::Shell;
        if let Some(shell) = instructions.into_iter().flatten().rfind(is_shell) {
            let text = "SHELL is not kept in the image: what is built FROM it begins with /bin/sh -c";
            let note = "an OCI image has no place for it; say SHELL again there";
            self.findings
                .push(Diagnostic::warning(shell.span, text).with_note(note));
        }
    }

    /// Warns of build arguments that no ARG takes.
    fn warn_unused(&mut self) {
        let Some(first) = self
            .file
            .instructions
            .iter()
            .find(|one| one.keyword == Keyword::From)
        else {
            return;
        };
        for name in self.globals.given.keys() {
            if !self.globals.used.contains(name) && !scope::is_predeclared(name) {
                let finding =
                    Diagnostic::warning(first.span, format!("no ARG takes the build argument `{name}`"));
                self.findings
                    .push(finding.with_note(format!("ARG {name} in the stage that uses it")));
            }
        }
    }
}
