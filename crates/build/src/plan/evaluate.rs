//! From stages to a plan: which stages are needed, in which order, and what each of them comes to.

use osmith_image::{ImageConfig, Platform};

use super::instructions::StageDraft;
use super::scope::{self, Globals, Scope};
use super::stages::{self, Stage};
use super::{
    BaseImages, Diagnostics, ImageFormat, ImageOrigin, NamedContext, Origin, Plan, Read, StagePlan, Step,
    Wanted, triggers,
};
use crate::containerfile::{Diagnostic, Flag, Instruction, Keyword, Severity, Span};

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
    let mut stages = stages::split(file, &mut globals, &mut findings);
    if let (Some(first), Some(base)) = (stages.first_mut(), &wanted.first_base) {
        first.base.clone_from(base);
    }
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
        wanted,
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
        if wanted.format == ImageFormat::Oci {
            planner.warn_of_shell(target);
        }
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

fn has_errors(findings: &[Diagnostic]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

pub(super) struct Planner<'a> {
    file: Read<'a>,
    wanted: &'a Wanted,
    stages: Vec<Stage<'a>>,
    pub(super) globals: Globals,
    images: &'a mut dyn BaseImages,
    pub(super) findings: Diagnostics,
    /// The position in `done` of the stages that are planned.
    planned: Vec<Option<usize>>,
    done: Vec<(StagePlan, Scope)>,
}

impl Planner<'_> {
    pub(super) fn escape(&self) -> char {
        self.file.escape
    }

    pub(super) fn format(&self) -> ImageFormat {
        self.wanted.format
    }

    /// Plans a stage and those it needs; its position among the planned ones.
    fn stage(&mut self, index: usize) -> Option<usize> {
        if let Some(done) = self.planned.get(index).copied().flatten() {
            return Some(done);
        }
        let stage = self.stages.get(index)?.clone();
        let mut needs = self.after(index, &stage);
        let (base, mut config, scope) = self.base(index, &stage)?;
        let triggers = triggers::take(&mut config, self.file.escape, stage.base_span, &mut self.findings);
        let mut draft = StageDraft::new(config, scope);
        for instruction in triggers.iter().chain(stage.instructions) {
            draft.instruction(instruction, index, self);
        }
        let (steps, config, scope) = draft.finish();
        needs.extend(base.stage());
        needs.extend(steps.iter().flat_map(Step::origins).filter_map(Origin::stage));
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
        let platform = self.platform(stage)?;
        if let Some(context) = self.wanted.contexts.get(&stage.base) {
            return match context {
                NamedContext::Image(name) => self.base_image(&name.clone(), platform.as_ref(), stage),
                NamedContext::Directory => {
                    let message = format!("`{}` is a directory, and no image", stage.base);
                    let note = "begin with FROM scratch and COPY --from=".to_owned() + &stage.base;
                    self.findings
                        .push(Diagnostic::error(stage.base_span, message).with_note(note));
                    None
                }
            };
        }
        if let Some(earlier) = stages::find(&self.stages, index, &stage.base) {
            let position = self.stage(earlier)?;
            let (plan, scope) = self.done.get(position)?;
            return Some((Origin::Stage(position), plan.config.clone(), scope.clone()));
        }
        if stage.base == "scratch" {
            let target = platform.as_ref().unwrap_or(&self.wanted.platforms.target);
            let mut config = ImageConfig::new(&target.architecture, &target.os);
            config.variant = target.variant.clone();
            config.config.working_dir = "/".to_owned();
            return Some((Origin::Scratch, config, Scope::default()));
        }
        self.base_image(&stage.base.clone(), platform.as_ref(), stage)
    }

    fn base_image(
        &mut self,
        name: &str,
        platform: Option<&Platform>,
        stage: &Stage<'_>,
    ) -> Option<(Origin, ImageConfig, Scope)> {
        let (origin, config) = self.image(name, platform, stage.base_span, "")?;
        let scope = Scope::of_image(&config.config.env);
        Some((origin, config, scope))
    }

    /// An image of that name; `note` is said if there is none and nothing better can be said.
    fn image(
        &mut self,
        name: &str,
        platform: Option<&Platform>,
        span: Span,
        note: &str,
    ) -> Option<(Origin, ImageConfig)> {
        let wanted = platform.unwrap_or(&self.wanted.platforms.target);
        match self.images.config(name, wanted) {
            Ok(config) => {
                self.check_image(name, &config, platform, span);
                let origin = ImageOrigin {
                    name: name.to_owned(),
                    platform: wanted.clone(),
                };
                Some((Origin::Image(origin), config))
            }
            Err(missing) => {
                let note = if note.is_empty() {
                    missing.note
                } else {
                    note.to_owned()
                };
                self.findings
                    .push(Diagnostic::error(span, missing.message).with_note(note));
                None
            }
        }
    }

    /// An image for another kind of machine is an error where that was asked for, else a warning.
    fn check_image(&mut self, name: &str, config: &ImageConfig, platform: Option<&Platform>, span: Span) {
        let wanted = platform.unwrap_or(&self.wanted.platforms.target);
        let found = config.platform();
        if found.os == wanted.os && found.architecture == wanted.architecture {
            return;
        }
        let message = format!("`{name}` is for {found}, not for {wanted}");
        let finding = match platform.is_some() || self.wanted.is_platform_given {
            true => Diagnostic::error(span, message),
            false => Diagnostic::warning(span, message),
        };
        let note = format!("for an image of that kind: osmith build --platform {found}");
        self.findings.push(finding.with_note(note));
    }

    /// What `--from` names: a context, a stage above, an image.
    pub(super) fn origin(&mut self, index: usize, name: &str, span: Span) -> Option<Origin> {
        match self.wanted.contexts.get(name) {
            Some(NamedContext::Directory) => return Some(Origin::Context(name.to_owned())),
            Some(NamedContext::Image(image)) => {
                return self
                    .image(&image.clone(), None, span, "")
                    .map(|(origin, _)| origin);
            }
            None => {}
        }
        if let Some(earlier) = stages::find(&self.stages, index, name) {
            return self.stage(earlier).map(Origin::Stage);
        }
        let note = match stages::find(&self.stages, self.stages.len(), name) {
            Some(_) => "a stage can only use stages above it",
            None => "",
        };
        self.image(name, None, span, note).map(|(origin, _)| origin)
    }

    /// The stages that `--after` names, planned.
    fn after(&mut self, index: usize, stage: &Stage<'_>) -> Vec<usize> {
        let mut needs = Vec::new();
        for flag in stage.from.flags_named("after") {
            let Some(name) = self.flag_value(flag) else {
                continue;
            };
            match stages::find(&self.stages, index, &name) {
                Some(earlier) => needs.extend(self.stage(earlier)),
                None => {
                    let finding = Diagnostic::error(flag.span, format!("there is no stage `{name}` above"));
                    self.findings
                        .push(finding.with_note("expected the name or number of a stage above"));
                }
            }
        }
        needs
    }

    /// The value of a flag of FROM.
    fn flag_value(&mut self, flag: &Flag) -> Option<String> {
        let lookup = |name: &str| self.globals.value(name);
        stages::expanded(
            flag.value.as_ref()?,
            self.file.escape,
            &lookup,
            &mut self.findings,
        )
    }

    /// `FROM --platform`; the outer `None`, with a finding, if it is none.
    fn platform(&mut self, stage: &Stage<'_>) -> Option<Option<Platform>> {
        let Some(flag) = stage.from.flag("platform") else {
            return Some(None);
        };
        let value = self.flag_value(flag)?;
        match value.parse() {
            Ok(platform) => Some(Some(platform)),
            Err(_) => {
                let finding = Diagnostic::error(flag.span, format!("`{value}` is no platform"));
                self.findings
                    .push(finding.with_note("expected OS/ARCHITECTURE[/VARIANT], such as linux/arm64"));
                None
            }
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
