//! `osmith lint`: checks of an image.

use osmith_image::store::Store;
use osmith_lint::{CHECKS, Check, Finding, Severity, lint as find};
use osmith_report::{Class, printable};

use super::images::{parse_name, print};
use crate::args::{LintArgs, ReportFormat};
use crate::failure::{CommandFailure, CommandResult};

/// So many items of a finding are shown.
const SHOWN_ITEMS: usize = 5;

pub(crate) fn lint(
    args: &LintArgs,
    store: &dyn Fn() -> Result<Store, Box<dyn osmith_report::Failure>>,
) -> CommandResult {
    let Some(image) = &args.image else {
        return list(args.format);
    };
    require_known(&args.skip)?;
    let store = store()?;
    let image = store.image(&parse_name(image)?)?;
    let skip: Vec<&str> = args.skip.iter().map(String::as_str).collect();
    let findings = find(&store, &image, &skip)?;
    let count = |severity| {
        findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    match args.format {
        ReportFormat::Json => print(&json(&findings)?)?,
        ReportFormat::Text => {
            for finding in &findings {
                print(&text(finding, args.no_truncate))?;
            }
            let passed = CHECKS.len() - findings.len() - known(&args.skip);
            print(&format!(
                "{passed} checks passed, {warnings} warnings, {errors} errors\n"
            ))?;
        }
    }
    match errors + if args.fatal_warnings { warnings } else { 0 } {
        0 => Ok(()),
        _ => Err(CommandFailure::new(Class::Input, "the image is not as it should be").into()),
    }
}

/// How many checks are skipped.
fn known(skip: &[String]) -> usize {
    CHECKS
        .iter()
        .filter(|check| skip.iter().any(|name| name == check.name))
        .count()
}

fn require_known(skip: &[String]) -> Result<(), CommandFailure> {
    let is_check = |name: &&String| !CHECKS.iter().any(|check| check.name == name.as_str());
    match skip.iter().find(is_check) {
        None => Ok(()),
        Some(name) => {
            let message = format!("there is no check '{name}' to skip");
            Err(CommandFailure::new(Class::Usage, message).hint("osmith lint --list shows all"))
        }
    }
}

fn list(format: ReportFormat) -> CommandResult {
    if format == ReportFormat::Json {
        let checks = CHECKS.iter().map(|check| {
            serde_json::json!({
                "name": check.name,
                "severity": check.severity,
                "reason": check.reason,
                "remedy": check.remedy,
            })
        });
        return print(&json(&checks.collect::<Vec<_>>())?);
    }
    CHECKS.iter().try_for_each(|check| print(&entry(check)))
}

fn entry(check: &Check) -> String {
    let Check {
        name,
        severity,
        reason,
        remedy,
        ..
    } = check;
    format!("{name} ({})\n  {reason}\n  remedy: {remedy}\n", word(*severity))
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn text(finding: &Finding, is_whole: bool) -> String {
    let shown = if is_whole {
        finding.items.len()
    } else {
        SHOWN_ITEMS
    };
    let mut text = format!(
        "{}: {}: {}\n",
        word(finding.severity),
        finding.check,
        finding.reason
    );
    for item in finding.items.iter().take(shown) {
        text += &format!("  {}\n", printable(item));
    }
    match finding.items.len().saturating_sub(shown) {
        0 => {}
        more => text += &format!("  and {more} more\n"),
    }
    text + &format!("  remedy: {}\n", finding.remedy)
}

fn json(value: &impl serde::Serialize) -> Result<String, CommandFailure> {
    serde_json::to_string_pretty(value)
        .map(|text| text + "\n")
        .map_err(|error| CommandFailure::new(Class::Internal, "cannot write JSON").because(error))
}
