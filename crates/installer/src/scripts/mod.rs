//! The scripts of a Kickstart file: `%pre`, `%pre-install`, `%post`, `%onerror`.
//!
//! A script is a file of its own, mode 0700, that its interpreter is started with; no shell is in between. What it
//! writes goes to the observer line by line, and into the log that it names.
//!
//! One that runs inside the installed system ([`Script::in_target`]) has a mount namespace and process ids of its own:
//!
//! ```text
//! /           the target, with what is mounted below it
//! /dev /sys /run   those of the live system
//! /proc       new, with its own processes
//! /tmp        in memory, if that of the target is read-only
//! ```
//!
//! When it ends, all that it started ends, and nothing stays mounted. `SYSTEMD_OFFLINE=1` tells `systemctl` that the
//! manager it finds under `/run` is another system's.

mod error;
mod log;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use osmith_report::{Event, Observer, Severity, StepId, Stream, printable};
use osmith_sys::process::{self, ProcessError};
use osmith_sys::sandbox::{
    ALL_CAPABILITIES, Exit, Init, Mount, Network, Root, Sandbox, SandboxError, Source, Streams, User,
};
use rustix::fs::Access;

pub use error::ScriptError;
use log::Output;

/// Where scripts are while they run, below the root folder of the live system.
const FOLDER: &str = "run/osmith/scripts";

/// When a script runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptKind {
    /// Before anything else.
    Pre,
    /// When the file systems are made, before the image is written.
    PreInstall,
    /// When everything else is done.
    Post,
    /// After the installation has failed.
    OnError,
}

impl ScriptKind {
    /// `%post`.
    pub fn name(self) -> &'static str {
        match self {
            ScriptKind::Pre => "%pre",
            ScriptKind::PreInstall => "%pre-install",
            ScriptKind::Post => "%post",
            ScriptKind::OnError => "%onerror",
        }
    }
}

/// A script of a Kickstart file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// When it runs.
    pub kind: ScriptKind,
    /// The Kickstart file, for messages.
    pub file: String,
    /// The line of its beginning there, from 1.
    pub line: usize,
    /// The program that runs it, with options after blanks: `/bin/sh`, `/usr/bin/python3 -u`.
    pub interpreter: String,
    /// The script itself.
    pub body: String,
    /// Whether it runs inside the installed system.
    pub in_target: bool,
    /// Where its output goes as well; for one that runs inside the installed system a path of that.
    pub log: Option<String>,
    /// Whether the installation ends if it fails.
    pub error_on_fail: bool,
}

impl Script {
    /// `%post (ks.cfg, line 12)`.
    pub fn title(&self) -> String {
        format!("{} ({}, line {})", self.kind.name(), self.file, self.line)
    }
}

/// Where scripts run.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The root folder of the live system.
    pub host: &'a Path,
    /// The root folder of the installed system, with all that is mounted below it; none before it is there.
    pub target: Option<&'a Path>,
    /// The environment beside `PATH`, `HOME` and `LANG`: proxies and such.
    pub environment: &'a [(String, String)],
}

/// Runs a script to its end. One that fails is an error only if it asks for that, and else a warning; its result says
/// how it ended. When the observer asks to stop, it is killed.
///
/// Inside the installed system it needs a program whose `main` calls [`osmith_sys::sandbox::run_if_child`] first.
pub fn run_script(
    script: &Script,
    surroundings: &Surroundings,
    step: StepId,
    observer: &dyn Observer,
) -> Result<Exit, ScriptError> {
    let run = Run {
        script,
        surroundings,
        step,
        observer,
    };
    let file = ScriptFile::create(script, surroundings.host)?;
    let (exit, output) = match script.in_target {
        false => run.in_live_system(&file)?,
        true => run.in_target(&file)?,
    };
    if exit == Exit::Code(0) {
        return Ok(exit);
    }
    let error = ScriptError::Failed {
        script: script.title(),
        exit,
        last_lines: output.into_last_lines(),
    };
    if script.error_on_fail {
        return Err(error);
    }
    run.warn(format!("{error}; the installation goes on"));
    Ok(exit)
}

struct Run<'a> {
    script: &'a Script,
    surroundings: &'a Surroundings<'a>,
    step: StepId,
    observer: &'a dyn Observer,
}

impl Run<'_> {
    fn in_live_system(&self, file: &ScriptFile) -> Result<(Exit, Output), ScriptError> {
        let host = self.surroundings.host;
        let mut output = self.output(host);
        let argv = self.argv(&file.path)?;
        let (program, arguments) = argv
            .split_first()
            .ok_or_else(|| self.no_interpreter("it is empty"))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(self.environment())
            .current_dir(host)
            .stdin(Stdio::null());
        let ended = process::run(
            &mut command,
            |stream, line| self.tell(&mut output, stream, line),
            || self.observer.interrupted(),
        );
        match ended {
            Ok(status) => Ok((exit_of(status), output)),
            Err(ProcessError::Interrupted) => Err(osmith_report::Interrupted.into()),
            Err(ProcessError::Os(error)) => match error.operation() {
                "start" => Err(self.no_interpreter(&io::Error::from(error.errno()).to_string())),
                _ => Err(ScriptError::Os {
                    script: self.script.title(),
                    source: error,
                }),
            },
        }
    }

    fn in_target(&self, file: &ScriptFile) -> Result<(Exit, Output), ScriptError> {
        let Surroundings { host, target, .. } = *self.surroundings;
        let target = target.ok_or_else(|| ScriptError::NoTarget {
            script: self.script.title(),
        })?;
        let log_root = match &self.script.log {
            // It is the live system's there, too.
            Some(path) if path.starts_with("/run/") => host,
            _ => target,
        };
        let mut output = self.output(log_root);
        let scratch = host.join(FOLDER).join("scratch");
        fs::create_dir_all(&scratch).map_err(|source| ScriptError::prepare("create", &scratch, source))?;
        let sandbox = Sandbox {
            root: Root::Directory(target.to_owned()),
            scratch,
            argv: self.argv(&Path::new("/").join(FOLDER).join(&file.name))?,
            env: self.environment(),
            cwd: "/".into(),
            user: User::ROOT,
            hostname: host_name(host),
            network: Network::Host,
            capabilities: ALL_CAPABILITIES,
            mounts: mounts(host, target),
            init: Init::Reaper,
            streams: Streams::Output,
            cgroup: None,
        };
        let ended = sandbox.run(
            |stream, line| self.tell(&mut output, stream, line),
            || self.observer.interrupted(),
        );
        match ended {
            Ok(exit) => Ok((exit, output)),
            Err(SandboxError::Interrupted) => Err(osmith_report::Interrupted.into()),
            Err(SandboxError::Execute { errno, .. }) => {
                Err(self.no_interpreter(&io::Error::from(errno).to_string()))
            }
            Err(error) => Err(ScriptError::Target {
                script: self.script.title(),
                source: Box::new(error),
            }),
        }
    }

    fn argv(&self, file: &Path) -> Result<Vec<OsString>, ScriptError> {
        let words = self.script.interpreter.split_ascii_whitespace();
        let mut argv: Vec<OsString> = words.map(OsString::from).collect();
        if argv.is_empty() {
            return Err(self.no_interpreter("it is empty"));
        }
        argv.push(file.as_os_str().to_owned());
        Ok(argv)
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        let mut environment: Vec<(OsString, OsString)> = vec![
            (
                "PATH".into(),
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
            ),
            ("HOME".into(), "/root".into()),
            ("LANG".into(), "C.UTF-8".into()),
        ];
        if self.script.in_target {
            environment.push(("SYSTEMD_OFFLINE".into(), "1".into()));
        }
        let further = self.surroundings.environment.iter();
        environment.extend(further.map(|(name, value)| (name.into(), value.into())));
        environment
    }

    fn output(&self, root: &Path) -> Output {
        let Some(path) = &self.script.log else {
            return Output::default();
        };
        Output::open(root, path).unwrap_or_else(|error| {
            let title = self.script.title();
            self.warn(format!(
                "{title}: cannot write the log '{path}', its output is in the installer's: {error}"
            ));
            Output::default()
        })
    }

    fn tell(&self, output: &mut Output, stream: process::Stream, line: &[u8]) {
        if let Some(error) = output.write(line) {
            let title = self.script.title();
            self.warn(format!("{title}: cannot write more into its log: {error}"));
        }
        self.observer.observe(Event::Output {
            step: self.step,
            stream: match stream {
                process::Stream::Stdout => Stream::Stdout,
                process::Stream::Stderr => Stream::Stderr,
            },
            line: String::from_utf8_lossy(line).into_owned(),
        });
    }

    fn warn(&self, text: String) {
        self.observer.observe(Event::Message {
            severity: Severity::Warning,
            text: printable(&text),
        });
    }

    fn no_interpreter(&self, reason: &str) -> ScriptError {
        ScriptError::Interpreter {
            script: self.script.title(),
            interpreter: self.script.interpreter.clone(),
            reason: reason.split(" (os error").next().unwrap_or(reason).to_owned(),
        }
    }
}

/// The file of a script; gone when it is dropped.
struct ScriptFile {
    name: String,
    path: PathBuf,
}

impl ScriptFile {
    fn create(script: &Script, host: &Path) -> Result<Self, ScriptError> {
        let folder = host.join(FOLDER);
        fs::create_dir_all(&folder).map_err(|source| ScriptError::prepare("create", &folder, source))?;
        let name = format!("{}-{}", script.kind.name().trim_start_matches('%'), script.line);
        let path = folder.join(&name);
        let written = remove(&path).and_then(|()| {
            let mut options = fs::OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o700).open(&path)?;
            file.write_all(script.body.as_bytes())
        });
        written.map_err(|source| ScriptError::prepare("write", &path, source))?;
        Ok(ScriptFile { name, path })
    }
}

impl Drop for ScriptFile {
    fn drop(&mut self) {
        // It is in memory, and nobody is left to be told.
        let _ = fs::remove_file(&self.path);
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What the target sees of the live system.
fn mounts(host: &Path, target: &Path) -> Vec<Mount> {
    let shown = ["dev", "sys", "run"].map(|name| {
        let source = Source::Machine(host.join(name));
        Mount::new(Path::new("/").join(name), source)
    });
    let mut mounts = Vec::from(shown);
    let temporary = target.join("tmp");
    if temporary.is_dir() && rustix::fs::access(&temporary, Access::WRITE_OK).is_err() {
        let memory = Source::Memory {
            mode: 0o1777,
            size_bytes: None,
            copies_target: false,
        };
        mounts.push(Mount::new("/tmp", memory));
    }
    mounts
}

fn host_name(host: &Path) -> String {
    let name = fs::read_to_string(host.join("proc/sys/kernel/hostname")).unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or_default()),
    }
}
