//! A plan is carried out: stages side by side, the steps of each from the cache or anew.

mod mounts;
mod parts;
mod remote;
mod schedule;
mod transfer;

pub(crate) use mounts::Shown;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use osmith_container::users::Accounts;
use osmith_image::store::Store;
use osmith_report::{Event, Observer, Outcome, StepId};

use crate::bases::BaseImageSet;
use crate::built::Built;
use crate::command::run_spec;
use crate::context::Context;
use crate::error::{BuildError, StepError};
use crate::outside::Outside;
use crate::plan::{Action, Origin, Plan, Run, StagePlan, Step};
use crate::run::{BuildRoot, RunError};
use crate::stage::Stage;
use crate::{Request, containerfile};
use schedule::run_stages;

/// What a build works on.
pub(crate) struct Workplace<'b> {
    pub(crate) store: &'b Store,
    pub(crate) request: &'b Request,
    pub(crate) source: &'b containerfile::Source,
    pub(crate) outside: &'b dyn Outside,
    pub(crate) observer: &'b dyn Observer,
    pub(crate) images: &'b BaseImageSet,
    pub(crate) context: &'b Context<'b>,
    /// `--build-context`, by name.
    pub(crate) named_contexts: &'b BTreeMap<String, Context<'b>>,
}

/// A plan, what it works on, and the number of its first step.
pub(crate) struct Work<'b> {
    pub(crate) workplace: Workplace<'b>,
    pub(crate) plan: Plan,
    pub(crate) first_step: u32,
}

impl Work<'_> {
    /// The number of the step after those of the stages.
    pub(crate) fn last_step(&self) -> u32 {
        let counts = self.plan.stages.iter().map(|stage| 1 + stage.steps.len() as u32);
        self.first_step + counts.sum::<u32>()
    }
}

/// Builds all stages of all plans, as many side by side as `jobs`; the last one of each plan is given back.
pub(crate) fn execute(
    work: &[Work<'_>],
    store: &Store,
    jobs: usize,
    observer: &dyn Observer,
) -> Result<Vec<Built>, BuildError> {
    let stoppable = Stoppable {
        observer,
        is_stopped: AtomicBool::new(false),
    };
    let executions: Vec<Execution<'_>> = work
        .iter()
        .map(|work| Execution {
            workplace: &work.workplace,
            observer: &stoppable,
            built: work.plan.stages.iter().map(|_| OnceLock::new()).collect(),
            first_steps: first_steps(&work.plan, work.first_step),
        })
        .collect();
    let (mut places, mut needs) = (Vec::new(), Vec::new());
    for (execution, work) in executions.iter().zip(work) {
        let before = places.len();
        for (position, stage) in work.plan.stages.iter().enumerate() {
            places.push((execution, position, stage));
            needs.push(stage.needs.iter().map(|stage| before + stage).collect());
        }
    }
    run_stages(
        &needs,
        jobs,
        || BuildRoot::new(store),
        |place, build_root| match places.get(place) {
            Some((execution, position, stage)) => execution.stage(*position, stage, build_root),
            None => Ok(()),
        },
        || stoppable.is_stopped.store(true, Ordering::Relaxed),
    )?;
    let last = |execution: Execution<'_>| execution.built.into_iter().next_back();
    let built = executions.into_iter().map(last);
    Ok(built
        .map(|place| place.and_then(OnceLock::into_inner).unwrap_or_default())
        .collect())
}

/// The number of each stage's FROM; its steps come after it.
fn first_steps(plan: &Plan, first: u32) -> Vec<u32> {
    let mut next = first;
    let counts = plan.stages.iter().map(|stage| 1 + stage.steps.len() as u32);
    counts
        .map(|count| {
            next += count;
            next - count
        })
        .collect()
}

/// Ends what is under way when the build has failed elsewhere.
struct Stoppable<'o> {
    observer: &'o dyn Observer,
    is_stopped: AtomicBool,
}

impl Observer for Stoppable<'_> {
    fn observe(&self, event: Event) {
        self.observer.observe(event);
    }

    fn interrupted(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed) || self.observer.interrupted()
    }
}

/// Remembers what a command said last.
struct LastLines<'o> {
    observer: &'o dyn Observer,
    step: StepId,
    lines: Mutex<VecDeque<String>>,
}

impl LastLines<'_> {
    /// So many lines are remembered.
    const COUNT: usize = 10;

    fn explain(self, error: RunError) -> StepError {
        match error {
            RunError::Failed { .. } => StepError::Command {
                error,
                last_lines: self
                    .lines
                    .into_inner()
                    .unwrap_or_else(PoisonError::into_inner)
                    .into(),
            },
            error => error.into(),
        }
    }
}

impl Observer for LastLines<'_> {
    fn observe(&self, event: Event) {
        if let Event::Output { step, line, .. } = &event
            && *step == self.step
        {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() == Self::COUNT {
                lines.pop_front();
            }
            lines.push_back(line.clone());
        }
        self.observer.observe(event);
    }

    fn interrupted(&self) -> bool {
        self.observer.interrupted()
    }
}

/// A build under way.
struct Execution<'b> {
    workplace: &'b Workplace<'b>,
    observer: &'b dyn Observer,
    /// By position in the plan.
    built: Vec<OnceLock<Built>>,
    first_steps: Vec<u32>,
}

impl<'b> Execution<'b> {
    fn stage(
        &self,
        position: usize,
        plan: &StagePlan,
        build_root: &mut BuildRoot<'_>,
    ) -> Result<(), BuildError> {
        let Workplace { store, request, .. } = *self.workplace;
        let mut ids = (self.first_steps.get(position).copied().unwrap_or(0)..).map(StepId);
        let mut begin = || -> Result<StepId, BuildError> {
            self.observer.require_running()?;
            let step = ids.next().unwrap_or(StepId(0));
            self.observer.observe(Event::Started { step });
            Ok(step)
        };
        let step = begin()?;
        let built = self.base(&plan.base)?;
        self.finish(step, Outcome::Done, "");
        let mut stage = Stage::new(store, request, self.observer, built);
        for planned in &plan.steps {
            let id = begin()?;
            match self.step(&mut stage, planned, id, build_root) {
                Ok((outcome, summary)) => self.finish(id, outcome, summary),
                Err(error) => {
                    self.finish(id, Outcome::Failed, "");
                    return Err(self.failure(planned.span, &planned.title, error));
                }
            }
        }
        let last = plan.steps.last();
        let span = last.map_or(plan.span, |step| step.span);
        let title = last.map_or("FROM", |step| step.title.as_str());
        let built = stage.finish().map_err(|error| self.failure(span, title, error))?;
        if let Some(place) = self.built.get(position) {
            // Nobody else builds this stage.
            let _ = place.set(built);
        }
        Ok(())
    }

    fn failure(&self, span: containerfile::Span, title: &str, error: StepError) -> BuildError {
        BuildError::step(self.workplace.source, span, title, error)
    }

    fn finish(&self, step: StepId, outcome: Outcome, summary: impl Into<String>) {
        self.observer.observe(Event::Finished {
            step,
            outcome,
            summary: summary.into(),
        });
    }

    fn stage_at(&self, position: usize) -> Option<&Built> {
        self.built.get(position).and_then(OnceLock::get)
    }

    fn base(&self, base: &Origin) -> Result<Built, BuildError> {
        match base {
            Origin::Scratch => Ok(Built::default()),
            Origin::Stage(position) => Ok(self.stage_at(*position).cloned().unwrap_or_default()),
            Origin::Image(origin) => match self.workplace.images.get(origin) {
                Some(image) => {
                    let layers = image.layers(self.workplace.store)?;
                    Ok(Built::of_image(&origin.name, image, layers))
                }
                None => Ok(Built::default()),
            },
            Origin::Context(_) => Ok(Built::default()),
        }
    }

    fn step(
        &self,
        stage: &mut Stage<'_>,
        step: &Step,
        id: StepId,
        build_root: &mut BuildRoot<'_>,
    ) -> Result<(Outcome, String), StepError> {
        match &step.action {
            Action::Configure => {
                stage.note(step.history.clone(), false);
                Ok((Outcome::Done, String::new()))
            }
            Action::Directories { paths, user } => {
                stage.ensure_directories(paths, user);
                stage.note(step.history.clone(), false);
                Ok((Outcome::Done, String::new()))
            }
            Action::Transfer(transfer) => self.transfer(stage, transfer, id),
            Action::Run(run) => self.run_command(stage, step, run, id, build_root),
        }
    }

    fn run_command(
        &self,
        stage: &mut Stage<'_>,
        step: &Step,
        run: &Run,
        id: StepId,
        build_root: &mut BuildRoot<'_>,
    ) -> Result<(Outcome, String), StepError> {
        let mounts = self.mount_keys(run, id)?;
        let key = stage.run_key(run, &mounts);
        if let Some(layer) = stage.cached(&key)? {
            stage.take(layer, step.history.clone())?;
            return Ok((Outcome::Cached, String::new()));
        }
        let accounts = Accounts::read(self.workplace.store, stage.draft()?.tree())?;
        let shown = self.show(run, id)?;
        let spec = run_spec(run, &accounts, self.workplace.request, &shown)?;
        let listener = LastLines {
            observer: self.observer,
            step: id,
            lines: Mutex::default(),
        };
        let ran = build_root.run(stage.draft()?.tree(), &spec, &listener, id);
        let layer = ran.map_err(|error| listener.explain(error))?;
        let count = layer.len();
        let layer = stage.draft()?.absorb(layer)?;
        stage.keep(&key, layer, step.history.clone())?;
        Ok((Outcome::Done, format!("{count} changes")))
    }
}
