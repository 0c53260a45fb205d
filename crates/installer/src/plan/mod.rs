//! From a Kickstart file and what the machine is to an installation: all that is wrong is found before a disk is touched.
//!
//! ```text
//! Kickstart + disks, memory ──plan──▶ Installation ──with the image──▶ Spec of osmith-disk
//! ```

mod configuration;
mod disk;
mod layout;
mod network;
mod problems;
mod show;
mod source;

use osmith_config::Configuration;
use osmith_kickstart::{End, Kickstart, Problem, Section, Selinux};

use crate::disks::Disk;
use crate::network::Connection;
use layout::{Request, Room};
use problems::Problems;

pub use configuration::{Places, SettingsFile};
pub use source::Source;

/// What the machine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its disks.
    pub disks: Vec<Disk>,
    /// Its memory.
    pub memory_bytes: u64,
    /// What is followed by a machine that is installed from the medium; `None` if there is no medium with an image.
    pub medium: Option<String>,
}

/// An installation that can be: what is done to which disk, as far as that is known without the image.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The disk, which is erased.
    pub disk: Disk,
    /// Where the image comes from.
    pub source: Source,
    /// What the machine follows for updates, a name of a registry.
    pub follows: String,
    /// Partitions, accounts, settings.
    pub configuration: Configuration,
    /// Where the keys of the configuration stand.
    pub places: Places,
    /// What may not be as it was meant.
    pub warnings: Vec<Problem>,
    /// What comes after it.
    pub end: End,
    /// The connections that the file asks for.
    pub connections: Vec<Connection>,
    /// What `selinux` asks for.
    pub selinux: Option<Selinux>,
    requests: Vec<Request>,
    /// Sections with scripts, and how many there are.
    scripts: Vec<(Section, usize)>,
}

/// Plans the installation of a file, whose name is `file`. The error is everything that speaks against it.
pub fn plan(file: &str, kickstart: &Kickstart, facts: &Facts) -> Result<Installation, Vec<Problem>> {
    let mut problems = Problems::of(file);
    let source = source::of(kickstart, facts, &mut problems);
    let disk = disk::choose(kickstart, &facts.disks, &mut problems);
    // Sizes are looked at also if the disk is not known: one of the largest is as good as any.
    let largest = facts
        .disks
        .iter()
        .map(|disk| disk.size_bytes)
        .max()
        .unwrap_or(u64::MAX);
    let room = Room {
        disk_bytes: disk.map_or(largest, |disk| disk.size_bytes),
        memory_bytes: facts.memory_bytes,
    };
    let requests = layout::requests(kickstart, room, &mut problems);
    let configured = configuration::of(kickstart, &requests, &mut problems);
    let connections = network::connections(kickstart, &mut problems);
    warn_of_closed_doors(kickstart, &mut problems);
    let warnings = problems.finish()?;
    let (Some(disk), Some((source, follows)), Some((configuration, places))) = (disk, source, configured)
    else {
        // Whoever found nothing said why.
        return Err(warnings);
    };
    Ok(Installation {
        disk: disk.clone(),
        source,
        follows,
        configuration,
        places,
        warnings,
        end: kickstart.end.as_ref().map_or(End::Reboot, |action| action.end),
        connections,
        selinux: kickstart.selinux.clone(),
        requests,
        scripts: count_scripts(kickstart),
    })
}

/// The connections of a file, and what is wrong with them beside what its language finds.
pub fn connections_of(file: &str, kickstart: &Kickstart) -> (Vec<Connection>, Vec<Problem>) {
    let mut problems = Problems::of(file);
    let connections = network::connections(kickstart, &mut problems);
    let found = problems.finish();
    (connections, found.unwrap_or_else(|refusing| refusing))
}

impl Installation {
    /// Adds files of the machine.
    pub fn add_files(&mut self, files: impl IntoIterator<Item = SettingsFile>) {
        configuration::add_files(&mut self.configuration, files);
    }

    /// What is wrong with the configuration for this image, as problems of the Kickstart file.
    pub fn problems_of(&self, file: &str, error: &osmith_config::ConfigurationError) -> Vec<Problem> {
        let mut problems = Problems::of(file);
        configuration::refuse_all(error, &self.places, &mut problems);
        problems.finish().err().unwrap_or_default()
    }
}

/// Warns if nobody could log in.
fn warn_of_closed_doors(kickstart: &Kickstart, problems: &mut Problems) {
    let root_is_open = kickstart.rootpw.as_ref().is_some_and(|root| !root.lock);
    let user_is_open = kickstart
        .users
        .iter()
        .any(|user| user.password.is_some() && !user.lock);
    let has_scripts = kickstart.scripts_of(Section::Post).next().is_some();
    if !root_is_open && !user_is_open && kickstart.ssh_keys.is_empty() && !has_scripts {
        let remedy = "write user with a password, or sshkey, unless the image has accounts";
        problems.warn(None, "the file gives nobody a way to log in", remedy);
    }
}

fn count_scripts(kickstart: &Kickstart) -> Vec<(Section, usize)> {
    let sections = [Section::Pre, Section::PreInstall, Section::Post, Section::OnError];
    let counted = sections.map(|section| (section, kickstart.scripts_of(section).count()));
    counted.into_iter().filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests;
