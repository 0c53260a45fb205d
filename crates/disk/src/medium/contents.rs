//! The two file systems of a medium, and where the contents of their files come from.

use std::collections::HashMap;

use osmith_formats::gpt::Guid;
use osmith_formats::medium::AREA;
use osmith_formats::tree::{Content, Node, Timestamp, Tree};
use osmith_formats::verity::Digest;
use osmith_formats::{erofs, fat32};
use osmith_machine::install::{Deployment, FileData, InstallFile, KICKSTART_AREA};

use crate::identity::Identity;

/// What is on a medium. Both trees number their sources alike.
#[derive(Debug)]
pub(super) struct Contents {
    /// The live system, and what is installed.
    pub(super) root: Tree<erofs::File>,
    /// What the firmware reads.
    pub(super) esp: Tree<fat32::File>,
    /// The contents of the files, by their sources.
    pub(super) sources: Vec<FileData>,
    pub(super) uuid: [u8; 16],
    pub(super) volume_id: u32,
    pub(super) disk_guid: Guid,
    pub(super) partition_guid: Guid,
    pub(super) time: Timestamp,
}

impl Contents {
    /// The contents of a medium's deployment; `tree` is that of its image.
    pub(super) fn of(deployment: Deployment, tree: &Tree, identity: &Identity) -> Self {
        let time = deployment.root.inode(deployment.root.root()).metadata.mtime;
        let area = deployment.esp.lookup(KICKSTART_AREA.as_bytes());
        let order = Order::of(tree);
        let (root, mut sources) = in_order(deployment.root, &deployment.sources, &order);
        let objects: HashMap<Digest, u32> = sources
            .iter()
            .zip(0..)
            .filter_map(|(data, number)| Some((*object_of(data)?, number)))
            .collect();
        let mut esp = deployment.esp.into_map(|file: InstallFile| {
            let data = deployment.sources.get(file.source as usize).cloned();
            let data = data.unwrap_or(FileData::Bytes(Vec::new()));
            let known = object_of(&data).and_then(|digest| objects.get(digest)).copied();
            let source = known.unwrap_or_else(|| {
                sources.push(data);
                sources.len() as u32 - 1
            });
            fat32::File {
                size_bytes: file.size_bytes,
                source,
            }
        });
        if let Some(area) = area
            && let Node::Regular(file) = &mut esp.inode_mut(area).node
        {
            file.source = AREA;
        }
        Contents {
            root,
            esp,
            sources,
            uuid: *identity.guid("medium").as_bytes(),
            volume_id: identity.volume_id("medium esp"),
            disk_guid: identity.guid("medium disk"),
            partition_guid: identity.guid("medium esp"),
            time,
        }
    }

    /// How many bytes the files of the live system have.
    pub(super) fn file_bytes(&self) -> u64 {
        let sizes = self.root.inodes().filter_map(|inode| match &inode.node {
            Node::Regular(file) => Some(file.size_bytes),
            _ => None,
        });
        sizes.sum()
    }
}

fn object_of(data: &FileData) -> Option<&Digest> {
    match data {
        FileData::Object(digest) => Some(digest),
        FileData::Bytes(_) | FileData::Record(_) => None,
    }
}

/// In which order contents compress best: files of a kind beside each other, as their names tell it. Objects have names
/// of their own, so those of the image are looked at.
struct Order(HashMap<Digest, (String, String)>);

impl Order {
    fn of(tree: &Tree) -> Self {
        let mut order = HashMap::new();
        for (path, id) in tree.walk() {
            if let Node::Regular(Content::Object { digest, .. }) = &tree.inode(id).node {
                let path = String::from_utf8_lossy(&path).into_owned();
                let name = path.rsplit('/').next().unwrap_or_default();
                let kind = name.rsplit_once('.').map_or("", |(_, kind)| kind).to_owned();
                order.entry(*digest).or_insert((kind, path));
            }
        }
        Order(order)
    }

    fn key(&self, data: &FileData) -> Option<&(String, String)> {
        self.0.get(object_of(data)?)
    }
}

/// The tree with its contents numbered in an order in which they compress well.
fn in_order(
    tree: Tree<InstallFile>,
    sources: &[FileData],
    order: &Order,
) -> (Tree<erofs::File>, Vec<FileData>) {
    let mut used: Vec<u32> = tree
        .inodes()
        .filter_map(|inode| match &inode.node {
            Node::Regular(file) => Some(file.source),
            _ => None,
        })
        .collect();
    used.sort_unstable();
    used.dedup();
    let data = |number: u32| sources.get(number as usize);
    used.sort_by_key(|number| (data(*number).and_then(|data| order.key(data)), *number));
    let numbers: HashMap<u32, u32> = used.iter().copied().zip(0..).collect();
    let tree = tree.into_map(|file| erofs::File {
        source: numbers.get(&file.source).copied().unwrap_or_default(),
        size_bytes: file.size_bytes,
        storage: erofs::Storage::Compressed,
    });
    let ordered = used.iter().filter_map(|number| data(*number).cloned());
    (tree, ordered.collect())
}
