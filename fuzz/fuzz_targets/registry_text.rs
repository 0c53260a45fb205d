//! What registries and their configuration files say: challenges, auth files, registries.conf.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use osmith_image::Reference;
use osmith_image::registry::{AuthFile, Configuration, Credentials, parse_challenges};

fuzz_target!(|data: &[u8]| {
    let (kind, data) = data.split_first().unwrap_or((&0, data));
    match kind % 3 {
        0 => drop(parse_challenges(&String::from_utf8_lossy(data))),
        1 => read_configuration(data),
        _ => find_passwords(data),
    }
});

fn read_configuration(data: &[u8]) {
    let mut configuration = Configuration::default();
    if configuration.add(data, Path::new("registries.conf")).is_err() {
        return;
    }
    for name in [
        "short",
        "registry.example/shop/image:1",
        "a.registry.example:5000/x",
    ] {
        let name: Reference = name.parse().expect("a name");
        for full in configuration.full_names(&name).unwrap_or_default() {
            assert!(full.domain().is_some());
            let _ = configuration.places(&full);
        }
    }
}

fn find_passwords(data: &[u8]) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), data).expect("the file is written");
    for legacy in [false, true] {
        let path = file.path().to_owned();
        let credentials = Credentials {
            files: vec![AuthFile { path, legacy }],
        };
        for name in ["registry.example/shop/image", "docker.io/library/x"] {
            let _ = credentials.find(name);
        }
    }
}
