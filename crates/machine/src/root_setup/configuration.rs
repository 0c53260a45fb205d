//! How the root is put together: `/usr/lib/composefs/setup-root-conf.toml` of the initramfs.
//!
//! ```toml
//! [root]
//! transient = false      # a writable layer in memory over everything
//! [etc]
//! mount = "bind"         # none = root, bind, overlay, transient = volatile
//! [var]
//! transient = false      # short for mount = "transient"; not looked at if there is a mount
//! ```

use serde::Deserialize;

/// Where the settings are, from the root directory on.
pub(crate) const PATH: &str = "usr/lib/composefs/setup-root-conf.toml";

/// How a folder is made writable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FolderKind {
    /// Not at all: it is as the root is.
    #[serde(alias = "root")]
    None,
    /// The folder in the state of the deployment.
    Bind,
    /// A layer in the state of the deployment, over the folder of the image.
    Overlay,
    /// A layer in memory, over the folder of the image.
    #[serde(alias = "volatile")]
    Transient,
}

impl FolderKind {
    /// Whether what is changed in the folder is there after the next start.
    pub(crate) fn is_kept(self) -> bool {
        matches!(self, FolderKind::Bind | FolderKind::Overlay)
    }
}

/// The settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Configuration {
    /// Whether the root gets a writable layer in memory.
    pub(crate) root_transient: bool,
    /// How `/etc` is made writable.
    pub(crate) etc: FolderKind,
    /// How `/var` is made writable.
    pub(crate) var: FolderKind,
    var_is_set: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct File {
    root: Root,
    etc: Folder,
    var: Folder,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Root {
    transient: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Folder {
    mount: Option<FolderKind>,
    transient: bool,
}

impl Folder {
    fn kind(&self) -> FolderKind {
        match (self.mount, self.transient) {
            (Some(kind), _) => kind,
            (None, true) => FolderKind::Transient,
            (None, false) => FolderKind::Bind,
        }
    }
}

impl Default for Configuration {
    fn default() -> Self {
        Configuration::from(File::default())
    }
}

impl From<File> for Configuration {
    fn from(file: File) -> Self {
        Configuration {
            root_transient: file.root.transient,
            etc: file.etc.kind(),
            var: file.var.kind(),
            var_is_set: file.var.mount.is_some() || file.var.transient,
        }
    }
}

impl Configuration {
    /// Reads the text of the file; keys that are not known are skipped, as the file is shared with other programs.
    pub(crate) fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str::<File>(text).map(Configuration::from)
    }

    /// Nothing is kept: what is changed is in memory.
    pub(crate) fn in_memory() -> Self {
        Configuration {
            root_transient: false,
            etc: FolderKind::Transient,
            var: FolderKind::Transient,
            var_is_set: true,
        }
    }

    /// Leaves `/var` to systemd if the kernel arguments ask systemd to make it volatile.
    pub(crate) fn with_volatile(mut self, arguments: &[String]) -> Self {
        let volatile = arguments
            .iter()
            .any(|argument| argument == "systemd.volatile=state" || argument == "systemd.volatile=overlay");
        if volatile && !self.var_is_set {
            self.var = FolderKind::None;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_means_binds() {
        let configuration = Configuration::parse("").unwrap();
        assert_eq!(
            (configuration.etc, configuration.var),
            (FolderKind::Bind, FolderKind::Bind)
        );
        assert!(!configuration.root_transient);
    }

    #[test]
    fn a_mount_counts_more_than_transient() {
        let text =
            "[root]\ntransient = true\n[etc]\ntransient = true\n[var]\nmount = \"root\"\ntransient = true\n";
        let configuration = Configuration::parse(text).unwrap();
        assert_eq!(
            (configuration.etc, configuration.var),
            (FolderKind::Transient, FolderKind::None)
        );
        assert!(configuration.root_transient);
        let text = "[etc]\nmount = \"volatile\"\n[var]\nmount = \"overlay\"\n";
        let configuration = Configuration::parse(text).unwrap();
        assert_eq!(
            (configuration.etc, configuration.var),
            (FolderKind::Transient, FolderKind::Overlay)
        );
        assert!(Configuration::parse("[etc]\nmount = \"tmpfs\"\n").is_err());
    }

    #[test]
    fn systemd_may_take_var_over_unless_it_was_set() {
        let volatile = ["systemd.volatile=state".to_owned()];
        assert_eq!(
            Configuration::parse("").unwrap().with_volatile(&volatile).var,
            FolderKind::None
        );
        assert_eq!(
            Configuration::parse("").unwrap().with_volatile(&[]).var,
            FolderKind::Bind
        );
        let set = Configuration::parse("[var]\nmount = \"bind\"\n").unwrap();
        assert_eq!(set.with_volatile(&volatile).var, FolderKind::Bind);
    }
}
