//! COPY and ADD: flags and sources.

use super::path::absolute;
use super::reader::Reader;
use super::{Transfer, TransferSource, Unpacking};
use crate::containerfile::{Arguments, CopySource, Flag, Instruction, Keyword, Text};

/// What a COPY or ADD comes to; `None`, with findings, if it cannot be done.
pub(super) fn transfer(
    instruction: &Instruction,
    workdir: &str,
    reader: &mut Reader<'_, '_>,
) -> Option<Transfer> {
    let Arguments::Transfer { sources, destination } = &instruction.arguments else {
        return None;
    };
    let is_add = instruction.keyword == Keyword::Add;
    let mut transfer = Transfer {
        unpacking: if is_add {
            Unpacking::Archives
        } else {
            Unpacking::Nothing
        },
        from: None,
        sources: Vec::new(),
        destination: absolute(workdir, &reader.expand(destination)?),
        written_destination: destination.raw.clone(),
        workdir: workdir.to_owned(),
        chown: None,
        chmod: None,
        excludes: Vec::new(),
        is_linked: false,
        keeps_parents: false,
        keeps_git_directory: false,
        checksum: None,
        is_add,
    };
    for flag in &instruction.flags {
        apply(flag, &mut transfer, reader)?;
    }
    for source in sources {
        transfer.sources.push(match source {
            CopySource::Path(text) => path(text, is_add, reader)?,
            CopySource::Heredoc(heredoc) => reader.inline(heredoc)?,
        });
    }
    check(instruction, &transfer, reader)?;
    Some(transfer)
}

fn apply(flag: &Flag, transfer: &mut Transfer, reader: &mut Reader<'_, '_>) -> Option<()> {
    match flag.name {
        "link" => transfer.is_linked = reader.switch(flag)?,
        "parents" => transfer.keeps_parents = reader.switch(flag)?,
        "keep-git-dir" => transfer.keeps_git_directory = reader.switch(flag)?,
        "unpack" => {
            transfer.unpacking = match reader.switch(flag)? {
                true => Unpacking::Everything,
                false => Unpacking::Nothing,
            }
        }
        "from" => {
            let name = reader.flag(flag)?;
            transfer.from = Some(reader.origin(&name, flag.span)?);
        }
        "chown" => transfer.chown = Some(reader.flag(flag)?),
        "chmod" => transfer.chmod = Some(reader.flag(flag)?),
        "exclude" => transfer.excludes.push(reader.flag(flag)?),
        _ => transfer.checksum = Some(checksum(flag, reader)?),
    }
    Some(())
}

/// `sha256:` and 64 digits; the digits are given back.
fn checksum(flag: &Flag, reader: &mut Reader<'_, '_>) -> Option<String> {
    let value = reader.flag(flag)?;
    let digits = value.strip_prefix("sha256:").unwrap_or_default();
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let message = format!("`{value}` is no checksum");
        reader.error(
            flag.span,
            message,
            "expected --checksum=sha256:DIGITS with 64 hexadecimal digits",
        );
        return None;
    }
    Some(digits.to_ascii_lowercase())
}

fn path(text: &Text, is_add: bool, reader: &mut Reader<'_, '_>) -> Option<TransferSource> {
    let path = reader.expand(text)?;
    if path.is_empty() {
        let message = "the source is empty, which means everything";
        reader.warn(text.span, message, "write `.` if that is meant");
        return Some(TransferSource::Path(".".to_owned()));
    }
    if is_add && is_git(&path) {
        return Some(TransferSource::Git(path));
    }
    let is_url = ["http://", "https://"]
        .iter()
        .any(|scheme| path.starts_with(scheme));
    if is_add && is_url {
        return Some(TransferSource::Url(path));
    }
    if is_url {
        reader.error(text.span, "COPY reads no URL", "ADD does");
        return None;
    }
    Some(TransferSource::Path(path))
}

/// Whether it is a git repository: by its scheme, or because the path ends in `.git`, before a `#`.
pub(crate) fn is_git(text: &str) -> bool {
    let (place, _) = text.split_once('#').unwrap_or((text, ""));
    let is_web = place.starts_with("https://") || place.starts_with("http://");
    let by_scheme = ["git://", "ssh://", "git@"]
        .iter()
        .any(|start| place.starts_with(start));
    by_scheme || (is_web && place.ends_with(".git"))
}

/// What the flags want of the sources.
fn check(instruction: &Instruction, transfer: &Transfer, reader: &mut Reader<'_, '_>) -> Option<()> {
    let is = |kind: fn(&TransferSource) -> bool| transfer.sources.iter().all(kind);
    let is_url = |source: &TransferSource| matches!(source, TransferSource::Url(_));
    let span_of = |name: &str| instruction.flag(name).map_or(instruction.span, |flag| flag.span);
    if transfer.checksum.is_some() && (!is(is_url) || transfer.sources.len() != 1) {
        let note = "expected one source that begins with http:// or https://";
        reader.error(span_of("checksum"), "--checksum is for a single URL", note);
        return None;
    }
    let is_repository = |source: &TransferSource| matches!(source, TransferSource::Git(_));
    if transfer.keeps_git_directory && !is(is_repository) {
        let note = "expected a source such as https://host/project.git#branch";
        reader.error(
            span_of("keep-git-dir"),
            "--keep-git-dir is for git repositories",
            note,
        );
        return None;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::is_git;

    #[test]
    fn repositories_are_told_from_other_urls() {
        for text in [
            "https://host/a.git",
            "https://host/a.git#main:sub",
            "git://host/a",
            "git@host:a/b",
            "ssh://git@host/a.git",
        ] {
            assert!(is_git(text), "{text}");
        }
        for text in ["https://host/a.tar", "https://host/a#b.git", "a.git", "dir/a"] {
            assert!(!is_git(text), "{text}");
        }
    }
}
