//! A machine with a blank disk, a medium, and a web server with Kickstart files.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use osmith_stories::os::{IMAGE, containerfile, seen_by_machines};
use osmith_stories::{OSMITH, Workshop};
use osmith_testing::vm::Laboratory;
use osmith_testing::web::WebServer;

pub(crate) static WORKSHOP: LazyLock<Workshop> = LazyLock::new(Workshop::open);
/// The memory that a machine must do with while it is installed.
pub(crate) const MEMORY: [&str; 2] = ["--memory", "1GiB"];
const DISK_BYTES: u64 = 6 << 30;

/// What is on the table before a machine is installed.
pub(crate) struct Metal {
    pub(crate) laboratory: Laboratory,
    pub(crate) web: WebServer,
    /// Blank, until something is installed.
    pub(crate) disk: PathBuf,
}

impl Metal {
    /// Version 1 of the image, and a blank disk.
    pub(crate) fn unpack() -> Self {
        WORKSHOP.build(IMAGE, &containerfile("1", ""));
        let laboratory = Laboratory::open(Path::new(OSMITH)).expect("a laboratory");
        let metal = Metal {
            disk: laboratory.folder().join("disk.raw"),
            laboratory,
            web: WebServer::start(),
        };
        metal.blank_disk("disk.raw");
        metal
    }

    /// A blank disk of that name.
    pub(crate) fn blank_disk(&self, name: &str) -> PathBuf {
        let path = self.laboratory.folder().join(name);
        let created = File::create(&path).and_then(|file| file.set_len(DISK_BYTES));
        created.expect("a blank disk");
        path
    }

    /// Makes a medium, with these options of `osmith disk`.
    pub(crate) fn medium(&self, options: &str) -> PathBuf {
        let output = self.laboratory.folder().join("media");
        WORKSHOP.osmith(&format!(
            "disk --force {options} --output {} {IMAGE}",
            output.display()
        ));
        output
    }

    /// Puts a Kickstart file into a medium, for a machine that no network leads to.
    pub(crate) fn embed(&self, iso: &Path, kickstart: &str) {
        let path = self.laboratory.folder().join("ks.cfg");
        fs::write(&path, kickstart).expect("a Kickstart file");
        WORKSHOP.osmith(&format!(
            "iso embed-kickstart {} {}",
            iso.display(),
            path.display()
        ));
    }

    /// Where the machine finds a file of the web server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", seen_by_machines(self.web.address()))
    }

    /// A line of Kickstart that lets the laboratory log in.
    pub(crate) fn ssh_key(&self, user: &str) -> String {
        let key = self.laboratory.public_key().expect("a key");
        format!("sshkey --username={user} \"{key}\"\n")
    }
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// Whether nothing at all was written to a disk.
pub(crate) fn is_blank(disk: &Path) -> bool {
    let mut file = File::open(disk).expect("the disk");
    let mut buffer = vec![0; 1 << 20];
    loop {
        let length = file.read(&mut buffer).expect("the disk is read");
        if length == 0 {
            return true;
        }
        if buffer[..length].iter().any(|byte| *byte != 0) {
            return false;
        }
    }
}

/// Whether a disk has a partition table, at its beginning or at its end.
pub(crate) fn has_partition_table(disk: &Path) -> bool {
    const SIGNATURE: &[u8] = b"EFI PART";
    const SECTOR_BYTES: u64 = 512;
    let file = File::open(disk).expect("the disk");
    let length = file.metadata().expect("its length").len();
    [SECTOR_BYTES, length - SECTOR_BYTES].into_iter().any(|place| {
        let mut bytes = [0; SIGNATURE.len()];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, place).expect("a sector");
        bytes == SIGNATURE
    })
}

/// Says how long something took; nothing depends on it.
#[allow(clippy::print_stderr, reason = "who runs the stories wants to know")]
pub(crate) fn measured(what: &str, seconds: u64) {
    eprintln!("measured: {what} after {seconds} s");
}

/// The bytes of a file.
pub(crate) fn bytes(path: &Path) -> Vec<u8> {
    fs::read(path).expect("a file")
}
