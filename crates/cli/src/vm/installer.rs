//! What starts an installer: media, or a kernel with its initramfs.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use osmith_report::Class;

use super::arguments::BootArgs;
use super::machine::{DirectKernel, Medium, Slot};
use crate::failure::CommandFailure;

/// What a machine starts from beside its disk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Installer {
    pub(crate) media: Vec<Medium>,
    pub(crate) kernel: Option<DirectKernel>,
}

impl BootArgs {
    /// Whether anything but the disk starts the machine.
    pub(crate) fn is_given(&self) -> bool {
        self.cdrom.is_some() || self.usb.is_some() || self.kernel.is_some()
    }
}

impl Installer {
    /// Makes sure that all of the files can be read: QEMU's own words for one that cannot be are many.
    pub(crate) fn find(arguments: &BootArgs) -> Result<Self, CommandFailure> {
        let mut media = Vec::new();
        for (slot, path) in [(Slot::Cdrom, &arguments.cdrom), (Slot::Usb, &arguments.usb)] {
            if let Some(path) = path {
                require_file("medium", path, "make one with osmith disk --type iso IMAGE")?;
                media.push(Medium {
                    slot,
                    path: path.clone(),
                });
            }
        }
        for (what, path) in [("kernel", &arguments.kernel), ("initramfs", &arguments.initrd)] {
            if let Some(path) = path {
                require_file(what, path, "make them with osmith disk --type pxe IMAGE")?;
            }
        }
        let kernel = arguments.kernel.as_ref().map(|kernel| DirectKernel {
            kernel: kernel.clone(),
            initrd: arguments.initrd.clone(),
            arguments: arguments.append.clone().unwrap_or_default(),
        });
        Ok(Installer { media, kernel })
    }
}

fn require_file(what: &str, path: &Path, remedy: &str) -> Result<(), CommandFailure> {
    let cannot = |class, error| {
        CommandFailure::new(class, format!("cannot open the {what} {}", path.display()))
            .because(error)
            .hint(remedy)
    };
    let is_folder = File::open(path)
        .and_then(|file| file.metadata())
        .map(|metadata| metadata.is_dir());
    match is_folder {
        Ok(false) => Ok(()),
        Ok(true) => Err(cannot(Class::Input, ErrorKind::IsADirectory.into())),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(cannot(Class::NotFound, error)),
        Err(error) => Err(cannot(Class::Environment, error)),
    }
}

#[cfg(test)]
mod tests {
    use osmith_report::Failure as _;

    use super::*;

    fn arguments() -> BootArgs {
        BootArgs {
            cdrom: None,
            usb: None,
            kernel: None,
            initrd: None,
            append: None,
        }
    }

    #[test]
    fn files_that_are_there_become_media_and_a_kernel() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, "").expect("a file");
        let nothing = Installer::find(&arguments()).expect("nothing is asked for");
        assert!(!arguments().is_given());
        assert_eq!((nothing.media.len(), nothing.kernel), (0, None));
        let arguments = BootArgs {
            cdrom: Some(path.clone()),
            usb: Some(path.clone()),
            kernel: Some(path.clone()),
            ..arguments()
        };
        assert!(arguments.is_given());
        let found = Installer::find(&arguments).expect("all are there");
        let slots: Vec<Slot> = found.media.iter().map(|medium| medium.slot).collect();
        assert_eq!(slots, [Slot::Cdrom, Slot::Usb]);
        let kernel = found.kernel.expect("a kernel");
        assert_eq!((kernel.kernel, kernel.initrd), (path, None));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("missing");
        for (arguments, what) in [
            (
                BootArgs {
                    usb: Some(missing.clone()),
                    ..arguments()
                },
                "the medium",
            ),
            (
                BootArgs {
                    kernel: Some(missing.clone()),
                    ..arguments()
                },
                "the kernel",
            ),
        ] {
            let failure = Installer::find(&arguments).expect_err("missing");
            assert_eq!(failure.class(), Class::NotFound);
            assert!(failure.to_string().contains(what), "{failure}");
        }
        let folder = BootArgs {
            cdrom: Some(folder.path().to_owned()),
            ..arguments()
        };
        let failure = Installer::find(&folder).expect_err("a folder");
        assert_eq!(failure.class(), Class::Input);
    }
}
