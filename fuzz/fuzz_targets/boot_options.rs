//! Any text is a kernel command line that is followed, or gives problems with reasons and examples; what is followed
//! becomes connections with files that have one line an option.
#![no_main]

use libfuzzer_sys::fuzz_target;
use osmith_installer::boot_options::BootOptions;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match BootOptions::parse(text) {
        Ok(options) => {
            assert!(options.kickstart.len() <= text.len());
            for source in &options.kickstart {
                assert!(!source.to_string().is_empty());
            }
        }
        Err(error) => {
            assert!(!error.problems.is_empty());
            for problem in &error.problems {
                assert!(!problem.reason.is_empty() && !problem.example.is_empty());
            }
        }
    }
});
