//! What the tests of several crates share: fixtures, oracles, fault-injecting I/O, the VM harness.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod child;
pub mod oracle;
pub mod registry;
pub mod vm;
