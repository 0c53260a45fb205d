//! An installation medium for an image: what a disk has, but that it starts an installer.
//!
//! ```text
//! root  composefs/, state/osmith/store/      as on a disk
//!       state/deploy/<id>/<id>.origin        what machines follow that are installed from it
//! ESP   as on a disk, and osmith/kickstart.img: a second initramfs, for a Kickstart file
//! ```

use osmith_formats::tree::{Node, Tree};
use osmith_image::store::{Image, Store};

use super::boot::{self, Kernel};
use super::{Architecture, Deployment, InstallError, InstallImage, prepare, read_object, root};
use crate::deploy::image_name;
use crate::kernel_arguments::{self, ComposefsArgument};
use crate::medium::{self, MediumId};
use crate::origin::ImageSource;

/// What an image must have to install itself: the program, and what puts the medium into its initramfs.
const NEEDED: [&str; 2] = [
    "usr/bin/osmith",
    "usr/lib/dracut/modules.d/51osmith/osmith-medium.service",
];
/// What keeps the live system from looking for a disk of its own, and from asking questions.
const QUIET_START: [&str; 4] = [
    "systemd.gpt_auto=no",
    "systemd.firstboot=no",
    "fstab=no",
    "rd.shell",
];

/// What is asked for.
#[derive(Debug, Clone)]
pub struct MediumOptions {
    /// The identity of the medium's file system.
    pub id: MediumId,
    /// Kernel arguments beside those of the image.
    pub kernel_arguments: Vec<String>,
    /// What machines follow that are installed from it.
    pub source: ImageSource,
    /// How long the area for a Kickstart file is.
    pub area_bytes: usize,
}

/// The contents of an installation medium with an image of a store, whose tree is `tree`.
pub fn medium_of_stored(
    store: &Store,
    (image, tree): (&Image, Tree),
    architecture: Architecture,
    options: &MediumOptions,
) -> Result<Deployment, InstallError> {
    let is_file = |path: &str| {
        let found = tree.lookup(path.as_bytes());
        found.is_some_and(|id| matches!(tree.inode(id).node, Node::Regular(_)))
    };
    if let Some(missing) = NEEDED.into_iter().find(|path| !is_file(path)) {
        return Err(InstallError::NoInstaller(missing));
    }
    let records = store.records(image, image_name(&image.manifest_digest).as_ref())?;
    let install = InstallImage {
        tree,
        architecture,
        manifest: &store.blob_bytes(&image.manifest_digest)?,
        config: &store.blob_bytes(&image.id())?,
        records: Vec::new(),
    };
    let prepared = prepare(install, &mut |digest| read_object(store, digest))?;
    let digest = prepared.digest;
    let files = &prepared.files;
    let Kernel::Separate {
        arguments: of_image, ..
    } = &files.kernel
    else {
        return Err(InstallError::SealedInstaller);
    };
    let argument = ComposefsArgument {
        digest,
        missing_verity_allowed: true,
    };
    let mut arguments = vec![
        format!("{}={}", medium::ARGUMENT, options.id),
        argument.to_string(),
        format!("systemd.unit={}", medium::TARGET),
    ];
    arguments.extend(QUIET_START.map(str::to_owned));
    kernel_arguments::append(&mut arguments, options.kernel_arguments.iter().cloned());
    kernel_arguments::append(&mut arguments, of_image.iter().cloned());
    let (title, kernel_version) = (files.os.title().to_owned(), files.version.clone());
    let origin = prepared.origin(&options.source);
    let esp = boot::esp_of_medium(architecture, files, digest, &arguments, options.area_bytes);
    let (esp, sources) = esp.finish();
    let (root, sources) = root::of_medium(prepared, &origin, records, sources)?.finish();
    Ok(Deployment {
        digest,
        title,
        kernel_version,
        kernel_arguments: arguments,
        root,
        esp,
        sources,
    })
}
