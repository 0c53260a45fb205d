//! Which modules need which: `moddep.lst`, lines `name: needed needed`.

use std::collections::HashMap;

use super::GrubError;

/// What each module needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dependencies {
    needed: HashMap<String, Vec<String>>,
}

/// How far a module is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    Open,
    Closed,
}

impl Dependencies {
    /// Reads `moddep.lst`.
    pub fn parse(text: &str) -> Result<Self, GrubError> {
        let mut needed = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let (name, rest) = match line.split_once(':') {
                Some((name, rest)) if !name.trim().is_empty() => (name.trim(), rest),
                _ => return Err(GrubError::DependencyLine(index + 1)),
            };
            let names = rest.split_whitespace().map(str::to_owned).collect();
            needed.insert(name.to_owned(), names);
        }
        Ok(Dependencies { needed })
    }

    /// The modules and all they need, each after what it needs, in the order in which `grub-mkimage` puts them.
    pub fn order(&self, wanted: &[&str]) -> Result<Vec<String>, GrubError> {
        let mut order = Vec::new();
        let mut visits = HashMap::new();
        // Not recursive: the depth of foreign dependencies is not ours.
        let mut stack: Vec<(&str, Visit)> = wanted.iter().rev().map(|name| (*name, Visit::Open)).collect();
        while let Some((name, step)) = stack.pop() {
            match (step, visits.get(name)) {
                (Visit::Open, None) => {
                    let needed = self.needed.get(name);
                    let needed = needed.ok_or_else(|| GrubError::UnknownModule(name.to_owned()))?;
                    visits.insert(name, Visit::Open);
                    stack.push((name, Visit::Closed));
                    // The last one that is listed comes first, and is at the top when it is pushed last.
                    stack.extend(needed.iter().map(|name| (name.as_str(), Visit::Open)));
                }
                (Visit::Open, Some(Visit::Open)) => return Err(GrubError::Cycle(name.to_owned())),
                (Visit::Open, Some(Visit::Closed)) => {}
                (Visit::Closed, _) => {
                    visits.insert(name, Visit::Closed);
                    order.push(name.to_owned());
                }
            }
        }
        Ok(order)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIST: &str = "normal: boot terminal\nboot:\nterminal: boot\nlinux: normal video boot\nvideo:\n";

    #[test]
    fn what_is_needed_comes_first() {
        let dependencies = Dependencies::parse(LIST).unwrap();
        let order = dependencies.order(&["video", "linux", "normal"]).unwrap();
        assert_eq!(order, ["video", "boot", "terminal", "normal", "linux"]);
    }

    #[test]
    fn what_is_missing_or_needs_itself_is_named() {
        let dependencies = Dependencies::parse("a: b\nb: c\nc: a\nd: e\nf: f\n").unwrap();
        assert_eq!(dependencies.order(&["a"]), Err(GrubError::Cycle("a".into())));
        assert_eq!(dependencies.order(&["f"]), Err(GrubError::Cycle("f".into())));
        assert_eq!(
            dependencies.order(&["d"]),
            Err(GrubError::UnknownModule("e".into()))
        );
        assert_eq!(
            Dependencies::parse("a: b\n\nb c\n"),
            Err(GrubError::DependencyLine(3))
        );
    }

    proptest! {
        #[test]
        fn foreign_lists_never_panic(text in "([a-d]?:?( [a-d]){0,3}\n){0,6}") {
            if let Ok(dependencies) = Dependencies::parse(&text) {
                let _ = dependencies.order(&["a", "b"]);
            }
        }
    }
}
