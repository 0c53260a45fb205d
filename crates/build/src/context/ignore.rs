//! Ignore files: which parts of a build context COPY and ADD do not see.
//!
//! One pattern a line; `#` in the first column is a comment, `!` takes back, the last pattern that matches counts. A
//! pattern that matches a directory matches everything below it. Slashes at both ends are trimmed.

use super::glob::{BadPattern, Dialect, Glob};

/// The patterns of an ignore file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ignore {
    rules: Vec<Rule>,
}

/// Which rules match a path, in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Matches(Vec<bool>);

#[derive(Debug, Clone)]
struct Rule {
    glob: Glob,
    takes_back: bool,
}

/// A line of an ignore file that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadLine {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl Ignore {
    /// Reads an ignore file.
    pub(crate) fn parse(text: &str) -> Result<Ignore, BadLine> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut ignore = Ignore::default();
        for (index, line) in text.lines().enumerate() {
            if !line.starts_with('#') {
                let bad = |_| BadLine {
                    line: index + 1,
                    text: line.to_owned(),
                };
                ignore.add(line).map_err(bad)?;
            }
        }
        Ok(ignore)
    }

    /// The patterns of `--exclude`; `Err` is the one that is malformed.
    pub(crate) fn excludes(patterns: &[String]) -> Result<Ignore, String> {
        let mut ignore = Ignore::default();
        for pattern in patterns {
            ignore.add(pattern).map_err(|_| pattern.clone())?;
        }
        Ok(ignore)
    }

    fn add(&mut self, line: &str) -> Result<(), BadPattern> {
        let line = line.trim();
        let (takes_back, pattern) = match line.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, line),
        };
        let pattern = clean(pattern);
        if !pattern.is_empty() {
            let glob = Glob::parse(&pattern, Dialect::Ignore)?;
            self.rules.push(Rule { glob, takes_back });
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether the path (relative, bytes that are no UTF-8 replaced) is excluded.
    pub(crate) fn excludes_path(&self, path: &str) -> bool {
        !self.is_empty() && self.decide(&self.matches(path))
    }

    /// The rules that match the path or a directory above it; none matches the root of the context.
    pub(super) fn matches(&self, path: &str) -> Matches {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let mut prefixes = ends
            .filter_map(|end| path.get(..end))
            .filter(|prefix| !prefix.is_empty());
        prefixes
            .by_ref()
            .fold(Matches(vec![false; self.rules.len()]), |above, prefix| {
                self.matches_below(&above, prefix)
            })
    }

    /// [`Ignore::matches`] of a path whose directory's matches are known.
    pub(super) fn matches_below(&self, directory: &Matches, path: &str) -> Matches {
        let rules = self.rules.iter().zip(&directory.0);
        Matches(
            rules
                .map(|(rule, above)| *above || rule.glob.matches(path))
                .collect(),
        )
    }

    /// Whether a path with these matches is excluded.
    pub(super) fn decide(&self, matches: &Matches) -> bool {
        let mut rules = self.rules.iter().zip(&matches.0).rev();
        rules
            .find(|(_, matches)| **matches)
            .is_some_and(|(rule, _)| !rule.takes_back)
    }

    /// Whether any rule takes something back.
    pub(super) fn takes_back(&self) -> bool {
        self.rules.iter().any(|rule| rule.takes_back)
    }

    /// Whether something below an excluded directory may be taken back.
    pub(crate) fn may_take_back_below(&self, directory: &str) -> bool {
        let mut takers = self.rules.iter().filter(|rule| rule.takes_back);
        takers.any(|rule| rule.glob.can_match_below(directory))
    }
}

/// The path without `.`, doubled slashes and slashes at the ends; `..` goes up where it can.
fn clean(pattern: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in pattern.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    names.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pattern_that_matches_counts() {
        let ignore = Ignore::parse(
            "# comment\n*.log\n!keep.log\n/target/\n\n**/cache\n!a/cache/x\ndeep/**\n!deep/k/z\n",
        )
        .unwrap();
        for (path, expected) in [
            ("a.log", true),
            ("keep.log", false),
            ("sub/a.log", false),
            ("target", true),
            ("target/x/y", true),
            ("a/b/cache/f", true),
            ("a/cache/x", false),
            ("a/cache/y", true),
            ("deep/k/z", false),
            ("deep/k/y", true),
            ("# comment", false),
        ] {
            assert_eq!(ignore.excludes_path(path), expected, "{path}");
        }
        assert!(ignore.may_take_back_below("deep"));
        assert!(ignore.may_take_back_below("a/cache"));
        assert!(!ignore.may_take_back_below("target"));
    }

    #[test]
    fn everything_but() {
        let ignore = Ignore::parse("*\n!src\n").unwrap();
        assert!(ignore.excludes_path("a") && !ignore.excludes_path("src") && !ignore.excludes_path("src/x"));
        assert!(!ignore.excludes_path(""));
        assert!(Ignore::parse("").unwrap().is_empty());
        assert!(!Ignore::default().excludes_path("x"));
    }

    #[test]
    fn a_bad_pattern_names_its_line() {
        let bad = Ignore::parse("# x\nok\n[a\n").unwrap_err();
        assert_eq!((bad.line, bad.text.as_str()), (3, "[a"));
    }
}
