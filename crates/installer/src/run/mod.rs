//! Carrying out a Kickstart file, in the order in which its effects are to come.
//!
//! ```text
//! %pre ─▶ parse ─▶ plan ─▶ network, image ─▶ plan of the disk ─▶ %pre-install ─▶ write ─▶ %post ─▶ partition table
//!        └──────────────── nothing is written to a disk ─────────────────────┘                  ─▶ boot order
//! ```
//!
//! Until the partition table is written, no firmware starts the disk: a machine whose power fails has no system rather
//! than half of one.

mod boot_order;
mod image;
mod keep;

use std::path::{Path, PathBuf};

use osmith_config::Configuration;
use osmith_disk::{
    Compression, CustomizeError, Device, Plan, PlanError, Spec, plan_for_device, write_on_device,
};
use osmith_image::Reference;
use osmith_image::store::{Image, Store};
use osmith_kickstart::{
    self as kickstart, Dialect, Includes, Kickstart, KickstartError, Level, MissingIncludes, ParseOptions,
    Problem, Section, View, parse, pre_scripts,
};
use osmith_machine::origin::ImageSource;
use osmith_report::{Event, Failure, Observer, Outcome, Severity, Step, StepId};
use osmith_sys::sandbox::Exit;

use crate::disks::Disk;
use crate::network::{Connection, Interface, MacAddress};
use crate::plan::{Facts, Installation, plan};
use crate::scripts::{Script, ScriptKind, Surroundings, run_script};
use crate::target::Target;

/// Where the new system is mounted for scripts, as other installers have it.
const NEW_ROOT: &str = "mnt/sysroot";
const SCRATCH: &str = "run/osmith";

/// How images are fetched; what registries are told is the caller's matter.
pub trait Images {
    /// Fetches an image into a store.
    fn fetch(
        &self,
        source: &ImageSource,
        store: &Store,
        observer: &dyn Observer,
    ) -> Result<Image, Box<dyn Failure>>;
}

/// A Kickstart file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KickstartFile {
    /// Its name, for problems.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// An installation under way.
pub struct Session<'a> {
    /// The root directory of the running system.
    pub host: &'a Path,
    /// The file.
    pub file: &'a KickstartFile,
    /// Whether warnings refuse.
    pub is_strict: bool,
    /// What identifiers of the disk are derived from.
    pub seed: u64,
    /// Kernel arguments of the new system beside those of image and file: consoles.
    pub kernel_arguments: Vec<String>,
    /// Connections of the new system if the file has none.
    pub connections: Vec<Connection>,
    /// The interfaces of the machine, and the one it was started from, if the new system is to run here: `link` is one
    /// of them then.
    pub interfaces: Option<(Vec<Interface>, Option<MacAddress>)>,
    /// The environment of scripts beside the usual: proxies.
    pub environment: Vec<(String, String)>,
    /// How many processors may be busy.
    pub processors: usize,
    /// The log that is kept on the new system.
    pub log: Option<PathBuf>,
    /// Whether the disk is of this machine, whose firmware is to start it from now on.
    pub sets_boot_order: bool,
    /// Who is told.
    pub observer: &'a dyn Observer,
}

type Result<T, E = Box<dyn Failure>> = std::result::Result<T, E>;

impl Session<'_> {
    /// Runs `%pre`, then reads the file. All that is wrong with it is in the error.
    pub fn read(&self, includes: &mut dyn Includes) -> Result<Kickstart> {
        let KickstartFile { name, text } = self.file;
        let options = ParseOptions {
            dialect: Dialect::default(),
            missing_includes: MissingIncludes::Refuse,
        };
        let before = pre_scripts(name, text, &options, includes);
        require_none(&before.problems, Level::Error)?;
        self.run_scripts(&before.scripts, None)?;
        let parsed = parse(name, text, &options, includes);
        self.warn(&parsed.problems);
        Ok(parsed.require_accepted(View::Installer, self.is_strict)?)
    }

    /// Plans the installation on this machine, and says what will be done.
    pub fn plan(&self, kickstart: &Kickstart, facts: &Facts) -> Result<Installation> {
        let installation = plan(&self.file.name, kickstart, facts).map_err(KickstartError)?;
        self.warn(&installation.warnings);
        if self.is_strict && !installation.warnings.is_empty() {
            return Err(KickstartError(installation.warnings).into());
        }
        Ok(installation)
    }

    /// Installs an image of a store. Up to the first byte that is written, everything is checked.
    pub fn install(
        &self,
        kickstart: &Kickstart,
        mut installation: Installation,
        (store, image): (&Store, &Reference),
    ) -> Result<()> {
        let settings = image::settings(self, &installation, (store, image))?;
        installation.add_files(settings);
        let device = self.open(&installation.disk)?;
        let spec = self.spec(image, &installation)?;
        let plan = plan_for_device(store, &spec, device.size_bytes());
        let plan = plan.map_err(|error| self.explain(error, &installation))?;
        self.run_scripts(kickstart.scripts_of(Section::PreInstall), None)?;
        let hidden = write_on_device(&plan, store, &device, self.processors, self.observer)?;
        self.finish(kickstart, &installation.follows, (&device, &plan))?;
        hidden.reveal()?;
        if self.sets_boot_order {
            boot_order::set(self, kickstart, (&plan, &installation.disk));
        }
        Ok(())
    }

    /// Does what takes the new system mounted. A kernel that cannot mount it stops an installation only if that matters.
    fn finish(&self, kickstart: &Kickstart, follows: &str, (device, plan): (&Device, &Plan)) -> Result<()> {
        let root = self.host.join(NEW_ROOT);
        let matters =
            kickstart.scripts_of(Section::Post).next().is_some() || !kickstart.certificates.is_empty();
        let target = match Target::mount(device.file(), plan, &root, &self.host.join(SCRATCH)) {
            Ok(target) => target,
            Err(error) if matters => return Err(error.into()),
            Err(error) => {
                let text = format!("the records of the installation are not kept on the new system: {error}");
                self.message(Severity::Warning, text);
                return Ok(());
            }
        };
        let follows = follows.parse::<Reference>().ok();
        let registry = follows.as_ref().and_then(Reference::domain);
        keep::certificates(kickstart, registry, &root, self.observer);
        keep::credentials(self.host, &root, self.observer);
        self.run_scripts(kickstart.scripts_of(Section::Post), Some(&root))?;
        keep::records(self, &root);
        Ok(target.unmount()?)
    }

    /// Runs the scripts for a failure; what goes wrong with them is only told.
    pub fn run_on_error(&self, kickstart: &Kickstart) {
        for script in kickstart.scripts_of(Section::OnError) {
            if let Err(error) = self.run_scripts([script], None) {
                self.message(Severity::Warning, error.to_string());
            }
        }
    }

    fn spec(&self, image: &Reference, installation: &Installation) -> Result<Spec> {
        let follows = installation.follows.parse::<Reference>();
        Ok(Spec {
            image: image.clone(),
            platform: None,
            types: Vec::new(),
            size_bytes: None,
            seed: self.seed,
            compression: Compression::None,
            kernel_arguments: self.kernel_arguments.clone(),
            // The plan made sure of it.
            follows: follows.unwrap_or_else(|_| image.clone()),
            configuration: Configuration {
                file: Some(self.file.name.clone()),
                ..installation.configuration.clone()
            },
        })
    }

    fn open(&self, disk: &Disk) -> Result<Device> {
        // What is on it, the file gave up.
        Ok(Device::open(&disk.path, self.host, true)?)
    }

    /// Problems of the configuration are problems of the file.
    fn explain(&self, error: PlanError, installation: &Installation) -> Box<dyn Failure> {
        match error {
            PlanError::Configuration(CustomizeError::Configuration(error)) => {
                KickstartError(installation.problems_of(&self.file.name, &error)).into()
            }
            other => other.into(),
        }
    }

    fn run_scripts<'s>(
        &self,
        scripts: impl IntoIterator<Item = &'s kickstart::Script>,
        target: Option<&Path>,
    ) -> Result<()> {
        let scripts: Vec<Script> = scripts.into_iter().filter_map(of_kickstart).collect();
        if scripts.is_empty() {
            return Ok(());
        }
        let surroundings = Surroundings {
            host: self.host,
            target,
            environment: &self.environment,
        };
        let titles = scripts.iter().map(Script::title);
        let steps = titles.zip(0..).map(|(title, id)| Step {
            id: StepId(id),
            title,
        });
        self.observer.observe(Event::Plan {
            steps: steps.collect(),
        });
        for (script, step) in scripts.iter().zip((0..).map(StepId)) {
            self.observer.observe(Event::Started { step });
            let exit = run_script(script, &surroundings, step, self.observer);
            let outcome = match &exit {
                Ok(Exit::Code(0)) => Outcome::Done,
                _ => Outcome::Failed,
            };
            self.observer.observe(Event::Finished {
                step,
                outcome,
                summary: String::new(),
            });
            exit?;
        }
        Ok(())
    }

    fn warn(&self, problems: &[Problem]) {
        for problem in problems.iter().filter(|problem| problem.level == Level::Warning) {
            self.message(Severity::Warning, problem.rendered());
        }
    }

    fn message(&self, severity: Severity, text: String) {
        self.observer.observe(Event::Message { severity, text });
    }
}

/// `%traceback` is for a failure of Anaconda itself.
fn of_kickstart(script: &kickstart::Script) -> Option<Script> {
    let kind = match script.section {
        Section::Pre => ScriptKind::Pre,
        Section::PreInstall => ScriptKind::PreInstall,
        Section::Post => ScriptKind::Post,
        Section::OnError => ScriptKind::OnError,
        Section::Traceback => return None,
    };
    Some(Script {
        kind,
        file: script.position.file.to_string(),
        line: script.position.line,
        interpreter: script.interpreter.clone(),
        body: script.body.clone(),
        in_target: kind == ScriptKind::Post && script.chroot,
        log: script.log.clone(),
        error_on_fail: script.error_on_fail,
    })
}

fn require_none(problems: &[Problem], from: Level) -> Result<()> {
    let refusing: Vec<_> = problems
        .iter()
        .filter(|problem| problem.level >= from)
        .cloned()
        .collect();
    match refusing.is_empty() {
        true => Ok(()),
        false => Err(KickstartError(refusing).into()),
    }
}
