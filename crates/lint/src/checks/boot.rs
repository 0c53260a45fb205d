//! Kernel, init, and what says that an image is one to boot.

use osmith_machine::install::{Architecture, InstallError, require_bootable};
use osmith_machine::kargs_d;
use osmith_report::Failure;

use crate::{LintError, View};

const INIT: &str = "sbin/init";
const LABEL: &str = "containers.bootc";
/// Unified kernel images are there, and only there.
const UNIFIED: &str = "EFI";

pub(super) fn kernel(view: &View<'_>) -> Result<Vec<String>, LintError> {
    let name = &view.image.config.architecture;
    let Some(architecture) = Architecture::of_image(name) else {
        return Ok(vec![format!(
            "nothing is known of machines with the processor '{name}'"
        )]);
    };
    Ok(
        match require_bootable(view.store, view.image, view.tree.clone(), architecture) {
            // The next check has all of them.
            Ok(()) | Err(InstallError::KernelArguments { .. }) => Vec::new(),
            Err(error) => vec![told(&error)],
        },
    )
}

pub(super) fn kernel_arguments(view: &View<'_>) -> Result<Vec<String>, LintError> {
    let mut found = Vec::new();
    for name in view.names(kargs_d::KARGS_D) {
        let path = format!("{}/{name}", kargs_d::KARGS_D);
        // Other names are read by nobody.
        if !name.ends_with(".toml") {
            continue;
        }
        if let Some(Err(error)) = view.text(&path)?.map(|text| kargs_d::parse(&text, "")) {
            found.push(format!("/{path}: {}", error.message()));
        }
    }
    Ok(found)
}

/// An error with its causes.
fn told(error: &dyn Failure) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

pub(super) fn init(view: &View<'_>) -> Result<Vec<String>, LintError> {
    Ok(match view.is_file(INIT) {
        true => Vec::new(),
        false => vec![format!("there is no /{INIT}")],
    })
}

pub(super) fn label(view: &View<'_>) -> Result<Vec<String>, LintError> {
    let labels = &view.image.config.config.labels;
    Ok(match labels.get(LABEL).map(String::as_str) {
        Some("1" | "true") => Vec::new(),
        Some(other) => vec![format!("the label {LABEL} is '{other}'")],
        None => vec![format!("the image has no label {LABEL}")],
    })
}

pub(super) fn boot_directory(view: &View<'_>) -> Result<Vec<String>, LintError> {
    if !view.is_directory("boot") {
        return Ok(vec!["there is no directory /boot".to_owned()]);
    }
    let names = view.names("boot").into_iter();
    Ok(names
        .filter(|name| name != UNIFIED)
        .map(|name| format!("/boot/{name}"))
        .collect())
}
