//! An image becomes a disk: plan, partitions, file systems, output formats.
//!
//! [`plan()`] turns what is wanted ([`Spec`]) and what the image is into a [`Plan`], which can be shown; [`execute()`]
//! writes it, [`execute_on_device()`] onto a disk that is there. The file systems and the partition table are written
//! directly, in one pass from the objects of the store to the output formats: no right, no device and no program is needed.

mod bios;
mod bytes;
mod chunk;
mod configured;
mod contents;
mod customize;
mod device;
mod error;
mod execute;
mod identity;
pub mod medium;
mod mounts;
mod new_files;
mod output;
mod plan;
mod real_path;
mod source;
mod space;
mod spec;
mod storage;
mod turn;
mod volume;
mod write;

pub use bios::BiosBootError;
pub use bytes::Size;
pub use customize::CustomizeError;
pub use device::{Device, DeviceError, find_contents};
pub use error::{FormatError, MountPointReason, Needed, PlanError, WriteError};
pub use execute::{Destination, HiddenDisk, Written, execute, execute_on_device, write_on_device};
pub use plan::{Plan, PlannedOutput, PlannedPartition, plan, plan_for_device};
pub use space::{PartitionSpace, PathSpace, SpaceReport};
pub use spec::{Codec, Compression, ImageType, Spec};
