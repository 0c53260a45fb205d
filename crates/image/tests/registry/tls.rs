//! Registries with TLS: who is trusted, and who we are.

use std::fs;
use std::path::Path;

use osmith_image::compression::Codec;
use osmith_image::registry::{
    CertificatePaths, CertificateProblem, Client, PullOptions, RegistryError, Settings, pull, push, resolve,
};
use osmith_report::Silent;
use osmith_testing::certificates::Authority;
use osmith_testing::registry::{Registry, RegistryOptions};

use super::images::{STEP, platform, reference, sample, settings, store};
use super::push::push_options;

fn trusting(certificates: CertificatePaths) -> Client {
    Client::new(Settings {
        tls_verify: None,
        certificates,
        ..settings()
    })
}

/// Pushes an image and fetches it again.
fn round_trip(client: &Client, registry: &Registry) -> Result<(), RegistryError> {
    let (_directory, store) = store();
    let image = sample(&store, "localhost/sample:1", 1);
    let name = reference(&format!("{}/sample:1", registry.address()));
    push(
        client,
        &image,
        &store,
        &name,
        &push_options(Codec::Zstd),
        &Silent,
        STEP,
    )?;
    let resolved = resolve(client, &name, &platform(), &Silent)?;
    let (_other_directory, other) = super::images::store();
    let pulled = pull(client, &resolved, &other, &PullOptions::default(), &Silent, STEP)?;
    assert_eq!(pulled.image.id(), image.id());
    Ok(())
}

fn problem(client: &Client, registry: &Registry) -> CertificateProblem {
    match round_trip(client, registry) {
        Err(RegistryError::Certificate { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap();
}

#[test]
fn authorities_of_the_system_and_of_a_registry() {
    let work = tempfile::tempdir().unwrap();
    let authority = Authority::new(work.path(), "authority");
    let tls = Some(authority.sign(work.path(), "host", &["127.0.0.1"]));
    let options = RegistryOptions {
        tls,
        ..RegistryOptions::default()
    };
    let Some(registry) = Registry::start_with(&options) else {
        return;
    };
    let of_system = trusting(CertificatePaths {
        bundles: vec![work.path().join("nothing"), authority.certificate().to_owned()],
        ..CertificatePaths::default()
    });
    round_trip(&of_system, &registry).unwrap();
    let (first, second) = (work.path().join("first"), work.path().join("second"));
    copy(
        authority.certificate(),
        &second.join(registry.address()).join("ca.crt"),
    );
    let directories = vec![first.clone(), second];
    let in_directory = || {
        trusting(CertificatePaths {
            directories: directories.clone(),
            ..CertificatePaths::default()
        })
    };
    round_trip(&in_directory(), &registry).unwrap();
    // The first directory with one for the host counts.
    fs::create_dir_all(first.join(registry.address())).unwrap();
    assert_eq!(
        problem(&in_directory(), &registry),
        CertificateProblem::UnknownIssuer
    );
}

#[test]
fn a_certificate_for_another_host() {
    let work = tempfile::tempdir().unwrap();
    let authority = Authority::new(work.path(), "authority");
    let tls = Some(authority.sign(work.path(), "host", &["registry.example"]));
    let options = RegistryOptions {
        tls,
        ..RegistryOptions::default()
    };
    let Some(registry) = Registry::start_with(&options) else {
        return;
    };
    let client = trusting(CertificatePaths {
        bundles: vec![authority.certificate().to_owned()],
        ..CertificatePaths::default()
    });
    assert_eq!(problem(&client, &registry), CertificateProblem::OtherHost);
}

#[test]
fn a_registry_that_wants_to_know_who_we_are() {
    let work = tempfile::tempdir().unwrap();
    let authority = Authority::new(work.path(), "authority");
    let options = RegistryOptions {
        tls: Some(authority.sign(work.path(), "host", &["127.0.0.1"])),
        client_authority: Some(authority.certificate().to_owned()),
        ..RegistryOptions::default()
    };
    let Some(registry) = Registry::start_with(&options) else {
        return;
    };
    let own = work.path().join("own");
    copy(authority.certificate(), &own.join("ca.crt"));
    let client = || {
        trusting(CertificatePaths {
            own: Some(own.clone()),
            ..CertificatePaths::default()
        })
    };
    assert_eq!(problem(&client(), &registry), CertificateProblem::Client);
    let (certificate, key) = authority.sign(work.path(), "jo", &["jo"]);
    copy(&certificate, &own.join("jo.cert"));
    assert!(matches!(
        round_trip(&client(), &registry),
        Err(RegistryError::CertificateFile { .. })
    ));
    let (_, other_key) = authority.sign(work.path(), "mo", &["mo"]);
    copy(&other_key, &own.join("jo.key"));
    assert!(matches!(
        round_trip(&client(), &registry),
        Err(RegistryError::Connect { .. })
    ));
    copy(&key, &own.join("jo.key"));
    round_trip(&client(), &registry).unwrap();
}
