//! An image becomes a disk: plan, partitions, file systems, output formats.
//!
//! [`plan()`] turns what is wanted ([`Spec`]) and what the image is into a [`Plan`], which can be shown; [`execute()`]
//! writes it. The file systems and the partition table are written directly, in one pass from the objects of the
//! store to the output formats: no right, no device and no program is needed.

mod bytes;
mod chunk;
mod contents;
mod error;
mod execute;
mod identity;
mod output;
mod plan;
mod source;
mod spec;
mod turn;
mod write;

pub use bytes::Size;
pub use error::{Needed, PlanError, WriteError};
pub use execute::{Destination, Written, execute};
pub use plan::{Plan, PlannedOutput, PlannedPartition, plan};
pub use spec::{Compression, ImageType, Spec};
