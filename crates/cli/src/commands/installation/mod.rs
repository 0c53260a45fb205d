//! Installations from Kickstart files: `osmith install kickstart` on a system that runs, and the program that an
//! installation medium starts.

mod end;
mod images;
mod includes;
mod live;
mod running;

pub(crate) use live::installer;
pub(crate) use running::explain;
pub(crate) use running::install_kickstart;

use std::path::Path;

use osmith_report::Class;

use crate::failure::CommandFailure;

/// The machine that this program runs on.
const HOST: &str = "/";

/// The memory of this machine.
fn memory_bytes(host: &Path) -> u64 {
    let text = std::fs::read_to_string(host.join("proc/meminfo")).unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() << 10
}

/// Two disks of one image in one machine must have different identifiers.
pub(super) fn seed(wanted: Option<u64>) -> Result<u64, CommandFailure> {
    let mut bytes = [0; 8];
    if let Some(seed) = wanted {
        return Ok(seed);
    }
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(8) => Ok(u64::from_ne_bytes(bytes)),
        _ => {
            let failure = CommandFailure::new(Class::Environment, "the system has no random numbers");
            Err(failure.hint("give a number with --seed"))
        }
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
