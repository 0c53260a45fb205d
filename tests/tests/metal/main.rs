//! Machines without a system: the image is a medium, a Kickstart file says what to do, and nobody watches.

mod lab;
mod network_boot;
mod offline;
mod power_cut;
mod refusals;
mod registry;
mod unattended;
