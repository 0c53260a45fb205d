//! The state of a machine as text for people, in the form bootc's users know.

use std::fmt::Write;

use osmith_image::Sha256Digest;

use super::host::{AccessMode, DeploymentStatus, Host, ImageReference, ImageStatus, Persistence, UsrOverlay};
use crate::failures::FailedDeployment;

/// The transport that is not said.
const REGISTRY: &str = "registry";

/// The text, of whole lines. `architecture` and the like stand behind the digests.
pub fn render(host: &Host) -> String {
    let status = &host.status;
    let Some(booted) = &status.booted else {
        return "No image was installed on this machine: it was not started from a deployment.\n".to_owned();
    };
    let mut blocks = Vec::new();
    blocks.extend(status.staged.as_ref().map(|entry| block("  Staged", entry, None)));
    blocks.push(block("● Booted", booted, status.usr_overlay));
    let rollback = if status.rollback_queued {
        "  Rollback (starts next)"
    } else {
        "  Rollback"
    };
    blocks.extend(status.rollback.as_ref().map(|entry| block(rollback, entry, None)));
    let others = status.other_deployments.iter();
    blocks.extend(others.map(|entry| block("   Other", entry, None)));
    blocks.extend(status.failed_deployments.iter().map(failure));
    blocks.join("\n")
}

/// A headline and right-aligned rows.
fn block(slot: &str, entry: &DeploymentStatus, overlay: Option<UsrOverlay>) -> String {
    let image = entry.image.as_ref();
    let (heading, name) = match image {
        Some(image) => (format!("{slot} image"), displayed(&image.image)),
        None => (format!("{slot} deployment"), "of an unknown image".to_owned()),
    };
    let width = heading.chars().count();
    let mut text = format!("{heading}: {name}\n");
    for (label, value) in rows(entry, image, overlay) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{label:>width$}: {value}");
    }
    text
}

/// A deployment that was given up, and why.
fn failure(failed: &FailedDeployment) -> String {
    let digest = failed.manifest_digest.as_ref().map(Sha256Digest::to_string);
    let transport = failed.transport.as_deref().unwrap_or(REGISTRY);
    let image = failed.image.as_deref().map(|image| named(image, transport));
    let rows = [
        ("Failed image", image),
        ("Digest", digest),
        ("Verity", Some(failed.deployment.clone())),
        ("Reason", Some(failed.reason.clone())),
        ("Tries", Some(failed.tries.to_string())),
        ("Time", Some(failed.time.clone())),
    ];
    let rows = rows
        .into_iter()
        .filter_map(|(label, value)| Some((label, value?)));
    rows.map(|(label, value)| format!("{label:>14}: {value}\n"))
        .collect()
}

fn rows(
    entry: &DeploymentStatus,
    image: Option<&ImageStatus>,
    overlay: Option<UsrOverlay>,
) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if let Some(image) = image {
        rows.push((
            "Digest",
            format!("{} ({})", image.image_digest, image.architecture),
        ));
    }
    if let Some(composefs) = &entry.composefs {
        rows.push(("Verity", composefs.verity.clone()));
    }
    rows.extend(image.and_then(version));
    if entry.pinned {
        rows.push(("Pinned", "yes".to_owned()));
    }
    if entry.download_only {
        rows.push(("Download only", "yes".to_owned()));
    }
    rows.extend(overlay.map(|overlay| ("/usr overlay", displayed_overlay(overlay))));
    rows
}

fn version(image: &ImageStatus) -> Option<(&'static str, String)> {
    match (&image.version, &image.timestamp) {
        (Some(version), Some(timestamp)) => Some(("Version", format!("{version} ({timestamp})"))),
        (Some(version), None) => Some(("Version", version.clone())),
        (None, Some(timestamp)) => Some(("Timestamp", timestamp.clone())),
        (None, None) => None,
    }
}

fn displayed(image: &ImageReference) -> String {
    named(&image.image, &image.transport)
}

/// A registry is what everybody expects, any other transport is said.
fn named(image: &str, transport: &str) -> String {
    match transport {
        REGISTRY => image.to_owned(),
        transport => format!("{transport}:{image}"),
    }
}

fn displayed_overlay(overlay: UsrOverlay) -> String {
    let persistence = match overlay.persistence {
        Persistence::Transient => "transient",
        Persistence::Persistent => "persistent",
    };
    let access = match overlay.access_mode {
        AccessMode::ReadOnly => "read-only",
        AccessMode::ReadWrite => "read/write",
    };
    format!("{persistence}, {access}")
}
