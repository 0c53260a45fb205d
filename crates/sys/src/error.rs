//! What the kernel answered, together with what it was asked.

use std::borrow::Cow;
use std::io;

use rustix::io::Errno;

/// The result of asking the kernel for something.
pub type Result<T, E = OsError> = std::result::Result<T, E>;

/// A request that the kernel turned down.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {object}: {}", self.reason())]
pub struct OsError {
    operation: Cow<'static, str>,
    object: String,
    errno: Errno,
    detail: Option<String>,
}

impl OsError {
    /// `operation` is a verb with what belongs to it (`mount`, `read the attributes of`), `object` a name.
    pub fn new(
        operation: impl Into<Cow<'static, str>>,
        object: impl std::fmt::Display,
        errno: impl Into<Errno>,
    ) -> Self {
        OsError {
            operation: operation.into(),
            object: object.to_string(),
            errno: errno.into(),
            detail: None,
        }
    }

    /// The same for an error of the standard library; one without a number counts as `EIO`.
    pub fn from_io(
        operation: impl Into<Cow<'static, str>>,
        object: impl std::fmt::Display,
        error: &io::Error,
    ) -> Self {
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        let mut os_error = OsError::new(operation, object, errno.unwrap_or(Errno::IO));
        if errno.is_none() {
            os_error.detail = Some(error.to_string());
        }
        os_error
    }

    /// Adds what the kernel said beyond the number.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        self.detail = (!detail.is_empty()).then_some(detail);
        self
    }

    /// What was asked for.
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// On which object.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// The kernel's answer.
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// What the kernel said beyond the number.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    fn reason(&self) -> String {
        let text = describe(self.errno);
        match &self.detail {
            Some(detail) => format!("{text} ({detail})"),
            None => text,
        }
    }
}

/// The words of the C library for an error number.
pub(crate) fn describe(errno: Errno) -> String {
    let text = io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

impl From<OsError> for io::Error {
    fn from(error: OsError) -> Self {
        let kind = io::Error::from_raw_os_error(error.errno.raw_os_error()).kind();
        io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_operation_object_and_reason() {
        let error = OsError::new("open", "/etc/subuid", Errno::NOENT);
        assert_eq!(
            error.to_string(),
            "cannot open /etc/subuid: No such file or directory"
        );
        let error = error.with_detail("looked twice");
        assert!(error.to_string().ends_with("directory (looked twice)"));
    }
}
