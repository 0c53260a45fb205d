//! Reading files of an image's tree.

use osmith_formats::tree::{Content, InodeId, Node, Tree};

use super::{InstallError, ReadObject};

/// The longest description that is read: os-release, kernel arguments.
const TEXT_MAX_BYTES: u64 = 1 << 20;

/// A regular file of the image, if there is something at the path.
pub(super) fn regular<'a>(tree: &'a Tree, path: &str) -> Result<Option<&'a Content>, InstallError> {
    tree.lookup(path.as_bytes())
        .map(|id| content(tree, id, path))
        .transpose()
}

fn content<'a>(tree: &'a Tree, id: InodeId, path: &str) -> Result<&'a Content, InstallError> {
    match &tree.inode(id).node {
        Node::Regular(content) => Ok(content),
        _ => Err(InstallError::NotRegular(path.to_owned())),
    }
}

/// The bytes of a file.
pub(super) fn bytes(content: &Content, path: &str, object: &mut ReadObject) -> Result<Vec<u8>, InstallError> {
    match content {
        Content::Inline(bytes) => Ok(bytes.to_vec()),
        Content::Object { digest, .. } => object(digest).map_err(|source| InstallError::Unreadable {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The text of a file, if there is something at the path; bytes that are no UTF-8 are replaced.
pub(super) fn text(tree: &Tree, path: &str, object: &mut ReadObject) -> Result<Option<String>, InstallError> {
    let Some(content) = regular(tree, path)? else {
        return Ok(None);
    };
    if content.size_bytes() > TEXT_MAX_BYTES {
        return Err(InstallError::TooLong {
            path: path.to_owned(),
            size_bytes: content.size_bytes(),
            max_bytes: TEXT_MAX_BYTES,
        });
    }
    let bytes = bytes(content, path, object)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
