//! Bringing the network up in the live system, with the program that the image has.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use osmith_report::{Event, Interrupted, Observer, Severity};
use osmith_sys::process::{self, ProcessError};
use rustix::fs::{Mode, OFlags};

use super::keyfile::uuid_of;
use super::{
    Backend, ConfigurationFile, Connection, DeviceSelector, HEAD, Interface, Ipv4, MacAddress, NetworkError,
    Place, configuration_files, probe_interfaces,
};
use crate::boot_options::InterfaceName;

/// How often the kernel's tables are looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// So long IPv4 may take after IPv6 is there: whoever serves the Kickstart file may have only the former.
const GRACE: Duration = Duration::from_secs(5);
/// So long a card may take to notice a cable after it was turned on.
const CARRIER_WAIT: Duration = Duration::from_secs(10);

/// So much of what a failed program says is quoted.
const REASON_LINES: usize = 4;

/// The network that is wanted in the live system.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// Its connections.
    pub connections: Vec<Connection>,
    /// The names that cards get first.
    pub interface_names: Vec<InterfaceName>,
    /// The card that the machine was started from.
    pub boot_mac: Option<MacAddress>,
}

/// Brings the network up on a machine whose root folder is `host`, and waits until there is a route to all that is
/// elsewhere, or, if no connection brings one, an address. What an earlier call asked for is taken back. Returns the
/// connections for the interfaces that they were made for.
pub fn bring_up(
    host: &Path,
    network: &Network,
    backend: Backend,
    wait: Duration,
    observer: &dyn Observer,
) -> Result<Vec<Connection>, NetworkError> {
    let system = System {
        host,
        backend,
        observer,
    };
    system.name_interfaces(&network.interface_names)?;
    let connections = system.resolve(network)?;
    let files = configuration_files(&connections, &[], backend, Place::Live);
    remove_earlier(host)?;
    files.iter().try_for_each(|file| write(host, file))?;
    system.start(&connections)?;
    system.wait_for_route(&connections, wait)?;
    ensure_names_are_found(host, backend)?;
    Ok(connections)
}

struct System<'a> {
    host: &'a Path,
    backend: Backend,
    observer: &'a dyn Observer,
}

impl System<'_> {
    /// Has udev give interfaces their names, if it has not done so already.
    fn name_interfaces(&self, names: &[InterfaceName]) -> Result<(), NetworkError> {
        let interfaces = probe_interfaces(self.host);
        let has_name = |name: &InterfaceName| {
            let mut interfaces = interfaces.iter();
            interfaces.any(|interface| interface.name == name.name && interface.mac == Some(name.mac))
        };
        let missing: Vec<InterfaceName> = names.iter().filter(|name| !has_name(name)).cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let files = configuration_files(&[], &missing, self.backend, Place::Live);
        files.iter().try_for_each(|file| write(self.host, file))?;
        self.run("udevadm", &["control", "--reload"])?;
        let trigger = ["trigger", "--action=add", "--subsystem-match=net"];
        self.run("udevadm", &trigger)?;
        self.run("udevadm", &["settle"])
    }

    fn resolve(&self, network: &Network) -> Result<Vec<Connection>, NetworkError> {
        let needs_carrier = |connection: &Connection| connection.device == DeviceSelector::Link;
        let mut interfaces = probe_interfaces(self.host);
        if network.connections.iter().any(needs_carrier) {
            interfaces = self.wait_for_carrier(interfaces)?;
        }
        let mut resolved: Vec<Connection> = Vec::new();
        for connection in &network.connections {
            let connection = connection.resolve(&interfaces, network.boot_mac)?;
            // systemd-networkd reads one file for an interface.
            match resolved
                .iter_mut()
                .find(|earlier| earlier.device == connection.device)
            {
                Some(earlier) => earlier.add(connection),
                None => resolved.push(connection),
            }
        }
        Ok(resolved)
    }

    /// Interfaces that are turned off do not know whether they have a carrier.
    fn wait_for_carrier(&self, mut interfaces: Vec<Interface>) -> Result<Vec<Interface>, NetworkError> {
        let end = Instant::now() + CARRIER_WAIT;
        for interface in interfaces.iter().filter(|interface| !interface.is_up) {
            // One that cannot be turned on has no carrier either.
            let _ = osmith_sys::network::raise(&interface.name);
        }
        loop {
            let is_there = interfaces.iter().any(|interface| interface.has_carrier);
            if is_there || interfaces.is_empty() || Instant::now() >= end {
                return Ok(interfaces);
            }
            self.observer.require_running()?;
            std::thread::sleep(POLL_INTERVAL);
            interfaces = probe_interfaces(self.host);
        }
    }

    fn start(&self, connections: &[Connection]) -> Result<(), NetworkError> {
        let unit = self.backend.unit();
        match self.backend {
            Backend::Networkd => {
                ensure_names_are_found(self.host, self.backend)?;
                if has_resolved(self.host) {
                    self.run("systemctl", &["start", RESOLVED])?;
                }
                // One that was started often would be refused; one that never ran has nothing to forget.
                let _ = self.run("systemctl", &["reset-failed", unit]);
                // Reads its files anew, whether it ran or not.
                self.run("systemctl", &["restart", unit])?;
                // Those that do not come up by themselves do so here.
                for connection in connections.iter().filter(|connection| !connection.on_boot) {
                    if let DeviceSelector::Name(name) = &connection.device {
                        self.run("networkctl", &["up", name])?;
                    }
                }
            }
            Backend::NetworkManager => {
                self.run("systemctl", &["start", unit])?;
                self.run("nmcli", &["connection", "reload"])?;
                // One that was up with other settings keeps those until it is told.
                for connection in connections {
                    if connection.device != DeviceSelector::Any {
                        let uuid = uuid_of(connection);
                        // What became of it is seen by the route, and the state of the interfaces says more.
                        let _ = self.run("nmcli", &["--wait", "0", "connection", "up", "uuid", &uuid]);
                    }
                }
            }
        }
        Ok(())
    }

    fn wait_for_route(&self, connections: &[Connection], wait: Duration) -> Result<(), NetworkError> {
        self.observer.observe(Event::Message {
            severity: Severity::Note,
            text: format!("waiting up to {} s for the network", wait.as_secs()),
        });
        let begun = Instant::now();
        let mut first_seen = None;
        // What was there before goes away while the program takes over: once is not enough.
        let mut was_whole = false;
        loop {
            self.observer.require_running()?;
            let interfaces = probe_interfaces(self.host);
            let taken: Vec<Interface> = interfaces
                .iter()
                .filter(|interface| self.has_taken_over(interface, connections))
                .cloned()
                .collect();
            let is_late = begun.elapsed() >= wait;
            match Readiness::of(&taken, connections) {
                Readiness::Whole if was_whole || is_late => return Ok(()),
                Readiness::Whole => was_whole = true,
                Readiness::WithoutIpv4 => {
                    let since = *first_seen.get_or_insert_with(Instant::now);
                    if since.elapsed() >= GRACE || is_late {
                        return Ok(());
                    }
                }
                Readiness::None if is_late => {
                    let states = interfaces.iter().map(|interface| state(interface, connections));
                    return Err(NetworkError::NoRoute {
                        waited: wait,
                        states: states.collect(),
                    });
                }
                Readiness::None => was_whole = false,
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Whether what an interface has comes from one of the connections, not from what it had before.
    fn has_taken_over(&self, interface: &Interface, connections: &[Connection]) -> bool {
        let own = connections
            .iter()
            .filter(|connection| connection.is_for(interface));
        match self.backend {
            Backend::Networkd => own.count() > 0 && self.networkd_has_configured(interface),
            // A profile for every interface does what NetworkManager does without one.
            Backend::NetworkManager => {
                let own: Vec<_> = own.collect();
                let is_any = |connection: &&Connection| connection.device == DeviceSelector::Any;
                own.iter().any(is_any) || !own.is_empty() && self.is_active(&own)
            }
        }
    }

    /// systemd-networkd's opinion of an interface, in `run/systemd/netif/links`. What it has from elsewhere it drops
    /// when it begins with one of our files.
    fn networkd_has_configured(&self, interface: &Interface) -> bool {
        let index = self
            .host
            .join("sys/class/net")
            .join(&interface.name)
            .join("ifindex");
        let index = fs::read_to_string(index).unwrap_or_default();
        let links = self.host.join("run/systemd/netif/links");
        let state = fs::read_to_string(links.join(index.trim())).unwrap_or_default();
        let value = |name: &str| {
            state
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_default()
        };
        value("NETWORK_FILE=").contains("/10-osmith-")
            && matches!(value("ADMIN_STATE="), "configuring" | "configured")
    }

    /// Whether NetworkManager says that one of the connections is up.
    fn is_active(&self, connections: &[&Connection]) -> bool {
        let arguments = [
            "--terse",
            "--fields",
            "UUID,STATE",
            "connection",
            "show",
            "--active",
        ];
        let Ok(lines) = self.lines_of("nmcli", &arguments) else {
            return false;
        };
        connections.iter().any(|connection| {
            let expected = format!("{}:activated", uuid_of(connection));
            lines.contains(&expected)
        })
    }

    /// Runs a program of the image to its end.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<(), NetworkError> {
        self.lines_of(program, arguments).map(drop)
    }

    /// The same, and what it says.
    fn lines_of(&self, program: &str, arguments: &[&str]) -> Result<Vec<String>, NetworkError> {
        let command = format!("{program} {}", arguments.join(" "));
        let mut said = Vec::new();
        let path = self.host.join("usr/bin").join(program);
        let ended = process::run(
            Command::new(path).args(arguments).stdin(Stdio::null()),
            |_, line| said.push(String::from_utf8_lossy(line).into_owned()),
            || self.observer.interrupted(),
        );
        let reason = match ended {
            Ok(status) if status.success() => return Ok(said),
            Ok(status) => {
                let lines = said
                    .iter()
                    .map(|line| line.trim())
                    .filter(|line| !line.is_empty());
                let lines: Vec<String> = lines.take(REASON_LINES).map(osmith_report::printable).collect();
                match lines.is_empty() {
                    true => status.to_string(),
                    false => format!("{} ({status})", lines.join("; ")),
                }
            }
            Err(ProcessError::Interrupted) => return Err(Interrupted.into()),
            Err(ProcessError::Os(error)) => error.to_string(),
        };
        Err(NetworkError::Program { command, reason })
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Readiness {
    None,
    /// There is a way, but IPv4 is still to come.
    WithoutIpv4,
    Whole,
}

impl Readiness {
    fn of(interfaces: &[Interface], connections: &[Connection]) -> Self {
        let needs_route = connections.iter().any(Connection::may_bring_default_route);
        let is_ready = |interface: &&Interface| match needs_route {
            true => has_address(interface) && interface.has_default_route,
            false => has_address(interface),
        };
        let mut readiness = Readiness::None;
        for interface in interfaces.iter().filter(is_ready) {
            let mut own = connections
                .iter()
                .filter(|connection| connection.is_for(interface));
            let waits_for_ipv4 = own.any(|connection| connection.ipv4 == Ipv4::Dhcp) && !interface.has_ipv4;
            match waits_for_ipv4 {
                true => readiness = Readiness::WithoutIpv4,
                false => return Readiness::Whole,
            }
        }
        readiness
    }
}

fn has_address(interface: &Interface) -> bool {
    interface.has_ipv4 || interface.has_ipv6
}

/// `ens4: up, no address from DHCP`.
fn state(interface: &Interface, connections: &[Connection]) -> String {
    let own: Vec<_> = connections
        .iter()
        .filter(|connection| connection.is_for(interface))
        .collect();
    let asks_dhcp = own.iter().any(|connection| connection.ipv4 == Ipv4::Dhcp);
    match own.is_empty() {
        true => format!("{interface}, not asked for"),
        false if interface.has_carrier && !has_address(interface) && asks_dhcp => {
            format!("{interface} from DHCP")
        }
        false => interface.to_string(),
    }
}

/// Files of an earlier call may be for the same interfaces, and come first.
fn remove_earlier(host: &Path) -> Result<(), NetworkError> {
    let folders = [
        ("run/systemd/network", ".network"),
        ("run/NetworkManager/system-connections", ".nmconnection"),
    ];
    for (folder, ending) in folders {
        let entries = fs::read_dir(host.join(folder)).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let is_ours = path.to_string_lossy().ends_with(ending)
                && fs::read(&path).is_ok_and(|text| text.starts_with(HEAD.as_bytes()));
            if is_ours {
                fs::remove_file(&path).map_err(|source| NetworkError::Write { path, source })?;
            }
        }
    }
    Ok(())
}

fn write(host: &Path, file: &ConfigurationFile) -> Result<(), NetworkError> {
    let path = host.join(&file.path);
    write_new(&path, file).map_err(|source| NetworkError::Write { path, source })
}

/// A file that was there may have other permissions.
fn write_new(path: &Path, file: &ConfigurationFile) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    let mut written = options.write(true).create_new(true).mode(file.mode).open(path)?;
    written.write_all(&file.bytes)
}

const RESOLVED: &str = "systemd-resolved.service";
const RESOLV_CONF: &str = "etc/resolv.conf";

fn has_resolved(host: &Path) -> bool {
    let masked = fs::read_link(host.join("etc/systemd/system").join(RESOLVED));
    host.join("usr/lib/systemd/system").join(RESOLVED).exists()
        && !masked.is_ok_and(|target| target == Path::new("/dev/null"))
}

/// Makes sure that the system's resolver finds the name servers: `etc/resolv.conf` is that of who knows them, unless it
/// names some already.
fn ensure_names_are_found(host: &Path, backend: Backend) -> Result<(), NetworkError> {
    let resolv_conf = host.join(RESOLV_CONF);
    if names_servers(host) {
        return Ok(());
    }
    let failed = |source| NetworkError::Write {
        path: resolv_conf.clone(),
        source,
    };
    let target = match backend {
        Backend::Networkd if has_resolved(host) => "../run/systemd/resolve/stub-resolv.conf",
        Backend::Networkd => return write_servers(host).map_err(failed),
        Backend::NetworkManager if host.join("run/NetworkManager/resolv.conf").exists() => {
            "../run/NetworkManager/resolv.conf"
        }
        Backend::NetworkManager => return Ok(()),
    };
    if fs::read_link(&resolv_conf).is_ok_and(|found| found == Path::new(target)) {
        return Ok(());
    }
    match fs::remove_file(&resolv_conf) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    symlink(target, &resolv_conf).map_err(failed)
}

/// Without systemd-resolved nobody writes down what systemd-networkd was told.
fn write_servers(host: &Path) -> io::Result<()> {
    let state = fs::read_to_string(host.join("run/systemd/netif/state")).unwrap_or_default();
    let values = |name: &str| {
        let line = state.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default()
            .split_ascii_whitespace()
            .map(str::to_owned)
    };
    let mut text: String = values("DNS=")
        .map(|server| format!("nameserver {server}\n"))
        .collect();
    let domains: Vec<String> = values("DOMAINS=").collect();
    if !domains.is_empty() {
        text.push_str(&format!("search {}\n", domains.join(" ")));
    }
    match text.is_empty() {
        true => Ok(()),
        false => fs::write(host.join(RESOLV_CONF), text),
    }
}

fn names_servers(host: &Path) -> bool {
    let opened = osmith_sys::file::open_directory(host)
        .and_then(|root| osmith_sys::file::open_in_root(root, RESOLV_CONF, OFlags::RDONLY, Mode::empty()));
    let mut text = String::new();
    match opened.map(fs::File::from) {
        Ok(mut file) => {
            file.read_to_string(&mut text).is_ok()
                && text.lines().any(|line| line.trim().starts_with("nameserver "))
        }
        Err(_) => false,
    }
}
#[cfg(test)]
mod tests;
