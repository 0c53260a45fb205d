//! An image becomes a disk: plan, partitions, file systems, output formats.
