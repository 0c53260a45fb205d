//! The image crate as its callers see it: round trips, bad input, other people's tools.

mod archives;
mod indexes;
mod malicious;
mod oracles;
mod round_trips;
mod store;
mod trees;
