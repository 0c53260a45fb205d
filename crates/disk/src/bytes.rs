//! Sizes: as text, and the grain of disks.

use std::fmt;

/// Partitions start and end at multiples of this, and so does the disk.
pub(crate) const GRAIN_BYTES: u64 = 1 << 20;
const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// A number of bytes, shown with one decimal in the largest unit it fills: `2.5 GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl Size {
    /// The same as a whole number of MiB, rounded up, as options take it: `2560MiB`.
    pub fn option(self) -> String {
        format!("{}MiB", self.0.div_ceil(1 << 20))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, shift)| self.0 >> shift > 0) {
            Some((unit, shift)) if self.0.is_multiple_of(1 << shift) => {
                write!(f, "{} {unit}", self.0 >> shift)
            }
            Some((unit, shift)) => write!(f, "{:.1} {unit}", self.0 as f64 / (1_u64 << shift) as f64),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let shown = [0, 1023, 1024, 512 << 20, (5 << 30) / 2, 3 << 40].map(|bytes| Size(bytes).to_string());
        assert_eq!(
            shown,
            ["0 bytes", "1023 bytes", "1 KiB", "512 MiB", "2.5 GiB", "3 TiB"]
        );
        assert_eq!(Size((1 << 20) + 1).option(), "2MiB");
    }
}
