//! Any bytes are a Containerfile or give findings with places that can be shown; what is read can be planned.
#![no_main]

use libfuzzer_sys::fuzz_target;
use osmith_build::check::check;
use osmith_build::containerfile::parse;
use osmith_build::plan::{BaseImages, ImageFormat, MissingImage, NamedContext, Platforms, Wanted, plan};
use osmith_image::{ImageConfig, Platform};

/// Every name is an image with nothing in it, that wants its name to be run.
struct Anything;

impl BaseImages for Anything {
    fn config(&mut self, name: &str, _: &Platform) -> Result<ImageConfig, MissingImage> {
        let mut config = ImageConfig::new("amd64", "linux");
        // What an image wants to be run first is foreign text as well.
        config
            .config
            .extra
            .insert("OnBuild".to_owned(), vec![name].into());
        Ok(config)
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
    let wanted = Wanted {
        build_args: [("x".to_owned(), "*y/z".to_owned())].into(),
        target: None,
        first_base: (data.len() % 3 == 0).then(|| "other".to_owned()),
        platforms: Platforms {
            target: platform(),
            build: platform(),
        },
        is_platform_given: data.len() % 2 == 0,
        contexts: [("here".to_owned(), NamedContext::Directory)].into(),
        format: ImageFormat::Docker,
    };
    let checked = check("Containerfile", data, &wanted, &mut Anything);
    assert!(checked.warnings.is_empty() || !checked.text().is_empty());
    if parsed.has_errors() {
        return;
    }
    match plan(&parsed.containerfile, &wanted, &mut Anything) {
        Ok(plan) => assert!(!plan.stages.is_empty()),
        Err(findings) => assert!(!findings.is_empty()),
    }
});
