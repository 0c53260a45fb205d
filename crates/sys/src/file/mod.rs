//! Files: written so that they appear complete or not at all, copied without reading where the file system can,
//! opened without leaving a root, and their extended attributes.

mod buffer;
mod cache;
mod copy;
mod flags;
mod new;
mod open;
mod tree;
mod xattr;

pub use buffer::PageBuffer;
pub use cache::{bypass_page_cache, start_writeback, write_all_at};
pub use copy::{CopyMethod, copy_contents, data_ranges};
pub use flags::set_immutable;
pub use new::NewFile;
pub use open::{open_beneath, open_directory, open_in_root, open_without_links};
pub use tree::copy_tree;
pub use xattr::{
    Attribute, list_attributes, read_attribute, read_attributes, remove_attribute, set_attribute,
    set_file_attribute,
};

use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

/// The path under which this process finds an open file again, also one without a name.
pub fn descriptor_path(file: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()))
}
