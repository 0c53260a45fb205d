//! How this machine reaches registries: certificates and proxies.

use std::env;
use std::path::PathBuf;

use osmith_image::registry::{CertificatePaths, Proxies, Settings};

/// Where distributions keep the certificates of authorities.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
const CERTS_D: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

/// What is known of registries without options of a command.
pub(crate) fn settings() -> Settings {
    Settings {
        certificates: CertificatePaths {
            bundles: BUNDLES.map(PathBuf::from).to_vec(),
            directories: CERTS_D.map(PathBuf::from).to_vec(),
            own: None,
        },
        proxies: proxies(),
        ..Settings::default()
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
