//! Where the space of a disk goes.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use osmith_formats::tree::{Content, Node, Tree};
use osmith_image::store::Store;
use osmith_report::printable;
use serde::Serialize;

use crate::bytes::Size;
use crate::error::PlanError;
use crate::execute::Written;
use crate::plan::{Plan, PlannedPartition};

/// So many files are named.
const LARGEST_FILES: usize = 20;
/// `/usr/share/doc` counts for `/usr/share`.
const DIRECTORY_DEPTH: usize = 2;

/// Where the space of a disk goes. Its `Display` form is for people, its serialized form for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SpaceReport {
    /// The size of the disk.
    pub disk_bytes: u64,
    /// What each partition is used for.
    pub partitions: Vec<PartitionSpace>,
    /// The directories of the image, the largest first.
    pub directories: Vec<PathSpace>,
    /// The largest files of the image.
    pub largest_files: Vec<PathSpace>,
    /// How much contents that several files have in common would take if each had its own.
    pub shared_bytes: u64,
    /// The outputs, if they were written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Written>,
}

/// What a partition is used for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PartitionSpace {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// The contents of files.
    pub file_bytes: u64,
    /// What the kernel needs to verify them.
    pub verity_bytes: u64,
    /// The file system itself: inodes, directories, journal, and what files leave of their last blocks.
    pub file_system_bytes: u64,
    /// What can still be written.
    pub free_bytes: u64,
}

/// What is below a path of the image. Contents that several files have are counted at the first one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PathSpace {
    /// The path.
    pub path: String,
    /// How much is stored for it.
    pub file_bytes: u64,
    /// How many files that is.
    pub files: u64,
}

impl Plan {
    /// Where the space goes. `written` is what [`crate::execute()`] returned, or nothing.
    pub fn space(&self, store: &Store, written: &[Written]) -> Result<SpaceReport, PlanError> {
        let layouts = self.stored.contents.layouts()?;
        let volumes = self.stored.contents.volumes.iter().zip(&layouts);
        let partitions = self.partitions.iter().zip(volumes);
        let partitions = partitions.map(|(planned, (volume, layout))| {
            let verity_bytes = volume.verity_bytes();
            let file_bytes = volume.file_bytes() - verity_bytes;
            partition(planned, (file_bytes, verity_bytes), layout.free_bytes())
        });
        let tree = self.stored.image.tree(store)?;
        let counted = Counted::of(&tree);
        Ok(SpaceReport {
            disk_bytes: self.size_bytes,
            partitions: partitions.collect(),
            directories: counted.directories(),
            largest_files: counted.largest,
            shared_bytes: counted.shared_bytes,
            outputs: written.to_vec(),
        })
    }
}

fn partition(
    planned: &PlannedPartition,
    (file_bytes, verity_bytes): (u64, u64),
    free_bytes: u64,
) -> PartitionSpace {
    let size_bytes = planned.size_bytes;
    PartitionSpace {
        number: planned.number,
        name: planned.name.clone(),
        size_bytes,
        file_bytes,
        verity_bytes,
        file_system_bytes: size_bytes.saturating_sub(file_bytes + verity_bytes + free_bytes),
        free_bytes,
    }
}

/// The files of an image, each of their contents once.
struct Counted {
    by_directory: BTreeMap<String, (u64, u64)>,
    largest: Vec<PathSpace>,
    shared_bytes: u64,
}

impl Counted {
    fn of(tree: &Tree) -> Self {
        let (mut seen, mut linked) = (HashSet::new(), HashSet::new());
        let mut counted = Counted {
            by_directory: BTreeMap::new(),
            largest: Vec::new(),
            shared_bytes: 0,
        };
        for (path, id) in tree.walk() {
            let Node::Regular(content) = &tree.inode(id).node else {
                continue;
            };
            let size_bytes = content.size_bytes();
            let is_stored = match content {
                Content::Object { digest, .. } => seen.insert(*digest),
                Content::Inline(_) => true,
            };
            match (linked.insert(id), is_stored) {
                (true, true) => counted.add(&String::from_utf8_lossy(&path), size_bytes),
                (true, false) => counted.shared_bytes += size_bytes,
                (false, _) => {}
            }
        }
        counted
            .largest
            .sort_by_key(|file| std::cmp::Reverse(file.file_bytes));
        counted.largest.truncate(LARGEST_FILES);
        counted
    }

    fn add(&mut self, path: &str, file_bytes: u64) {
        let above: Vec<&str> = path.split('/').collect();
        let depth = DIRECTORY_DEPTH.min(above.len() - 1);
        let directory = format!("/{}", above.get(..depth).unwrap_or_default().join("/"));
        let (bytes, files) = self.by_directory.entry(directory).or_default();
        *bytes += file_bytes;
        *files += 1;
        self.largest.push(PathSpace {
            path: format!("/{path}"),
            file_bytes,
            files: 1,
        });
    }

    fn directories(&self) -> Vec<PathSpace> {
        let directories = self.by_directory.iter();
        let mut directories: Vec<PathSpace> = directories
            .map(|(path, (file_bytes, files))| PathSpace {
                path: path.clone(),
                file_bytes: *file_bytes,
                files: *files,
            })
            .collect();
        directories.sort_by_key(|directory| std::cmp::Reverse(directory.file_bytes));
        directories
    }
}

impl fmt::Display for SpaceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = ["size", "files", "verity", "file system", "free"].map(|name| format!("{name:>11}"));
        writeln!(f, "{:<14}{}", "Partition", columns.concat())?;
        for partition in &self.partitions {
            let sizes = [
                partition.size_bytes,
                partition.file_bytes,
                partition.verity_bytes,
                partition.file_system_bytes,
                partition.free_bytes,
            ];
            let sizes = sizes.map(|bytes| format!("{:>11}", Size(bytes).to_string()));
            let name = format!("{} {}", partition.number, partition.name);
            writeln!(f, "{name:<14}{}", sizes.concat())?;
        }
        writeln!(f, "{:<14}{:>11}", "Disk", Size(self.disk_bytes).to_string())?;
        table(f, "Directory", &self.directories)?;
        table(f, "Largest file", &self.largest_files)?;
        let shared = Size(self.shared_bytes);
        writeln!(
            f,
            "\nFiles with the same contents would take {shared} more if each had its own."
        )?;
        if !self.outputs.is_empty() {
            writeln!(f, "\n{:>11}{:>11}  Output", "length", "on disk")?;
        }
        for output in &self.outputs {
            let (length, allocated) = (Size(output.len_bytes), Size(output.allocated_bytes));
            let (length, allocated) = (length.to_string(), allocated.to_string());
            writeln!(f, "{length:>11}{allocated:>11}  {}", output.path.display())?;
        }
        Ok(())
    }
}

fn table(f: &mut fmt::Formatter<'_>, title: &str, rows: &[PathSpace]) -> fmt::Result {
    writeln!(f, "\n{:>11}{:>9}  {title}", "size", "files")?;
    rows.iter().try_for_each(|row| {
        let size = Size(row.file_bytes).to_string();
        writeln!(f, "{size:>11}{:>9}  {}", row.files, printable(&row.path))
    })
}
