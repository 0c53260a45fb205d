//! Makes an EROFS image of a directory, and says how large it is and what took how long:
//! `cargo run --release --example erofs_image -- DIRECTORY IMAGE [LEVEL [CLUSTER_KIB]]`.
#![allow(clippy::print_stdout)]

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use osmith_formats::erofs::{self, Cluster, Compressor, Options, Piece, Storage};
use osmith_formats::tree::{Device, Inode, InodeId, Metadata, Node, Timestamp, Tree, Xattrs};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, image, rest @ ..] = &arguments[..] else {
        return Err("arguments: DIRECTORY IMAGE [LEVEL [CLUSTER_KIB]]".into());
    };
    let level = rest
        .first()
        .map_or(Ok(erofs::LEVEL_DEFAULT), |level| level.parse())?;
    let cluster_bytes = rest.get(1).map_or(Ok(erofs::CLUSTER_DEFAULT_BYTES), |kib| {
        kib.parse().map(|kib: u32| kib << 10)
    })?;
    let (tree, sources) = scan(Path::new(directory))?;
    let options = Options {
        cluster_bytes,
        volume_name: "example".into(),
        ..Options::default()
    };
    let start = Instant::now();
    let packing = erofs::pack(&tree, &options)?;
    let compressed = compress(packing.clusters(), &sources, cluster_bytes, level)?;
    println!("{} clusters compressed: {:?}", compressed.len(), start.elapsed());
    let lengths: Vec<u32> = compressed.iter().map(|bytes| bytes.len() as u32).collect();
    let layout = packing.plan(&lengths)?;
    let output = File::create(image)?;
    output.set_len(layout.size_bytes())?;
    for piece in layout.pieces() {
        match piece {
            Piece::Bytes { offset_bytes, bytes } => output.write_all_at(&bytes, offset_bytes)?,
            Piece::Data {
                offset_bytes,
                source,
                file_offset_bytes,
                len_bytes,
            } => {
                let mut bytes = vec![0; len_bytes as usize];
                File::open(&sources[source as usize])?.read_exact_at(&mut bytes, file_offset_bytes)?;
                output.write_all_at(&bytes, offset_bytes)?;
            }
            Piece::Cluster {
                offset_bytes,
                cluster,
                ..
            } => output.write_all_at(&compressed[cluster as usize], offset_bytes)?,
        }
    }
    println!("{} bytes: {:?}", layout.size_bytes(), start.elapsed());
    Ok(())
}

/// Every cluster, compressed, with two threads.
fn compress(
    clusters: &[Cluster],
    sources: &[PathBuf],
    cluster_bytes: u32,
    level: i32,
) -> io::Result<Vec<Vec<u8>>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(vec![Vec::new(); clusters.len()]);
    let work = || {
        let mut compressor = Compressor::new(cluster_bytes, level)?;
        while let Some((number, cluster)) = Some(next.fetch_add(1, Ordering::Relaxed))
            .and_then(|number| clusters.get(number).map(|cluster| (number, cluster)))
        {
            let mut bytes = Vec::with_capacity(cluster.len_bytes as usize);
            for segment in &cluster.segments {
                let start = bytes.len();
                bytes.resize(start + segment.len_bytes as usize, 0);
                let file = File::open(&sources[segment.source as usize])?;
                file.read_exact_at(&mut bytes[start..], segment.file_offset_bytes)?;
            }
            let compressed = compressor.compress(&bytes)?;
            done.lock().unwrap_or_else(|broken| broken.into_inner())[number] = compressed;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let other = scope.spawn(work);
        work().and(
            other
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a thread panicked"))),
        )
    })?;
    Ok(done.into_inner().unwrap_or_default())
}

/// The tree of a directory; the sources are numbered by the ends of their names, then by their paths.
fn scan(directory: &Path) -> Result<(Tree<erofs::File>, Vec<PathBuf>), Box<dyn Error>> {
    let mut tree = Tree::new(metadata(&fs::symlink_metadata(directory)?));
    let mut seen: HashMap<u64, InodeId> = HashMap::new();
    let mut files = Vec::new();
    let mut pending = vec![(directory.to_owned(), tree.root())];
    while let Some((path, parent)) = pending.pop() {
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            let found = entry.metadata()?;
            let id = match seen.get(&found.ino()) {
                Some(id) => *id,
                None => {
                    let node = node(&entry.path(), &found, files.len() as u32)?;
                    if found.is_file() {
                        files.push(entry.path());
                    }
                    tree.add(Inode {
                        metadata: metadata(&found),
                        node,
                    })
                }
            };
            seen.insert(found.ino(), id);
            if found.is_dir() {
                pending.push((entry.path(), id));
            }
            tree.link(parent, entry.file_name().as_bytes(), id);
        }
    }
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.sort_by_key(|number| (files[*number].extension(), &files[*number]));
    let mut numbers = vec![0; files.len()];
    order
        .iter()
        .zip(0..)
        .for_each(|(file, number)| numbers[*file] = number);
    for inode in tree.inodes_mut() {
        if let Node::Regular(file) = &mut inode.node {
            file.source = numbers[file.source as usize];
        }
    }
    let sources = order.iter().map(|file| files[*file].clone()).collect();
    Ok((tree, sources))
}

fn node(path: &Path, found: &fs::Metadata, source: u32) -> io::Result<Node<erofs::File>> {
    let kind = found.file_type();
    let device = Device {
        major: ((found.rdev() >> 8) & 0xfff) as u32,
        minor: ((found.rdev() & 0xff) | ((found.rdev() >> 12) & 0xf_ff00)) as u32,
    };
    Ok(if kind.is_dir() {
        Node::Directory(BTreeMap::new())
    } else if kind.is_file() {
        Node::Regular(erofs::File {
            source,
            size_bytes: found.len(),
            storage: Storage::Compressed,
        })
    } else if kind.is_symlink() {
        Node::Symlink(fs::read_link(path)?.as_os_str().as_bytes().into())
    } else if kind.is_char_device() {
        Node::CharacterDevice(device)
    } else if kind.is_block_device() {
        Node::BlockDevice(device)
    } else if kind.is_fifo() {
        Node::Fifo
    } else {
        Node::Socket
    })
}

fn metadata(found: &fs::Metadata) -> Metadata {
    Metadata {
        mode: (found.mode() & 0o7777) as u16,
        uid: found.uid(),
        gid: found.gid(),
        mtime: Timestamp {
            seconds: found.mtime(),
            nanoseconds: found.mtime_nsec() as u32,
        },
        xattrs: Xattrs::new(),
    }
}
