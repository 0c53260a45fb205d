//! Paths of instructions, which begin at the working directory.

/// `path` from `workdir` on, without `.` and `..`; a final `/` stays.
pub(super) fn absolute(workdir: &str, path: &str) -> String {
    let whole = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{workdir}/{path}"),
    };
    let mut names: Vec<&str> = Vec::new();
    for name in whole.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    let is_directory = path.is_empty() || path.ends_with('/') || path.ends_with("/.") || path == ".";
    let clean = format!("/{}", names.join("/"));
    match is_directory && clean != "/" {
        true => clean + "/",
        false => clean,
    }
}

/// The same without a final `/`.
pub(super) fn absolute_name(workdir: &str, path: &str) -> String {
    match absolute(workdir, path).trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute() {
        for (workdir, path, expected) in [
            ("/", "a", "/a"),
            ("/w", "a/", "/w/a/"),
            ("/w", ".", "/w/"),
            ("/w", "./", "/w/"),
            ("/w", "..", "/"),
            ("/w", "/x/../y/.", "/y/"),
            ("/", "/", "/"),
            ("/", "../../a", "/a"),
        ] {
            assert_eq!(absolute(workdir, path), expected, "{workdir} {path}");
        }
        assert_eq!(absolute_name("/w", "a/"), "/w/a");
        assert_eq!(absolute_name("/w", ".."), "/");
    }
}
