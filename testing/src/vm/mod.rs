//! A laboratory for machines: disks are booted with `osmith vm run`, as a user would, and looked at from outside (their
//! console, their pages) and from inside (over ssh, as root).
//!
//! Nothing here is timed: time-outs only end what hangs. They are generous, because without KVM a machine is emulated,
//! and two processors that also compile make it ten times slower again.

mod http;
mod machine;
mod ssh;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

pub use http::Page;
pub use machine::{Answer, Machine};
use ssh::Ssh;

/// How long a machine may take from power-on to an answer.
pub const BOOT_TIMEOUT: Duration = Duration::from_secs(1200);
/// How long a command in a machine may take.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(300);

/// Who gets into a machine, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Root, over ssh, whose key the machine is told when it starts.
    Credential,
    /// Over ssh, who has an account in the machine with the laboratory's key.
    Accounts,
    /// Nobody but at the serial console: no port leads to the machine.
    Console,
}

/// A folder with a key, in which machines are run and leave their logs; gone when dropped, unless a test fails.
#[derive(Debug)]
pub struct Laboratory {
    osmith: PathBuf,
    folder: TempDir,
}

impl Laboratory {
    /// A laboratory that uses this `osmith`.
    ///
    /// One key opens all its machines: a disk keeps the key of its first boot.
    pub fn open(osmith: &Path) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("osmith-lab-").tempdir()?;
        let status = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "laboratory", "-f"])
            .arg(folder.path().join("key"))
            .status()?;
        match status.success() {
            true => Ok(Laboratory {
                osmith: osmith.to_owned(),
                folder,
            }),
            false => Err(io::Error::other(format!("ssh-keygen: {status}"))),
        }
    }

    /// Where the laboratory keeps its files; tests may put theirs there.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Powers a machine on. `options` are those of `osmith vm run`.
    pub fn boot(&self, disk: &Path, options: &[&str]) -> io::Result<Machine> {
        self.boot_with(Access::Credential, disk, options)
    }

    /// The same with another way in.
    pub fn boot_with(&self, access: Access, disk: &Path, options: &[&str]) -> io::Result<Machine> {
        Machine::power_on(&self.osmith, disk, options, (self.folder(), access))
    }

    /// The public half of its key, as one line.
    pub fn public_key(&self) -> io::Result<String> {
        let text = fs::read_to_string(Ssh::public_key(self.folder()))?;
        Ok(text.trim().to_owned())
    }
}
