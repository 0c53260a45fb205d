//! How this machine reaches registries: certificates, proxies, registries.conf, passwords.

use std::env;
use std::path::PathBuf;

use osmith_image::registry::{
    AuthFile, CertificatePaths, Configuration, ConfigurationError, Credentials, Proxies, Settings,
};

/// Where distributions keep the certificates of authorities.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
const CERTS_D: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

/// Later ones win over earlier ones.
const CONFIGURATION: [&str; 4] = [
    "/usr/share/containers/registries.conf",
    "/usr/share/containers/registries.conf.d",
    "/etc/containers/registries.conf",
    "/etc/containers/registries.conf.d",
];
/// Where machines have the passwords for their updates.
const MACHINE_AUTH_FILES: [&str; 4] = [
    "/etc/ostree/auth.json",
    "/run/ostree/auth.json",
    "/usr/lib/ostree/auth.json",
    "/run/containers/0/auth.json",
];

/// What a machine knows of the registries it is updated from.
pub(crate) fn machine_settings() -> Result<Settings, ConfigurationError> {
    Ok(Settings {
        configuration: Configuration::read(&CONFIGURATION.map(PathBuf::from))?,
        credentials: Credentials {
            files: MACHINE_AUTH_FILES.iter().map(auth_file).collect(),
        },
        certificates: CertificatePaths {
            bundles: BUNDLES.map(PathBuf::from).to_vec(),
            directories: CERTS_D.map(PathBuf::from).to_vec(),
            own: None,
        },
        proxies: proxies(),
        ..Settings::default()
    })
}

fn auth_file(path: &&str) -> AuthFile {
    AuthFile {
        path: PathBuf::from(path),
        legacy: false,
    }
}

/// Small letters count first, as everywhere.
fn proxies() -> Proxies {
    let variable = |name: &str| {
        let small = env::var(name.to_lowercase()).ok();
        small
            .or_else(|| env::var(name).ok())
            .filter(|value| !value.is_empty())
    };
    Proxies {
        http: variable("HTTP_PROXY"),
        https: variable("HTTPS_PROXY"),
        except: variable("NO_PROXY").unwrap_or_default(),
    }
}
