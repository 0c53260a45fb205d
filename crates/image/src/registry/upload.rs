//! Blobs on their way into a repository.
//!
//! An upload begins with a `POST`. What is short goes along with the closing `PUT`; the rest is sent with one `PATCH`
//! whose length need not be known, and the `PUT` says the digest.

use std::io::Read;

use ureq::http::header::CONTENT_TYPE;
use ureq::http::{Method, Uri};

use super::RegistryError;
use super::repository::{Call, Repository, Right, Target};
use super::wire::{Answer, Payload};
use crate::digest::Sha256Digest;

const OCTETS: &str = "application/octet-stream";

/// How an upload begins.
pub(super) enum Begun {
    /// The registry had the blob elsewhere, and it is here now.
    Mounted,
    /// The bytes go to this address.
    Upload(Uri),
}

impl Repository<'_> {
    /// Whether the repository has a blob.
    pub(super) fn has_blob(&self, digest: &Sha256Digest) -> Result<bool, RegistryError> {
        let operation = format!("the request whether there is the blob {digest}");
        self.tries(|| {
            let path = format!("blobs/{digest}");
            let answer = self.push_call(Method::HEAD, Target::Path(&path), Payload::Nothing, &operation)?;
            match answer.status {
                200..=299 => Ok(true),
                404 => Ok(false),
                _ => Err(answer.into_error(&operation)),
            }
        })
    }

    /// Begins an upload; once.
    pub(super) fn begin_upload(&self) -> Result<Uri, RegistryError> {
        const OPERATION: &str = "the begin of an upload";
        let path = Target::Path("blobs/uploads/");
        let answer = self.push_call(Method::POST, path, Payload::Bytes(b""), OPERATION)?;
        match answer.status {
            202 => answer.location(OPERATION),
            _ => Err(answer.into_error(OPERATION)),
        }
    }

    /// Asks for a blob of another repository of the same registry. A registry that does not know such a thing, or the
    /// blob there, begins an upload. Where we may not read there is `None`: the bytes are here, too.
    pub(super) fn try_mount(
        &self,
        digest: &Sha256Digest,
        from: &str,
    ) -> Result<Option<Begun>, RegistryError> {
        match self.begin_mount(digest, from) {
            Ok(begun) => Ok(Some(begun)),
            Err(RegistryError::Interrupted(interrupted)) => Err(interrupted.into()),
            Err(_) => Ok(None),
        }
    }

    fn begin_mount(&self, digest: &Sha256Digest, from: &str) -> Result<Begun, RegistryError> {
        let operation = format!("the request for the blob {digest} of '{from}'");
        self.tries(|| {
            let path = format!("blobs/uploads/?mount={digest}&from={from}");
            let answer = self.call(
                Call {
                    method: Method::POST,
                    target: Target::Path(&path),
                    headers: Vec::new(),
                    scopes: vec![self.scope(Right::PullAndPush), format!("repository:{from}:pull")],
                    operation: &operation,
                },
                Payload::Bytes(b""),
            )?;
            match answer.status {
                201 => Ok(Begun::Mounted),
                202 => answer.location(&operation).map(Begun::Upload),
                _ => Err(answer.into_error(&operation)),
            }
        })
    }

    /// Sends the bytes of an upload, whose number need not be known; once. The address that closes it comes back.
    pub(super) fn send_bytes(
        &self,
        upload: Uri,
        bytes: &mut dyn Read,
        size_bytes: Option<u64>,
    ) -> Result<Uri, RegistryError> {
        const OPERATION: &str = "the upload of a blob";
        let payload = Payload::Stream(bytes, size_bytes);
        let answer = self.push_call(Method::PATCH, Target::Uri(upload), payload, OPERATION)?;
        match answer.status {
            202 | 204 => answer.location(OPERATION),
            _ => Err(answer.into_error(OPERATION)),
        }
    }

    /// Closes an upload, with bytes that were not sent before; once.
    pub(super) fn finish_upload(
        &self,
        upload: &Uri,
        digest: &Sha256Digest,
        bytes: &[u8],
    ) -> Result<(), RegistryError> {
        let operation = format!("the end of the upload of the blob {digest}");
        let target = with_query(upload, &format!("digest={digest}"));
        let target = Target::Uri(target.ok_or_else(|| RegistryError::Protocol {
            operation: operation.clone(),
            host: self.registry.host.clone(),
            reason: format!("it sends to '{upload}'"),
        })?);
        let answer = self.push_call(Method::PUT, target, Payload::Bytes(bytes), &operation)?;
        match answer.status {
            201 | 204 => Ok(()),
            _ => Err(answer.into_error(&operation)),
        }
    }

    /// Names a manifest or index, whose blobs are there.
    pub(super) fn put_manifest(
        &self,
        selector: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), RegistryError> {
        let operation = format!("the upload of the manifest '{selector}'");
        self.tries(|| {
            let answer = self.call(
                Call {
                    method: Method::PUT,
                    target: Target::Path(&format!("manifests/{selector}")),
                    headers: vec![(CONTENT_TYPE, media_type.to_owned())],
                    scopes: vec![self.scope(Right::PullAndPush)],
                    operation: &operation,
                },
                Payload::Bytes(bytes),
            )?;
            match answer.status {
                200..=299 => Ok(()),
                _ => Err(answer.into_error(&operation)),
            }
        })
    }

    /// Sends a short blob that is not there.
    pub(super) fn put_short_blob(&self, digest: &Sha256Digest, bytes: &[u8]) -> Result<(), RegistryError> {
        self.tries(|| {
            let upload = self.begin_upload()?;
            self.finish_upload(&upload, digest, bytes)
        })
    }

    fn push_call(
        &self,
        method: Method,
        target: Target,
        payload: Payload,
        operation: &str,
    ) -> Result<Answer, RegistryError> {
        let headers = match &payload {
            Payload::Nothing => Vec::new(),
            _ => vec![(CONTENT_TYPE, OCTETS.to_owned())],
        };
        let call = Call {
            method,
            target,
            headers,
            scopes: vec![self.scope(Right::PullAndPush)],
            operation,
        };
        self.call(call, payload)
    }
}

/// An address with one more thing in its query.
fn with_query(uri: &Uri, addition: &str) -> Option<Uri> {
    let separator = if uri.query().is_some() { '&' } else { '?' };
    format!("{uri}{separator}{addition}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_grow() {
        for (uri, expected) in [
            ("https://r.example/v2/x", "https://r.example/v2/x?digest=sha256:0"),
            (
                "https://r.example/v2/x?a=b",
                "https://r.example/v2/x?a=b&digest=sha256:0",
            ),
        ] {
            let found = with_query(&Uri::from_static(uri), "digest=sha256:0").unwrap();
            assert_eq!(found.to_string(), expected);
        }
    }
}
