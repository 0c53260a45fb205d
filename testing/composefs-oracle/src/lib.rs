//! What the comparisons share: trees made at random, and their translation to the upstream crates.

pub mod trees;
#[cfg(feature = "upstream")]
pub mod upstream;
