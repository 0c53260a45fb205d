//! File systems beside the root: their lines of `/etc/fstab`, and what systemd is not to mount.

use super::CustomizeError;
use super::edit::Edit;

const FSTAB: &str = "/etc/fstab";
/// What the problems of these settings are about.
const KEY: &str = "customizations";
/// systemd mounts the EFI system partition there if another partition is at `/boot`.
const ESP_DIRECTORY: &str = "/efi";
const ESP_AUTOMOUNT: &str = "/etc/systemd/system/efi.automount";
const MASK: &str = "/dev/null";

/// What a machine must be told of its partitions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MountSettings {
    /// Lines for `/etc/fstab`. `/boot` has none: systemd finds it.
    pub(crate) fstab: String,
    /// Whether boot entries and kernels have a partition of their own.
    pub(crate) has_boot: bool,
}

pub(super) fn apply(edit: &mut Edit, settings: &MountSettings) -> Result<(), CustomizeError> {
    if !settings.fstab.is_empty() {
        let mut text = edit.text(FSTAB)?.unwrap_or_default();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        edit.write_etc(KEY, FSTAB, &(text + &settings.fstab), 0o644);
    }
    // The root is read-only: systemd cannot make the directory, and its unit would fail at every start.
    let would_fail = settings.has_boot && !edit.is_directory(ESP_DIRECTORY) && !edit.exists(ESP_AUTOMOUNT);
    if would_fail && let Some(real) = edit.place(KEY, ESP_AUTOMOUNT, false) {
        edit.link(&real, MASK);
    }
    Ok(())
}
