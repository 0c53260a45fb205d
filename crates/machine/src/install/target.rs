//! Mounted file systems that an image is installed onto: an empty root file system and an EFI system partition.
//!
//! Everything that speaks against them is found out before anything is written, and what the boot loader lists is
//! written when all that it needs is on the medium.
//!
//! Left out: replacing a system that is there.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use osmith_formats::tree::{InodeId, Node, Tree};
use osmith_image::store::Store;
use osmith_report::{Class, Failure, Observer};
use osmith_sys::OsError;
use osmith_sys::file::{NewFile, open_directory};

use super::{Deployment, InstallFile};
use crate::deploy::{ESP_SPARE_BYTES, TreeWriter, needed_bytes, require_space};
use crate::deploy_error::{DeployError, failed};
use crate::status::mounts;

/// Where an EFI system partition is looked for, below the root.
const ESP_PLACES: [&str; 3] = ["boot", "efi", "boot/efi"];
/// The file systems that a root can have.
const ROOT_KINDS: [&str; 3] = ["ext4", "xfs", "btrfs"];
/// What a system has on an EFI system partition that the new one would take the place of.
const ESP_NAMES: [&str; 4] = ["loader", "EFI/BOOT", "EFI/systemd", "EFI/Linux"];
/// What only becomes visible at the end.
const ENTRIES: &[u8] = b"loader/entries/";

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct TargetRequest<'a> {
    /// Where the root file system is mounted.
    pub root: &'a Path,
    /// Where the EFI system partition is mounted; it is looked for below the root if nothing is said.
    pub esp: Option<&'a Path>,
    /// How the machine finds its root file system; by its UUID if nothing is said.
    pub root_spec: Option<&'a str>,
}

/// File systems that are fit to be installed onto.
#[derive(Debug, Clone)]
pub struct Target {
    root: PathBuf,
    esp: PathBuf,
    root_spec: String,
    has_verity: bool,
}

/// Why an image is not installed.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// There is no file system.
    #[error("no file system is mounted at '{}'", .0.display())]
    NotMounted(PathBuf),
    /// The file system is of the wrong kind.
    #[error("the file system at '{}' is {found}; it must be {wanted}", path.display())]
    Kind {
        /// Where.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What it may be.
        wanted: &'static str,
    },
    /// There is something on the root file system.
    #[error("the file system at '{}' is not empty: it has '{name}'", path.display())]
    NotEmpty {
        /// Where.
        path: PathBuf,
        /// One of the names there.
        name: String,
    },
    /// There is no EFI system partition.
    #[error("no EFI system partition is mounted at boot, efi or boot/efi of '{}'", .0.display())]
    NoEsp(PathBuf),
    /// Another system starts from the EFI system partition.
    #[error("another system starts from the EFI system partition '{}': it has '{name}'", path.display())]
    EspInUse {
        /// The partition.
        path: PathBuf,
        /// What it has.
        name: &'static str,
    },
    /// The file system says nothing that is known of its UUID.
    #[error("cannot tell the UUID of the file system on '{}'", device.display())]
    NoUuid {
        /// The device.
        device: PathBuf,
        /// Why, if it could not be read.
        source: Option<io::Error>,
    },
    /// Writing failed, or there is no room.
    #[error(transparent)]
    Write(#[from] DeployError),
}

impl Failure for TargetError {
    fn class(&self) -> Class {
        match self {
            TargetError::NotMounted(_) | TargetError::Kind { .. } | TargetError::NoEsp(_) => Class::Usage,
            TargetError::NotEmpty { .. } | TargetError::EspInUse { .. } => Class::Conflict,
            TargetError::NoUuid { .. } => Class::Environment,
            TargetError::Write(error) => error.class(),
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            TargetError::NotMounted(path) => format!("mount it: mount DEVICE '{}'", path.display()),
            TargetError::Kind { .. } => return Vec::new(),
            TargetError::NotEmpty { .. } => "make a new file system: mkfs.ext4 -O verity DEVICE".to_owned(),
            TargetError::NoEsp(root) => {
                format!(
                    "mount it at '{}', or give its place with --esp",
                    root.join("boot").display()
                )
            }
            TargetError::EspInUse { .. } => "make a new one: mkfs.vfat -F 32 DEVICE".to_owned(),
            TargetError::NoUuid { .. } => {
                "say how the machine finds it: --root-mount-spec UUID=...".to_owned()
            }
            TargetError::Write(DeployError::NoSpace { .. }) => "make the partition larger".to_owned(),
            TargetError::Write(error) => return error.hints(),
        };
        vec![hint]
    }
}

impl From<OsError> for TargetError {
    fn from(error: OsError) -> Self {
        TargetError::Write(error.into())
    }
}

type Result<T> = std::result::Result<T, TargetError>;

impl Target {
    /// Looks at file systems that are mounted on a machine whose root directory is `host`.
    pub fn open(request: TargetRequest, host: &Path) -> Result<Self> {
        let table = host.join("proc/self/mountinfo");
        let table = fs::read_to_string(&table).map_err(|error| failed("read", &table, error))?;
        let root = canonical(request.root)?;
        let mount = mounts::at(&table, &root).ok_or_else(|| TargetError::NotMounted(root.clone()))?;
        require_kind(&root, mount.kind, &ROOT_KINDS, "ext4, xfs or btrfs")?;
        let esp = find_esp(&table, &root, request.esp)?;
        require_empty(&root, &table)?;
        let taken = ESP_NAMES.iter().find(|name| esp.join(name).exists());
        if let Some(name) = taken {
            return Err(TargetError::EspInUse { path: esp, name });
        }
        let root_spec = match request.root_spec {
            Some(spec) => spec.to_owned(),
            None => format!("UUID={}", uuid_of_device(&mount.source(), host)?),
        };
        Ok(Target {
            has_verity: has_verity(&root)?,
            root,
            esp,
            root_spec,
        })
    }

    /// What the kernel argument `root=` says.
    pub fn root_spec(&self) -> &str {
        &self.root_spec
    }

    /// Whether the kernel can enforce the contents of files on the root file system.
    pub fn has_verity(&self) -> bool {
        self.has_verity
    }

    /// Writes a deployment of an image of the store. All of it is on the medium then.
    pub fn write(&self, deployment: &Deployment, store: &Store, observer: &dyn Observer) -> Result<()> {
        let place = "the root file system";
        require_space(place, needed_bytes(&deployment.root), free_bytes(&self.root)?)?;
        let place = "the EFI system partition";
        let esp_bytes = file_bytes(&deployment.esp) + ESP_SPARE_BYTES;
        require_space(place, esp_bytes, free_bytes(&self.esp)?)?;
        let writer = |tree| TreeWriter {
            tree,
            sources: &deployment.sources,
            store,
            observer,
        };
        writer(&deployment.root).write(&self.root)?;
        sync(&self.root)?;
        let files = deployment.esp.walk();
        let (entries, others): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|(path, _)| path.starts_with(ENTRIES));
        for files in [others, entries] {
            for (path, id) in files {
                observer.require_running().map_err(DeployError::from)?;
                self.add_to_esp(&writer(&deployment.esp), &path, id)?;
            }
            sync(&self.esp)?;
        }
        Ok(())
    }

    /// FAT knows folders and files, and nothing about them.
    fn add_to_esp(&self, writer: &TreeWriter, path: &[u8], id: InodeId) -> Result<()> {
        let path = self.esp.join(OsStr::from_bytes(path));
        let unwritable = |error| failed("write", &path, error);
        match &writer.tree.inode(id).node {
            Node::Directory(_) => fs::create_dir_all(&path).map_err(unwritable)?,
            Node::Regular(file) => File::create(&path)
                .and_then(|target| {
                    writer.copy(*file, &target)?;
                    target.sync_all()
                })
                .map_err(unwritable)?,
            _ => {}
        }
        Ok(())
    }
}

fn canonical(path: &Path) -> Result<PathBuf> {
    Ok(fs::canonicalize(path).map_err(|error| failed("open", path, error))?)
}

fn require_kind(path: &Path, found: &str, kinds: &[&str], wanted: &'static str) -> Result<()> {
    if kinds.contains(&found) {
        return Ok(());
    }
    Err(TargetError::Kind {
        path: path.to_owned(),
        found: found.to_owned(),
        wanted,
    })
}

fn find_esp(table: &str, root: &Path, place: Option<&Path>) -> Result<PathBuf> {
    let esp = match place {
        Some(place) => canonical(place)?,
        None => {
            let mut places = ESP_PLACES.iter().map(|place| root.join(place));
            let found = places.find(|place| mounts::at(table, place).is_some());
            found.ok_or_else(|| TargetError::NoEsp(root.to_owned()))?
        }
    };
    let mount = mounts::at(table, &esp).ok_or_else(|| TargetError::NotMounted(esp.clone()))?;
    require_kind(&esp, mount.kind, &["vfat"], "FAT")?;
    Ok(esp)
}

/// Mount points, and what a new file system has, are nothing.
fn require_empty(root: &Path, table: &str) -> Result<()> {
    for name in names(root)? {
        let path = root.join(&name);
        let is_mount_point = |path: &Path| mounts::at(table, path).is_some();
        let is_nothing = match name.as_str() {
            "lost+found" => true,
            "boot" | "efi" if is_mount_point(&path) => true,
            "boot" | "efi" => names(&path)?
                .iter()
                .all(|inner| is_mount_point(&path.join(inner))),
            _ => false,
        };
        if !is_nothing {
            return Err(TargetError::NotEmpty {
                path: root.to_owned(),
                name,
            });
        }
    }
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let unreadable = |error| failed("list", folder, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Tries it with a file that never has a name.
fn has_verity(root: &Path) -> Result<bool> {
    let unwritable = |error| failed("write to", root, error);
    let mut file = NewFile::create(open_directory(root)?, 0o600).map_err(unwritable)?;
    file.file().write_all(b"verity").map_err(unwritable)?;
    file.close_for_writing().map_err(unwritable)?;
    Ok(osmith_sys::verity::enable(file.file())?)
}

fn uuid_of_device(source: &Path, host: &Path) -> Result<String> {
    let device = host.join(source.strip_prefix("/").unwrap_or(source));
    let unknown = |reason| TargetError::NoUuid {
        device: device.clone(),
        source: reason,
    };
    let opened = File::open(&device).map_err(|error| unknown(Some(error)))?;
    let found = uuid(opened).map_err(|error| unknown(Some(error)))?;
    found.ok_or_else(|| unknown(None))
}

/// The UUID of a file system, in the form of `/dev/disk/by-uuid`. Sources: the kernel's ext4_super_block, xfs_dsb and
/// btrfs_super_block.
fn uuid(mut device: impl Read + Seek) -> io::Result<Option<String>> {
    for (magic_at, magic, uuid_at) in [
        (1080, &b"\x53\xef"[..], 1128),
        (0, b"XFSB", 32),
        (65600, b"_BHRfS_M", 65568),
    ] {
        let mut found = vec![0; magic.len()];
        let mut uuid = [0; 16];
        device.seek(SeekFrom::Start(magic_at))?;
        match device.read_exact(&mut found) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
            read => read?,
        }
        if found == magic {
            device.seek(SeekFrom::Start(uuid_at))?;
            device.read_exact(&mut uuid)?;
            return Ok(Some(uuid_text(&uuid)));
        }
    }
    Ok(None)
}

fn uuid_text(uuid: &[u8; 16]) -> String {
    let digits = hex::encode(uuid);
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32].map(|group| digits.get(group).unwrap_or_default());
    groups.join("-")
}

fn file_bytes(tree: &Tree<InstallFile>) -> u64 {
    let bytes = tree.inodes().map(|inode| match &inode.node {
        Node::Regular(file) => file.size_bytes,
        _ => 0,
    });
    bytes.sum()
}

fn free_bytes(path: &Path) -> Result<u64> {
    let found =
        rustix::fs::statvfs(path).map_err(|errno| failed("look at the space of", path, errno.into()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

fn sync(path: &Path) -> Result<()> {
    let synced = rustix::fs::syncfs(open_directory(path)?);
    Ok(synced.map_err(|errno| failed("write to the disk", path, errno.into()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_say_their_uuid() {
        let uuid_bytes: Vec<u8> = (1..=16).collect();
        for (magic_at, magic, uuid_at) in [
            (0x438, &[0x53, 0xef][..], 0x468),
            (0, b"XFSB", 0x20),
            (0x10040, b"_BHRfS_M", 0x10020),
        ] {
            let mut device = vec![0; 70_000];
            device[magic_at..magic_at + magic.len()].copy_from_slice(magic);
            device[uuid_at..uuid_at + 16].copy_from_slice(&uuid_bytes);
            let found = uuid(io::Cursor::new(&device)).unwrap().unwrap();
            assert_eq!(found, "01020304-0506-0708-090a-0b0c0d0e0f10");
        }
        assert_eq!(uuid(io::Cursor::new(vec![0; 70_000])).unwrap(), None);
        assert_eq!(uuid(io::Cursor::new(b"short")).unwrap(), None);
    }

    #[test]
    fn mount_points_are_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(root.path()).unwrap();
        for folder in ["lost+found", "boot/efi", "efi"] {
            fs::create_dir_all(path.join(folder)).unwrap();
        }
        let line = |place: &str| format!("30 1 8:1 / {}/{place} rw - vfat /dev/sda1 rw\n", path.display());
        require_empty(&path, &line("boot/efi")).unwrap();
        assert_eq!(
            find_esp(&line("boot/efi"), &path, None).unwrap(),
            path.join("boot/efi")
        );
        let error = require_empty(&path, &line("efi")).unwrap_err();
        assert!(
            error.to_string().ends_with("is not empty: it has 'boot'"),
            "{error}"
        );
        fs::write(path.join("x"), "").unwrap();
        assert!(require_empty(&path, &line("boot/efi")).is_err());
    }

    #[test]
    fn what_is_no_target_is_told() {
        let host = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(root.path()).unwrap();
        fs::create_dir_all(host.path().join("proc/self")).unwrap();
        let open = |table: &str| {
            let text = table.replace("ROOT", path.to_str().unwrap());
            fs::write(host.path().join("proc/self/mountinfo"), text).unwrap();
            let request = TargetRequest {
                root: root.path(),
                esp: None,
                root_spec: None,
            };
            Target::open(request, host.path()).unwrap_err()
        };
        assert!(matches!(open(""), TargetError::NotMounted(_)));
        let error = open("30 1 0:9 / ROOT rw - tmpfs tmpfs rw\n");
        assert!(matches!(error, TargetError::Kind { .. }), "{error}");
        let ext4 = "30 1 8:2 / ROOT rw - ext4 /dev/sda2 rw\n";
        assert!(matches!(open(ext4), TargetError::NoEsp(_)));
        fs::create_dir(path.join("efi")).unwrap();
        let with_esp = |kind: &str| format!("{ext4}31 30 8:1 / ROOT/efi rw - {kind} /dev/sda1 rw\n");
        assert!(matches!(
            open(&with_esp("ext4")),
            TargetError::Kind { wanted: "FAT", .. }
        ));
        assert!(matches!(open(&with_esp("vfat")), TargetError::NoUuid { .. }));
        fs::create_dir_all(path.join("efi/EFI/BOOT")).unwrap();
        assert!(matches!(
            open(&with_esp("vfat")),
            TargetError::EspInUse { name: "EFI/BOOT", .. }
        ));
    }
}
