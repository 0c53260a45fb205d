//! `osmith vm`: boots a disk, or an image, in QEMU, the way a machine would boot it.
//!
//! ```text
//! arguments + what is on this computer -> Machine (pure) -> arguments of QEMU (pure) -> child process
//! ```
//!
//! The machine is an x86-64 `q35` or an arm64 `virt` with UEFI firmware, a virtio disk and user-mode networking: nothing
//! of it needs root. An installer gets its medium, or is started as PXE would start it.
//! The program runs in the foreground until the machine powers off. It does not manage machines: what should outlive a
//! terminal is a task for libvirt.

mod accelerator;
mod architecture;
mod arguments;
mod define;
mod disk;
mod firmware;
mod forward;
mod installer;
mod machine;
mod monitor;
mod process;
mod qemu;
mod run;
mod source;
mod ssh;
mod start;

pub(crate) use arguments::VmArgs;
pub(crate) use run::run;
