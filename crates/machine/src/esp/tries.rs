//! The tries of a boot entry that GRUB counted.
//!
//! GRUB renames no files, but writes into one that is there: `loader/tries.env`, a block of GRUB's environment with the
//! variables `tried`, the name of a file of the menu, and `tries`, how often it was started under that name. Here they go
//! into the name, as if the boot loader had counted as others do.
//!
//! ```text
//! # GRUB Environment Block
//! tried=bootc_debian-13-1+3.conf
//! tries=1
//! ##########...                     to 1024 bytes
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use super::{Esp, Result, failed};
use crate::boot_menu::{BootCounter, MenuEntry};

/// The file, from the root of the partition.
pub const TRIES_FILE: &str = "loader/tries.env";
const HEADER: &str = "# GRUB Environment Block\n";
/// The length of the block, which GRUB cannot change.
const BLOCK_BYTES: usize = 1024;

/// Tries that GRUB counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tries {
    /// The file of the menu.
    file_name: String,
    /// How often it was started.
    count: u32,
}

/// A block without variables.
pub fn empty_tries_block() -> Vec<u8> {
    let mut block = HEADER.as_bytes().to_vec();
    block.resize(BLOCK_BYTES, b'#');
    block
}

impl Esp {
    /// The tries that GRUB counted since they were taken over; none on a machine without that file.
    pub(crate) fn tries(&self) -> Result<Option<Tries>> {
        let mut block = Vec::new();
        let read = File::open(self.path.join(TRIES_FILE))
            .and_then(|file| file.take(BLOCK_BYTES as u64).read_to_end(&mut block));
        match read {
            Ok(_) => Ok(parse(&String::from_utf8_lossy(&block))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", TRIES_FILE)(error)),
        }
    }

    /// Takes the tries over into the name of the entry, then forgets them. What is cut off in between is done again, or
    /// leaves the tries of a name that is no more.
    pub(crate) fn take_over(&self, tries: &Tries) -> Result<()> {
        let menu = self.menu()?;
        let entry = menu
            .entries
            .iter()
            .find(|entry| entry.file_name() == tries.file_name);
        if let Some((entry, counter)) = entry.and_then(|entry| Some((entry, entry.counter?))) {
            let count = tries.count.min(counter.left);
            let counted = MenuEntry {
                counter: Some(BootCounter {
                    left: counter.left - count,
                    done: counter.done.saturating_add(count),
                }),
                ..entry.clone()
            };
            self.rename_entry(&entry.file_name(), &counted.file_name())?;
        }
        // Not a new file: GRUB writes to where this one is.
        let written = File::options()
            .write(true)
            .open(self.path.join(TRIES_FILE))
            .and_then(|file| file.write_all_at(&empty_tries_block(), 0));
        written.map_err(failed("write", TRIES_FILE))?;
        self.sync()
    }
}

fn parse(block: &str) -> Option<Tries> {
    let lines = block.strip_prefix(HEADER)?.lines();
    let variables: Vec<_> = lines.filter_map(|line| line.split_once('=')).collect();
    let value = |name: &str| {
        let mut found = variables.iter().filter(|(key, _)| *key == name);
        found.next().map(|(_, value)| *value)
    };
    let file_name = value("tried").filter(|name| !name.is_empty())?;
    Some(Tries {
        file_name: file_name.to_owned(),
        count: value("tries")?.parse().ok()?,
    })
}
