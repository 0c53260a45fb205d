//! `osmith build`: what is asked for, and the way from there to an image.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use osmith_formats::tree::Timestamp;
use osmith_image::layout::{LoadOptions, load};
use osmith_image::store::{Image, Store};

use osmith_image::{ImageConfig, IntakeOptions, Location, Platform, Reference};
use osmith_report::{Event, Failure, Observer, Outcome, Severity as Loudness, Step, StepId};

use crate::commit::commit;
use crate::containerfile::{Diagnostic, Source, parse};
use crate::context::Context;
use crate::error::{BuildError, Findings};
use crate::execute::{Workplace, execute};
use crate::plan::{BaseImages, MissingImage, Plan, Platforms, Wanted, plan};

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
    /// What they see as `/etc/resolv.conf`.
    pub resolv_conf: Vec<u8>,
    /// What they see as `/etc/hosts`.
    pub hosts: Vec<u8>,
}

/// What is to be built.
#[derive(Debug, Clone)]
pub struct Request {
    /// The directory that COPY and ADD read.
    pub context: PathBuf,
    /// The Containerfile.
    pub containerfile: ContainerfileText,
    /// The names of the image.
    pub tags: Vec<Reference>,
    /// Values of ARGs.
    pub build_args: BTreeMap<String, String>,
    /// The stage to build, by name or number; the last one if not given.
    pub target: Option<String>,
    /// Whether all new layers become one.
    pub squash: bool,
    /// Whether every step is done anew.
    pub no_cache: bool,
    /// How many stages are built at once, at least one.
    pub jobs: usize,
    /// For which machine, and on which.
    pub platforms: Platforms,
    /// The present time, in seconds since 1970.
    pub created: i64,
    /// The time that the image and every file in its new layers get, in seconds since 1970.
    pub timestamp: Option<i64>,
    /// For RUN.
    pub name_service: NameService,
}

impl Request {
    /// The time of what the build makes itself.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp {
            seconds: self.timestamp.unwrap_or(self.created),
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

/// Builds an image and gives it its names. Nothing is named before everything has succeeded.
pub fn build(store: &Store, request: &Request, observer: &dyn Observer) -> Result<BuiltImage, BuildError> {
    let parsed = parse(&request.containerfile.name, &request.containerfile.bytes);
    let source = &parsed.containerfile.source;
    if parsed.has_errors() {
        return Err(Findings::new(source, parsed.diagnostics).into());
    }
    let mut images = StoreImages {
        store,
        platform: &request.platforms.target,
        observer,
        found: BTreeMap::new(),
    };
    let wanted = Wanted {
        build_args: request.build_args.clone(),
        target: request.target.clone(),
        platforms: request.platforms.clone(),
    };
    let plan = plan(&parsed.containerfile, &wanted, &mut images)
        .map_err(|findings| Findings::new(source, findings))?;
    let context = Context::open(store, &request.context, request.containerfile.path.as_deref())?;
    if let Some(text) = context.warning() {
        observer.observe(Event::Message {
            severity: Loudness::Warning,
            text,
        });
    }
    announce(&plan, &parsed.diagnostics, source, request, observer);
    let workplace = Workplace {
        store,
        request,
        source,
        observer,
        images: &images.found,
        context,
    };
    let built = execute(&workplace, &plan)?;
    observer.require_running()?;
    let step = StepId(plan.stages.iter().map(|stage| 1 + stage.steps.len() as u32).sum());
    observer.observe(Event::Started { step });
    let target = plan.stages.last();
    let empty = ImageConfig::new(
        &request.platforms.target.architecture,
        &request.platforms.target.os,
    );
    let image = commit(
        store,
        request,
        target.map_or(&empty, |stage| &stage.config),
        built,
        observer,
    );
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

/// Tells the observer the steps, and what is strange.
fn announce(
    plan: &Plan,
    warnings: &[Diagnostic],
    source: &Source,
    request: &Request,
    observer: &dyn Observer,
) {
    for warning in warnings.iter().chain(&plan.warnings) {
        let text = match warning.note.as_str() {
            "" => warning.headline(source),
            note => format!("{}: {note}", warning.headline(source)),
        };
        observer.observe(Event::Message {
            severity: Loudness::Warning,
            text,
        });
    }
    let several = plan.stages.len() > 1;
    let mut titles = Vec::new();
    for stage in &plan.stages {
        let prefix = if several {
            format!("[{}] ", stage.title)
        } else {
            String::new()
        };
        titles.push(format!("{prefix}FROM {}", stage.base_name));
        titles.extend(stage.steps.iter().map(|step| format!("{prefix}{}", step.title)));
    }
    let names: Vec<String> = request.tags.iter().map(Reference::to_string).collect();
    titles.push(format!("COMMIT {}", names.join(", ")).trim_end().to_owned());
    let steps = titles.into_iter().zip(0..).map(|(title, id)| Step {
        id: StepId(id),
        title,
    });
    observer.observe(Event::Plan {
        steps: steps.collect(),
    });
}

/// Base images, looked up in the store.
struct StoreImages<'s> {
    store: &'s Store,
    platform: &'s Platform,
    observer: &'s dyn Observer,
    found: BTreeMap<String, Image>,
}

impl BaseImages for StoreImages<'_> {
    fn config(&mut self, name: &str) -> Result<ImageConfig, MissingImage> {
        if let Some(image) = self.found.get(name) {
            return Ok(image.config.clone());
        }
        let location: Location =
            name.parse()
                .map_err(|error: osmith_image::ReferenceError| MissingImage {
                    message: error.to_string(),
                    note: error.hints().into_iter().next().unwrap_or_default(),
                })?;
        let image = match &location {
            Location::Store(reference) => self.store.image(reference).map_err(|error| missing(&error))?,
            Location::OciDirectory { path, name } | Location::OciArchive { path, name } => {
                self.load(path, name)?
            }
        };
        let config = image.config.clone();
        self.found.insert(name.to_owned(), image);
        Ok(config)
    }
}

impl StoreImages<'_> {
    /// Takes the image of a layout into the store, without a name there.
    fn load(&self, path: &Path, name: &Option<String>) -> Result<Image, MissingImage> {
        let options = LoadOptions {
            select: name.clone(),
            platform: self.platform.clone(),
            names: Some(Vec::new()),
            intake: IntakeOptions::default(),
        };
        let quiet = Quiet(self.observer);
        let mut loaded =
            load(path, self.store, &options, &quiet, StepId(0)).map_err(|error| missing(&error))?;
        match (loaded.pop(), loaded.is_empty()) {
            (Some(only), true) => Ok(only.image),
            _ => Err(MissingImage {
                message: format!("there is not exactly one image in '{}'", path.display()),
                note: "add the name of one of them: oci:PATH:NAME".to_owned(),
            }),
        }
    }
}

/// Passes on the wish to stop, and nothing else: the plan is not made yet.
struct Quiet<'o>(&'o dyn Observer);

impl Observer for Quiet<'_> {
    fn observe(&self, _: Event) {}

    fn interrupted(&self) -> bool {
        self.0.interrupted()
    }
}

fn missing(error: &dyn Failure) -> MissingImage {
    MissingImage {
        message: chain_of(error),
        note: error.hints().into_iter().next().unwrap_or_default(),
    }
}

/// An error with its causes in one line.
fn chain_of(error: &dyn Failure) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
