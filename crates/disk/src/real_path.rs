//! Where a path of an image leads, as a process in it would see it.

use osmith_formats::tree::{Node, Tree};

/// As many as the kernel follows.
const MAX_LINKS: u32 = 40;

/// Why a path leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Astray {
    /// Too many links, maybe in circles.
    Links,
    /// Something on the way, at this path, is no directory.
    NotDirectory(Vec<u8>),
}

/// The names of a path.
pub(crate) fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
}

/// The names from the root to where a path leads, without links; what does not exist stays as it is written. The last
/// name may stay a link.
pub(crate) fn real_path<F>(tree: &Tree<F>, path: &[u8], follow_last: bool) -> Result<Vec<Vec<u8>>, Astray> {
    let mut pending: Vec<Vec<u8>> = names(path).rev().map(<[u8]>::to_vec).collect();
    let mut real: Vec<Vec<u8>> = Vec::new();
    let mut links = 0;
    while let Some(name) = pending.pop() {
        if name == b".." {
            real.pop();
            continue;
        }
        real.push(name);
        let joined = real.join(&b'/');
        let Some(id) = tree.lookup(&joined) else {
            continue;
        };
        match &tree.inode(id).node {
            Node::Symlink(target) if follow_last || !pending.is_empty() => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Astray::Links);
                }
                real.pop();
                if target.starts_with(b"/") {
                    real.clear();
                }
                pending.extend(names(target).rev().map(<[u8]>::to_vec));
            }
            Node::Directory(_) | Node::Symlink(_) => {}
            _ if pending.is_empty() => {}
            _ => return Err(Astray::NotDirectory(joined)),
        }
    }
    Ok(real)
}
