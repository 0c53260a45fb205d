//! Into the machine over ssh, with OpenSSH's own programs.
//!
//! The key is the user's, made once for all machines. systemd of the machine puts it into root's `authorized_keys` from
//! the credential `ssh.authorized_keys.root`, if there is no such file yet.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use osmith_report::Class;

use super::machine::Credential;
use crate::failure::CommandFailure;

/// How long one attempt may take: an emulated machine needs seconds for a key exchange.
const CONNECT_TIMEOUT_S: u32 = 60;

/// The credential that lets the owner of a public key log in as root.
pub(crate) fn credential(public_key: &Path) -> Result<Credential, CommandFailure> {
    let text = fs::read_to_string(public_key).map_err(|error| {
        CommandFailure::new(
            Class::NotFound,
            format!("cannot read the ssh key {}", public_key.display()),
        )
        .because(error)
    })?;
    let value = text.trim();
    if !is_public_key(value) {
        return Err(CommandFailure::new(
            Class::Input,
            format!("{} is no ssh public key", public_key.display()),
        )
        .hint("a public key is one line, such as: ssh-ed25519 AAAA... name; its file ends in .pub"));
    }
    Ok(Credential {
        name: "ssh.authorized_keys.root",
        value: value.to_owned(),
    })
}

/// One line: algorithm, base64, remark (sshd(8), AUTHORIZED_KEYS FILE FORMAT, without options).
fn is_public_key(text: &str) -> bool {
    let mut words = text.split(' ');
    let algorithm = words.next().unwrap_or_default();
    let is_algorithm = ["ssh-", "ecdsa-", "sk-"]
        .iter()
        .any(|prefix| algorithm.starts_with(prefix));
    is_algorithm
        && words.next().is_some_and(|key| key.starts_with("AAAA"))
        && text.bytes().all(|byte| byte >= b' ')
}

/// A key pair of this user for machines; made when it is not there.
#[derive(Debug)]
pub(crate) struct Identity {
    private_key: PathBuf,
}

impl Identity {
    /// The pair in `folder`.
    pub(crate) fn ensure(folder: &Path) -> Result<Self, CommandFailure> {
        let private_key = folder.join("id_ed25519");
        if !private_key.exists() {
            fs::create_dir_all(folder)
                .and_then(|()| generate(&private_key))
                .map_err(|error| ssh_missing("ssh-keygen", error))?;
        }
        Ok(Identity { private_key })
    }

    /// The public half's file.
    pub(crate) fn public_key(&self) -> PathBuf {
        self.private_key.with_extension("pub")
    }

    /// An ssh to root of the machine behind `port`. Its host key is not checked: it is new and the way to it is inside
    /// this computer.
    pub(crate) fn command(&self, port: u16) -> Command {
        let mut command = Command::new("ssh");
        command
            .arg("-i")
            .arg(&self.private_key)
            .arg("-p")
            .arg(port.to_string());
        for option in [
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ServerAliveInterval=30",
        ] {
            command.arg("-o").arg(option);
        }
        command
            .arg("-o")
            .arg(format!("ConnectTimeout={CONNECT_TIMEOUT_S}"));
        command.arg("root@127.0.0.1");
        command
    }

    /// Whether the machine lets us in by now.
    pub(crate) fn is_let_in(&self, port: u16) -> Result<bool, CommandFailure> {
        self.command(port)
            .arg("true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map(|status| status.success())
            .map_err(|error| ssh_missing("ssh", error))
    }

    /// A shell, or the command, with this program's terminal.
    pub(crate) fn session(&self, port: u16, words: &[String]) -> Result<ExitStatus, CommandFailure> {
        self.command(port)
            .args(words)
            .status()
            .map_err(|error| ssh_missing("ssh", error))
    }
}

fn generate(private_key: &Path) -> io::Result<()> {
    let output = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "osmith vm", "-f"])
        .arg(private_key)
        .output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        )),
    }
}

fn ssh_missing(program: &str, error: io::Error) -> CommandFailure {
    let is_missing = error.kind() == io::ErrorKind::NotFound;
    let failure = CommandFailure::new(Class::Environment, format!("cannot run {program}")).because(error);
    match is_missing {
        true => failure.hint("install the OpenSSH client (Debian: openssh-client, Fedora: openssh-clients)"),
        false => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_keys_are_handed_on() {
        assert!(is_public_key("ssh-ed25519 AAAAC3Nz me@here"));
        assert!(is_public_key("ecdsa-sha2-nistp256 AAAAE2Vj"));
        for text in [
            "",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "ssh-ed25519",
            "ssh-ed25519 AAAA\nssh-ed25519 AAAA",
        ] {
            assert!(!is_public_key(text), "{text}");
        }
    }

    #[test]
    fn a_missing_key_is_named() {
        let failure = credential(Path::new("nowhere/id.pub")).expect_err("missing");
        assert!(failure.to_string().contains("nowhere/id.pub"), "{failure}");
    }
}
