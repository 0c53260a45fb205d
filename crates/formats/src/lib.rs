//! On-disk formats that no good library writes, as pure functions over bytes.
//!
//! Nothing here touches a file, a process, a clock or a source of randomness: times, identifiers and salts are
//! inputs, so the same input always gives the same bytes.

#![forbid(unsafe_code)]

mod calendar;
pub mod composefs;
pub mod cpio;
pub mod efi_boot;
pub mod erofs;
pub mod ext4;
pub mod fat32;
pub mod gpt;
pub mod grub;
pub mod iso9660;
pub mod medium;
pub mod ova;
pub mod qcow2;
pub mod splitstream;
pub mod swap;
pub mod tar;
pub mod tree;
pub mod verity;
pub mod vhd;
pub mod vmdk;
pub mod xml;
pub mod xz;
