//! What the last argument of `osmith build` means: a directory, `-`, a URL, a git repository.

use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use osmith_build::{Outside, fetch_context, is_repository, unpack_context};
use osmith_formats::tree::Content;
use osmith_image::registry::Validators;
use osmith_image::store::Store;
use osmith_report::{Class, Failure, Observer, StepId};

use crate::failure::CommandFailure;

const HINT: &str =
    "the last argument is the directory that COPY reads from; -f FILE names a Containerfile elsewhere";

/// A context that is there, as long as this lives.
pub(super) struct Place {
    /// The directory.
    pub(super) directory: PathBuf,
    /// The Containerfile, if that is all there is.
    pub(super) containerfile: Option<Vec<u8>>,
    _work: Option<tempfile::TempDir>,
}

/// Gets the context.
pub(super) fn open(
    argument: &Path,
    store: &Store,
    outside: &dyn Outside,
    observer: &dyn Observer,
) -> Result<Place, Box<dyn Failure>> {
    let text = argument.to_str().unwrap_or_default();
    if text == "-" {
        return received(read_input(store)?, store, observer);
    }
    if is_repository(text) {
        let work = store.work_directory()?;
        return Ok(Place {
            directory: fetch_context(text, work.path(), observer)?,
            containerfile: None,
            _work: Some(work),
        });
    }
    if text.starts_with("http://") || text.starts_with("https://") {
        let fetched = outside.download(text, &Validators::default(), store, observer, StepId(0))?;
        let content = fetched.map(|file| file.content);
        let content =
            content.ok_or_else(|| CommandFailure::new(Class::Network, format!("'{text}' was not sent")))?;
        return received(content, store, observer);
    }
    require_directory(argument)?;
    Ok(Place {
        directory: argument.to_owned(),
        containerfile: None,
        _work: None,
    })
}

/// An archive is the context, anything else the Containerfile, with an empty context.
fn received(content: Content, store: &Store, observer: &dyn Observer) -> Result<Place, Box<dyn Failure>> {
    let work = store.work_directory()?;
    let containerfile = match unpack_context(store, &content, work.path(), observer)? {
        true => None,
        false => {
            let mut bytes = Vec::new();
            store
                .read_content(&content)?
                .read_to_end(&mut bytes)
                .map_err(unreadable)?;
            Some(bytes)
        }
    };
    Ok(Place {
        directory: work.path().to_owned(),
        containerfile,
        _work: Some(work),
    })
}

fn read_input(store: &Store) -> Result<Content, Box<dyn Failure>> {
    let mut writer = store.object_writer()?;
    io::copy(&mut io::stdin().lock(), &mut writer).map_err(unreadable)?;
    writer.flush().map_err(unreadable)?;
    Ok(writer.finish()?)
}

fn unreadable(error: io::Error) -> CommandFailure {
    CommandFailure::new(Class::Input, "cannot read the build context").because(error)
}

fn require_directory(path: &Path) -> Result<(), CommandFailure> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => {
            let message = format!("the build context '{}' is no directory", path.display());
            Err(CommandFailure::new(Class::Usage, message).hint(HINT))
        }
        Err(error) => {
            let message = format!("cannot open the build context '{}'", path.display());
            Err(CommandFailure::new(Class::NotFound, message)
                .because(error)
                .hint(HINT))
        }
    }
}
