//! Names and files of a composefs repository, as bootc keeps one on every machine.
//!
//! ```text
//! meta.json                       what the repository is: META_JSON
//! objects/<2 hex>/<126 hex>       contents by digest: crate::verity::Digest::object_path
//! images/<128 hex>                -> ../objects/…   composefs images
//! streams/<stream name>           -> ../objects/…   split streams
//! streams/refs/oci/<tag>          -> ../../<stream name>   escaped by escape_tag
//! ```

/// `meta.json` of a new repository: SHA-512 digests, images of format version 1.
pub const META_JSON: &str = r#"{
  "version": 1,
  "algorithm": "fsverity-sha512-12",
  "features": {
    "compatible": [],
    "read-only-compatible": [
      "v1_erofs"
    ],
    "incompatible": []
  },
  "erofs_formats": {
    "default": 1
  }
}
"#;

/// The name by which a config's stream keeps the image of the whole tree.
pub const IMAGE_REF: &str = "composefs.image.v1";
/// The name by which a config's stream keeps the image of the tree to boot from.
pub const BOOT_IMAGE_REF: &str = "composefs.image.boot.v1";

/// The stream of a manifest; `digest` is `sha256:…`.
pub fn manifest_stream(digest: &str) -> String {
    format!("oci-manifest-{digest}")
}

/// The stream of a config.
pub fn config_stream(digest: &str) -> String {
    format!("oci-config-{digest}")
}

/// The stream of a layer, by the digest of the uncompressed layer.
pub fn layer_stream(diff_id: &str) -> String {
    format!("oci-layer-{diff_id}")
}

/// The name under which a manifest's stream refers to the config's.
pub fn config_ref(digest: &str) -> String {
    format!("config:{digest}")
}

/// A tag as a file name: `%` and `/` are escaped.
pub fn escape_tag(tag: &str) -> String {
    tag.replace('%', "%25").replace('/', "%2F")
}

/// The tag of a file name. What is no escape of [`escape_tag`] stays as it is.
pub fn unescape_tag(name: &str) -> String {
    let mut tag = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('%') {
        tag.push_str(before);
        let escaped = after.strip_prefix("2F");
        tag.push(if escaped.is_some() { '/' } else { '%' });
        rest = escaped.or_else(|| after.strip_prefix("25")).unwrap_or(after);
    }
    tag + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn meta_json_has_the_length_of_upstreams() {
        assert_eq!(META_JSON.len(), 219);
    }

    #[test]
    fn tags_are_escaped_as_upstream_does() {
        let tag = "localhost/bootc-sha256:00";
        assert_eq!(escape_tag(tag), "localhost%2Fbootc-sha256:00");
        assert_eq!(escape_tag("a%2F/b"), "a%252F%2Fb");
        assert_eq!(unescape_tag("a%252F%2Fb%%zz%2"), "a%2F/b%%zz%2");
    }

    proptest! {
        #[test]
        fn escaping_comes_back_without_slashes(tag in "[a%/2F5:-]{0,12}") {
            let name = escape_tag(&tag);
            prop_assert!(!name.contains('/'));
            prop_assert_eq!(unescape_tag(&name), tag);
        }
    }
}
