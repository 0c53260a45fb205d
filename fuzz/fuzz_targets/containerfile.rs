//! Any bytes are a Containerfile or give findings with places that can be shown; what is read can be planned.
#![no_main]

use libfuzzer_sys::fuzz_target;
use osmith_build::containerfile::parse;
use osmith_build::plan::{BaseImages, MissingImage, Platforms, Wanted, plan};
use osmith_image::{ImageConfig, Platform};

/// Every name is an image with nothing in it.
struct Anything;

impl BaseImages for Anything {
    fn config(&mut self, _: &str) -> Result<ImageConfig, MissingImage> {
        Ok(ImageConfig::new("amd64", "linux"))
    }
}

fn platform() -> Platform {
    ImageConfig::new("amd64", "linux").platform()
}

fuzz_target!(|data: &[u8]| {
    let parsed = parse("Containerfile", data);
    let source = &parsed.containerfile.source;
    for finding in &parsed.diagnostics {
        assert!(!finding.headline(source).is_empty());
        assert!(!finding.excerpt(source).is_empty());
    }
    for instruction in &parsed.containerfile.instructions {
        assert!(!source.slice(instruction.span).is_empty());
    }
    if parsed.has_errors() {
        return;
    }
    let wanted = Wanted {
        build_args: [("x".to_owned(), "*y/z".to_owned())].into(),
        target: None,
        platforms: Platforms {
            target: platform(),
            build: platform(),
        },
    };
    match plan(&parsed.containerfile, &wanted, &mut Anything) {
        Ok(plan) => assert!(!plan.stages.is_empty()),
        Err(findings) => assert!(!findings.is_empty()),
    }
});
