//! What the stories share: the images and disks they boot, made with `osmith` as a user would.
//!
//! `make story` runs them: it puts `osmith` on the PATH and, when it is run by root, becomes an ordinary user first.
#![allow(clippy::print_stderr, reason = "a story says which command it runs")]

pub mod os;

use std::env;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program under test; found on the PATH.
pub const OSMITH: &str = "osmith";
/// The folder below the project in which stories keep a store and disks from run to run.
const FOLDER: &str = "target/stories";
/// The block size of the file systems that osmith writes; files begin at a multiple of it.
const BLOCK_BYTES: usize = 4096;
const READ_BYTES: usize = 1 << 20;

/// Where stories make their images and disks.
#[derive(Debug)]
pub struct Workshop {
    /// The project's folder.
    pub project: PathBuf,
    /// What is kept from run to run.
    pub folder: PathBuf,
    /// The store with the images.
    pub store: PathBuf,
}

impl Workshop {
    /// A workshop with the bootable base image; what did not change since the last time comes from osmith's cache.
    pub fn open() -> Self {
        let workshop = Self::empty();
        workshop.ensure_debian("localhost/debian:13", None);
        workshop.osmith("build -t localhost/debian-bootc:13 images/debian");
        workshop
    }

    /// The same with the base image for arm64, `localhost/debian-bootc:13-arm64`, and no other.
    pub fn open_arm64() -> Self {
        let workshop = Self::empty();
        workshop.ensure_debian("localhost/debian:13-arm64", Some("arm64"));
        workshop.osmith("build --build-arg ARCH=arm64 -t localhost/debian-bootc:13-arm64 images/debian");
        workshop
    }

    fn empty() -> Self {
        let project = project();
        let folder = project.join(FOLDER);
        fs::create_dir_all(&folder).expect("a folder for the stories");
        Workshop {
            store: folder.join("store"),
            folder,
            project,
        }
    }

    /// Builds an image that has nothing from a context.
    pub fn build(&self, name: &str, containerfile: &str) {
        let context = tempfile::tempdir().expect("a context");
        fs::write(context.path().join("Containerfile"), containerfile).expect("a Containerfile");
        self.osmith(&format!("build -t {name} {}", context.path().display()));
    }

    /// Debian's packages change every day; the stories are not about them: one import is kept. An `architecture` is
    /// another one than this computer's.
    fn ensure_debian(&self, name: &str, architecture: Option<&str>) {
        let known = self
            .command(&format!("osmith inspect {name}"))
            .output()
            .expect("osmith is on the PATH");
        if known.status.success() {
            return;
        }
        let output = Command::new(self.project.join("scripts/debian-rootfs"))
            .arg(&self.folder)
            .args(architecture)
            .output();
        let output = output.expect("scripts/debian-rootfs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let mmdebstrap = String::from_utf8(output.stdout).expect("a command");
        let option = architecture.map_or(String::new(), |name| format!(" --arch {name}"));
        self.shell(&format!("{} | osmith import{option} - {name}", mmdebstrap.trim()));
    }

    /// Runs an osmith command, in words, that must succeed.
    pub fn osmith(&self, words: &str) {
        self.shell(&format!("{OSMITH} {words}"));
    }

    /// Runs a command that must succeed.
    pub fn shell(&self, command: &str) {
        eprintln!("$ {command}");
        let status = self.command(command).status().expect("bash");
        assert!(status.success(), "{command}: {status}");
    }

    fn command(&self, command: &str) -> Command {
        let mut bash = Command::new("bash");
        bash.args(["-o", "pipefail", "-c", command])
            .current_dir(&self.project)
            .env("OSMITH_STORE", &self.store);
        bash
    }
}

/// The web server's disks, made from this project's images.
#[derive(Debug)]
pub struct Webserver {
    /// Where they were made.
    pub workshop: Workshop,
    /// The raw disk. Belongs to all stories: copy it.
    pub raw: PathBuf,
    /// The qcow2 disk. Belongs to all stories: copy it.
    pub qcow2: PathBuf,
}

impl Webserver {
    /// Builds the image and the disks.
    pub fn build() -> Self {
        let workshop = Workshop::open();
        let output = workshop.folder.join("output");
        workshop.osmith("build -t localhost/webserver examples/webserver");
        workshop.osmith(&format!(
            "disk --force --type raw --type qcow2 --output {} localhost/webserver",
            output.display()
        ));
        Webserver {
            raw: output.join("image/disk.raw"),
            qcow2: output.join("qcow2/disk.qcow2"),
            workshop,
        }
    }

    /// The page the server is to serve.
    pub fn page(&self) -> Vec<u8> {
        let path = "examples/webserver/rootfs/usr/share/webserver/index.html";
        fs::read(self.workshop.project.join(path)).expect("the example's page")
    }
}

/// The folder above this one that holds the project.
fn project() -> PathBuf {
    let here = env::current_dir().expect("a current folder");
    here.ancestors()
        .find(|folder| folder.join("images/debian/Containerfile").is_file())
        .expect("the story runs inside the project")
        .to_owned()
}

/// Copies a disk, leaving out what is zero.
pub fn copy_sparsely(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut copy = File::create(to)?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let length = source.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        match buffer[..length].iter().all(|byte| *byte == 0) {
            true => copy.seek(SeekFrom::Current(length as i64)).map(drop)?,
            false => copy.write_all(&buffer[..length])?,
        }
    }
    copy.set_len(source.metadata()?.len())
}

/// Where on a raw disk a file with this content begins, in bytes; every place if it is there more than once.
pub fn find_content(disk: &Path, content: &[u8]) -> io::Result<Vec<u64>> {
    let head = &content[..content.len().min(BLOCK_BYTES)];
    let file = File::open(disk)?;
    let mut buffer = vec![0; READ_BYTES];
    let mut found = Vec::new();
    let mut position = 0;
    loop {
        let length = file.read_at(&mut buffer, position)?;
        if length == 0 {
            return Ok(found);
        }
        let blocks = buffer[..length].chunks(BLOCK_BYTES).enumerate();
        found.extend(
            blocks
                .filter(|(_, block)| block.starts_with(head))
                .map(|(index, _)| position + (index * BLOCK_BYTES) as u64),
        );
        position += length as u64;
    }
}

/// Changes one bit.
pub fn flip_bit(disk: &Path, position: u64) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(disk)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, position)?;
    byte[0] ^= 1;
    file.write_all_at(&byte, position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_found_copied_and_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (disk, copy) = (folder.path().join("disk"), folder.path().join("copy"));
        let file = File::create(&disk).expect("a disk");
        file.set_len(3 << 20).expect("a length");
        let place = (1 << 20) + 3 * BLOCK_BYTES as u64;
        file.write_all_at(b"a page", place).expect("a file");
        file.write_all_at(b"a page", 100)
            .expect("not at a block's beginning");
        copy_sparsely(&disk, &copy).expect("copied");
        assert!(fs::read(&disk).expect("disk") == fs::read(&copy).expect("copy"));
        assert_eq!(find_content(&copy, b"a page").expect("read"), [place]);
        flip_bit(&copy, place).expect("flipped");
        assert!(find_content(&copy, b"a page").expect("read").is_empty());
    }
}
