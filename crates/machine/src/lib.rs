//! A root file system that osmith manages: deployments, boot entries, status.
//!
//! The layout on disk, the kernel arguments and the boot entries are those of bootc's composefs backend, so that
//! either program can run a machine that the other one made.

pub mod boot_menu;
pub mod check;
pub mod deploy;
mod deploy_error;
pub mod drift;
mod drop_in;
pub mod entry;
pub mod esp;
pub mod etc;
pub mod failures;
pub mod grub;
pub mod health;
pub mod install;
pub mod kargs_d;
pub mod kernel_arguments;
pub mod lock;
pub mod log;
pub mod machine;
pub mod medium;
pub mod origin;
mod os_release;
pub mod root_setup;
pub mod staged;
pub mod status;
pub mod uki;
pub mod usr_overlay;
mod writable;
