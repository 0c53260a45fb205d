//! Debian's `docker-registry` as a registry of a test's own: on a free port, with a directory of its own, gone when it
//! is dropped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::oracle;

/// The user of a registry that asks for a password.
pub const USERNAME: &str = "tester";
/// The password of [`USERNAME`].
pub const PASSWORD: &str = "secret";
/// [`PASSWORD`] by bcrypt with the lowest cost.
const PASSWORD_HASH: &str = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

/// How a registry is set up.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// Certificate and key, as PEM files; without them the registry speaks HTTP.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The certificate of the authority that clients must show a certificate of.
    pub client_authority: Option<PathBuf>,
    /// Whether [`USERNAME`] and [`PASSWORD`] are asked for.
    pub password: bool,
}

/// A registry that runs.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    directory: tempfile::TempDir,
    address: String,
}

impl Registry {
    /// A registry without TLS and passwords; `None` where there is no `docker-registry`, see [`oracle::require`].
    #[track_caller]
    pub fn start() -> Option<Self> {
        Self::start_with(&RegistryOptions::default())
    }

    /// A registry; `None` as in [`Registry::start`].
    #[track_caller]
    pub fn start_with(options: &RegistryOptions) -> Option<Self> {
        let program = oracle::require("docker-registry")?;
        let directory = tempfile::tempdir().expect("a directory for the registry");
        let configuration = directory.path().join("config.yml");
        let text = configuration_text(directory.path(), options);
        fs::write(&configuration, text).expect("the registry's configuration is written");
        let mut child = Command::new(program)
            .arg("serve")
            .arg(&configuration)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry starts");
        let port = port_in_log(&mut child);
        Some(Registry {
            child,
            directory,
            address: format!("127.0.0.1:{port}"),
        })
    }

    /// Where it listens: `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where it keeps its blobs: `sha256/<2 hex>/<64 hex>/data`.
    pub fn blobs_path(&self) -> PathBuf {
        self.directory.path().join("data/docker/registry/v2/blobs")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration_text(directory: &Path, options: &RegistryOptions) -> String {
    let mut text = format!(
        "version: 0.1\n\
         log: {{level: info, formatter: text, accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: '{}'}}, delete: {{enabled: true}}}}\n",
        directory.join("data").display()
    );
    if options.password {
        let passwords = directory.join("htpasswd");
        fs::write(&passwords, format!("{USERNAME}:{PASSWORD_HASH}\n")).expect("the passwords are written");
        text += &format!(
            "auth: {{htpasswd: {{realm: test, path: '{}'}}}}\n",
            passwords.display()
        );
    }
    text += "http:\n  addr: 127.0.0.1:0\n";
    if let Some((certificate, key)) = &options.tls {
        text += &format!(
            "  tls:\n    certificate: '{}'\n    key: '{}'\n",
            certificate.display(),
            key.display()
        );
        if let Some(authority) = &options.client_authority {
            text += &format!("    clientcas: ['{}']\n", authority.display());
        }
    }
    text
}

/// Waits for the line that tells the port, then reads on, so that the registry never waits for its log.
fn port_in_log(child: &mut Child) -> u16 {
    let log = child.stderr.take().expect("the log of the registry");
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if let Some(port) = port_in_line(&line) {
                let _ = sender.send(port);
            }
        }
    });
    receiver
        .recv_timeout(Duration::from_secs(30))
        .expect("docker-registry says where it listens")
}

fn port_in_line(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("listening on 127.0.0.1:")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
