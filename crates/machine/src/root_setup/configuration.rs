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

/// How a folder is made writable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
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

/// The settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Configuration {
    /// Whether the root gets a writable layer in memory.
    pub(super) root_transient: bool,
    /// How `/etc` is made writable.
    pub(super) etc: Kind,
    /// How `/var` is made writable.
    pub(super) var: Kind,
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
    mount: Option<Kind>,
    transient: bool,
}

impl Folder {
    fn kind(&self) -> Kind {
        match (self.mount, self.transient) {
            (Some(kind), _) => kind,
            (None, true) => Kind::Transient,
            (None, false) => Kind::Bind,
        }
    }
}

impl Configuration {
    /// Reads the text of the file; keys that are not known are skipped, as the file is shared with other programs.
    pub(super) fn parse(text: &str) -> Result<Self, toml::de::Error> {
        let file: File = toml::from_str(text)?;
        Ok(Configuration {
            root_transient: file.root.transient,
            etc: file.etc.kind(),
            var: file.var.kind(),
            var_is_set: file.var.mount.is_some() || file.var.transient,
        })
    }

    /// Leaves `/var` to systemd if the kernel arguments ask systemd to make it volatile.
    pub(super) fn with_volatile(mut self, arguments: &[String]) -> Self {
        let volatile = arguments
            .iter()
            .any(|argument| argument == "systemd.volatile=state" || argument == "systemd.volatile=overlay");
        if volatile && !self.var_is_set {
            self.var = Kind::None;
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
        assert_eq!((configuration.etc, configuration.var), (Kind::Bind, Kind::Bind));
        assert!(!configuration.root_transient);
    }

    #[test]
    fn a_mount_counts_more_than_transient() {
        let text =
            "[root]\ntransient = true\n[etc]\ntransient = true\n[var]\nmount = \"root\"\ntransient = true\n";
        let configuration = Configuration::parse(text).unwrap();
        assert_eq!(
            (configuration.etc, configuration.var),
            (Kind::Transient, Kind::None)
        );
        assert!(configuration.root_transient);
        let text = "[etc]\nmount = \"volatile\"\n[var]\nmount = \"overlay\"\n";
        let configuration = Configuration::parse(text).unwrap();
        assert_eq!(
            (configuration.etc, configuration.var),
            (Kind::Transient, Kind::Overlay)
        );
        assert!(Configuration::parse("[etc]\nmount = \"tmpfs\"\n").is_err());
    }

    #[test]
    fn systemd_may_take_var_over_unless_it_was_set() {
        let volatile = ["systemd.volatile=state".to_owned()];
        assert_eq!(
            Configuration::parse("").unwrap().with_volatile(&volatile).var,
            Kind::None
        );
        assert_eq!(
            Configuration::parse("").unwrap().with_volatile(&[]).var,
            Kind::Bind
        );
        let set = Configuration::parse("[var]\nmount = \"bind\"\n").unwrap();
        assert_eq!(set.with_volatile(&volatile).var, Kind::Bind);
    }
}
