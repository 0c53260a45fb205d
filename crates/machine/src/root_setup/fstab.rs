//! `/etc/fstab`, as far as it decides who mounts `/var`.
//!
//! Source: fstab(5). A line: what, where, type, options, two numbers; blanks in a field are octal, `#` begins a comment.

/// Whether a file system of its own is mounted at a path, which has no blanks in it.
pub(super) fn mounts(text: &str, path: &str) -> bool {
    text.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace();
        let what = fields.next().unwrap_or_default();
        let place = fields.next().unwrap_or_default();
        let options = fields.nth(1).unwrap_or_default();
        !what.starts_with('#')
            && place.trim_end_matches('/') == path
            && !options.split(',').any(|option| option == "noauto")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_mount_the_path_count() {
        let yes = [
            "UUID=1 /var ext4 defaults 0 2",
            "# first\n\n\tUUID=1\t/var/\text4",
            "UUID=2 /boot vfat\nUUID=1 /var btrfs subvol=var,rw",
        ];
        let no = [
            "",
            "#UUID=1 /var ext4 defaults 0 2",
            "UUID=1 /var/log ext4 defaults 0 2",
            "UUID=1 /var ext4 rw,noauto 0 2",
            "/var /srv none bind",
            "UUID=1",
        ];
        assert!(yes.iter().all(|text| mounts(text, "/var")));
        assert!(!no.iter().any(|text| mounts(text, "/var")));
    }
}
