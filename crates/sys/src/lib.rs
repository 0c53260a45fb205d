//! The Linux kernel and child processes: mounts, namespaces, atomic files, locks.
