//! JSON of images is read and written again without losing anything, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use osmith_image::{ImageConfig, Location, Manifest, ManifestOrIndex, Reference};

fuzz_target!(|data: &[u8]| {
    match ManifestOrIndex::from_bytes(data) {
        Ok(ManifestOrIndex::Manifest(manifest)) => {
            let again = Manifest::from_bytes(&manifest.to_bytes()).expect("an own manifest is read");
            assert_eq!(again, *manifest);
        }
        Ok(ManifestOrIndex::Index(index)) => {
            let bytes = index.to_bytes();
            assert_eq!(
                ManifestOrIndex::from_bytes(&bytes).ok(),
                Some(ManifestOrIndex::Index(index))
            );
        }
        Err(_) => {}
    }
    if let Ok(config) = ImageConfig::from_bytes(data) {
        let again = ImageConfig::from_bytes(&config.to_bytes()).expect("an own configuration is read");
        assert_eq!(again, config);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(reference) = text.parse::<Reference>() {
            assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
            assert_eq!(reference.qualified().qualified(), reference.qualified());
        }
        if let Ok(location) = text.parse::<Location>() {
            assert_eq!(location.to_string().parse(), Ok(location));
        }
    }
});
