//! Which times an image and its files get.

use osmith_formats::tree::Timestamp;

/// Times that do not depend on when something is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Times {
    /// Files keep theirs; what the build makes itself has the present time.
    #[default]
    Own,
    /// The image, its history and every file in its new layers have this time, in seconds since 1970.
    All(i64),
    /// The image and its history have this time (`SOURCE_DATE_EPOCH`), in seconds since 1970.
    Epoch {
        /// The time.
        seconds: i64,
        /// Whether no file in new layers is newer.
        clamps_files: bool,
    },
}

impl Times {
    /// The time of the image, if that is said.
    pub(crate) fn created(self) -> Option<i64> {
        match self {
            Times::Own => None,
            Times::All(seconds) | Times::Epoch { seconds, .. } => Some(seconds),
        }
    }

    /// The time that a file with this time gets in a new layer.
    pub(crate) fn of_file(self, time: Timestamp) -> Timestamp {
        let at = |seconds| Timestamp {
            seconds,
            nanoseconds: 0,
        };
        match self {
            Times::All(seconds) => at(seconds),
            Times::Epoch {
                seconds,
                clamps_files: true,
            } => time.min(at(seconds)),
            Times::Own | Times::Epoch { .. } => time,
        }
    }

    /// What keys say of it.
    pub(crate) fn key(self) -> Vec<u8> {
        match self {
            Times::Own => Vec::new(),
            Times::All(seconds) => seconds.to_le_bytes().to_vec(),
            Times::Epoch {
                seconds,
                clamps_files,
            } => [&b"epoch"[..], &[u8::from(clamps_files)], &seconds.to_le_bytes()].concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_keep_their_times_or_get_others() {
        let at = |seconds| Timestamp {
            seconds,
            nanoseconds: 0,
        };
        let epoch = |clamps_files| Times::Epoch {
            seconds: 100,
            clamps_files,
        };
        for (times, file, expected) in [
            (Times::Own, 500, 500),
            (Times::All(100), 5, 100),
            (epoch(true), 500, 100),
            (epoch(true), 5, 5),
            (epoch(false), 500, 500),
        ] {
            assert_eq!(times.of_file(at(file)), at(expected), "{times:?} {file}");
        }
    }
}
