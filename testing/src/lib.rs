//! What the tests of several crates share: fixtures, oracles, fault-injecting I/O, the VM harness.
