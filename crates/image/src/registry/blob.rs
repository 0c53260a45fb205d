//! A blob on its way: a reader that goes on where the connection broke.

use std::io::{self, Read};

use super::RegistryError;
use super::repository::Repository;
use super::retry::Tries;
use super::wire::{Answer, failure};
use crate::manifest::Descriptor;

/// So much must come before the retries are counted anew.
const PROGRESS_BYTES: u64 = 1 << 20;

/// Reads a blob. Its digest is for who reads it to check.
pub(super) struct BlobReader<'a> {
    repository: Repository<'a>,
    descriptor: Descriptor,
    operation: String,
    body: Option<Box<dyn Read + Send>>,
    position: u64,
    tries: Tries<'a>,
    /// Where the last connection began to bring something.
    began_at: u64,
}

impl<'a> BlobReader<'a> {
    /// Asks for a blob.
    pub(super) fn open(repository: &Repository<'a>, descriptor: &Descriptor) -> Result<Self, RegistryError> {
        let mut reader = BlobReader {
            repository: repository.clone(),
            operation: format!("the request for the blob {}", descriptor.digest),
            descriptor: descriptor.clone(),
            body: None,
            position: 0,
            tries: Tries::new(repository.client.retry(), repository.observer),
            began_at: 0,
        };
        reader.connect()?;
        Ok(reader)
    }

    /// Asks for what is missing, as often as it is worth it.
    fn connect(&mut self) -> Result<(), RegistryError> {
        loop {
            match self.connect_once() {
                Ok(body) => {
                    self.body = Some(body);
                    self.began_at = self.position;
                    return Ok(());
                }
                Err(error) => self.tries.wait_after(error)?,
            }
        }
    }

    fn connect_once(&mut self) -> Result<Box<dyn Read + Send>, RegistryError> {
        let answer = self
            .repository
            .open_blob(&self.descriptor.digest, self.position, &self.operation)?;
        let skipped_bytes = self.skipped_bytes(&answer)?;
        let host = super::wire::host_of(&answer.uri);
        let mut body: Box<dyn Read + Send> = Box::new(answer.reader());
        let skipped = io::copy(&mut body.by_ref().take(skipped_bytes), &mut io::sink())
            .map_err(|error| failure(error.into(), &self.operation, &host))?;
        match skipped == skipped_bytes {
            true => Ok(body),
            false => Err(self.cut_off()),
        }
    }

    /// How much of an answer is known already: all up to here, if the registry does not know ranges.
    fn skipped_bytes(&self, answer: &Answer) -> Result<u64, RegistryError> {
        if answer.status != 206 {
            return Ok(self.position);
        }
        let start = answer.header("Content-Range").and_then(range_start);
        match start.map(|start| self.position.checked_sub(start)) {
            Some(Some(known)) => Ok(known),
            _ => Err(RegistryError::Protocol {
                operation: self.operation.clone(),
                host: self.repository.registry.host.clone(),
                reason: "it sends another part than was asked for".to_owned(),
            }),
        }
    }

    fn cut_off(&self) -> RegistryError {
        let expected = self.descriptor.size_bytes;
        RegistryError::Broken {
            operation: self.operation.clone(),
            host: self.repository.registry.host.clone(),
            source: format!("only {} of {expected} bytes came", self.position).into(),
        }
    }

    fn read_once(&mut self, buffer: &mut [u8]) -> Result<usize, RegistryError> {
        if self.body.is_none() {
            self.connect()?;
        }
        let Some(body) = &mut self.body else {
            return Ok(0);
        };
        match body.read(buffer) {
            Ok(0) if self.position < self.descriptor.size_bytes && !buffer.is_empty() => Err(self.cut_off()),
            Ok(count) => Ok(count),
            Err(error) => {
                let host = &self.repository.registry.host;
                Err(failure(error.into(), &self.operation, host))
            }
        }
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.read_once(buffer) {
                Ok(count) => {
                    self.position += count as u64;
                    if self.position - self.began_at >= PROGRESS_BYTES {
                        self.tries.reset();
                    }
                    return Ok(count);
                }
                Err(error) => {
                    self.body = None;
                    self.tries.wait_after(error).map_err(io::Error::other)?;
                }
            }
        }
    }
}

/// The first byte of `bytes 10-99/100`.
fn range_start(value: &str) -> Option<u64> {
    let range = value.trim().strip_prefix("bytes")?.trim_start();
    range.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (value, expected) in [
            ("bytes 10-99/100", Some(10)),
            ("bytes 0-0/*", Some(0)),
            ("bytes */100", None),
            ("10-99", None),
            ("", None),
        ] {
            assert_eq!(range_start(value), expected, "{value}");
        }
    }
}
