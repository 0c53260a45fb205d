//! What ext4 cannot hold.

/// Why a tree cannot be written as the ext4 file system that was asked for. Paths are without a leading `/`, with
/// bytes that are no UTF-8 replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The tree does not fit.
    #[error(
        "planning an ext4 file system of {size_bytes} bytes: the tree needs at least {needed_bytes} bytes"
    )]
    TooSmall {
        /// What was offered.
        size_bytes: u64,
        /// The smallest size that holds the tree.
        needed_bytes: u64,
    },
    /// The tree needs more than the largest file system.
    #[error("planning an ext4 file system: {needed_bytes} bytes are needed, {limit_bytes} are possible")]
    TooLarge {
        /// What the tree needs.
        needed_bytes: u64,
        /// What is possible.
        limit_bytes: u64,
    },
    /// An option that has no meaning.
    #[error("planning an ext4 file system: {option} {value} is not possible: {reason}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// Why not.
        reason: &'static str,
    },
    /// A file, directory or name that the format cannot hold.
    #[error("planning an ext4 file system: '{path}': {reason}")]
    Node {
        /// Which.
        path: String,
        /// Why not.
        reason: NodeReason,
    },
}

/// Why ext4 cannot hold one node of the tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeReason {
    /// An empty name, `.`, `..`, or one with `/` or NUL in it.
    #[error("it has a name no file can have")]
    Name,
    /// A name over 255 bytes.
    #[error("its name of {0} bytes is longer than 255")]
    NameLength(usize),
    /// A target of no bytes, or with a NUL.
    #[error("a symbolic link needs a target without NUL bytes")]
    SymlinkTarget,
    /// A target over 4,095 bytes.
    #[error("its target of {0} bytes is longer than 4095")]
    SymlinkLength(usize),
    /// More than 65,000 names.
    #[error("it has more than 65000 hard links")]
    Links,
    /// A directory reached by two names.
    #[error("a directory can have only one name")]
    DirectoryLinks,
    /// A directory beyond two index levels.
    #[error("the directory is too large for an index of two levels")]
    DirectorySize,
    /// `lost+found` that is no directory.
    #[error("lost+found must be a directory")]
    LostAndFound,
    /// More than 2^32 blocks, with the verity metadata.
    #[error("its size of {0} bytes is more than 16 TiB")]
    FileSize(u64),
    /// A time before 1901 or after 2310.
    #[error("its modification time {0} is outside of 1901 to 2310")]
    Time(i64),
    /// A device number over 12 and 20 bits.
    #[error("the device number {0}:{1} is larger than 4095:1048575")]
    Device(u32, u32),
    /// An attribute outside of the namespaces that ext4 knows.
    #[error(
        "its extended attribute '{0}' is in no namespace of ext4 (user, trusted, security, system.posix_acl)"
    )]
    XattrName(String),
    /// An access control list that is none.
    #[error("its extended attribute '{0}' is no valid access control list")]
    Acl(String),
    /// Attributes that do not fit.
    #[error("its extended attribute '{name}' of {value_bytes} bytes does not fit: {limit}")]
    XattrSize {
        /// The largest attribute.
        name: String,
        /// The length of its value.
        value_bytes: usize,
        /// The limit that it breaks.
        limit: &'static str,
    },
}
