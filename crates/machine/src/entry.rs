//! Boot entries: what a boot loader offers, one file each.
//!
//! Source: the UAPI group's Boot Loader Specification, type 1, as bootc writes and reads it: a key, one space, a
//! value. `#` starts a comment. Keys that are not known here are kept in their order.
//!
//! ```text
//! title Example OS 12
//! version 12.3
//! linux /EFI/Linux/bootc_composefs-<id>/vmlinuz
//! initrd /EFI/Linux/bootc_composefs-<id>/initrd
//! options root=UUID=<uuid> rw composefs=<id>
//! sort-key bootc-example-0
//! ```

use osmith_formats::verity::Digest;

use crate::kernel_arguments::ComposefsArgument;

/// The prefix of the folder or file that holds the kernel of a deployment.
pub const KERNEL_PREFIX: &str = "bootc_composefs-";

/// The end of the name of a unified kernel image.
pub const UKI_SUFFIX: &str = ".efi";

/// Which of two deployments a boot entry starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// The one that is started unless somebody chooses.
    Primary,
    /// The one to go back to.
    Secondary,
}

/// A boot entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootEntry {
    /// What the menu shows.
    pub title: Option<String>,
    /// The version, for sorting.
    pub version: Option<String>,
    /// The path of the kernel on the partition of the entry.
    pub linux: Option<String>,
    /// The paths of initramfs archives.
    pub initrd: Vec<String>,
    /// The path of a unified kernel image (`uki` or `efi`).
    pub uki: Option<String>,
    /// Kernel arguments.
    pub options: String,
    /// The first thing entries are sorted by.
    pub sort_key: Option<String>,
    /// Keys and values that are not known here.
    pub extra: Vec<(String, String)>,
}

impl BootEntry {
    /// Reads the text of an entry.
    pub fn parse(text: &str) -> Self {
        let mut entry = BootEntry::default();
        let lines = text
            .lines()
            .map(str::trim_start)
            .filter(|line| !line.starts_with('#'));
        for (key, value) in lines.filter_map(|line| line.split_once([' ', '\t'])) {
            entry.set(key, value.trim());
        }
        entry
    }

    fn set(&mut self, key: &str, value: &str) {
        let owned = value.to_owned();
        match key {
            "title" => self.title = Some(owned),
            "version" => self.version = Some(owned),
            "linux" => self.linux = Some(owned),
            "initrd" => self.initrd.push(owned),
            "uki" | "efi" => self.uki = Some(owned),
            "options" if self.options.is_empty() => self.options = owned,
            "options" => {
                self.options.push(' ');
                self.options.push_str(value);
            }
            "sort-key" => self.sort_key = Some(owned),
            _ => self.extra.push((key.to_owned(), owned)),
        }
    }

    /// The text of the file, in the order of keys that bootc writes.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: &str| {
            text.push_str(key);
            text.push(' ');
            text.push_str(value);
            text.push('\n');
        };
        let options = (!self.options.is_empty()).then_some(&self.options);
        for (key, value) in [
            ("title", &self.title),
            ("version", &self.version),
            ("linux", &self.linux),
        ] {
            value.iter().for_each(|value| line(key, value));
        }
        self.initrd.iter().for_each(|value| line("initrd", value));
        self.uki.iter().for_each(|value| line("efi", value));
        options.into_iter().for_each(|value| line("options", value));
        self.sort_key.iter().for_each(|value| line("sort-key", value));
        self.extra.iter().for_each(|(key, value)| line(key, value));
        text
    }

    /// The deployment that the entry starts: from its kernel arguments, or from the name of its unified kernel.
    pub fn deployment(&self) -> Option<Digest> {
        if let Ok(Some(argument)) = ComposefsArgument::find(&self.options) {
            return Some(argument.digest);
        }
        let name = self.uki.as_deref()?.rsplit('/').next()?;
        name.strip_suffix(UKI_SUFFIX)?
            .strip_prefix(KERNEL_PREFIX)?
            .parse()
            .ok()
    }
}

/// The name of the folder for the kernel of a deployment.
pub fn kernel_folder(deployment: &Digest) -> String {
    format!("{KERNEL_PREFIX}{deployment}")
}

/// The name of the unified kernel image of a deployment.
pub fn uki_name(deployment: &Digest) -> String {
    format!("{KERNEL_PREFIX}{deployment}{UKI_SUFFIX}")
}

/// The name of the file of an entry.
pub fn file_name(os_id: &str, version: &str, priority: Priority) -> String {
    let os_id = file_safe(os_id).replace('-', "_");
    let number = match priority {
        Priority::Primary => 1,
        Priority::Secondary => 0,
    };
    format!("bootc_{os_id}-{}-{number}.conf", file_safe(version))
}

/// The sort key of an entry; smaller ones come first.
pub fn sort_key(os_id: &str, priority: Priority) -> String {
    let number = match priority {
        Priority::Primary => 0,
        Priority::Secondary => 1,
    };
    format!("bootc-{}-{number}", file_safe(os_id))
}

/// What a boot loader and FAT take in a file name; anything else becomes `_`.
fn file_safe(text: &str) -> String {
    let safe = |character: char| {
        let allowed = character.is_ascii_alphanumeric() || "._+~-".contains(character);
        if allowed { character } else { '_' }
    };
    text.chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(digest: Digest) -> (BootEntry, String) {
        let entry = BootEntry {
            title: Some("Example OS 12".to_owned()),
            version: Some("12.3".to_owned()),
            linux: Some(format!("/EFI/Linux/bootc_composefs-{digest}/vmlinuz")),
            initrd: vec![format!("/EFI/Linux/bootc_composefs-{digest}/initrd")],
            options: format!("root=UUID=1 rw console=ttyS0 composefs={digest}"),
            sort_key: Some("bootc-example-0".to_owned()),
            ..BootEntry::default()
        };
        let text = format!(
            "title Example OS 12\nversion 12.3\nlinux /EFI/Linux/bootc_composefs-{digest}/vmlinuz\n\
             initrd /EFI/Linux/bootc_composefs-{digest}/initrd\n\
             options root=UUID=1 rw console=ttyS0 composefs={digest}\nsort-key bootc-example-0\n"
        );
        (entry, text)
    }

    #[test]
    fn the_text_is_that_of_bootc() {
        let (entry, text) = sample(Digest::of(b"image"));
        assert_eq!(entry.to_text(), text);
        assert_eq!(BootEntry::parse(&text), entry);
        assert_eq!(entry.deployment(), Some(Digest::of(b"image")));
    }

    #[test]
    fn foreign_entries_are_read() {
        let text = "# by hand\n  title\tMine\nlinux   /vmlinuz\ninitrd /a\ninitrd /b\noptions ro\noptions quiet\nx-own  1 2\n\n";
        let entry = BootEntry::parse(text);
        assert_eq!(entry.initrd, ["/a", "/b"]);
        assert_eq!(entry.options, "ro quiet");
        assert_eq!(entry.extra, [("x-own".to_owned(), "1 2".to_owned())]);
        assert_eq!(entry.deployment(), None);
    }

    #[test]
    fn a_unified_kernel_names_its_deployment() {
        let digest = Digest::of(b"image");
        let entry = BootEntry::parse(&format!(
            "version 1\nuki /EFI/Linux/bootc/bootc_composefs-{digest}.efi\n"
        ));
        assert_eq!(entry.deployment(), Some(digest));
    }

    #[test]
    fn names_are_safe_for_fat() {
        let name = file_name("opensuse-leap", "15.6 (a/b)", Priority::Primary);
        assert_eq!(name, "bootc_opensuse_leap-15.6__a_b_-1.conf");
        assert_eq!(sort_key("debian", Priority::Secondary), "bootc-debian-1");
    }
}
