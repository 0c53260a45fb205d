//! Files of servers that are no registries, by the connections that registries are reached with.

use std::io;
use std::time::UNIX_EPOCH;

use osmith_formats::tree::Content;
use osmith_report::{Class, Failure, Observer, StepId};
use serde::{Deserialize, Serialize};
use ureq::http::header::{CONTENT_LENGTH, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use ureq::http::{Method, Uri};

use super::retry::Tries;
use super::wire::{Answer, Payload, Request, failure, host_of};
use super::{Client, RegistryError};
use crate::digest::{Digesting, Sha256Digest};
use crate::progress::{Meter, Metered};
use crate::store::{Store, StoreError};

/// Why a file was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The address is none.
    #[error("'{0}' is no address of a file")]
    Address(String),
    /// The server does not have it, or does not give it.
    #[error("cannot fetch '{url}': the server answered with the status {status}")]
    Status {
        /// The address.
        url: String,
        /// The status.
        status: u16,
    },
    /// It cannot be reached, or the connection broke.
    #[error("cannot fetch '{url}'")]
    Connection {
        /// The address.
        url: String,
        /// Why.
        #[source]
        source: Box<RegistryError>,
    },
    /// What says how servers are reached cannot be read.
    #[error("cannot fetch files: {0}")]
    Settings(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Failure for DownloadError {
    fn class(&self) -> Class {
        match self {
            DownloadError::Address(_) | DownloadError::Settings(_) => Class::Input,
            DownloadError::Status {
                status: 404 | 410, ..
            } => Class::NotFound,
            DownloadError::Status { .. } => Class::Network,
            DownloadError::Connection { source, .. } => source.class(),
            DownloadError::Store(error) => error.class(),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            DownloadError::Connection { source, .. } => source.hints(),
            DownloadError::Store(error) => error.hints(),
            _ => Vec::new(),
        }
    }
}

/// By what a server tells one state of a file from another.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Validators {
    /// The header `ETag`.
    pub etag: Option<String>,
    /// The header `Last-Modified`.
    pub last_modified: Option<String>,
}

/// A file that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// Its contents, in the store.
    pub content: Content,
    /// Their digest.
    pub sha256: Sha256Digest,
    /// For the next time.
    pub validators: Validators,
}

impl Validators {
    /// When the file was changed, as the server says, in seconds since 1970.
    pub fn modified(&self) -> Option<i64> {
        let time = httpdate::parse_http_date(self.last_modified.as_deref()?).ok()?;
        let since = time.duration_since(UNIX_EPOCH).ok()?;
        i64::try_from(since.as_secs()).ok()
    }
}

/// Fetches a file into the store; `None` if it is the one that `known` speaks of. Progress counts bytes.
pub fn download(
    client: &Client,
    url: &str,
    known: &Validators,
    store: &Store,
    observer: &dyn Observer,
    step: StepId,
) -> Result<Option<Downloaded>, DownloadError> {
    let uri: Uri = url
        .parse()
        .ok()
        .filter(|uri: &Uri| uri.host().is_some())
        .ok_or_else(|| DownloadError::Address(url.to_owned()))?;
    let connection = |source| DownloadError::Connection {
        url: url.to_owned(),
        source: Box::new(source),
    };
    let operation = format!("the request for '{url}'");
    let mut tries = Tries::new(client.retry(), observer);
    loop {
        let answer = request(client, &uri, known, &operation).map_err(connection)?;
        match answer.status {
            200 => {}
            304 => return Ok(None),
            status @ (408 | 429 | 500..) => {
                let error = answer.into_error(&operation);
                match tries.wait_after(error) {
                    Ok(()) => continue,
                    Err(RegistryError::Status { .. }) => {
                        let url = url.to_owned();
                        return Err(DownloadError::Status { url, status });
                    }
                    Err(error) => return Err(connection(error)),
                }
            }
            status => {
                let url = url.to_owned();
                return Err(DownloadError::Status { url, status });
            }
        }
        match take(answer, store, &operation, observer, step) {
            Ok(downloaded) => return Ok(Some(downloaded)),
            Err(TakeError::Store(error)) => return Err(error.into()),
            Err(TakeError::Connection(error)) => tries.wait_after(error).map_err(connection)?,
        }
    }
}

fn request(client: &Client, uri: &Uri, known: &Validators, operation: &str) -> Result<Answer, RegistryError> {
    let headers = [
        (IF_NONE_MATCH, known.etag.clone()),
        (IF_MODIFIED_SINCE, known.last_modified.clone()),
    ];
    let headers = headers
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    client.wire().send(Request {
        method: Method::GET,
        uri: uri.clone(),
        headers: headers.collect(),
        payload: Payload::Nothing,
        operation,
        insecure: false,
        time_limit: None,
    })
}

enum TakeError {
    Store(StoreError),
    Connection(RegistryError),
}

impl From<StoreError> for TakeError {
    fn from(error: StoreError) -> Self {
        TakeError::Store(error)
    }
}

fn take(
    answer: Answer,
    store: &Store,
    operation: &str,
    observer: &dyn Observer,
    step: StepId,
) -> Result<Downloaded, TakeError> {
    let host = host_of(&answer.uri);
    let text = |name| answer.header(name).map(str::to_owned);
    let validators = Validators {
        etag: text(ETAG),
        last_modified: text(LAST_MODIFIED),
    };
    let expected_bytes: Option<u64> = text(CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let meter = Meter::new(observer, step, expected_bytes);
    let mut reader = Metered {
        inner: answer.reader(),
        meter: &meter,
    };
    let mut writer = Digesting::new(store.object_writer()?);
    let broken = |error: io::Error| TakeError::Connection(failure(error.into(), operation, &host));
    let mut buffer = vec![0; 128 << 10];
    loop {
        observer
            .require_running()
            .map_err(|interrupted| TakeError::Connection(interrupted.into()))?;
        let count = match io::Read::read(&mut reader, &mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(error)),
        };
        let piece = buffer.get(..count).unwrap_or_default();
        io::Write::write_all(&mut writer, piece)
            .map_err(|error| StoreError::io("write a file to", store.path(), error))?;
    }
    let (writer, sha256, size_bytes) = writer.finish();
    if expected_bytes.is_some_and(|expected| expected != size_bytes) {
        return Err(broken(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(Downloaded {
        content: writer.finish()?,
        sha256,
        validators,
    })
}
