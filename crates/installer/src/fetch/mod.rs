//! Kickstart files, from wherever they are: servers, file systems of devices, discs, the live system.
//!
//! Sources: Anaconda's `inst.ks=`, and its request headers. A file system is mounted read-only, attached nowhere, and
//! gone when the file is read. Left out on purpose: NFS, FTP.

mod access;
mod device;
mod error;
mod headers;

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use osmith_image::registry::{Client, FetchRequest, fetch};
use osmith_report::{Event, Observer, Severity};
use rustix::fs::{Mode, OFlags};

pub use access::Access;
pub use device::{BlockDevice, block_devices};
pub use error::FetchError;
pub use headers::identity_headers;

use crate::boot_options::{BootOptions, DEFAULT_PATH, DeviceName, KickstartSource};
use device::Devices;

/// A longer Kickstart file is taken for something else.
pub const MAX_BYTES: u64 = 16 << 20;
/// A volume with this label has a Kickstart file if nobody says where one is.
pub const DEFAULT_LABEL: &str = "OEMDRV";
/// So long that volume may take to appear.
const DEFAULT_WAIT: Duration = Duration::from_secs(5);
/// So long a device that is named may take to appear: disks on USB are slow.
const DEVICE_WAIT: Duration = Duration::from_secs(20);
/// So long a server may take, with all tries.
const TIME_LIMIT: Duration = Duration::from_secs(120);
/// Where what was in the initramfs may be found after it is gone.
pub const INITRAMFS_FOLDER: &str = "run/osmith/initramfs";

const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// A Kickstart file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// What is in it.
    pub text: String,
    /// What it is called in messages, without passwords.
    pub name: String,
    /// Where it was.
    pub source: KickstartSource,
}

/// Fetches Kickstart files for a machine whose root folder is `host`.
pub struct Fetcher<'a> {
    host: &'a Path,
    client: Client,
    verifies_tls: bool,
    headers: Vec<(String, String)>,
    observer: &'a dyn Observer,
    /// How long devices may take to appear.
    pub device_wait: Duration,
    /// How long the volume with the [`DEFAULT_LABEL`] may take to appear.
    pub default_wait: Duration,
    /// How long a server may take, with all tries.
    pub time_limit: Duration,
}

impl<'a> Fetcher<'a> {
    /// A fetcher that reaches servers so; `headers` are what they are told of the machine.
    pub fn new(
        host: &'a Path,
        access: &Access,
        headers: Vec<(String, String)>,
        observer: &'a dyn Observer,
    ) -> Self {
        Fetcher {
            host,
            client: Client::new(access.settings(host)),
            verifies_tls: access.verifies_tls,
            headers,
            observer,
            device_wait: DEVICE_WAIT,
            default_wait: DEFAULT_WAIT,
            time_limit: TIME_LIMIT,
        }
    }

    /// The Kickstart file that boot options ask for: the first of their places that has it, or that of the volume with
    /// the [`DEFAULT_LABEL`].
    pub fn kickstart(&self, options: &BootOptions) -> Result<Fetched, FetchError> {
        let mut failures = Vec::new();
        for source in &options.kickstart {
            match self.fetch(source) {
                Ok(fetched) => return Ok(fetched),
                Err(FetchError::Interrupted(interrupted)) => return Err(interrupted.into()),
                Err(error) => failures.push((source.clone(), error)),
            }
        }
        match (failures.len(), failures.pop()) {
            (0, _) | (_, None) => self.default_kickstart(),
            (1, Some((_, error))) => Err(error),
            (_, Some(last)) => {
                failures.push(last);
                Err(FetchError::All { failures })
            }
        }
    }

    /// The one of the volume that has them by habit.
    fn default_kickstart(&self) -> Result<Fetched, FetchError> {
        let source = KickstartSource::Device {
            device: DeviceName::Label(DEFAULT_LABEL.to_owned()),
            path: DEFAULT_PATH.to_owned(),
        };
        let own = self.host.join(INITRAMFS_FOLDER).join("ks.cfg");
        if own.exists() {
            return self.fetch(&KickstartSource::File {
                path: DEFAULT_PATH.to_owned(),
            });
        }
        match self.fetch_waiting(&source, self.default_wait) {
            Err(FetchError::NoDevice { devices, .. }) => Err(FetchError::NoSource { devices }),
            other => other,
        }
    }

    /// The Kickstart file of one place.
    pub fn fetch(&self, source: &KickstartSource) -> Result<Fetched, FetchError> {
        self.fetch_waiting(source, self.device_wait)
    }

    /// The file that `%include` or `%ksappend` names in another one: an address, or a path of the live system or else
    /// beside that other file.
    pub fn include(&self, reference: &str, from: &KickstartSource) -> Result<Fetched, FetchError> {
        let source: KickstartSource = reference.parse()?;
        let is_relative = matches!(source, KickstartSource::File { .. })
            && !reference.starts_with('/')
            && !reference.starts_with("file:");
        match self.fetch(&source) {
            Err(error @ FetchError::File { .. }) if is_relative => match beside(from, reference) {
                Some(beside) => self.fetch(&beside),
                None => Err(error),
            },
            other => other,
        }
    }

    fn fetch_waiting(&self, source: &KickstartSource, wait: Duration) -> Result<Fetched, FetchError> {
        self.observer.require_running()?;
        if !matches!(source, KickstartSource::File { .. }) {
            self.observer.observe(Event::Message {
                severity: Severity::Note,
                text: format!("fetching {source}"),
            });
        }
        let bytes = match source {
            KickstartSource::Url(url) => self.fetch_url(url)?,
            KickstartSource::File { path } => self.read_file(path)?,
            KickstartSource::Device { device, path } => self.read_device(device, path, wait)?,
            KickstartSource::Cdrom { path } => self.read_disc(path, wait)?,
        };
        let name = source.to_string();
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = error.as_bytes().get(..error.utf8_error().valid_up_to());
            let lines = good.unwrap_or_default().iter().filter(|byte| **byte == b'\n');
            FetchError::NoText {
                name: name.clone(),
                line: lines.count() + 1,
            }
        })?;
        Ok(Fetched {
            text,
            name,
            source: source.clone(),
        })
    }

    fn fetch_url(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let request = FetchRequest {
            url,
            headers: &self.headers,
            max_bytes: MAX_BYTES,
            time_limit: self.time_limit,
            verifies_tls: self.verifies_tls,
        };
        Ok(fetch(&self.client, &request, self.observer)?)
    }

    /// From the live system, or from what was kept of the initramfs.
    fn read_file(&self, path: &str) -> Result<Vec<u8>, FetchError> {
        let relative = path.trim_start_matches('/');
        let folders = [self.host.to_owned(), self.host.join(INITRAMFS_FOLDER)];
        let mut first_error = None;
        for folder in folders {
            let read = fs::metadata(folder.join(relative)).and_then(|found| match found.is_file() {
                true => File::open(folder.join(relative)),
                false => Err(std::io::ErrorKind::IsADirectory.into()),
            });
            match read {
                Ok(file) => return read_limited(file, &format!("file:{path}")),
                Err(source) => {
                    first_error.get_or_insert(FetchError::File {
                        path: path.to_owned(),
                        source,
                    });
                }
            }
        }
        Err(first_error.unwrap_or_else(|| FetchError::File {
            path: path.to_owned(),
            source: std::io::ErrorKind::NotFound.into(),
        }))
    }

    fn read_device(&self, name: &DeviceName, path: &str, wait: Duration) -> Result<Vec<u8>, FetchError> {
        let devices = Devices { host: self.host };
        let found = self.wait_for(wait, || devices.find(name))?;
        let Some(device) = found else {
            return Err(FetchError::NoDevice {
                name: name.to_string(),
                waited: wait,
                devices: block_devices(self.host),
            });
        };
        devices.read(&device, path)
    }

    /// Of the first drive whose disc has it; drives take a while to find out that there is one.
    fn read_disc(&self, path: &str, wait: Duration) -> Result<Vec<u8>, FetchError> {
        let devices = Devices { host: self.host };
        let mut last_error = None;
        let found = self.wait_for(wait, || {
            devices
                .drives()
                .iter()
                .find_map(|drive| match devices.read(drive, path) {
                    Ok(bytes) => Some(bytes),
                    Err(error) => {
                        last_error = Some(error);
                        None
                    }
                })
        })?;
        found.ok_or_else(|| {
            last_error.unwrap_or_else(|| FetchError::NoDevice {
                name: "cdrom".to_owned(),
                waited: wait,
                devices: block_devices(self.host),
            })
        })
    }

    /// Looks several times a second until something is there, or the time is up.
    fn wait_for<T>(
        &self,
        wait: Duration,
        mut look: impl FnMut() -> Option<T>,
    ) -> Result<Option<T>, FetchError> {
        let end = Instant::now() + wait;
        loop {
            if let Some(found) = look() {
                return Ok(Some(found));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            self.observer.require_running()?;
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

fn read_limited(file: File, name: &str) -> Result<Vec<u8>, FetchError> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| FetchError::File {
            path: name.to_owned(),
            source,
        })?;
    match bytes.len() as u64 > MAX_BYTES {
        true => Err(FetchError::TooLong {
            name: name.to_owned(),
        }),
        false => Ok(bytes),
    }
}

/// A file in the folder of another one.
fn beside(from: &KickstartSource, relative: &str) -> Option<KickstartSource> {
    let in_folder = |path: &str| {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{folder}/{relative}")
    };
    Some(match from {
        KickstartSource::Url(url) => {
            let end = url.find(['?', '#']).unwrap_or(url.len());
            let (url, _) = url.split_at(end);
            let (scheme, rest) = url.split_once("://")?;
            match rest.contains('/') {
                true => KickstartSource::Url(format!("{scheme}://{}", in_folder(rest))),
                false => KickstartSource::Url(format!("{url}/{relative}")),
            }
        }
        KickstartSource::Device { device, path } => KickstartSource::Device {
            device: device.clone(),
            path: in_folder(path),
        },
        KickstartSource::Cdrom { path } => KickstartSource::Cdrom {
            path: in_folder(path),
        },
        KickstartSource::File { path } => KickstartSource::File {
            path: in_folder(path),
        },
    })
}

/// Opens a regular file below an open folder, as a process would whose root it is.
fn open_regular(root: impl std::os::fd::AsFd, path: &str) -> std::io::Result<File> {
    let relative = path.trim_start_matches('/');
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let file = File::from(osmith_sys::file::open_in_root(
        root,
        relative,
        flags,
        Mode::empty(),
    )?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(std::io::ErrorKind::IsADirectory.into()),
    }
}

#[cfg(test)]
mod tests;
