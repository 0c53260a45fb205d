//! What the mount table says about the deployment that is running.
//!
//! Source: proc_pid_mountinfo(5). A line: id, parent, device, root, mount point, options, optional fields, `-`, type,
//! source, options of the file system; blanks are written as `\040`.

use osmith_formats::verity::Digest;

use super::host::{AccessMode, Persistence, UsrOverlay};

/// A line of the table, as far as it matters.
struct Mount<'a> {
    point: &'a str,
    options: &'a str,
    kind: &'a str,
    source: &'a str,
}

fn parse(line: &str) -> Option<Mount<'_>> {
    let (front, back) = line.split_once(" - ")?;
    let mut front = front.split(' ').skip(4);
    let mut back = back.split(' ');
    Some(Mount {
        point: front.next()?,
        options: front.next()?,
        kind: back.next()?,
        source: back.next()?,
    })
}

/// The deployment whose composefs is the root; a later mount covers an earlier one.
pub(crate) fn deployment(mountinfo: &str) -> Option<Digest> {
    let root = mountinfo
        .lines()
        .filter_map(parse)
        .rfind(|mount| mount.point == "/")?;
    let source = root.source;
    let digest = source.strip_prefix("composefs:");
    digest
        .or_else(|| source.strip_prefix("transient:composefs="))?
        .parse()
        .ok()
}

/// The layer over `/usr`.
pub(crate) fn usr_overlay(mountinfo: &str) -> Option<UsrOverlay> {
    let usr = mountinfo
        .lines()
        .filter_map(parse)
        .rfind(|mount| mount.point == "/usr")?;
    let is_writable = usr.options.split(',').any(|option| option == "rw");
    (usr.kind == "overlay").then_some(UsrOverlay {
        access_mode: if is_writable {
            AccessMode::ReadWrite
        } else {
            AccessMode::ReadOnly
        },
        persistence: Persistence::Transient,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_names_the_deployment() {
        let digest = Digest::of(b"image");
        let table = format!(
            "22 1 254:2 / / rw - ext4 /dev/vda2 rw\n30 22 0:27 / / ro,relatime - overlay composefs:{digest} ro,metacopy=on\n\
             31 30 254:2 /etc /etc rw shared:1 - ext4 /dev/vda2 rw\n"
        );
        assert_eq!(deployment(&table), Some(digest));
        assert_eq!(usr_overlay(&table), None);
        let transient = table.replace("composefs:", "transient:composefs=");
        assert_eq!(deployment(&transient), Some(digest));
        assert_eq!(
            deployment("22 1 254:2 / / rw - ext4 /dev/vda2 rw\nnonsense\n"),
            None
        );
    }

    #[test]
    fn a_layer_over_usr_is_seen() {
        let line = "40 30 0:40 / /usr rw,relatime shared:9 - overlay overlay rw,lowerdir=usr\n";
        let overlay = usr_overlay(line).unwrap();
        assert_eq!(overlay.access_mode, AccessMode::ReadWrite);
        assert_eq!(usr_overlay(&line.replace(" overlay ", " ext4 ")), None);
    }
}
