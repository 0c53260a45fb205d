//! What starts the machine: the kernel and the boot loader of the image, and the ESP made of them.

use osmith_formats::tree::{Content, Timestamp, Tree};
use osmith_formats::verity::Digest;
use sha2::{Digest as _, Sha256};

use super::contents::{bytes, regular, text};
use super::folders::Folders;
use super::{Architecture, InstallError, InstallImage, ReadObject};
use crate::boot_menu::{BootMenu, MenuEntry};
use crate::entry::{self, BootEntry};
use crate::esp::{Esp, INITRAMFS, KERNEL};
use crate::kargs_d::{self, KARGS_D};
use crate::kernel_arguments;
use crate::os_release::OsRelease;

const MODULES: &str = "usr/lib/modules";
const OS_RELEASE: &str = "usr/lib/os-release";

/// A key pressed within this time shows the menu.
const LOADER_CONF: &str = "timeout 2\n";

/// The files of an image that start it.
#[derive(Debug)]
pub(crate) struct BootFiles {
    /// The version of the kernel.
    pub(crate) version: String,
    /// What system it is.
    pub(crate) os: OsRelease,
    /// SHA-256 of kernel and initramfs in one, 64 hexadecimal digits.
    pub(crate) digest: String,
    /// The kernel arguments of the image.
    pub(crate) kernel_arguments: Vec<String>,
    /// The kernel.
    pub(crate) kernel: Content,
    /// Its initramfs.
    pub(crate) initramfs: Content,
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

impl BootFiles {
    /// The boot entry of the deployment, which finds its kernel in the folder `kernel_folder` of the ESP. Sort key and
    /// name are those of the menu it comes into.
    pub(crate) fn entry(
        &self,
        digest: &Digest,
        kernel_folder: &str,
        kernel_arguments: &[String],
    ) -> BootEntry {
        BootEntry {
            title: Some(self.os.title().to_owned()),
            version: Some(
                self.os
                    .version()
                    .map_or_else(|| digest.to_string(), str::to_owned),
            ),
            linux: Some(Esp::kernel_path(kernel_folder, KERNEL)),
            initrd: vec![Esp::kernel_path(kernel_folder, INITRAMFS)],
            options: kernel_arguments::join(kernel_arguments),
            ..BootEntry::default()
        }
    }
}

/// The folders of the ESP.
pub(super) fn esp(
    architecture: Architecture,
    files: &BootFiles,
    digest: Digest,
    kernel_arguments: &[String],
) -> Folders {
    let suffix = architecture.efi_suffix();
    let kernel_folder = entry::kernel_folder(&digest);
    let boot_entry = files.entry(&digest, &kernel_folder, kernel_arguments);
    let menu = BootMenu {
        entries: vec![MenuEntry {
            stem: String::new(),
            counter: None,
            entry: boot_entry,
        }],
    };
    let mut esp = Folders::new(files.mtime, Vec::new());
    let fallback = format!("EFI/BOOT/BOOT{}.EFI", suffix.to_uppercase());
    esp.content(&fallback, &files.boot_loader);
    esp.content(
        &format!("EFI/systemd/systemd-boot{suffix}.efi"),
        &files.boot_loader,
    );
    let kernel = [(KERNEL, &files.kernel), (INITRAMFS, &files.initramfs)];
    for (name, content) in kernel {
        let path = Esp::kernel_path(&kernel_folder, name);
        esp.content(path.trim_start_matches('/'), content);
    }
    esp.text("loader/loader.conf", LOADER_CONF);
    for entry in menu.in_this_order(files.os.id()).entries {
        let path = format!("loader/entries/{}", entry.file_name());
        esp.text(&path, &entry.entry.to_text());
    }
    esp
}
