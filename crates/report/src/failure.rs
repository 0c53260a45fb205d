//! Failures as data: the class decides the exit code, the hints say what to do next.

use serde::{Deserialize, Serialize};

/// What kind of thing went wrong, seen from the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The request itself makes no sense: a bad option, a bad name.
    Usage,
    /// Something that was given is malformed: a Containerfile, a layer, an archive.
    Input,
    /// Something that was named does not exist: an image, a stage, a file.
    NotFound,
    /// Something is in the way: an output that exists, a lock somebody holds.
    Conflict,
    /// The machine lacks something: a right, a kernel feature, a program, space.
    Environment,
    /// A command of the user's failed: a RUN step.
    Command,
    /// Bytes are not what their digest or checksum says.
    Corrupt,
    /// Another machine did not answer as it should.
    Network,
    /// The user asked to stop.
    Interrupted,
    /// A defect of osmith.
    Internal,
}

/// An error that knows its class and what the user can do about it.
///
/// The `Display` text of the error says what failed, on which object and why, in one sentence without a final full
/// stop; causes follow through [`std::error::Error::source`].
pub trait Failure: std::error::Error {
    /// The class of the failure.
    fn class(&self) -> Class;

    /// What to do next, each hint one sentence or command; may be empty.
    fn hints(&self) -> Vec<String> {
        Vec::new()
    }

    /// Text under the error that shows the place, such as the line of a file with a marker; may be empty.
    fn excerpt(&self) -> Option<String> {
        None
    }
}

impl<'a, E: Failure + 'a> From<E> for Box<dyn Failure + 'a> {
    fn from(failure: E) -> Self {
        Box::new(failure)
    }
}
