//! What starts the machine: the kernel and the boot loader of the image, and the ESP made of them.

use osmith_formats::tree::{Content, Timestamp, Tree};
use osmith_formats::verity::Digest;
use sha2::{Digest as _, Sha256};

use super::contents::{bytes, regular, text};
use super::folders::Folders;
use super::{Architecture, InstallError, InstallImage, ReadObject};
use crate::entry::{self, BootEntry, Priority};
use crate::kargs_d;
use crate::os_release::OsRelease;

const MODULES: &str = "usr/lib/modules";
const KARGS_D: &str = "usr/lib/bootc/kargs.d";
const OS_RELEASE: &str = "usr/lib/os-release";

/// A key pressed within this time shows the menu.
const LOADER_CONF: &str = "timeout 2\n";

/// The files of an image that start it.
pub(super) struct BootFiles {
    /// The version of the kernel.
    pub(super) version: String,
    /// What system it is.
    pub(super) os: OsRelease,
    /// SHA-256 of kernel and initramfs in one, 64 hexadecimal digits.
    pub(super) digest: String,
    /// The kernel arguments of the image.
    pub(super) kernel_arguments: Vec<String>,
    kernel: Content,
    initramfs: Content,
    boot_loader: Content,
    mtime: Timestamp,
}

/// Finds the files in the image.
pub(super) fn find(image: &InstallImage, object: &mut ReadObject) -> Result<BootFiles, InstallError> {
    let tree = &image.tree;
    let version = kernel_version(tree)?;
    let kernel_path = format!("{MODULES}/{version}/vmlinuz");
    let initramfs_path = format!("{MODULES}/{version}/initramfs.img");
    let loader_path = format!(
        "usr/lib/systemd/boot/efi/systemd-boot{}.efi",
        image.architecture.efi_suffix()
    );
    let kernel = regular(tree, &kernel_path)?.ok_or(InstallError::NoKernel)?;
    let initramfs =
        regular(tree, &initramfs_path)?.ok_or_else(|| InstallError::NoInitramfs(version.clone()))?;
    let boot_loader = regular(tree, &loader_path)?.ok_or(InstallError::NoBootLoader { path: loader_path })?;
    let os_release = text(tree, OS_RELEASE, object)?.ok_or(InstallError::NoOsRelease)?;
    let mut hasher = Sha256::new();
    hasher.update(bytes(kernel, &kernel_path, object)?);
    hasher.update(bytes(initramfs, &initramfs_path, object)?);
    Ok(BootFiles {
        version,
        os: OsRelease::parse(&os_release),
        digest: hex::encode(hasher.finalize()),
        kernel_arguments: kernel_arguments(image, object)?,
        kernel: kernel.clone(),
        initramfs: initramfs.clone(),
        boot_loader: boot_loader.clone(),
        mtime: tree.inode(tree.root()).metadata.mtime,
    })
}

/// The version of the only kernel.
fn kernel_version(tree: &Tree) -> Result<String, InstallError> {
    let modules = tree.lookup(MODULES.as_bytes());
    let names = modules
        .and_then(|id| tree.inode(id).entries())
        .into_iter()
        .flatten();
    let mut versions: Vec<String> = names
        .filter(|(_, id)| tree.child(**id, b"vmlinuz").is_some())
        .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
        .collect();
    match versions.len() {
        0 | 1 => versions.pop().ok_or(InstallError::NoKernel),
        _ => Err(InstallError::SeveralKernels(versions)),
    }
}

/// The arguments of all files of `kargs.d`, in the order of their names.
fn kernel_arguments(image: &InstallImage, object: &mut ReadObject) -> Result<Vec<String>, InstallError> {
    let tree = &image.tree;
    let folder = tree.lookup(KARGS_D.as_bytes());
    let mut arguments = Vec::new();
    for name in folder
        .and_then(|id| tree.inode(id).entries())
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
    {
        let Some(name) = std::str::from_utf8(name)
            .ok()
            .filter(|name| name.ends_with(".toml"))
        else {
            continue;
        };
        let path = format!("{KARGS_D}/{name}");
        let text = text(tree, &path, object)?.unwrap_or_default();
        let found = kargs_d::parse(&text, image.architecture.name());
        arguments.extend(found.map_err(|source| InstallError::KernelArguments {
            path,
            source: Box::new(source),
        })?);
    }
    Ok(arguments)
}

/// The folders of the ESP.
pub(super) fn esp(
    architecture: Architecture,
    files: &BootFiles,
    digest: Digest,
    kernel_arguments: &[String],
) -> Folders {
    let version = files
        .os
        .version()
        .map_or_else(|| digest.to_string(), str::to_owned);
    let suffix = architecture.efi_suffix();
    let kernel_folder = format!("EFI/Linux/{}{digest}", entry::KERNEL_PREFIX);
    let boot_entry = BootEntry {
        title: Some(files.os.title().to_owned()),
        version: Some(version.clone()),
        linux: Some(format!("/{kernel_folder}/vmlinuz")),
        initrd: vec![format!("/{kernel_folder}/initrd")],
        options: command_line(kernel_arguments),
        sort_key: Some(entry::sort_key(files.os.id(), Priority::Primary)),
        ..BootEntry::default()
    };
    let entry_name = entry::file_name(files.os.id(), &version, Priority::Primary);
    let mut esp = Folders::new(files.mtime, Vec::new());
    let fallback = format!("EFI/BOOT/BOOT{}.EFI", suffix.to_uppercase());
    esp.content(&fallback, &files.boot_loader);
    esp.content(
        &format!("EFI/systemd/systemd-boot{suffix}.efi"),
        &files.boot_loader,
    );
    esp.content(&format!("{kernel_folder}/vmlinuz"), &files.kernel);
    esp.content(&format!("{kernel_folder}/initrd"), &files.initramfs);
    esp.text("loader/loader.conf", LOADER_CONF);
    esp.text(&format!("loader/entries/{entry_name}"), &boot_entry.to_text());
    esp
}

/// Arguments as one line; those with blanks get quotes again.
fn command_line(arguments: &[String]) -> String {
    let quoted: Vec<String> = arguments.iter().map(|argument| quote(argument)).collect();
    quoted.join(" ")
}

fn quote(argument: &str) -> String {
    if !argument.contains(|character: char| character.is_ascii_whitespace()) {
        return argument.to_owned();
    }
    match argument.split_once('=') {
        Some((name, value)) if !name.contains(|character: char| character.is_ascii_whitespace()) => {
            format!("{name}=\"{value}\"")
        }
        _ => format!("\"{argument}\""),
    }
}
