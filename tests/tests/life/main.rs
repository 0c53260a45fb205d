//! The life of a machine: it follows its image in a registry, keeps what is its own, and comes back by itself when an
//! update is bad, its power is cut or its disk is damaged.

mod bios;
mod configured;
mod damage;
mod etc_modes;
mod failure;
mod formats;
mod install;
mod power_cut;
mod story;
mod unified;
mod update;
