//! Commands in a machine, over one ssh connection that is kept: a key exchange with an emulated machine takes seconds.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The way into a machine.
#[derive(Debug)]
pub(super) struct Ssh {
    folder: PathBuf,
    port: u16,
    user: String,
}

impl Ssh {
    pub(super) fn new(folder: &Path, port: u16) -> Self {
        Ssh {
            folder: folder.to_owned(),
            port,
            user: "root".to_owned(),
        }
    }

    /// Logs in as another user from now on.
    pub(super) fn log_in_as(&mut self, user: &str) {
        self.hang_up();
        user.clone_into(&mut self.user);
    }

    /// The public half of the laboratory's key.
    pub(super) fn public_key(folder: &Path) -> PathBuf {
        folder.join("key.pub")
    }

    /// An ssh that runs `words` in the machine.
    pub(super) fn command(&self, words: &str) -> Command {
        let mut command = self.bare_command();
        command.arg(self.destination()).arg(words).stdin(Stdio::null());
        command
    }

    /// Lets go of the kept connection, if there is one.
    pub(super) fn hang_up(&self) {
        // Without a connection there is nothing to do, and ssh says so in vain.
        let _ = self
            .bare_command()
            .args(["-O", "exit", &self.destination()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }

    fn destination(&self) -> String {
        format!("{}@127.0.0.1", self.user)
    }

    fn bare_command(&self) -> Command {
        let mut command = Command::new("ssh");
        command
            .arg("-F")
            .arg("none")
            .arg("-i")
            .arg(self.folder.join("key"));
        command.arg("-p").arg(self.port.to_string());
        let control = format!(
            "ControlPath={}",
            self.folder.join(format!("ssh-{}", self.port)).display()
        );
        for option in [
            control.as_str(),
            "ControlMaster=auto",
            "ControlPersist=yes",
            "BatchMode=yes",
            "ConnectTimeout=60",
            "IdentitiesOnly=yes",
            "LogLevel=ERROR",
            "ServerAliveCountMax=20",
            "ServerAliveInterval=15",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
        ] {
            command.arg("-o").arg(option);
        }
        command
    }
}
