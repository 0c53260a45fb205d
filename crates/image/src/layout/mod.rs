//! OCI layouts: images in a directory, or in a tar archive of such a directory.
//!
//! Source: OCI image specification 1.1, `image-layout.md`.
//!
//! ```text
//! oci-layout                 {"imageLayoutVersion":"1.0.0"}
//! index.json                 the images, their names in annotations
//! blobs/sha256/<64 hex>      manifests, indexes, configurations, layers
//! ```

mod error;
mod load;
mod save;
mod source;

pub use error::LayoutError;
pub use load::{LoadOptions, Loaded, Resolved, load, load_stream, resolve};
pub use save::{LayoutFormat, SaveOptions, save, save_index};

const LAYOUT_FILE: &str = "oci-layout";
const INDEX_FILE: &str = "index.json";
const LAYOUT_VERSION: &str = "1.0.0";
/// The annotation of a name; podman and skopeo write it.
const NAME_ANNOTATION: &str = "org.opencontainers.image.ref.name";
/// The annotation of a whole name; Docker and containerd write it, and only the tag in the other one.
const WHOLE_NAME_ANNOTATION: &str = "io.containerd.image.name";

fn blob_path(digest: &crate::Sha256Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
