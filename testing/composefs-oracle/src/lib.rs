//! What the comparisons share: trees made at random, and their translation to the upstream crates.

pub mod trees;
#[cfg(feature = "upstream")]
pub mod upstream;

#[cfg(all(test, feature = "upstream"))]
#[path = "../../../crates/formats/src/composefs/golden.rs"]
mod golden;

#[cfg(all(test, feature = "upstream"))]
mod tests {
    use osmith_formats::verity::Digest;

    use crate::{golden, upstream};

    #[test]
    fn images_of_fixed_trees_have_their_digests() {
        for golden in golden::goldens() {
            let digest = Digest::of(&upstream::image(&golden.tree));
            assert_eq!(digest.to_string(), golden.digest, "{}", golden.name);
        }
    }
}

// The fixed trees belong to osmith-formats and name its modules as their own crate's.
#[cfg(all(test, feature = "upstream"))]
use osmith_formats::{tree, verity};
