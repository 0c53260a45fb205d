//! Git repositories as sources of ADD, fetched by the program `git`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use osmith_formats::tree::Timestamp;
use osmith_image::store::Store;
use osmith_report::{Observer, StepId};
use osmith_sys::process::{self, ProcessError};

use crate::context::{Context, ContextError, Ignore, IgnorePlaces, Watch};
use crate::copy::{SelectError, Selection};

/// The lines of git's that are shown when it fails.
const SHOWN_LINES: usize = 5;

/// Why the files of a repository are not there.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The program could not be run.
    #[error("cannot run git")]
    Run(#[source] osmith_sys::OsError),
    /// It failed.
    #[error("git cannot fetch '{repository}': {message}")]
    Failed {
        /// The repository.
        repository: String,
        /// What it said last.
        message: String,
    },
    /// The repository has no such directory.
    #[error("'{repository}' has no directory '{directory}'")]
    NoDirectory {
        /// The repository.
        repository: String,
        /// The directory.
        directory: String,
    },
    /// The files cannot be read.
    #[error(transparent)]
    Files(#[from] SelectError),
    /// The directory cannot be opened.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] osmith_image::store::StoreError),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] osmith_report::Interrupted),
}

/// `PLACE[#REFERENCE[:DIRECTORY]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repository {
    place: String,
    reference: String,
    directory: String,
}

impl Repository {
    pub(crate) fn parse(text: &str) -> Self {
        let (place, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (reference, directory) = fragment.split_once(':').unwrap_or((fragment, ""));
        Repository {
            place: place.to_owned(),
            reference: if reference.is_empty() { "HEAD" } else { reference }.to_owned(),
            directory: directory.trim_matches('/').to_owned(),
        }
    }
}

impl Repository {
    /// Fetches the files into `directory`, which is made; the time of their commit, in seconds since 1970.
    fn fetch(
        &self,
        directory: &Path,
        keeps_git_directory: bool,
        observer: &dyn Observer,
    ) -> Result<i64, GitError> {
        let git = Git {
            repository: self,
            directory: directory.to_owned(),
            observer,
        };
        let committed = git.fetch()?;
        if !keeps_git_directory {
            git.remove_own_files();
        }
        Ok(committed)
    }

    /// Fetches the files into the empty directory; the directory of them that is meant, which no link leads out of.
    pub(crate) fn fetch_directory(&self, work: &Path, observer: &dyn Observer) -> Result<PathBuf, GitError> {
        let checkout = work.join("checkout");
        self.fetch(&checkout, false, observer)?;
        let missing = || GitError::NoDirectory {
            repository: self.place.clone(),
            directory: self.directory.clone(),
        };
        let top = checkout.canonicalize().map_err(|_| missing())?;
        let meant = top.join(&self.directory).canonicalize().map_err(|_| missing())?;
        match meant.starts_with(&top) && meant.is_dir() {
            true => Ok(meant),
            false => Err(missing()),
        }
    }
}

/// What is wanted of a repository.
#[derive(Debug, Clone)]
pub(crate) struct Checkout {
    pub(crate) repository: Repository,
    pub(crate) keeps_git_directory: bool,
}

impl Checkout {
    /// The files, as a selection of one directory. `work` is an empty directory.
    pub(crate) fn files(
        &self,
        store: &Store,
        work: &Path,
        observer: &dyn Observer,
        step: StepId,
    ) -> Result<Selection<'static>, GitError> {
        let repository = &self.repository;
        let checkout = work.join("checkout");
        let committed = repository.fetch(&checkout, self.keeps_git_directory, observer)?;
        let context = Context::open(store, &checkout, IgnorePlaces::Nowhere)?;
        let directory = &self.repository.directory;
        let source = if directory.is_empty() { "." } else { directory };
        let watch = Watch { observer, step };
        let selected = context.select(&[source.to_owned()], &Ignore::default(), false, watch);
        let mut selection = selected.map_err(|error| match error {
            SelectError::NotFound(_) => GitError::NoDirectory {
                repository: self.repository.place.clone(),
                directory: directory.clone(),
            },
            error => error.into(),
        })?;
        for inode in selection.tree.to_mut().inodes_mut() {
            inode.metadata.mtime = Timestamp {
                seconds: committed,
                nanoseconds: 0,
            };
        }
        Ok(selection)
    }
}

/// A repository on its way.
struct Git<'g> {
    repository: &'g Repository,
    directory: PathBuf,
    observer: &'g dyn Observer,
}

impl Git<'_> {
    /// Fetches the commit, with its submodules; its time.
    fn fetch(&self) -> Result<i64, GitError> {
        let directory = self.directory.display().to_string();
        self.run(&["init", "--quiet", "--", &directory], false)?;
        self.checkout()?;
        self.run(
            &[
                "submodule",
                "--quiet",
                "update",
                "--init",
                "--recursive",
                "--depth=1",
            ],
            true,
        )?;
        let time = self.run(&["log", "-1", "--format=%ct"], true)?;
        time.last()
            .and_then(|line| line.trim().parse().ok())
            .ok_or_else(|| self.failed("it does not say when the commit was made".to_owned()))
    }

    /// The commit alone; with its history, where the server does not know better; or among all that it has, where it
    /// does not give a commit by its digest.
    fn checkout(&self) -> Result<(), GitError> {
        let Repository { place, reference, .. } = self.repository;
        let fetch = ["fetch", "--quiet", "--no-tags"];
        let one = ["--", place, reference];
        let all = [
            "--",
            place,
            "+refs/heads/*:refs/remotes/origin/*",
            "+refs/tags/*:refs/tags/*",
        ];
        let checkout = |name| self.run(&["checkout", "--quiet", "--detach", name, "--"], true);
        if self
            .run(&[&fetch[..], &["--depth=1"], &one[..]].concat(), true)
            .is_ok()
        {
            return checkout("FETCH_HEAD").map(drop);
        }
        self.observer.require_running()?;
        let refused = match self.run(&[&fetch[..], &one[..]].concat(), true) {
            Ok(_) => return checkout("FETCH_HEAD").map(drop),
            Err(error) => error,
        };
        self.observer.require_running()?;
        let found = self
            .run(&[&fetch[..], &all[..]].concat(), true)
            .and_then(|_| checkout(reference));
        found.map(drop).map_err(|_| refused)
    }

    fn failed(&self, message: String) -> GitError {
        GitError::Failed {
            repository: self.repository.place.clone(),
            message,
        }
    }

    /// Runs git and returns what it prints.
    fn run(&self, arguments: &[&str], inside: bool) -> Result<Vec<String>, GitError> {
        let mut command = Command::new("git");
        // Nothing of the repository's, and nobody to ask.
        command.args(["-c", "protocol.ext.allow=never", "-c", "core.hooksPath=/dev/null"]);
        if inside {
            command.arg("-C").arg(&self.directory);
        }
        command
            .args(arguments)
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin(Stdio::null());
        let mut printed = Vec::new();
        let mut said: Vec<String> = Vec::new();
        let on_line = |stream, line: &[u8]| {
            let line = String::from_utf8_lossy(line).into_owned();
            match stream {
                process::Stream::Stdout => printed.push(line),
                process::Stream::Stderr => said.push(line),
            }
        };
        let status = process::run(&mut command, on_line, || self.observer.interrupted());
        let status = status.map_err(|error| match error {
            ProcessError::Interrupted => osmith_report::Interrupted.into(),
            ProcessError::Os(error) => GitError::Run(error),
        })?;
        if status.success() {
            return Ok(printed);
        }
        let message = match said.is_empty() {
            true => status.to_string(),
            false => said.split_off(said.len().saturating_sub(SHOWN_LINES)).join("; "),
        };
        Err(self.failed(message))
    }

    /// Takes away `.git`, also of submodules. What stays is only more than was wanted.
    fn remove_own_files(&self) {
        let mut pending = vec![self.directory.clone()];
        while let Some(here) = pending.pop() {
            for entry in std::fs::read_dir(&here).into_iter().flatten().flatten() {
                let path = entry.path();
                let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if entry.file_name() == ".git" {
                    let _ = match is_directory {
                        true => std::fs::remove_dir_all(path),
                        false => std::fs::remove_file(path),
                    };
                } else if is_directory {
                    pending.push(path);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_name_reference_and_directory() {
        let parsed = |text: &str| {
            let Repository {
                place,
                reference,
                directory,
            } = Repository::parse(text);
            (place, reference, directory)
        };
        let own = |place: &str, reference: &str, directory: &str| {
            (place.to_owned(), reference.to_owned(), directory.to_owned())
        };
        assert_eq!(parsed("https://h/a.git"), own("https://h/a.git", "HEAD", ""));
        assert_eq!(parsed("git@h:a#v1"), own("git@h:a", "v1", ""));
        assert_eq!(parsed("git@h:a#v1:/sub/dir/"), own("git@h:a", "v1", "sub/dir"));
        assert_eq!(parsed("git@h:a#:sub"), own("git@h:a", "HEAD", "sub"));
    }
}
