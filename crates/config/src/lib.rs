//! The configuration file of a disk: TOML or JSON becomes a checked model.
//!
//! ```text
//! TOML ─┐                    table of keys          typed readers
//!       ├─▶ tree of values ─────────────▶ problems ◀───────────── Configuration
//! JSON ─┘   with places      [`schema`]
//! ```
//!
//! The keys are those of bootc-image-builder's configuration file. [`Configuration::parse`] finds all problems of a file
//! at once: keys that do not exist, values of the wrong kind, names, paths and sizes that make no sense, and keys that
//! no disk can have, each with its place, its key, the reason and the way out. What takes an image to know, such as
//! whether a group exists, is checked where the configuration is applied.
#![forbid(unsafe_code)]

mod json;
mod model;
mod problem;
mod read;
mod schema;
mod size;
mod toml;
mod value;

pub use model::{
    Configuration, Directory, Disk, File, FileContents, Firewall, FirewallZone, Group, Locale, Mount, Owner,
    Partition, PartitionContents, Password, Services, SshKey, Sshd, Storage, Timezone, User,
};
pub use problem::{ConfigurationError, Position, Positions, Problem};

use problem::Problems;

/// How a configuration file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// TOML 1.1.
    Toml,
    /// JSON as RFC 8259 has it, without duplicate keys.
    Json,
}

/// The longest file that is read.
pub const MAX_BYTES: usize = 16 << 20;

impl Configuration {
    /// The configuration that a file is, or everything that is wrong with it.
    pub fn parse(bytes: &[u8], format: Format) -> Result<Self, ConfigurationError> {
        let mut problems = Problems::of(bytes);
        if bytes.len() > MAX_BYTES {
            problems.add(
                0..0,
                "",
                format!(
                    "the file is {} bytes long; at most {MAX_BYTES} are read",
                    bytes.len()
                ),
                "put large files into the image with COPY in its Containerfile",
            );
            return Err(problems.into_error());
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let at = error.valid_up_to();
                problems.add(at..at, "", "the file is not UTF-8 here", "save it as UTF-8");
                return Err(problems.into_error());
            }
        };
        let tree = match format {
            Format::Toml => toml::parse(text, &mut problems),
            Format::Json => json::parse(text, &mut problems),
        };
        let Some(tree) = tree else {
            return Err(problems.into_error());
        };
        let tree = match format {
            Format::Toml => &tree,
            Format::Json => json::unwrapped(&tree),
        };
        schema::check(tree, &mut problems);
        let configuration = read::configuration(tree, &mut problems);
        if problems.is_empty() {
            Ok(configuration)
        } else {
            Err(problems.into_error())
        }
    }
}

#[cfg(test)]
mod tests;
