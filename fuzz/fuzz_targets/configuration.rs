//! Any bytes are a configuration or give problems with places and reasons; the first byte chooses the format.
#![no_main]

use libfuzzer_sys::fuzz_target;
use osmith_config::{Configuration, Format};

fuzz_target!(|data: &[u8]| {
    let Some((first, bytes)) = data.split_first() else {
        return;
    };
    let format = if first % 2 == 0 { Format::Toml } else { Format::Json };
    match Configuration::parse(bytes, format) {
        Ok(configuration) => {
            for user in &configuration.users {
                assert!(!user.name.is_empty());
                assert!(configuration.positions.of(&user.key).is_some());
            }
        }
        Err(error) => {
            assert!(!error.problems.is_empty());
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
            for problem in &error.problems {
                assert!(!problem.reason.is_empty());
                assert!(problem.position.is_some_and(|position| position.line <= lines));
            }
        }
    }
});
