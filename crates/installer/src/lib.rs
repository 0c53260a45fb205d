//! The installation of a machine from a Kickstart file, in the live system that an image's own kernel starts.

pub mod disks;
pub mod plan;
pub mod target;
