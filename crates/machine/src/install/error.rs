//! Why an image cannot be put on a disk.

use osmith_formats::composefs;
use osmith_formats::verity::Digest;
use osmith_image::store::StoreError;
use osmith_report::{Class, Failure};

use crate::uki::UkiError;

/// Why an image cannot be put on a disk.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// There is no kernel.
    #[error("the image has no kernel: there is no /usr/lib/modules/<version>/vmlinuz")]
    NoKernel,
    /// There are several kernels.
    #[error("the image has several kernels below /usr/lib/modules: {}", .0.join(", "))]
    SeveralKernels(Vec<String>),
    /// The kernel has no initramfs.
    #[error("the image has no initramfs for its kernel: /usr/lib/modules/{0}/initramfs.img is missing")]
    NoInitramfs(String),
    /// There are several unified kernel images.
    #[error("the image has several unified kernel images: /{}", .0.join(", /"))]
    SeveralUkis(Vec<String>),
    /// A unified kernel image cannot be read.
    #[error("/{path} of the image is no unified kernel image")]
    Uki {
        /// The file.
        path: String,
        /// What is wrong.
        source: UkiError,
    },
    /// A unified kernel image names no deployment.
    #[error("the command line of the image's unified kernel image names no deployment")]
    UkiArgument {
        /// What it should name.
        expected: Box<Digest>,
    },
    /// A unified kernel image was made for other files: it would find no root.
    #[error(
        "the image's unified kernel image is for other files: it names {found}, the files are {expected}"
    )]
    UkiDigest {
        /// What it names.
        found: Box<Digest>,
        /// What it should name.
        expected: Box<Digest>,
    },
    /// Kernel arguments are asked for that a unified kernel image does not take.
    #[error("the image starts by a unified kernel image, whose kernel arguments are sealed: '{}' cannot be added", .0.join(" "))]
    SealedArguments(Vec<String>),
    /// A unified kernel image starts a machine, and nothing else.
    #[error(
        "the image starts by a unified kernel image, whose kernel arguments are sealed: it cannot start an installer"
    )]
    SealedInstaller,
    /// There is no program that installs.
    #[error("the image cannot install itself: /{0} is missing")]
    NoInstaller(&'static str),
    /// A unified kernel image demands what the file system does not have.
    #[error("the image's unified kernel image demands fs-verity, which the root file system does not have")]
    SealedVerity,
    /// There is no boot loader.
    #[error("the image has no systemd-boot: /{path} is missing")]
    NoBootLoader {
        /// Where it would be.
        path: String,
    },
    /// There is no description of the operating system.
    #[error("the image does not say what system it is: /usr/lib/os-release is missing")]
    NoOsRelease,
    /// A file with kernel arguments is malformed.
    #[error("cannot read kernel arguments from /{path}: {message}", message = source.message())]
    KernelArguments {
        /// The file.
        path: String,
        /// What is wrong.
        source: Box<toml::de::Error>,
    },
    /// What a fresh disk has of `/etc` would not be seen.
    #[error("the image mounts /etc as a layer, so what is configured for this disk would not be seen there")]
    LayeredEtc,
    /// A path is there, but is something else than a regular file.
    #[error("/{0} of the image is no regular file")]
    NotRegular(String),
    /// A description is much too long.
    #[error("/{path} of the image is {size_bytes} bytes long; at most {max_bytes} are read")]
    TooLong {
        /// The file.
        path: String,
        /// Its length.
        size_bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
    /// The store fails.
    #[error(transparent)]
    Store(Box<StoreError>),
    /// An object of the store cannot be read.
    #[error("cannot read /{path} of the image")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The manifest or the configuration cannot be compressed.
    #[error("cannot store the manifest and the configuration of the image")]
    Stream(#[source] std::io::Error),
    /// A tree that no machine boots from.
    #[error("the image cannot be made bootable")]
    Boot(#[from] composefs::BootError),
    /// A tree that no composefs image can hold.
    #[error("the image cannot be deployed")]
    Composefs(#[from] composefs::Error),
}

impl From<StoreError> for InstallError {
    fn from(error: StoreError) -> Self {
        InstallError::Store(Box::new(error))
    }
}

impl Failure for InstallError {
    fn class(&self) -> Class {
        match self {
            InstallError::Store(error) => error.class(),
            InstallError::Unreadable { .. } => Class::Corrupt,
            InstallError::Boot(composefs::BootError::Unreadable { .. }) => Class::Corrupt,
            InstallError::Stream(_) => Class::Internal,
            _ => Class::Input,
        }
    }

    fn hints(&self) -> Vec<String> {
        let bootable_base =
            "start its Containerfile FROM a bootable base image, such as one built from images/debian";
        let hint = match self {
            InstallError::Store(error) => return error.hints(),
            InstallError::NoKernel | InstallError::NoOsRelease | InstallError::Boot(_) => bootable_base,
            InstallError::SeveralKernels(_) => "remove all kernels but one in the Containerfile",
            InstallError::NoInitramfs(_) => {
                "make one in the Containerfile: dracut /usr/lib/modules/<version>/initramfs.img <version>"
            }
            InstallError::NoBootLoader { .. } => {
                "install systemd-boot in the Containerfile (Debian: systemd-boot-efi, Fedora: systemd-boot-unsigned)"
            }
            InstallError::SealedInstaller => {
                "make the medium of an image that has its kernel and initramfs apart; it can install the sealed one from a registry"
            }
            InstallError::NoInstaller(_) => {
                "copy osmith into the image, and its dracut module into the initramfs, as images/debian does"
            }
            InstallError::SeveralUkis(_) => "remove all but one in the Containerfile",
            InstallError::Uki { .. } => {
                "make it with ukify in the Containerfile: docs/uki.md of osmith has the whole file"
            }
            InstallError::UkiArgument { expected } | InstallError::UkiDigest { expected, .. } => {
                return vec![format!(
                    "make it again with the kernel argument composefs={expected}"
                )];
            }
            InstallError::SealedArguments(_) => {
                "give them to ukify when the unified kernel image is made: --cmdline"
            }
            InstallError::SealedVerity => {
                "use ext4 with fs-verity (mkfs.ext4 -O verity), or make the unified kernel image with composefs=?..."
            }
            InstallError::KernelArguments { .. } => {
                "the file takes kargs = [\"name=value\"] and match-architectures = [\"x86_64\"], nothing else"
            }
            InstallError::LayeredEtc => {
                "configure it in the Containerfile, or take [etc] out of the image's \
                 /usr/lib/composefs/setup-root-conf.toml"
            }
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}
