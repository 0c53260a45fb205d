//! The installation of a machine from a Kickstart file, in the live system that an image's own kernel starts.
//!
//! What the kernel command line asks for ([`boot_options`]), the network with the image's own programs ([`network`]),
//! the Kickstart file from wherever it is ([`fetch`]), the disks ([`disks`]), what is done to which of them
//! ([`plan`](mod@plan)), doing it ([`run`]), the scripts of the file ([`scripts`]), the new system for them ([`target`]),
//! messages to every console ([`consoles`]), and room for what is fetched ([`memory`]).
//!
//! Functions take the root folder of the live system as `host`, under which `proc`, `sys`, `run`, `dev`, `etc` and
//! `usr` are looked up.

pub mod boot_options;
pub mod consoles;
pub mod disks;
pub mod fetch;
pub mod firmware;
pub mod memory;
pub mod network;
pub mod plan;
pub mod run;
pub mod scripts;
pub mod target;
