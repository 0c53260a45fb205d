//! A deployment that lost something on the medium is made whole again.
//!
//! Contents of files come back with the layers of the image: see [`Store::distrust`] and [`super::incomplete_layers`].
//! What is made from the image, and is in no layer, is here.

use osmith_formats::verity::Digest;
use osmith_image::store::{Image, Store};
use osmith_report::Observer;

use super::DeployError;
use super::images::read_object;
use super::stage::install_image;
use super::write::TreeWriter;
use crate::install::{FileData, prepare};
use crate::machine::Machine;

/// Writes the composefs image of a deployment, the streams with the description of its image, and their names, as far
/// as they are missing or the store distrusts them. All contents of the image must be there.
///
/// `false`, and nothing is written, if this program makes another deployment of the image: another program made this
/// one.
pub fn rewrite_documents(
    machine: &Machine,
    store: &Store,
    image: &Image,
    deployment: &Digest,
    observer: &dyn Observer,
) -> Result<bool, DeployError> {
    let manifest = store.blob_bytes(&image.manifest_digest)?;
    let config = store.blob_bytes(&image.id())?;
    let (install, _) = install_image(store, image, &manifest, &config)?;
    let prepared = prepare(install, &mut |digest| read_object(store, digest))?;
    if prepared.digest != *deployment {
        return Ok(false);
    }
    let (tree, sources) = prepared.addition(None)?;
    for source in &sources {
        if let FileData::Bytes(bytes) = source {
            store.put_bytes(bytes)?;
        }
    }
    let writer = TreeWriter {
        tree: &tree,
        sources: &sources,
        store,
        observer,
    };
    writer.write(&machine.physical())?;
    machine.sync()?;
    Ok(true)
}
