//! `osmith build --check`: what is wrong with a Containerfile, and what will be a nuisance, without building it.
//!
//! Rules have the names of BuildKit's checks, as far as it has them, and are switched off as there:
//! `# check=skip=RULE,RULE;error=true` as the first line.

mod directive;
mod instructions;
mod names;
mod variables;

use std::collections::{BTreeMap, BTreeSet};

use osmith_image::{ImageConfig, Platform};
use osmith_report::printable;

use crate::containerfile::{Containerfile, Diagnostic, Parsed, Severity, Source, parse};
use crate::plan::{BaseImages, MissingImage, Wanted, plan};
use directive::Directive;

/// A rule that something breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The name of the rule; empty for what has none and cannot be switched off.
    pub rule: &'static str,
    /// What, where, and what to write instead.
    pub finding: Diagnostic,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The text, for places.
    pub source: Source,
    /// Errors and warnings in the order of the file.
    pub warnings: Vec<Warning>,
    /// Whether warnings count as errors: `error=true`.
    pub is_strict: bool,
}

impl Checked {
    /// Whether the file cannot be built, or is not to be.
    pub fn has_failed(&self) -> bool {
        let is_error = |warning: &Warning| warning.finding.severity == Severity::Error;
        self.warnings.iter().any(is_error) || (self.is_strict && !self.warnings.is_empty())
    }

    /// The findings as text: place, rule, message, the line with a marker.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Warning { rule, finding } in &self.warnings {
            let label = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            let rule = if rule.is_empty() {
                String::new()
            } else {
                format!(" ({rule})")
            };
            let headline = finding.headline(&self.source);
            let excerpt = finding.excerpt(&self.source);
            text += &format!("{label}: {}{rule}\n{excerpt}\n", printable(&headline));
        }
        text
    }
}

/// Looks at a Containerfile. Base images that are not known are taken for ones without variables.
pub fn check(name: &str, bytes: &[u8], wanted: &Wanted, images: &mut dyn BaseImages) -> Checked {
    let Parsed {
        containerfile,
        diagnostics,
    } = parse(name, bytes);
    let directive = Directive::of(&containerfile.source);
    let has_errors = diagnostics
        .iter()
        .any(|finding| finding.severity == Severity::Error);
    let mut warnings: Vec<Warning> = diagnostics.into_iter().map(unnamed).collect();
    if !has_errors {
        let mut lenient = Lenient {
            images,
            variables: BTreeMap::new(),
        };
        let planned = plan(&containerfile, wanted, &mut lenient);
        warnings.extend(match planned {
            Ok(plan) => plan.warnings.into_iter().map(unnamed).collect::<Vec<_>>(),
            Err(findings) => findings.into_iter().map(unnamed).collect(),
        });
        warnings.extend(rules(&containerfile, &lenient.variables));
    }
    warnings.retain(|warning| !directive.skips(warning.rule));
    warnings.extend(directive.problems);
    warnings.sort_by_key(|warning| (warning.finding.span.start, warning.rule));
    warnings.dedup();
    Checked {
        source: containerfile.source,
        warnings,
        is_strict: directive.is_strict,
    }
}

fn rules(file: &Containerfile, images: &Variables) -> Vec<Warning> {
    let mut warnings = names::check(file);
    warnings.extend(instructions::check(file));
    warnings.extend(variables::check(file, images));
    warnings
}

/// Findings of the parser and the plan that are a rule elsewhere keep its name.
fn unnamed(finding: Diagnostic) -> Warning {
    let rule = match finding.message.as_str() {
        "an empty line inside a continued instruction" => "NoEmptyContinuation",
        message if message.starts_with("a second stage has the name") => "DuplicateStageName",
        message if message.contains(" is for ") && message.contains(", not for ") => {
            "InvalidBaseImagePlatform"
        }
        _ => "",
    };
    Warning { rule, finding }
}

/// Images that are missing are no reason not to look at the rest.
struct Lenient<'i> {
    images: &'i mut dyn BaseImages,
    variables: Variables,
}

/// The names of the variables that images have; `None` for one that is missing.
type Variables = BTreeMap<String, Option<BTreeSet<String>>>;

impl BaseImages for Lenient<'_> {
    fn config(&mut self, name: &str, platform: &Platform) -> Result<ImageConfig, MissingImage> {
        let found = self.images.config(name, platform).ok();
        let names = found.as_ref().map(|config| {
            let pairs = config.config.env.iter();
            pairs
                .map(|pair| pair.split('=').next().unwrap_or_default().to_owned())
                .collect()
        });
        self.variables.insert(name.to_owned(), names);
        Ok(found.unwrap_or_else(|| {
            let mut config = ImageConfig::new(&platform.architecture, &platform.os);
            config.variant = platform.variant.clone();
            config
        }))
    }
}
