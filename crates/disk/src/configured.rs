//! The configuration that an image brings along for its disks.

use std::io::{self, Read as _};

use osmith_config::{Configuration, Format, Storage};
use osmith_formats::tree::{Content, Node, Tree};
use osmith_image::store::Store;

use crate::customize::CustomizeError;
use crate::error::PlanError;

/// Where an image says how its disks are divided; the first counts.
const OF_IMAGE: [(&str, Format); 2] = [
    ("usr/lib/bootc-image-builder/config.json", Format::Json),
    ("usr/lib/bootc-image-builder/config.toml", Format::Toml),
];

/// The partitions that an image wants for its disks. Of its configuration, nothing else counts: what a machine is beside
/// its disk, the image says by its files.
pub(crate) fn storage_of_image(store: &Store, tree: &Tree) -> Result<Storage, PlanError> {
    let found = OF_IMAGE.iter().find_map(|(path, format)| {
        let inode = tree.inode(tree.lookup(path.as_bytes())?);
        match &inode.node {
            Node::Regular(content) => Some((*path, *format, content)),
            _ => None,
        }
    });
    let Some((path, format, content)) = found else {
        return Ok(Storage::Default);
    };
    let bytes = match content {
        Content::Inline(bytes) => bytes.to_vec(),
        Content::Object { digest, .. } => {
            let mut bytes = Vec::new();
            let read = store.read_object(digest).map_err(io::Error::other);
            let read = read.and_then(|mut object| object.read_to_end(&mut bytes));
            read.map_err(|source| CustomizeError::Read {
                path: path.to_owned(),
                source,
            })?;
            bytes
        }
    };
    let configuration = Configuration::parse(&bytes, format);
    let configuration = configuration.map_err(|error| error.in_file(format!("/{path} of the image")));
    Ok(configuration.map_err(CustomizeError::Configuration)?.storage)
}
