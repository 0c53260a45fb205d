//! Directories and files.

use super::rules::{absolute_path, is_below, mode};
use super::{Fields, Seen, Text};
use crate::model::{Directory, File, FileContents};
use crate::problem::Problems;

/// Below these, files can be made.
const FILE_PLACES: [&str; 4] = ["/etc", "/root", "/usr/local/bin", "/usr/local/sbin"];

/// Files that other keys write.
const WRITTEN_BY_KEYS: [(&str, &str); 5] = [
    ("/etc/fstab", "say what is mounted with filesystem or disk"),
    ("/etc/passwd", "make accounts with user"),
    ("/etc/shadow", "set passwords with user"),
    ("/etc/group", "make groups with group"),
    ("/etc/gshadow", "make groups with group"),
];

pub(super) fn read(customizations: &Fields, problems: &mut Problems) -> (Vec<Directory>, Vec<File>) {
    let directories = customizations.tables("directories");
    let files = customizations.tables("files");
    check_paths(&directories, &files, problems);
    let directories = directories
        .iter()
        .filter_map(|table| directory(table, problems))
        .collect();
    let files = files.iter().filter_map(|table| file(table, problems)).collect();
    (directories, files)
}

/// No path twice, and nothing below a file.
fn check_paths(directories: &[Fields], files: &[Fields], problems: &mut Problems) {
    let paths: Vec<_> = directories
        .iter()
        .chain(files)
        .filter_map(|table| table.text("path"))
        .collect();
    let file_paths: Vec<_> = files.iter().filter_map(|table| table.text("path")).collect();
    let mut seen = Seen::new();
    for path in &paths {
        if let Some(first) = seen.before(path.text, &path.path) {
            let reason = format!("'{}' is there already, in {first}", path.text);
            path.wrong(problems, reason, "take one of them away");
        }
        if let Some(file) = file_paths.iter().find(|file| is_below(path.text, file.text)) {
            let reason = format!(
                "'{}' is below '{}', which is a file of {}",
                path.text, file.text, file.path
            );
            path.wrong(problems, reason, "choose another path for one of them");
        }
    }
}

fn directory(table: &Fields, problems: &mut Problems) -> Option<Directory> {
    let user = table.owner("user", problems);
    let group = table.owner("group", problems);
    let mode = table.text("mode").and_then(|text| mode(&text, problems));
    let path = table.text("path")?;
    if absolute_path(&path, problems) && !is_below(path.text, "/etc") {
        let reason = format!("no directory can be made at '{}': only below /etc", path.text);
        path.wrong(problems, reason, elsewhere(path.text));
    }
    Some(Directory {
        key: table.path.clone(),
        path: path.text.to_owned(),
        user,
        group,
        mode,
        ensure_parents: table.boolean("ensure_parents").unwrap_or(false),
    })
}

fn file(table: &Fields, problems: &mut Problems) -> Option<File> {
    let user = table.owner("user", problems);
    let group = table.owner("group", problems);
    let mode = table.text("mode").and_then(|text| mode(&text, problems));
    if table.has("data") && table.has("uri") {
        let path = format!("{}.uri", table.path);
        let reason = "the file has both data and uri";
        problems.add(table.key_span("uri"), &path, reason, "take one of them away");
    }
    let contents = match table.text("uri") {
        Some(uri) => FileContents::Local(local_path(&uri, problems)),
        None => FileContents::Bytes(
            table
                .text("data")
                .map(|data| data.text.into())
                .unwrap_or_default(),
        ),
    };
    let path = table.text("path")?;
    if absolute_path(&path, problems) {
        check_file_place(&path, problems);
    }
    Some(File {
        key: table.path.clone(),
        path: path.text.to_owned(),
        user,
        group,
        mode,
        contents,
    })
}

fn check_file_place(path: &Text, problems: &mut Problems) {
    if let Some((_, remedy)) = WRITTEN_BY_KEYS.iter().find(|(other, _)| *other == path.text) {
        return path.wrong(problems, format!("'{}' cannot be written", path.text), *remedy);
    }
    if !FILE_PLACES.iter().any(|place| is_below(path.text, place)) {
        let reason = format!(
            "no file can be made at '{}': only below /etc, /root, /usr/local/bin and /usr/local/sbin",
            path.text
        );
        path.wrong(problems, reason, elsewhere(path.text));
    }
}

fn elsewhere(path: &str) -> String {
    if is_below(path, "/var") || path == "/var" {
        "let a systemd unit or tmpfiles.d of the image make what is below /var".to_owned()
    } else {
        "put it into the image with COPY in its Containerfile".to_owned()
    }
}

/// The local file that a URI names.
fn local_path(uri: &Text, problems: &mut Problems) -> String {
    let path = uri.text.strip_prefix("file://").unwrap_or(uri.text);
    if path.contains("://") {
        let reason = format!(
            "'{}' is no file of this machine, and osmith downloads none",
            uri.text
        );
        uri.wrong(
            problems,
            reason,
            "download it first, and write file:///path/of/it",
        );
    } else if !path.starts_with('/') {
        uri.wrong(
            problems,
            format!("'{}' is no absolute path", uri.text),
            "write file:///path/of/it",
        );
    }
    path.to_owned()
}
