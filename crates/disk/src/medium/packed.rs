//! The live system's file system, compressed: all processors compress, a file without a name keeps the results until it
//! is known where each belongs.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use osmith_formats::erofs::{Cluster, Compressor, Piece, Segment};
use osmith_formats::verity::Hasher;
use osmith_machine::install::{FileData, InstallFile};
use osmith_report::{Event, Progress, Unit};
use osmith_sys::file::NewFile;

use super::Job;
use crate::error::WriteError;
use crate::output::Target;
use crate::source::Sources;

const READ_BYTES: usize = 1 << 20;

/// Compressed clusters in a file without a name.
pub(super) struct Clusters<'a> {
    job: &'a Job<'a>,
    sources: Sources<'a>,
    spill: NewFile,
    /// Where each cluster is in it.
    lots: Vec<Lot>,
}

/// Compresses clusters of the medium's file system. `folder` takes what is kept meanwhile.
pub(super) fn compress<'a>(
    job: &'a Job<'a>,
    clusters: &[Cluster],
    cluster_bytes: u32,
    folder: &Path,
) -> Result<Clusters<'a>, WriteError> {
    let sources = Sources::new(&job.plan.contents.sources, job.store);
    let handle = File::open(folder).map_err(|error| WriteError::output("open", folder, error))?;
    let spill = NewFile::create(handle, 0o600);
    let spill = spill.map_err(|error| WriteError::output("create a file in", folder, error))?;
    let compression = Compression {
        job,
        clusters,
        sources: &sources,
        cluster_bytes,
        spill: (spill.file(), folder),
        next: AtomicUsize::new(0),
        done_bytes: AtomicU64::new(0),
        total_bytes: clusters.iter().map(|cluster| u64::from(cluster.len_bytes)).sum(),
        kept: Mutex::new(Kept {
            lots: vec![Lot::default(); clusters.len()],
            end_bytes: 0,
            failure: None,
        }),
    };
    let lots = compression.run()?;
    Ok(Clusters {
        job,
        sources,
        spill,
        lots,
    })
}

/// Where a compressed cluster is kept.
#[derive(Debug, Clone, Copy, Default)]
struct Lot {
    offset_bytes: u64,
    len_bytes: u32,
}

/// What the threads that compress have in common.
struct Compression<'a> {
    job: &'a Job<'a>,
    clusters: &'a [Cluster],
    sources: &'a Sources<'a>,
    cluster_bytes: u32,
    spill: (&'a File, &'a Path),
    next: AtomicUsize,
    done_bytes: AtomicU64,
    total_bytes: u64,
    kept: Mutex<Kept>,
}

/// What is kept so far.
struct Kept {
    lots: Vec<Lot>,
    end_bytes: u64,
    failure: Option<WriteError>,
}

impl Compression<'_> {
    fn run(self) -> Result<Vec<Lot>, WriteError> {
        std::thread::scope(|scope| {
            for _ in 0..self.job.destination.processors.max(1) {
                scope.spawn(|| self.work());
            }
        });
        let kept = self.kept.into_inner().unwrap_or_else(PoisonError::into_inner);
        match kept.failure {
            Some(error) => Err(error),
            None => Ok(kept.lots),
        }
    }

    /// What a thread does.
    fn work(&self) {
        if let Err(error) = self.compress_clusters() {
            self.next.store(self.clusters.len(), Ordering::Relaxed);
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.failure.get_or_insert(error);
        }
    }

    fn compress_clusters(&self) -> Result<(), WriteError> {
        let level = self.job.plan.level;
        let mut compressor = Compressor::new(self.cluster_bytes, level).map_err(WriteError::Compress)?;
        let mut bytes = Vec::new();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(cluster) = self.clusters.get(number) else {
                return Ok(());
            };
            bytes.resize(cluster.len_bytes as usize, 0);
            self.read(cluster, &mut bytes)?;
            let compressed = compressor.compress(&bytes).map_err(WriteError::Compress)?;
            self.keep(number, &compressed)?;
            self.advance(u64::from(cluster.len_bytes))?;
        }
    }

    fn read(&self, cluster: &Cluster, bytes: &mut [u8]) -> Result<(), WriteError> {
        let mut rest = bytes;
        for segment in &cluster.segments {
            let part = rest.split_off_mut(..segment.len_bytes as usize);
            let part = part.ok_or(WriteError::Inconsistent("a cluster is longer than its segments"))?;
            self.require_whole(segment)?;
            self.sources
                .read(file_of(segment.source), segment.file_offset_bytes, part)?;
        }
        Ok(())
    }

    /// Compares an object with its digest when its first bytes are read.
    fn require_whole(&self, segment: &Segment) -> Result<(), WriteError> {
        let data = self.job.plan.contents.sources.get(segment.source as usize);
        let Some(FileData::Object(digest)) = data.filter(|_| segment.file_offset_bytes == 0) else {
            return Ok(());
        };
        let failed = |source| WriteError::ReadObject {
            digest: *digest,
            source,
        };
        let mut object = self.job.store.read_object(digest)?;
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match io::Read::read(&mut object, &mut buffer) {
                Ok(0) => break,
                Ok(length) => hasher.update(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        match hasher.finish().digest == *digest {
            true => Ok(()),
            false => Err(WriteError::damaged(digest)),
        }
    }

    fn keep(&self, number: usize, compressed: &[u8]) -> Result<(), WriteError> {
        let offset_bytes = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let offset_bytes = kept.end_bytes;
            kept.end_bytes += compressed.len() as u64;
            if let Some(lot) = kept.lots.get_mut(number) {
                *lot = Lot {
                    offset_bytes,
                    len_bytes: compressed.len() as u32,
                };
            }
            offset_bytes
        };
        let (file, folder) = self.spill;
        let written = file.write_all_at(compressed, offset_bytes);
        written.map_err(|error| WriteError::output("write to a file in", folder, error))
    }

    fn advance(&self, bytes: u64) -> Result<(), WriteError> {
        self.job.observer.require_running()?;
        let done = self.done_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.job.observer.observe(Event::Advanced {
            step: self.job.step,
            progress: Progress {
                done,
                total: Some(self.total_bytes),
                unit: Unit::Bytes,
            },
        });
        Ok(())
    }
}

fn file_of(source: u32) -> InstallFile {
    InstallFile {
        source,
        size_bytes: 0,
        verity: false,
    }
}

impl Clusters<'_> {
    /// How long the clusters are, in their order.
    pub(super) fn lengths(&self) -> Vec<u32> {
        self.lots.iter().map(|lot| lot.len_bytes).collect()
    }

    /// Writes what is planned into a file, from `start_bytes` on.
    pub(super) fn write(
        &self,
        pieces: impl Iterator<Item = Piece>,
        target: Target<'_>,
        start_bytes: u64,
    ) -> Result<(), WriteError> {
        let mut buffer = Vec::new();
        for piece in pieces {
            self.job.observer.require_running()?;
            match piece {
                Piece::Bytes { offset_bytes, bytes } => {
                    target.write_at(&bytes, start_bytes + offset_bytes)?
                }
                Piece::Data {
                    offset_bytes,
                    source,
                    file_offset_bytes,
                    len_bytes,
                } => {
                    let mut done = 0;
                    while done < len_bytes {
                        let length = (len_bytes - done).min(READ_BYTES as u64);
                        buffer.resize(length as usize, 0);
                        self.sources
                            .read(file_of(source), file_offset_bytes + done, &mut buffer)?;
                        target.write_at(&buffer, start_bytes + offset_bytes + done)?;
                        done += length;
                    }
                }
                Piece::Cluster {
                    offset_bytes,
                    cluster,
                    len_bytes,
                } => {
                    let lot = self.lots.get(cluster as usize);
                    let lot = lot.ok_or(WriteError::Inconsistent("a cluster has no place"))?;
                    buffer.resize(len_bytes as usize, 0);
                    let read = self.spill.file().read_exact_at(&mut buffer, lot.offset_bytes);
                    read.map_err(|error| WriteError::output("read back", target.path, error))?;
                    target.write_at(&buffer, start_bytes + offset_bytes)?;
                }
            }
        }
        Ok(())
    }
}
