//! `osmith build --output`: the file tree of the image, as a directory or a tar archive.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use osmith_container::root::write_tree;
use osmith_image::layer::{diff, empty_tree};
use osmith_image::store::{Image, Store};
use osmith_report::{Class, Failure, Observer};
use osmith_sys::file::NewFile;

use crate::failure::CommandFailure;

/// Where the tree goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    /// Into a directory, which is made if it is missing.
    Directory(PathBuf),
    /// Into a tar archive.
    Archive(PathBuf),
    /// To standard output, as a tar archive.
    Stream,
}

impl Output {
    /// Reads `DIR`, `-`, `type=local,dest=DIR`, `type=tar,dest=FILE`.
    pub(super) fn parse(text: &str) -> Result<Output, CommandFailure> {
        const HINT: &str = "expected DIR, -, type=local,dest=DIR or type=tar,dest=FILE";
        let refused = |message: String| Err(CommandFailure::new(Class::Usage, message).hint(HINT));
        if text == "-" {
            return Ok(Output::Stream);
        }
        if !text.contains('=') {
            return Ok(Output::Directory(PathBuf::from(text)));
        }
        let (mut kind, mut place) = (None, None);
        for word in text.split(',') {
            match word.split_once('=') {
                Some(("type", value)) => kind = Some(value),
                Some(("dest", value)) => place = Some(value),
                _ => return refused(format!("--output '{text}': '{word}' is not understood")),
            }
        }
        match (kind, place) {
            (Some("local"), Some(place)) if place != "-" => Ok(Output::Directory(PathBuf::from(place))),
            (Some("tar"), Some("-")) => Ok(Output::Stream),
            (Some("tar"), Some(place)) => Ok(Output::Archive(PathBuf::from(place))),
            (Some("local" | "tar"), _) => refused(format!("--output '{text}' has no destination")),
            (kind, _) => refused(format!(
                "--output '{text}': there is no type '{}'",
                kind.unwrap_or_default()
            )),
        }
    }

    /// Finds out early what would fail late.
    pub(super) fn require_free(&self) -> Result<(), CommandFailure> {
        let Output::Directory(path) = self else {
            return Ok(());
        };
        let is_empty = match fs::read_dir(path) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(failed("use", path, error)),
        };
        match is_empty {
            true => Ok(()),
            false => {
                let message = format!("the output directory '{}' is not empty", path.display());
                Err(CommandFailure::new(Class::Conflict, message).hint("name another one, or empty it"))
            }
        }
    }

    /// Writes the tree of an image.
    pub(super) fn write(
        &self,
        image: &Image,
        store: &Store,
        observer: &dyn Observer,
    ) -> Result<(), Box<dyn Failure>> {
        match self {
            Output::Directory(path) => {
                let mut tree = image.tree(store)?;
                if !rustix::process::geteuid().is_root() || osmith_sys::userns::is_inside() {
                    // Files of an ordinary user are theirs, whoever owns them in the image.
                    for inode in tree.inodes_mut() {
                        (inode.metadata.uid, inode.metadata.gid) = (0, 0);
                    }
                }
                fs::create_dir_all(path).map_err(|error| failed("create", path, error))?;
                Ok(write_tree(path, &tree, store)?)
            }
            Output::Archive(path) => {
                let parent = match path.parent() {
                    Some(parent) if !parent.as_os_str().is_empty() => parent,
                    _ => Path::new("."),
                };
                let directory = File::open(parent).map_err(|error| failed("open", parent, error))?;
                let mut file =
                    NewFile::create(directory, 0o644).map_err(|error| failed("create", path, error))?;
                let writer = io::BufWriter::new(file.file());
                write_tar(image, store, writer, observer)?;
                file.file()
                    .sync_all()
                    .map_err(|error| failed("write", path, error))?;
                let parent = File::open(parent).map_err(|error| failed("open", parent, error))?;
                let name = path.file_name().unwrap_or_default();
                Ok(file
                    .replace(&parent, name)
                    .map_err(|error| failed("write", path, error))?)
            }
            Output::Stream => write_tar(image, store, io::stdout().lock(), observer),
        }
    }
}

fn write_tar(
    image: &Image,
    store: &Store,
    mut writer: impl Write,
    observer: &dyn Observer,
) -> Result<(), Box<dyn Failure>> {
    let layer = diff(&empty_tree(), &image.tree(store)?);
    let id = store.put_layer(&layer)?;
    store.write_tar(&id, &mut writer, observer)?;
    writer.flush().map_err(|error| {
        CommandFailure::new(Class::Environment, "cannot write the archive")
            .because(error)
            .into()
    })
}

fn failed(operation: &str, path: &Path, error: io::Error) -> CommandFailure {
    CommandFailure::new(
        Class::Environment,
        format!("cannot {operation} '{}'", path.display()),
    )
    .because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read() {
        for (text, expected) in [
            ("out", Some(Output::Directory("out".into()))),
            ("-", Some(Output::Stream)),
            ("type=local,dest=out", Some(Output::Directory("out".into()))),
            ("type=tar,dest=out.tar", Some(Output::Archive("out.tar".into()))),
            ("dest=-,type=tar", Some(Output::Stream)),
            ("type=tar", None),
            ("type=local,dest=-", None),
            ("type=oci,dest=x", None),
            ("type=tar,dest=x,level=3", None),
        ] {
            assert_eq!(Output::parse(text).ok(), expected, "{text}");
        }
    }
}
