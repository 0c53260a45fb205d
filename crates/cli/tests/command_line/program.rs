//! Running the program, and its words in a form that is the same everywhere.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub(crate) const OSMITH: &str = env!("CARGO_BIN_EXE_osmith");

/// Files that make an image of which a disk can be made, as [`Place::image`] takes them.
pub(crate) const BOOTABLE: [(&str, &str); 7] = [
    ("sysroot/", ""),
    ("boot/", ""),
    ("etc/hostname", "sample"),
    ("usr/lib/os-release", "ID=sample\nPRETTY_NAME=Sample\n"),
    ("usr/lib/modules/6.12/initramfs.img", "initramfs"),
    ("usr/lib/modules/6.12/vmlinuz", "kernel"),
    ("usr/lib/systemd/boot/efi/systemd-bootx64.efi", "loader"),
];

/// The program with nothing of the caller's environment that changes its words.
pub(crate) fn osmith() -> Command {
    clean(Command::new(OSMITH))
}

pub(crate) fn clean(mut command: Command) -> Command {
    command
        .env_remove("OSMITH_STORE")
        .env_remove("COLUMNS")
        .stdin(Stdio::null());
    command
}

/// A directory to work in, with a store, that everybody may enter.
pub(crate) struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Place { directory }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path().join("store")
    }

    /// Writes a file, and the directories above it.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The program with that command line, in this directory and on this store.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = osmith();
        command
            .current_dir(self.path())
            .env("OSMITH_STORE", self.store())
            .args(words(line));
        command
    }

    /// Runs a command that must succeed.
    pub(crate) fn ok(&self, line: &str) {
        let output = self.command(line).output().unwrap();
        assert!(output.status.success(), "{line}: {}", said(&output));
    }

    /// An image of the files `NAME=TEXT`, of which those that end with `/` are directories.
    pub(crate) fn image(&self, name: &str, files: &[(&str, &str)]) {
        let tree = format!("tree-{}", name.replace(['/', ':'], "-"));
        for (path, text) in files {
            match path.strip_suffix('/') {
                Some(directory) => fs::create_dir_all(self.path().join(&tree).join(directory)).unwrap(),
                None => drop(self.file(&format!("{tree}/{path}"), text)),
            }
        }
        self.file("copy-all", "FROM scratch\nCOPY . /\n");
        self.ok(&format!("build -t {name} -f copy-all {tree}"));
    }

    /// What command lines print, with exit status, one after the other.
    pub(crate) fn transcript(&self, lines: &[&str]) -> String {
        self.transcript_with(lines, |_| {})
    }

    /// [`Place::transcript`], of commands that are changed before they run.
    pub(crate) fn transcript_with(&self, lines: &[&str], change: impl Fn(&mut Command)) -> String {
        let mut text = String::new();
        for line in lines {
            let mut command = self.command(line);
            change(&mut command);
            let output = command.output().unwrap();
            let _ = writeln!(text, "$ osmith {line}\n{}", self.plain(&said(&output)));
        }
        // Whether the user who runs the tests has subordinate ids is not the point.
        text.split_inclusive('\n')
            .filter(|line| !line.starts_with("warning: user '"))
            .collect()
    }

    /// The text with the directory's name taken out.
    pub(crate) fn plain(&self, text: &str) -> String {
        text.replace(&self.path().display().to_string(), "[DIR]")
    }

    /// Nothing unfinished, and no image, is in the store.
    pub(crate) fn require_no_images(&self) {
        let left = fs::read_dir(self.store().join("tmp")).unwrap().count();
        assert_eq!(left, 0, "unfinished files in the store");
        let output = self.command("images --quiet").output().unwrap();
        assert_eq!(said(&output), "exit status 0\n");
    }
}

/// The text with this machine's processor taken out.
pub(crate) fn for_any_host(text: &str) -> String {
    text.replace(
        &format!("linux/{}", osmith_image::host_architecture()),
        "linux/[HOST]",
    )
}

/// Words are separated by single spaces; there is no quoting.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(' ').filter(|word| !word.is_empty())
}

/// Standard output, standard error without steps, and how the program ended.
pub(crate) fn said(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    // Lines about steps have times.
    let errors: String = errors
        .lines()
        .filter(|line| !line.starts_with('['))
        .map(|line| format!("{line}\n"))
        .collect();
    let status = output
        .status
        .code()
        .map_or("killed by a signal".to_owned(), |code| code.to_string());
    format!(
        "{}{errors}exit status {status}\n",
        String::from_utf8_lossy(&output.stdout)
    )
}

/// A tar archive of one file of that length, cut off after `kept_bytes`.
pub(crate) fn archive_start(kept_bytes: usize) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut field = |at: usize, text: &str| (&mut header[at..]).write_all(text.as_bytes()).unwrap();
    field(0, "file");
    field(100, "0000644\0");
    field(108, "0000000\0");
    field(116, "0000000\0");
    field(124, "00040000000\0");
    field(136, "00000000000\0");
    field(148, "        ");
    field(156, "0");
    field(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    (&mut header[148..])
        .write_all(format!("{sum:06o}\0 ").as_bytes())
        .unwrap();
    // Contents that are not all alike, or they would be one object.
    let content = (0_u32..).flat_map(u32::to_le_bytes);
    header.into_iter().chain(content).take(kept_bytes).collect()
}
