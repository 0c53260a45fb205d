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
use crate::kernel_arguments::{self, ComposefsArgument};
use crate::origin::BootType;
use crate::os_release::OsRelease;
use crate::uki::Uki;

const MODULES: &str = "usr/lib/modules";
const OS_RELEASE: &str = "usr/lib/os-release";
/// Where an image has its unified kernel image: in a folder that its digest leaves out, because it names that digest.
const UNIFIED: &str = "boot/EFI/Linux";

/// The second initramfs of an installation medium, from its ESP on.
pub const KICKSTART_AREA: &str = "osmith/kickstart.img";

const ENTRIES: &str = "loader/entries";
/// The folder of a medium's kernel, and the name of its boot entry: there is only one, and names on a disc are short.
const MEDIUM_PLACE: &str = "osmith";

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
    /// What the boot loader starts.
    pub(crate) kernel: Kernel,
    boot_loader: Content,
    mtime: Timestamp,
}

/// What the boot loader starts.
#[derive(Debug, Clone)]
pub(crate) enum Kernel {
    /// Files that a boot entry puts together with kernel arguments.
    Separate {
        /// The kernel.
        kernel: Content,
        /// Its initramfs.
        initramfs: Content,
        /// The kernel arguments of the image.
        arguments: Vec<String>,
    },
    /// A unified kernel image, with kernel arguments that nobody changes.
    Unified {
        /// The file.
        file: Content,
        /// Its kernel arguments.
        command_line: String,
    },
}

/// Finds the files in the image.
pub(super) fn find(image: &InstallImage, object: &mut ReadObject) -> Result<BootFiles, InstallError> {
    let tree = &image.tree;
    let (version, digest, kernel) = match unified_path(tree)? {
        Some(path) => read_unified(tree, &path, object)?,
        None => separate_kernel(image, object)?,
    };
    let loader_path = format!(
        "usr/lib/systemd/boot/efi/systemd-boot{}.efi",
        image.architecture.efi_suffix()
    );
    let boot_loader = regular(tree, &loader_path)?.ok_or(InstallError::NoBootLoader { path: loader_path })?;
    let os_release = text(tree, OS_RELEASE, object)?.ok_or(InstallError::NoOsRelease)?;
    Ok(BootFiles {
        version,
        os: OsRelease::parse(&os_release),
        digest,
        kernel,
        boot_loader: boot_loader.clone(),
        mtime: tree.inode(tree.root()).metadata.mtime,
    })
}

fn read_unified(
    tree: &Tree,
    path: &str,
    object: &mut ReadObject,
) -> Result<(String, String, Kernel), InstallError> {
    let file = regular(tree, path)?.ok_or(InstallError::NoKernel)?;
    let found = Uki::read(&bytes(file, path, object)?).map_err(|source| InstallError::Uki {
        path: path.to_owned(),
        source,
    })?;
    let kernel = Kernel::Unified {
        file: file.clone(),
        command_line: found.command_line,
    };
    Ok((found.version, found.boot_digest, kernel))
}

fn separate_kernel(
    image: &InstallImage,
    object: &mut ReadObject,
) -> Result<(String, String, Kernel), InstallError> {
    let tree = &image.tree;
    let version = kernel_version(tree)?;
    let kernel_path = format!("{MODULES}/{version}/vmlinuz");
    let initramfs_path = format!("{MODULES}/{version}/initramfs.img");
    let kernel = regular(tree, &kernel_path)?.ok_or(InstallError::NoKernel)?;
    let initramfs =
        regular(tree, &initramfs_path)?.ok_or_else(|| InstallError::NoInitramfs(version.clone()))?;
    let mut hasher = Sha256::new();
    hasher.update(bytes(kernel, &kernel_path, object)?);
    hasher.update(bytes(initramfs, &initramfs_path, object)?);
    let kernel = Kernel::Separate {
        kernel: kernel.clone(),
        initramfs: initramfs.clone(),
        arguments: kernel_arguments(image, object)?,
    };
    Ok((version, hex::encode(hasher.finalize()), kernel))
}

/// The path of the only unified kernel image, if there is one.
fn unified_path(tree: &Tree) -> Result<Option<String>, InstallError> {
    let folder = tree.lookup(UNIFIED.as_bytes());
    let names = folder
        .and_then(|id| tree.inode(id).entries())
        .into_iter()
        .flatten();
    let mut paths: Vec<String> = names
        .map(|(name, _)| format!("{UNIFIED}/{}", String::from_utf8_lossy(name)))
        .filter(|path| path.ends_with(".efi"))
        .collect();
    match paths.len() {
        0 | 1 => Ok(paths.pop()),
        _ => Err(InstallError::SeveralUkis(paths)),
    }
}

/// The unified kernel image, if there is one.
pub(crate) fn unified_kernel(tree: &Tree) -> Result<Option<&Content>, InstallError> {
    match unified_path(tree)? {
        Some(path) => regular(tree, &path),
        None => Ok(None),
    }
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
    /// The boot type of deployments of the image.
    pub(crate) fn boot_type(&self) -> BootType {
        match self.kernel {
            Kernel::Separate { .. } => BootType::Bls,
            Kernel::Unified { .. } => BootType::Uki,
        }
    }

    /// The boot entry of the deployment, which finds its kernel on the ESP under the name `place`. The arguments are for
    /// a kernel that has none of its own. Sort key and name are those of the menu it comes into.
    pub(crate) fn entry(&self, digest: &Digest, place: &str, kernel_arguments: &[String]) -> BootEntry {
        let version = self.os.version();
        let mut entry = BootEntry {
            title: Some(self.os.title().to_owned()),
            version: Some(version.map_or_else(|| digest.to_string(), str::to_owned)),
            ..BootEntry::default()
        };
        match self.kernel {
            Kernel::Separate { .. } => {
                entry.linux = Some(Esp::kernel_path(place, KERNEL));
                entry.initrd = vec![Esp::kernel_path(place, INITRAMFS)];
                entry.options = kernel_arguments::join(kernel_arguments);
            }
            Kernel::Unified { .. } => entry.uki = Some(Esp::uki_path(place)),
        }
        entry
    }

    /// Makes sure that a unified kernel image starts this deployment and no other.
    pub(super) fn require_digest(&self, digest: &Digest) -> Result<(), InstallError> {
        let Kernel::Unified { command_line, .. } = &self.kernel else {
            return Ok(());
        };
        let found = ComposefsArgument::find(command_line).ok().flatten();
        let found = found.ok_or_else(|| InstallError::UkiArgument {
            expected: Box::new(*digest),
        })?;
        match found.digest == *digest {
            true => Ok(()),
            false => Err(InstallError::UkiDigest {
                found: Box::new(found.digest),
                expected: Box::new(*digest),
            }),
        }
    }
}

impl Kernel {
    /// What comes onto the ESP, by its path from there, without a leading slash. `place` is a folder for separate files.
    pub(crate) fn files(&self, place: &str) -> Vec<(String, &Content)> {
        let files = match self {
            Kernel::Separate {
                kernel, initramfs, ..
            } => vec![
                (Esp::kernel_path(place, KERNEL), kernel),
                (Esp::kernel_path(place, INITRAMFS), initramfs),
            ],
            Kernel::Unified { file, .. } => vec![(Esp::uki_path(place), file)],
        };
        let relative = |path: String| path.trim_start_matches('/').to_owned();
        files
            .into_iter()
            .map(|(path, content)| (relative(path), content))
            .collect()
    }

    /// The name of its folder, or of its file.
    pub(crate) fn place(&self, deployment: &Digest) -> String {
        match self {
            Kernel::Separate { .. } => entry::kernel_folder(deployment),
            Kernel::Unified { .. } => entry::uki_name(deployment),
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
    let place = files.kernel.place(&digest);
    let menu = BootMenu {
        entries: vec![MenuEntry {
            stem: String::new(),
            counter: None,
            entry: files.entry(&digest, &place, kernel_arguments),
        }],
    };
    let mut esp = esp_without_entries(architecture, files, &place);
    for entry in menu.in_this_order(files.os.id()).entries {
        esp.text(
            &format!("{ENTRIES}/{}", entry.file_name()),
            &entry.entry.to_text(),
        );
    }
    esp
}

/// The folders of an installation medium's ESP: its boot entry says what it does, and has a second initramfs of
/// `area_bytes` zeros, into which somebody may write a Kickstart file.
pub(super) fn esp_of_medium(
    architecture: Architecture,
    files: &BootFiles,
    digest: Digest,
    kernel_arguments: &[String],
    area_bytes: usize,
) -> Folders {
    let mut entry = files.entry(&digest, MEDIUM_PLACE, kernel_arguments);
    entry.title = Some(format!("Install {}", files.os.title()));
    entry.initrd.push(format!("/{KICKSTART_AREA}"));
    let mut esp = esp_without_entries(architecture, files, MEDIUM_PLACE);
    esp.text(&format!("{ENTRIES}/{MEDIUM_PLACE}.conf"), &entry.to_text());
    esp.bytes(KICKSTART_AREA, vec![0; area_bytes], false);
    esp
}

/// The boot loader, and the kernel in its folder.
fn esp_without_entries(architecture: Architecture, files: &BootFiles, place: &str) -> Folders {
    let suffix = architecture.efi_suffix();
    let mut esp = Folders::new(files.mtime, Vec::new());
    let fallback = format!("EFI/BOOT/BOOT{}.EFI", suffix.to_uppercase());
    esp.content(&fallback, &files.boot_loader);
    esp.content(
        &format!("EFI/systemd/systemd-boot{suffix}.efi"),
        &files.boot_loader,
    );
    for (path, content) in files.kernel.files(place) {
        esp.content(&path, content);
    }
    esp.text("loader/loader.conf", LOADER_CONF);
    esp
}
