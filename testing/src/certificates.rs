//! Certificates for hosts and clients of tests, as PEM files.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// A certificate and its key.
pub type CertificateFiles = (PathBuf, PathBuf);

const HOSTS: [&str; 2] = ["127.0.0.1", "localhost"];

/// A certificate for this machine that signs itself and says it is an authority, as `openssl req -x509` makes it:
/// `NAME.crt` and `NAME.key` in the directory. It is valid from the first to the second year.
pub fn self_signed(directory: &Path, name: &str, years: Range<i32>) -> CertificateFiles {
    let key = KeyPair::generate().expect("a key");
    let mut params = params(&HOSTS, name, years);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).expect("a certificate");
    write(directory, name, &certificate.pem(), &key)
}

/// An authority that signs certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: PathBuf,
}

impl Authority {
    /// An authority, with its certificate in the directory.
    pub fn new(directory: &Path, name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = params(&[], name, 2020..2090);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        let (path, _) = write(directory, name, &certificate.pem(), &key);
        Authority {
            issuer: Issuer::new(params, key),
            certificate: path,
        }
    }

    /// The certificate of the authority.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// A certificate for some hosts, or of a client, in the directory.
    pub fn sign(&self, directory: &Path, name: &str, hosts: &[&str]) -> CertificateFiles {
        let key = KeyPair::generate().expect("a key");
        let params = params(hosts, name, 2020..2090);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        write(directory, name, &certificate.pem(), &key)
    }
}

fn params(hosts: &[&str], name: &str, years: Range<i32>) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("names of hosts");
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(years.start, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.end, 1, 1);
    params
}

fn write(directory: &Path, name: &str, certificate: &str, key: &KeyPair) -> CertificateFiles {
    let (path, key_path) = (
        directory.join(format!("{name}.crt")),
        directory.join(format!("{name}.key")),
    );
    fs::write(&path, certificate).expect("the certificate is written");
    fs::write(&key_path, key.serialize_pem()).expect("the key is written");
    (path, key_path)
}
