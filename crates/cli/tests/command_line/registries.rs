//! Images to and from registries, as a user sees it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use insta::assert_snapshot;
use osmith_testing::certificates::self_signed;
use osmith_testing::registry::{PASSWORD, Registry, RegistryOptions, USERNAME};

use super::program::{Place, for_any_host};

/// A place whose user has no files of his own, and a configuration that says nothing.
fn place() -> Place {
    let place = Place::new();
    place.file("registries.conf", "");
    place.file("page.txt", "hello");
    place
}

/// What command lines print; `REGISTRY` stands for the registry, before and after.
fn transcript(place: &Place, registry: &str, lines: &[&str]) -> String {
    let own = |line: &str| line.replace("REGISTRY", registry);
    let lines: Vec<String> = lines.iter().map(|line| own(line)).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let text = place.transcript_with(&lines, |command| {
        command
            .env_clear()
            .env("PATH", path_with(place.path()))
            .env("HOME", place.path())
            .env("OSMITH_STORE", place.store())
            .env("REGISTRY_AUTH_FILE", place.path().join("auth.json"))
            .env("CONTAINERS_REGISTRIES_CONF", place.path().join("registries.conf"));
    });
    text.replace(registry, "REGISTRY")
}

/// The programs of this machine, and those in the directory.
fn path_with(directory: &Path) -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = [directory.to_owned()]
        .into_iter()
        .chain(std::env::split_paths(&path));
    std::env::join_paths(paths).unwrap()
}

#[test]
fn push_and_pull() {
    let Some(registry) = Registry::start() else { return };
    let place = place();
    place.image("localhost/web", &[("page", "hello")]);
    let text = transcript(
        &place,
        registry.address(),
        &[
            "push localhost/web",
            "push localhost/web REGISTRY/shop/web:1",
            "push --tls-verify=false --quiet --digestfile digest localhost/web docker://REGISTRY/shop/web:1",
            "push --tls-verify=false --compression-level 20 localhost/web REGISTRY/shop/web:1",
            "rmi localhost/web",
            "pull --tls-verify=false -q REGISTRY/shop/web:2",
            "pull --tls-verify=false -q --platform linux/vax REGISTRY/shop/web:1",
            "pull --platform linux/ REGISTRY/shop/web:1",
            "pull web",
            "inspect REGISTRY/shop/web:1",
        ],
    );
    assert_snapshot!(for_any_host(&text));
    let digest = fs::read_to_string(place.path().join("digest")).unwrap();
    assert!(digest.starts_with("sha256:") && digest.len() == 71);
    // It comes back, by name and by digest.
    let configuration = format!(
        "[[registry]]\nlocation = \"{}\"\ninsecure = true\n",
        registry.address()
    );
    place.file(
        "registries.conf",
        configuration + "unqualified-search-registries = []\n",
    );
    let address = registry.address();
    let again = transcript(
        &place,
        address,
        &[
            "pull -q REGISTRY/shop/web:1",
            &format!("pull -q REGISTRY/shop/web@{digest}"),
        ],
    );
    let ids: Vec<_> = again.lines().filter(|line| line.starts_with("sha256:")).collect();
    assert!(ids.len() == 2 && ids[0] == ids[1], "{again}");
    place.ok("fsck");
}

#[test]
fn passwords() {
    let options = RegistryOptions {
        password: true,
        ..RegistryOptions::default()
    };
    let Some(registry) = Registry::start_with(&options) else {
        return;
    };
    let place = place();
    place.image("localhost/web", &[("page", "hello")]);
    let login = format!("login --tls-verify=false -u {USERNAME} -p {PASSWORD} REGISTRY");
    let text = transcript(
        &place,
        registry.address(),
        &[
            "push --tls-verify=false localhost/web REGISTRY/shop/web",
            "login --get-login REGISTRY",
            "login --tls-verify=false -u tester -p wrong REGISTRY",
            "login --get-login REGISTRY",
            &login,
            "login --get-login REGISTRY",
            "push --tls-verify=false -q localhost/web REGISTRY/shop/web",
            "push --tls-verify=false --creds jo:wrong localhost/web REGISTRY/shop/web",
            "logout REGISTRY",
            "logout REGISTRY",
            "logout",
            "pull --tls-verify=false REGISTRY/shop/web",
            "logout --all",
        ],
    );
    assert_snapshot!(text);
}

#[test]
fn certificates() {
    let place = place();
    place.image("localhost/web", &[("page", "hello")]);
    let own = self_signed(place.path(), "own", 2020..2090);
    let options = RegistryOptions {
        tls: Some(own.clone()),
        ..RegistryOptions::default()
    };
    let Some(registry) = Registry::start_with(&options) else {
        return;
    };
    fs::create_dir(place.path().join("trusted")).unwrap();
    fs::copy(&own.0, place.path().join("trusted/ca.crt")).unwrap();
    place.file(
        "bad/ca.crt",
        "-----BEGIN CERTIFICATE-----\n%\n-----END CERTIFICATE-----\n",
    );
    let mut text = transcript(
        &place,
        registry.address(),
        &[
            "push localhost/web REGISTRY/web",
            "push -q --cert-dir trusted localhost/web REGISTRY/web",
            "push -q --cert-dir bad localhost/web REGISTRY/web",
            "push -q --cert-dir nowhere localhost/web REGISTRY/web",
            "push -q --tls-verify=false localhost/web REGISTRY/web",
        ],
    );
    let old = self_signed(place.path(), "old", 2020..2021);
    let options = RegistryOptions {
        tls: Some(old.clone()),
        ..RegistryOptions::default()
    };
    let Some(registry) = Registry::start_with(&options) else {
        return;
    };
    fs::copy(&old.0, place.path().join("trusted/ca.crt")).unwrap();
    text += &transcript(
        &place,
        registry.address(),
        &["push -q --cert-dir trusted localhost/web REGISTRY/web"],
    );
    assert_snapshot!(text);
}

#[test]
fn configurations() {
    let place = place();
    place.image("localhost/web", &[("page", "hello")]);
    place.file(
        "registries.conf",
        "unqualified-search-registries = [\"one.example\", \"two.example\"]\nshort-name-mode = \"enforcing\"\n\
         [[registry]]\nlocation = \"blocked.example\"\nblocked = true\n",
    );
    let mut text = transcript(
        &place,
        "127.0.0.1:1",
        &[
            "pull blocked.example/web",
            "push localhost/web blocked.example/web",
            "pull web:2",
            "pull --retry 0 REGISTRY/web",
            "pull --authfile page.txt REGISTRY/web",
        ],
    );
    place.file("registries.conf", "[[registry]]\ninsecure = true\n");
    text += &transcript(&place, "127.0.0.1:1", &["pull REGISTRY/web"]);
    place.file("registries.conf", "[[registry\n");
    text += &transcript(&place, "127.0.0.1:1", &["pull REGISTRY/web"]);
    assert_snapshot!(text);
}

#[test]
fn copies() {
    let Some(registry) = Registry::start() else { return };
    let place = place();
    place.image("localhost/web", &[("page", "hello")]);
    place.ok("save --format oci-archive -o web.tar localhost/web");
    place.ok("save --format oci-dir -o several localhost/web");
    let text = transcript(
        &place,
        registry.address(),
        &[
            "copy oci-archive:web.tar somewhere",
            "copy --all oci-archive:web.tar oci:out",
            "copy oci-archive:nothing oci:out",
            "copy docker://REGISTRY/web oci:out",
            "copy --src-tls-verify=false docker://REGISTRY/web oci:out",
        ],
    );
    assert_snapshot!(text);
    assert!(!place.path().join("out").exists());
    let digests = transcript(
        &place,
        registry.address(),
        &[
            "copy --dest-tls-verify=false oci-archive:web.tar docker://REGISTRY/web:1",
            "copy --src-tls-verify=false --dest-tls-verify=false docker://REGISTRY/web:1 docker://REGISTRY/other:1",
            "copy --src-tls-verify=false docker://REGISTRY/other:1 oci:out:localhost/web",
            "copy oci:out oci-archive:again.tar",
        ],
    );
    let digests: Vec<_> = digests
        .lines()
        .filter(|line| line.starts_with("sha256:"))
        .collect();
    assert!(
        digests.len() == 4 && digests.iter().all(|digest| *digest == digests[0]),
        "{digests:?}"
    );
    let left = fs::read_dir(place.path()).unwrap().filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with(".osmith")
    });
    assert_eq!(left.count(), 0);
}

/// A helper that keeps one password in a file.
const HELPER: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
case $1 in
    store) cat >kept ;;
    get) [ -e kept ] || { echo 'credentials not found in native keychain'; exit 1; }; cat kept ;;
    erase) rm kept ;;
    *) echo "unknown: $1"; exit 1 ;;
esac
"#;

#[test]
fn helpers_keep_passwords() {
    let options = RegistryOptions {
        password: true,
        ..RegistryOptions::default()
    };
    let Some(registry) = Registry::start_with(&options) else {
        return;
    };
    let place = place();
    place.image("localhost/web", &[("page", "hello")]);
    let helper = place.file("docker-credential-sample", HELPER);
    fs::set_permissions(helper, fs::Permissions::from_mode(0o755)).unwrap();
    let helpers = format!("{{\"credHelpers\": {{\"{}\": \"sample\"}}}}", registry.address());
    place.file("auth.json", &helpers);
    let login = format!("login --tls-verify=false -u {USERNAME} -p {PASSWORD} REGISTRY");
    let mut text = transcript(
        &place,
        registry.address(),
        &[
            "login --get-login REGISTRY",
            &login,
            "login --get-login REGISTRY",
            "push --tls-verify=false -q localhost/web REGISTRY/web",
            "logout REGISTRY",
            "pull --tls-verify=false -q REGISTRY/web",
        ],
    );
    assert_eq!(
        fs::read_to_string(place.path().join("auth.json")).unwrap(),
        helpers
    );
    place.file("auth.json", helpers.replace("sample", "missing"));
    text += &transcript(
        &place,
        registry.address(),
        &["pull --tls-verify=false -q REGISTRY/web"],
    );
    assert_snapshot!(text);
}
