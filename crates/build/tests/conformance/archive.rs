//! Tar archives with exactly the entries of a case: ustar, with a pax header where an entry has attributes.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::material::{Item, Kind};

const BLOCK: usize = 512;

/// An entry.
pub(crate) struct Member<'i> {
    kind: u8,
    path: &'i str,
    link: &'i str,
    mode: u32,
    owner: (u32, u32),
    mtime: i64,
    /// Records of a pax header before it.
    pax: Vec<(String, String)>,
    contents: &'i [u8],
}

impl<'i> Member<'i> {
    pub(crate) fn of(item: &'i Item) -> Member<'i> {
        let (kind, link, contents) = match &item.kind {
            Kind::Directory => (b'5', "", &b""[..]),
            Kind::File(text) => (b'0', "", text.as_bytes()),
            Kind::Symlink(target) => (b'2', target.as_str(), &b""[..]),
            Kind::HardLink(target) => (b'1', target.as_str(), &b""[..]),
            Kind::Global(text) => (b'g', text.as_str(), &b""[..]),
            Kind::Archive { .. } => panic!("an archive in an archive"),
        };
        let xattr = |(name, value): &(String, String)| (format!("SCHILY.xattr.{name}"), value.clone());
        Member {
            kind,
            path: &item.path,
            link,
            mode: item.mode,
            owner: item.owner,
            mtime: item.mtime,
            pax: item.xattrs.iter().map(xattr).collect(),
            contents,
        }
    }

    /// A file that can be executed.
    pub(crate) fn program(path: &'i str, contents: &'i [u8], mtime: i64) -> Member<'i> {
        Member {
            kind: b'0',
            path,
            link: "",
            mode: 0o755,
            owner: (0, 0),
            mtime,
            pax: Vec::new(),
            contents,
        }
    }
}

/// An archive of the members.
pub(crate) fn tar(members: &[Member<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for member in members {
        if member.kind == b'g' {
            extended(
                &mut bytes,
                b'g',
                &[("comment".to_owned(), member.link.to_owned())],
            );
            continue;
        }
        if !member.pax.is_empty() {
            extended(&mut bytes, b'x', &member.pax);
        }
        entry(&mut bytes, member);
    }
    bytes.resize(bytes.len() + 2 * BLOCK, 0);
    bytes
}

fn extended(bytes: &mut Vec<u8>, kind: u8, records: &[(String, String)]) {
    let text: String = records.iter().map(|(name, value)| record(name, value)).collect();
    let member = Member {
        kind,
        path: "pax",
        link: "",
        mode: 0o644,
        owner: (0, 0),
        mtime: 0,
        pax: Vec::new(),
        contents: text.as_bytes(),
    };
    entry(bytes, &member);
}

/// `LENGTH NAME=VALUE`, where the length counts its own digits.
fn record(name: &str, value: &str) -> String {
    let rest = format!(" {name}={value}\n");
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}

fn entry(bytes: &mut Vec<u8>, member: &Member<'_>) {
    let mut header = [0_u8; BLOCK];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    let slash = if member.kind == b'5' { "/" } else { "" };
    put(0, &format!("{}{slash}", member.path));
    put(100, &format!("{:07o}\0", member.mode));
    put(108, &format!("{:07o}\0{:07o}\0", member.owner.0, member.owner.1));
    put(
        124,
        &format!("{:011o}\0{:011o}\0", member.contents.len(), member.mtime),
    );
    put(148, "        ");
    put(157, member.link);
    put(257, "ustar\x0000");
    header[156] = member.kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(member.contents);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
}

/// The bytes, compressed by the program for that ending of a file's name.
pub(crate) fn compressed(bytes: &[u8], ending: &str) -> Vec<u8> {
    let program = match ending {
        "" => return bytes.to_vec(),
        "gz" => "gzip",
        "bz2" => "bzip2",
        "xz" => "xz",
        "zst" => "zstd",
        other => panic!("unknown compression {other}"),
    };
    let mut child = Command::new(program)
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    // What the archives of cases have fits into the pipe.
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    child.wait_with_output().unwrap().stdout
}
