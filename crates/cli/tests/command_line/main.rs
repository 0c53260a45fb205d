//! The program `osmith` as its users meet it: help, and what it says and leaves behind when something is wrong.

mod builds;
mod containers;
mod errors;
mod full;
mod help;
mod image_builder;
mod indexes;
mod kickstart;
mod killed_builds;
mod lint;
mod person;
mod program;
mod proxies;
mod pulls;
mod registries;
mod remote_sources;
mod silence;
mod users;
mod virtual_machines;
