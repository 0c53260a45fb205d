//! Any text is a kernel command line that is followed, or gives problems with reasons and examples; what is followed
//! becomes connections with files that have one line an option.
#![no_main]

use libfuzzer_sys::fuzz_target;
use osmith_installer::boot_options::BootOptions;
use osmith_installer::network::{Backend, Place, configuration_files, connections_of};

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
            let connections = connections_of(&options);
            for backend in [Backend::NetworkManager, Backend::Networkd] {
                let names = &options.interface_names;
                for file in configuration_files(&connections, names, backend, Place::Live) {
                    let text = String::from_utf8(file.bytes).expect("text");
                    let is_sound = |line: &str| {
                        line.is_empty()
                            || line.starts_with('#')
                            || line.starts_with('[') && line.ends_with(']')
                            || line.contains('=')
                    };
                    assert!(text.lines().all(is_sound), "{text}");
                    assert_eq!(file.path.components().count(), 4);
                }
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
