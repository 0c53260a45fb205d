//! Programs that look at what was written.

use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a program that must succeed, and returns all it said.
pub(crate) fn run(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program:?} {arguments:?}\n{text}");
    text
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Copies whole MiB of a disk to a file of their own, holes kept.
#[allow(dead_code, reason = "not every test looks into disks")]
pub(crate) fn extract(disk: &Path, offset_bytes: u64, size_bytes: u64, to: &Path) {
    let arguments = [
        format!("if={}", disk.display()),
        format!("of={}", to.display()),
        "bs=1M".to_owned(),
        format!("skip={}", offset_bytes >> 20),
        format!("count={}", size_bytes >> 20),
        "conv=sparse".to_owned(),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(Path::new("dd"), &arguments);
    let file = std::fs::File::options().write(true).open(to).unwrap();
    file.set_len(size_bytes).unwrap();
}
