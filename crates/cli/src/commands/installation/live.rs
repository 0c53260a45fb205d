//! `osmith installer`: what a machine does that was started from an installation medium.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use osmith_installer::boot_options::{BootOptions, KickstartSource};
use osmith_installer::consoles::{ConsoleObserver, Consoles, LOG_PATH};
use osmith_installer::disks;
use osmith_installer::fetch::{Access, Fetched, Fetcher, identity_headers};
use osmith_installer::memory::add_compressed_swap;
use osmith_installer::network::{
    Backend, Connection, DeviceSelector, Network, bring_up, connections_of, probe_interfaces,
};
use osmith_installer::plan::{Facts, Source};
use osmith_installer::run::{Images, KickstartFile, Session};
use osmith_kickstart::{End, Kickstart};
use osmith_machine::medium;
use osmith_report::{Class, Event, Failure, Observer, Severity};

use super::end::{end, offer_shell};
use super::images::MachineImages;
use super::includes::FetchedIncludes;
use super::{HOST, memory_bytes, processors, seed};
use crate::failure::{CommandFailure, render};
use crate::interrupt;

const SCRATCH: &str = "run/osmith";
/// Where certificates of the Kickstart file are while the installation runs.
const AUTHORITIES: &str = "run/osmith/certificates";

/// Installs this machine, and ends with a restart or a shell.
pub(crate) fn installer() -> ExitCode {
    let host = Path::new(HOST);
    let consoles = Consoles::open(host);
    let observer = ConsoleObserver::new(&consoles, interrupt::asked());
    let ended = attempt(host, &consoles, &observer).and_then(|how| end(how, &consoles));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.class() == Class::Interrupted => ExitCode::FAILURE,
        Err(failure) => {
            consoles.line("");
            consoles.line(&render(failure.as_ref()));
            offer_shell(host, &consoles, &interrupt::asked());
            ExitCode::FAILURE
        }
    }
}

fn attempt(host: &Path, consoles: &Consoles, observer: &dyn Observer) -> Result<End, Box<dyn Failure>> {
    let path = host.join("proc/cmdline");
    let line = std::fs::read_to_string(&path).map_err(|error| {
        CommandFailure::new(Class::Environment, format!("cannot read {}", path.display())).because(error)
    })?;
    let options = BootOptions::parse(&line)?;
    if let Some(server) = &options.syslog {
        consoles.add_syslog(server);
    }
    let id = medium::running(host)?.ok_or_else(|| {
        let text = "this system was not started from an installation medium";
        CommandFailure::new(Class::Usage, text)
            .hint("'osmith install kickstart FILE' installs from a running system")
    })?;
    let image = medium::image(host)?;
    consoles.line(&format!(
        "osmith {}: installing this machine from medium {id}, with {}",
        env!("CARGO_PKG_VERSION"),
        image.follows.image
    ));
    for ignored in &options.ignored {
        note(
            observer,
            format!("{} is not heeded: {}", ignored.argument, ignored.reason),
        );
    }
    let live = Live {
        host,
        options: &options,
        observer,
    };
    let mut connections = Vec::new();
    if live.kickstart_needs_network() {
        connections = live.bring_up(Vec::new())?;
    }
    let access = Access {
        interrupted: interrupt::asked(),
        ..Access::of(&options)
    };
    let fetcher = Fetcher::new(host, &access, identity_headers(host, &options), observer);
    let fetched = fetcher.kickstart(&options)?;
    note(observer, format!("Kickstart file: {}", fetched.name));
    live.install(
        &fetched,
        &fetcher,
        (access.clone(), connections),
        (consoles, &image),
    )
}

fn note(observer: &dyn Observer, text: String) {
    observer.observe(Event::Message {
        severity: Severity::Note,
        text,
    });
}

/// A live system that installs.
struct Live<'a> {
    host: &'a Path,
    options: &'a BootOptions,
    observer: &'a dyn Observer,
}

impl Live<'_> {
    fn kickstart_needs_network(&self) -> bool {
        let is_remote = |source: &KickstartSource| matches!(source, KickstartSource::Url(_));
        !self.options.addresses.is_empty() || self.options.kickstart.iter().any(is_remote)
    }

    /// Brings the network up as the boot options say, or else as the Kickstart file does, or else by DHCP.
    fn bring_up(&self, of_kickstart: Vec<Connection>) -> Result<Vec<Connection>, Box<dyn Failure>> {
        let of_options = connections_of(self.options);
        let usual = || vec![Connection::automatic(DeviceSelector::Any)];
        let connections = [of_options, of_kickstart]
            .into_iter()
            .find(|wanted| !wanted.is_empty());
        let network = Network {
            connections: connections.unwrap_or_else(usual),
            interface_names: self.options.interface_names.clone(),
            boot_mac: self.options.boot_mac,
        };
        note(self.observer, "setting the network up".to_owned());
        let backend = Backend::of_image(self.host)?;
        Ok(bring_up(
            self.host,
            &network,
            backend,
            self.options.network_wait,
            self.observer,
        )?)
    }

    fn install(
        &self,
        fetched: &Fetched,
        fetcher: &Fetcher<'_>,
        (mut access, mut connections): (Access, Vec<Connection>),
        (consoles, image): (&Consoles, &medium::MediumImage),
    ) -> Result<End, Box<dyn Failure>> {
        let file = KickstartFile {
            name: fetched.name.clone(),
            text: fetched.text.clone(),
        };
        let mut session = Session {
            host: self.host,
            file: &file,
            is_strict: self.options.strict,
            seed: seed(None)?,
            kernel_arguments: self
                .options
                .consoles
                .iter()
                .map(|name| format!("console={name}"))
                .collect(),
            connections: connections_of(self.options),
            interfaces: Some((probe_interfaces(self.host), self.options.boot_mac)),
            environment: environment(&access),
            processors: processors(),
            log: Some(self.host.join(LOG_PATH)),
            sets_boot_order: true,
            observer: self.observer,
        };
        let kickstart = session.read(&mut FetchedIncludes::of(fetcher, fetched))?;
        if let Some(host) = kickstart
            .logging
            .as_ref()
            .and_then(|logging| logging.host.clone())
        {
            let port = kickstart.logging.as_ref().and_then(|logging| logging.port);
            consoles.add_syslog(&osmith_installer::boot_options::SyslogServer {
                host,
                port: port.unwrap_or(osmith_installer::boot_options::SYSLOG_PORT),
            });
        }
        let facts = Facts {
            disks: disks::probe(self.host, medium::running(self.host)?),
            memory_bytes: memory_bytes(self.host),
            medium: Some(image.follows.image.clone()),
        };
        let mut installation = session.plan(&kickstart, &facts)?;
        let host_name = &mut installation.configuration.hostname;
        *host_name = host_name.take().or_else(|| self.options.host_name());
        consoles.line(&installation.to_string());
        let done = (|| {
            access.authorities = self.write_certificates(&kickstart)?;
            let store = medium::open_store(self.host, &self.host.join(SCRATCH), facts.memory_bytes)?;
            let name = match &installation.source {
                Source::Medium => image.name.clone(),
                Source::Image(source) => {
                    if connections.is_empty() && source.transport == "registry" {
                        connections = self.bring_up(installation.connections.clone())?;
                    }
                    if let Err(error) = add_compressed_swap(self.host, facts.memory_bytes) {
                        note(
                            self.observer,
                            format!("large images may not fit into the memory: {error}"),
                        );
                    }
                    let images = MachineImages::with_access(access.clone());
                    let fetched = images.fetch(source, &store, self.observer)?;
                    osmith_machine::deploy::image_name(&fetched.manifest_digest).ok_or_else(|| {
                        CommandFailure::new(Class::Internal, "the image has no name in the store")
                    })?
                }
            };
            if installation.connections.is_empty() && !session.connections.is_empty() {
                session.connections = std::mem::take(&mut connections);
            }
            let end = installation.end;
            session.install(&kickstart, installation, (&store, &name))?;
            Ok(end)
        })();
        if done.is_err() {
            session.run_on_error(&kickstart);
        }
        done
    }

    /// The certificates of the file, for the registries that the image comes from.
    fn write_certificates(&self, kickstart: &Kickstart) -> Result<Vec<PathBuf>, Box<dyn Failure>> {
        let folder = self.host.join(AUTHORITIES);
        let failed = |path: &Path, error: std::io::Error| {
            CommandFailure::new(Class::Environment, format!("cannot write {}", path.display())).because(error)
        };
        std::fs::create_dir_all(&folder).map_err(|error| failed(&folder, error))?;
        let mut paths = Vec::new();
        for (number, certificate) in kickstart.certificates.iter().enumerate() {
            let path = folder.join(format!("{number}.pem"));
            std::fs::write(&path, &certificate.body).map_err(|error| failed(&path, error))?;
            paths.push(path);
        }
        Ok(paths)
    }
}

/// What programs that scripts start know of the proxy.
fn environment(access: &Access) -> Vec<(String, String)> {
    let names = ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"];
    let proxy = access.proxy.iter();
    proxy
        .flat_map(|address| names.map(|name| (name.to_owned(), address.clone())))
        .collect()
}
