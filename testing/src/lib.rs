//! What the tests of several crates share: fixtures, oracles, fault-injecting I/O, the VM harness.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

pub mod certificates;
mod child;
pub mod fault_proxy;
pub mod forward_proxy;
pub mod oracle;
pub mod registry;
mod server;
pub mod vm;
pub mod web;
