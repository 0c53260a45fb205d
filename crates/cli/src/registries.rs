//! How registries are reached: where this machine and this user keep certificates, proxies, registries.conf and
//! passwords.

use std::env;
use std::path::{Path, PathBuf};

use osmith_image::registry::{
    AuthFile, CertificatePaths, Client, Configuration, ConfigurationError, Credential, Credentials, Proxies,
    ProxySetting, Settings,
};
use osmith_report::{Class, Failure};

use crate::args::{RegistryOptions, TransferOptions};
use crate::failure::CommandFailure;
use crate::{interrupt, namespace};

/// Where distributions keep the certificates of all authorities.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
const SYSTEM: &str = "/etc/containers";
const VENDOR: &str = "/usr/share/containers";
const MAIN_FILE: &str = "registries.conf";
const DROP_INS: &str = "registries.conf.d";
/// Where machines have the passwords for their updates.
const MACHINE_AUTH_FILES: [&str; 4] = [
    "/etc/ostree/auth.json",
    "/run/ostree/auth.json",
    "/usr/lib/ostree/auth.json",
    "/run/containers/0/auth.json",
];

/// A client for the user's own images.
pub(crate) fn client(options: &TransferOptions) -> Result<Client, Box<dyn Failure>> {
    let mut settings = settings(&options.registry)?;
    settings.retry.retries = options.retry;
    settings.credential = options.creds.as_deref().map(credential).transpose()?;
    Ok(Client::new(settings))
}

/// What [`client`] tells a client, but for who we are.
pub(crate) fn settings(options: &RegistryOptions) -> Result<Settings, Box<dyn Failure>> {
    let files = match &options.authfile {
        Some(file) => vec![auth_file(file.clone())],
        None => user_auth_files(),
    };
    let system = [PathBuf::from(SYSTEM), "/etc/docker".into()];
    let directories: Vec<_> = user_configuration().into_iter().chain(system).collect();
    let mut certificates = certificates(&directories);
    certificates.own = options.cert_dir.clone();
    Ok(Settings {
        configuration: Configuration::read(&user_configuration_files())?,
        certificates,
        credentials: Credentials { files },
        tls_verify: options.tls_verify,
        ..settings_of_process()
    })
}

/// What a machine knows of the registries it is updated from.
pub(crate) fn machine_settings() -> Result<Settings, ConfigurationError> {
    let main = Path::new(SYSTEM).join(MAIN_FILE);
    Ok(Settings {
        configuration: Configuration::read(&configuration_files(main, &[VENDOR.into(), SYSTEM.into()]))?,
        certificates: certificates(&[SYSTEM.into(), "/etc/docker".into()]),
        credentials: Credentials {
            files: MACHINE_AUTH_FILES.map(|path| auth_file(path.into())).into(),
        },
        ..settings_of_process()
    })
}

/// What is the same for a user and a machine.
fn settings_of_process() -> Settings {
    Settings {
        proxies: proxies(),
        interrupted: interrupt::asked(),
        ..Settings::default()
    }
}

/// The file that a login is remembered in.
pub(crate) fn login_file(chosen: Option<&Path>) -> Result<PathBuf, CommandFailure> {
    let first = user_auth_files().into_iter().next().map(|file| file.path);
    chosen.map(Path::to_owned).or(first).ok_or_else(|| {
        CommandFailure::new(
            Class::Environment,
            "cannot tell where passwords are kept: HOME is not set",
        )
        .hint("name the file with --authfile FILE or REGISTRY_AUTH_FILE")
    })
}

/// The vendor's and the system's files, or the user's in the place of the system's; then the drop-ins of all. What is
/// later counts.
fn configuration_files(main: PathBuf, directories: &[PathBuf]) -> Vec<PathBuf> {
    let vendor = Path::new(VENDOR).join(MAIN_FILE);
    let drop_ins = directories.iter().map(|directory| directory.join(DROP_INS));
    [vendor, main].into_iter().chain(drop_ins).collect()
}

fn user_configuration_files() -> Vec<PathBuf> {
    if let Some(chosen) = path_of("CONTAINERS_REGISTRIES_CONF") {
        return vec![chosen];
    }
    let system = Path::new(SYSTEM).join(MAIN_FILE);
    let user = user_configuration();
    let own = user.as_ref().map(|directory| directory.join(MAIN_FILE));
    let directories: Vec<_> = [VENDOR.into(), SYSTEM.into()].into_iter().chain(user).collect();
    configuration_files(own.filter(|file| file.exists()).unwrap_or(system), &directories)
}

/// In the order of the directories, the first with one for the host counts.
fn certificates(directories: &[PathBuf]) -> CertificatePaths {
    let chosen = path_of("SSL_CERT_FILE").into_iter();
    CertificatePaths {
        bundles: chosen.chain(BUNDLES.map(PathBuf::from)).collect(),
        directories: directories
            .iter()
            .map(|directory| directory.join("certs.d"))
            .collect(),
        own: None,
        authorities: Vec::new(),
    }
}

/// podman's files, then docker's.
fn user_auth_files() -> Vec<AuthFile> {
    let runtime = match namespace::is_root() {
        true => Some(PathBuf::from("/run/containers/0")),
        false => path_of("XDG_RUNTIME_DIR").map(|directory| directory.join("containers")),
    };
    let home = path_of("HOME");
    let docker = path_of("DOCKER_CONFIG").or_else(|| home.as_ref().map(|home| home.join(".docker")));
    let podman = [runtime, user_configuration()].into_iter().flatten();
    let mut files: Vec<_> = podman
        .map(|directory| auth_file(directory.join("auth.json")))
        .collect();
    files.extend(docker.map(|directory| auth_file(directory.join("config.json"))));
    files.extend(home.map(|home| AuthFile {
        path: home.join(".dockercfg"),
        legacy: true,
    }));
    files
}

fn auth_file(path: PathBuf) -> AuthFile {
    AuthFile { path, legacy: false }
}

/// Where a user has what the system has in `/etc/containers`.
fn user_configuration() -> Option<PathBuf> {
    let configuration =
        path_of("XDG_CONFIG_HOME").or_else(|| path_of("HOME").map(|home| home.join(".config")));
    configuration.map(|directory| directory.join("containers"))
}

/// As curl does, with small letters first; but `HTTP_PROXY` with large ones too.
fn proxies() -> Proxies {
    let first = |names: &[&str]| {
        let mut found = names
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?)));
        found.find(|(_, value)| !value.is_empty())
    };
    let proxy = |names| first(names).map(|(name, address)| ProxySetting { address, name });
    Proxies {
        http: proxy(&["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]),
        https: proxy(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
        except: first(&["no_proxy", "NO_PROXY"]).map_or_else(String::new, |(_, value)| value),
    }
}

fn path_of(name: &str) -> Option<PathBuf> {
    env::var_os(name)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

/// `NAME:PASSWORD`; a password that is not given is asked for.
fn credential(text: &str) -> Result<Credential, CommandFailure> {
    let (username, password) = match text.split_once(':') {
        Some((username, password)) => (username, password.to_owned()),
        None => (text, crate::password::ask(&format!("Password of {text}: "))?),
    };
    Ok(Credential::Password {
        username: username.to_owned(),
        password,
    })
}
