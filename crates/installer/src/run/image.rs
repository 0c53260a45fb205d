//! What is set in the words of programs that the image has: its network, its SELinux.

use std::io::Read as _;

use osmith_formats::tree::{Content, Node, Tree};
use osmith_image::Reference;
use osmith_image::store::Store;
use osmith_kickstart::{KickstartError, Level, Problem, Selinux, SelinuxMode};

use super::{Result, Session};
use crate::network::{Backend, Connection, Place, configuration_files};
use crate::plan::{Installation, SettingsFile};

const SELINUX: &str = "etc/selinux/config";

/// The files that network and SELinux take.
pub(super) fn settings(
    session: &Session<'_>,
    installation: &Installation,
    (store, image): (&Store, &Reference),
) -> Result<Vec<SettingsFile>> {
    let tree = store.image(image)?.tree(store)?;
    let mut files = Vec::new();
    let connections = match installation.connections.is_empty() {
        true => &session.connections,
        false => &installation.connections,
    };
    if !connections.is_empty() {
        let backend = Backend::of_image(&tree)?;
        let resolved = match &session.interfaces {
            None => connections.clone(),
            Some((interfaces, boot_mac)) => {
                let resolve = |connection: &Connection| connection.resolve(interfaces, *boot_mac);
                connections.iter().map(resolve).collect::<Result<Vec<_>, _>>()?
            }
        };
        let network = configuration_files(&resolved, &[], backend, Place::Installed);
        files.extend(network.into_iter().map(|file| SettingsFile {
            path: format!("/{}", file.path.display()),
            mode: file.mode as u16,
            contents: file.bytes,
        }));
    }
    if let Some(selinux) = &installation.selinux
        && let Some(mode) = selinux.mode
    {
        files.push(selinux_file(selinux, mode, &tree, store)?);
    }
    Ok(files)
}

fn selinux_file(selinux: &Selinux, mode: SelinuxMode, tree: &Tree, store: &Store) -> Result<SettingsFile> {
    let Some(text) = text(SELINUX, tree, store) else {
        return Err(KickstartError(vec![Problem {
            level: Level::Unsupported,
            position: selinux.position.clone(),
            message: format!("the image has no SELinux: /{SELINUX} is missing"),
            remedy: "take the line away, or install SELinux and its policy in the Containerfile".to_owned(),
            excerpt: String::new(),
        }])
        .into());
    };
    let word = match mode {
        SelinuxMode::Enforcing => "enforcing",
        SelinuxMode::Permissive => "permissive",
        SelinuxMode::Disabled => "disabled",
    };
    let kept = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("SELINUX="));
    let lines: Vec<String> = kept.map(|line| format!("{line}\n")).collect();
    Ok(SettingsFile {
        path: format!("/{SELINUX}"),
        mode: 0o644,
        contents: format!("{}SELINUX={word}\n", lines.concat()).into_bytes(),
    })
}

fn text(path: &str, tree: &Tree, store: &Store) -> Option<String> {
    let bytes = match &tree.inode(tree.lookup(path.as_bytes())?).node {
        Node::Regular(Content::Inline(bytes)) => bytes.to_vec(),
        Node::Regular(Content::Object { digest, .. }) => {
            let mut bytes = Vec::new();
            store.read_object(digest).ok()?.read_to_end(&mut bytes).ok()?;
            bytes
        }
        _ => return None,
    };
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
