//! `osmith build`: what is asked for, and the way from there to an image.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use osmith_formats::tree::Timestamp;
use osmith_image::registry::PullPolicy;
use osmith_image::store::{Image, Store};
use osmith_image::{ImageConfig, Reference};
use osmith_report::{Event, Observer, Outcome, Severity as Loudness, Step, StepId};

use crate::bases::{BaseImageSet, StoreImages};
use crate::built::Built;
use crate::check::Checked;
use crate::commit::commit;
use crate::containerfile::{Diagnostic, Source, parse};
use crate::context::{Context, IgnorePlaces};
use crate::error::{BuildError, Findings};
use crate::execute::{Work, Workplace, execute};
use crate::outside::Outside;
use crate::plan::{ImageFormat, NamedContext, Plan, Platforms, Wanted, plan};
use crate::run::{DEFAULT_CAPABILITIES, Mount};
use crate::times::Times;

/// A Containerfile's text.
#[derive(Debug, Clone)]
pub struct ContainerfileText {
    /// Its name in messages.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Where it is, if it is a file: an ignore file may be beside it.
    pub path: Option<PathBuf>,
}

/// How commands that have a network find names.
#[derive(Debug, Clone, Default)]
pub struct NameService {
    /// What they see as `/etc/resolv.conf`, if not the image's.
    pub resolv_conf: Option<Vec<u8>>,
    /// What they see as `/etc/hosts`, if not the image's.
    pub hosts: Option<Vec<u8>>,
}

/// What a name in `--from` or FROM stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExtraContext {
    /// A directory, with its own ignore file.
    Directory(PathBuf),
    /// An image, by another name.
    Image(String),
}

impl ExtraContext {
    fn name(&self) -> NamedContext {
        match self {
            ExtraContext::Directory(_) => NamedContext::Directory,
            ExtraContext::Image(name) => NamedContext::Image(name.clone()),
        }
    }
}

/// Which layers become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Squash {
    /// None.
    #[default]
    Nothing,
    /// Those that are not the base image's.
    New,
    /// All.
    All,
}

/// What all RUN steps have in common.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// Whether those have a network that do not say that they have none.
    pub network: bool,
    /// The capabilities they may have, as a bit mask.
    pub capabilities: u64,
    /// Variables that name the proxies of this machine; neither history nor cache know them.
    pub proxies: Vec<(String, String)>,
    /// Files and directories of this machine that they see. What is there is not looked at: a change does not make a
    /// step run again.
    pub volumes: Vec<Mount>,
}

impl Default for RunSettings {
    fn default() -> Self {
        RunSettings {
            network: true,
            capabilities: DEFAULT_CAPABILITIES,
            proxies: Vec::new(),
            volumes: Vec::new(),
        }
    }
}

/// What is to be built.
#[derive(Debug, Clone)]
pub struct Request {
    /// The directory that COPY and ADD read.
    pub context: PathBuf,
    /// The file that says what COPY and ADD leave out; if not given, those that are in their usual places.
    pub ignore_file: Option<PathBuf>,
    /// The Containerfile.
    pub containerfile: ContainerfileText,
    /// The names of the image.
    pub tags: Vec<Reference>,
    /// Values of ARGs.
    pub build_args: BTreeMap<String, String>,
    /// The stage to build, by name or number; the last one if not given.
    pub target: Option<String>,
    /// What the first FROM is to name.
    pub first_base: Option<String>,
    /// Which layers become one.
    pub squash: Squash,
    /// When base images are fetched.
    pub pull: PullPolicy,
    /// Further contexts, by name.
    pub contexts: BTreeMap<String, ExtraContext>,
    /// What RUN steps may see, by name; it is in no layer, history or key.
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// Sockets of agents for SSH keys, by name.
    pub agents: BTreeMap<String, PathBuf>,
    /// The form of the image.
    pub format: ImageFormat,
    /// Whether every step is done anew.
    pub no_cache: bool,
    /// How many stages are built at once, at least one.
    pub jobs: usize,
    /// For which machine, and on which.
    pub platforms: Platforms,
    /// Whether the platform was asked for, or is that of this machine for want of another.
    pub is_platform_given: bool,
    /// The present time, in seconds since 1970.
    pub created: i64,
    /// Times that do not depend on that.
    pub times: Times,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// Whether the annotations of the base image are taken over.
    pub inherits_annotations: bool,
    /// Annotations that the image is not to have.
    pub unset_annotations: Vec<String>,
    /// Labels beside those of the Containerfile.
    pub labels: BTreeMap<String, String>,
    /// Labels of base image and Containerfile that the image is not to have.
    pub unset_labels: Vec<String>,
    /// Whether nothing is said of how the image was made.
    pub omits_history: bool,
    /// For RUN.
    pub name_service: NameService,
    /// For RUN.
    pub run: RunSettings,
    /// Variables of the image beside those of the Containerfile, or in their place.
    pub env: BTreeMap<String, String>,
    /// Variables that the image is not to have.
    pub unset_env: Vec<String>,
}

impl Request {
    /// What the plan has to know.
    fn wanted(&self) -> Wanted {
        Wanted {
            build_args: self.build_args.clone(),
            target: self.target.clone(),
            first_base: self.first_base.clone(),
            platforms: self.platforms.clone(),
            is_platform_given: self.is_platform_given,
            contexts: self
                .contexts
                .iter()
                .map(|(name, context)| (name.clone(), context.name()))
                .collect(),
            format: self.format,
        }
    }

    fn ignore_places(&self) -> IgnorePlaces<'_> {
        match &self.ignore_file {
            Some(path) => IgnorePlaces::File(path),
            None => IgnorePlaces::Beside(self.containerfile.path.as_deref()),
        }
    }

    /// The time of what the build makes itself.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp {
            seconds: self.times.created().unwrap_or(self.created),
            nanoseconds: 0,
        }
    }
}

/// What was built.
#[derive(Debug, Clone)]
pub struct BuiltImage {
    /// The image.
    pub image: Image,
    /// The name of the stage, or its number.
    pub stage: String,
}

/// Looks at the Containerfile of a request without building anything; base images that are not in the store are not
/// fetched.
pub fn check(store: &Store, request: &Request, outside: &dyn Outside, observer: &dyn Observer) -> Checked {
    let mut images = StoreImages {
        store,
        outside,
        policy: PullPolicy::Never,
        observer,
        found: BaseImageSet::default(),
    };
    let file = &request.containerfile;
    crate::check::check(&file.name, &file.bytes, &request.wanted(), &mut images)
}

/// Builds images that differ in the platform, the stages of all side by side, and gives them their names. Nothing is
/// named before all stages of all images have succeeded. Containerfile, contexts and what is fetched when are those of
/// the first request.
pub fn build(
    store: &Store,
    requests: &[Request],
    outside: &dyn Outside,
    observer: &dyn Observer,
) -> Result<Vec<BuiltImage>, BuildError> {
    let Some(first) = requests.first() else {
        return Ok(Vec::new());
    };
    let parsed = parse(&first.containerfile.name, &first.containerfile.bytes);
    let source = &parsed.containerfile.source;
    if parsed.has_errors() {
        return Err(Findings::new(source, parsed.diagnostics).into());
    }
    let mut images = StoreImages {
        store,
        outside,
        policy: first.pull,
        observer,
        found: BaseImageSet::default(),
    };
    let mut plans = Vec::new();
    for request in requests {
        let plan = plan(&parsed.containerfile, &request.wanted(), &mut images)
            .map_err(|findings| Findings::new(source, findings))?;
        plans.push(plan);
    }
    let context = Context::open(store, &first.context, first.ignore_places())?;
    if let Some(text) = context.warning() {
        warn(text, observer);
    }
    let named_contexts = named_contexts(store, first)?;
    announce(requests, &plans, &parsed.diagnostics, source, observer);
    let mut work: Vec<Work<'_>> = Vec::new();
    for (request, plan) in requests.iter().zip(plans) {
        let workplace = Workplace {
            store,
            request,
            source,
            outside,
            observer,
            images: &images.found,
            context: &context,
            named_contexts: &named_contexts,
        };
        work.push(Work {
            workplace,
            plan,
            first_step: work.last().map_or(0, |before| before.last_step() + 1),
        });
    }
    let built = execute(&work, store, first.jobs, observer)?;
    context.save()?;
    let images = work.iter().zip(built);
    images.map(|(work, built)| commit_last(work, built)).collect()
}

/// The last step: what was built becomes an image with names.
fn commit_last(work: &Work<'_>, built: Built) -> Result<BuiltImage, BuildError> {
    let Workplace {
        store,
        request,
        observer,
        ..
    } = work.workplace;
    observer.require_running()?;
    let step = StepId(work.last_step());
    observer.observe(Event::Started { step });
    let target = work.plan.stages.last();
    let empty = ImageConfig::new(
        &request.platforms.target.architecture,
        &request.platforms.target.os,
    );
    let mut config = target.map_or(empty, |stage| stage.config.clone());
    let labels = &mut config.config.labels;
    labels.retain(|name, _| !request.unset_labels.contains(name));
    labels.extend(request.labels.clone());
    set_variables(&mut config, request);
    let image = commit(store, request, &config, built, observer);
    let (outcome, summary) = match &image {
        Ok(image) => (Outcome::Done, image.id().hex()),
        Err(_) => (Outcome::Failed, String::new()),
    };
    observer.observe(Event::Finished {
        step,
        outcome,
        summary,
    });
    Ok(BuiltImage {
        image: image?,
        stage: target.map(|stage| stage.title.clone()).unwrap_or_default(),
    })
}

fn warn(text: String, observer: &dyn Observer) {
    observer.observe(Event::Message {
        severity: Loudness::Warning,
        text,
    });
}

fn set_variables(config: &mut ImageConfig, request: &Request) {
    let name_of = |pair: &String| pair.split('=').next().unwrap_or_default().to_owned();
    let is_other = |pair: &String| {
        let name = name_of(pair);
        !request.env.contains_key(&name) && !request.unset_env.contains(&name)
    };
    config.config.env.retain(is_other);
    let pairs = request.env.iter().map(|(name, value)| format!("{name}={value}"));
    config.config.env.extend(pairs);
}

fn named_contexts<'s>(
    store: &'s Store,
    request: &Request,
) -> Result<BTreeMap<String, Context<'s>>, BuildError> {
    let mut contexts = BTreeMap::new();
    for (name, context) in &request.contexts {
        if let ExtraContext::Directory(path) = context {
            contexts.insert(
                name.clone(),
                Context::open(store, path, IgnorePlaces::Beside(None))?,
            );
        }
    }
    Ok(contexts)
}

/// Tells the observer the steps, and what is strange: once, whatever the number of platforms.
fn announce(
    requests: &[Request],
    plans: &[Plan],
    warnings: &[Diagnostic],
    source: &Source,
    observer: &dyn Observer,
) {
    let mut told = BTreeSet::new();
    for warning in warnings
        .iter()
        .chain(plans.iter().flat_map(|plan| &plan.warnings))
    {
        let text = match warning.note.as_str() {
            "" => warning.headline(source),
            note => format!("{}: {note}", warning.headline(source)),
        };
        if told.insert(text.clone()) {
            warn(text, observer);
        }
    }
    let mut titles = Vec::new();
    for (request, plan) in requests.iter().zip(plans) {
        let platform = (requests.len() > 1).then(|| request.platforms.target.to_string());
        titles.extend(titles_of(request, plan, platform.as_deref()));
    }
    let steps = titles.into_iter().zip(0..).map(|(title, id)| Step {
        id: StepId(id),
        title,
    });
    observer.observe(Event::Plan {
        steps: steps.collect(),
    });
}

/// The steps of an image, with what tells them from those of others: platform and stage.
fn titles_of(request: &Request, plan: &Plan, platform: Option<&str>) -> Vec<String> {
    let several = plan.stages.len() > 1;
    let prefix = |stage: Option<&str>| match (platform, stage) {
        (None, None) => String::new(),
        (Some(word), None) | (None, Some(word)) => format!("[{word}] "),
        (Some(platform), Some(stage)) => format!("[{platform} {stage}] "),
    };
    let mut titles = Vec::new();
    for stage in &plan.stages {
        let prefix = prefix(several.then_some(stage.title.as_str()));
        titles.push(format!("{prefix}FROM {}", stage.base_name));
        titles.extend(stage.steps.iter().map(|step| format!("{prefix}{}", step.title)));
    }
    let names: Vec<String> = request.tags.iter().map(Reference::to_string).collect();
    let title = format!("{}COMMIT {}", prefix(None), names.join(", "));
    titles.push(title.trim_end().to_owned());
    titles
}
