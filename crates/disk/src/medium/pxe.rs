//! For PXE and UEFI HTTP boot: the kernel, and an initramfs with the whole medium.
//!
//! ```text
//! pxe/vmlinuz            the image's kernel
//! pxe/initrd.img         the image's initramfs, then a cpio archive with osmith/medium.erofs
//! pxe/kernel-arguments   what the kernel must be told
//! pxe/boot.ipxe          the same as a script for iPXE
//! ```

use osmith_formats::erofs::{self, Layout, Options};
use osmith_formats::tree::{Node, Tree};
use osmith_formats::{cpio, fat32};
use osmith_machine::esp::{INITRAMFS, KERNEL};
use osmith_machine::install::InstallFile;
use osmith_machine::kernel_arguments;

use super::new_outputs::NewOutputs;
use super::packed::{self, Clusters};
use super::{Job, WrittenMedium};
use crate::error::WriteError;
use crate::output::Target;
use crate::source::Sources;

const COPIED_BYTES: u64 = 1 << 20;

pub(super) const OUTPUTS: [&str; 4] = [
    "pxe/vmlinuz",
    "pxe/initrd.img",
    "pxe/kernel-arguments",
    "pxe/boot.ipxe",
];

const ROOT: &str = "osmith";
const MEDIUM: &str = "osmith/medium.erofs";
const FOLDER: &str = "pxe";
/// The kernel looks for the next archive at a multiple of this.
const ARCHIVE_ALIGNMENT: u64 = 4;

pub(super) fn write(job: &Job<'_>) -> Result<Vec<WrittenMedium>, WriteError> {
    let contents = &job.plan.contents;
    let options = Options {
        uuid: contents.uuid,
        volume_name: "osmith".to_owned(),
        build_time: contents.time,
        ..Options::default()
    };
    let packing = erofs::pack(&contents.root, &options)?;
    let folder = job.path(FOLDER);
    std::fs::create_dir_all(&folder).map_err(|error| WriteError::output("create", &folder, error))?;
    let clusters = packed::compress(job, packing.clusters(), options.cluster_bytes, &folder)?;
    let layout = packing.plan(&clusters.lengths())?;
    let files = NewOutputs::create(job, &OUTPUTS)?;
    let sources = Sources::new(&contents.sources, job.store);
    let boot = |name: &str| boot_file(&contents.esp, name);
    copy(&sources, boot(KERNEL)?, files.target(0)?, 0)?;
    let initramfs_bytes = copy(&sources, boot(INITRAMFS)?, files.target(1)?, 0)?;
    append_medium(&clusters, &layout, files.target(1)?, initramfs_bytes)?;
    let arguments = kernel_arguments::join(&job.plan.kernel_arguments);
    files
        .target(2)?
        .write_at(format!("{arguments}\n").as_bytes(), 0)?;
    files.target(3)?.write_at(ipxe(&arguments).as_bytes(), 0)?;
    files.commit(job.destination.overwrite)
}

/// The script. `inst.ks=` is for who serves it to say.
fn ipxe(arguments: &str) -> String {
    format!(
        "#!ipxe\n\
         # Add where the Kickstart file is: inst.ks=http://server.example.org/ks.cfg\n\
         kernel vmlinuz initrd=initrd.img {arguments} ip=dhcp ${{kickstart}}\n\
         initrd initrd.img\n\
         boot\n"
    )
}

/// The file of that name next to the kernel, wherever that is on the ESP.
fn boot_file(esp: &Tree<fat32::File>, name: &str) -> Result<fat32::File, WriteError> {
    let wanted = format!("/{name}");
    let found = esp.walk().into_iter().find_map(|(path, id)| {
        let path = String::from_utf8_lossy(&path).into_owned();
        match &esp.inode(id).node {
            Node::Regular(file) if path.ends_with(&wanted) && path.starts_with("EFI/Linux/") => {
                Some(file.clone())
            }
            _ => None,
        }
    });
    found.ok_or(WriteError::Inconsistent("the medium has no kernel and initramfs"))
}

/// Copies a file of the ESP; returns how long it is.
fn copy(
    sources: &Sources<'_>,
    file: fat32::File,
    target: Target<'_>,
    start_bytes: u64,
) -> Result<u64, WriteError> {
    let size_bytes = file.size_bytes;
    let whole = InstallFile {
        source: file.source,
        size_bytes,
        verity: false,
    };
    let mut buffer = Vec::new();
    let mut done = 0;
    while done < size_bytes {
        let length = (size_bytes - done).min(COPIED_BYTES);
        buffer.resize(length as usize, 0);
        sources.read(whole, done, &mut buffer)?;
        target.write_at(&buffer, start_bytes + done)?;
        done += length;
    }
    Ok(size_bytes)
}

/// Writes the archive with the medium behind the initramfs.
fn append_medium(
    clusters: &Clusters<'_>,
    layout: &Layout,
    target: Target<'_>,
    initramfs_bytes: u64,
) -> Result<(), WriteError> {
    let start = initramfs_bytes.next_multiple_of(ARCHIVE_ALIGNMENT);
    let mut archive = cpio::Writer::new(0);
    archive.directory(ROOT, 0o755)?;
    archive.begin_file(MEDIUM, 0o600, layout.size_bytes())?;
    let head = archive.take_bytes();
    target.write_at(&head, start)?;
    let contents = start + head.len() as u64;
    clusters.write(layout.pieces(), target, contents)?;
    // Whole blocks: no padding is needed behind them.
    target.write_at(&archive.into_bytes(), contents + layout.size_bytes())
}
