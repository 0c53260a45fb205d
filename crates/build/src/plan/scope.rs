//! What a variable means at a place of the Containerfile.
//!
//! `ENV x` beats `ARG x` from the next instruction on; `--build-arg` beats the default of an ARG; an ARG without a
//! value takes that of the ARG before the first FROM, or an automatic one. Proxy variables can be passed with
//! `--build-arg` without a declaration; then only RUN sees them, and neither the history nor the cache does.

use std::collections::{BTreeMap, BTreeSet};

use super::Platforms;

/// Variables that a RUN may be given without ARG.
const PREDECLARED: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// Whether ARG is not needed for a build argument of this name.
pub(super) fn is_predeclared(name: &str) -> bool {
    PREDECLARED
        .iter()
        .any(|known| *known == name || known.to_ascii_lowercase() == name)
}

/// Values of the automatic variables, by name.
pub(super) fn automatic(platforms: &Platforms, target_stage: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (side, platform) in [("TARGET", &platforms.target), ("BUILD", &platforms.build)] {
        let variant = platform.variant.clone().unwrap_or_default();
        let text = match variant.as_str() {
            "" => format!("{}/{}", platform.os, platform.architecture),
            variant => format!("{}/{}/{variant}", platform.os, platform.architecture),
        };
        values.insert(format!("{side}PLATFORM"), text);
        values.insert(format!("{side}OS"), platform.os.clone());
        values.insert(format!("{side}ARCH"), platform.architecture.clone());
        values.insert(format!("{side}VARIANT"), variant);
    }
    values.insert("TARGETSTAGE".to_owned(), target_stage.to_owned());
    values
}

/// The variables of the whole build: those of the request, the automatic ones, and what stands before the first FROM.
#[derive(Debug, Clone, Default)]
pub(super) struct Globals {
    /// `--build-arg`.
    pub(super) given: BTreeMap<String, String>,
    /// The automatic ones.
    pub(super) automatic: BTreeMap<String, String>,
    /// ARG before the first FROM.
    pub(super) declared: BTreeMap<String, String>,
    /// The build arguments that some ARG declared.
    pub(super) used: BTreeSet<String>,
}

impl Globals {
    /// The value in a FROM.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        let declared = self.declared.get(name);
        declared.or_else(|| self.automatic.get(name)).cloned()
    }

    /// `ARG name` or `ARG name=default` before the first FROM.
    pub(super) fn declare(&mut self, name: &str, default: Option<String>) {
        if let Some(value) = self.argument(name, default) {
            self.declared.insert(name.to_owned(), value);
        }
    }

    fn argument(&mut self, name: &str, default: Option<String>) -> Option<String> {
        match self.given.get(name) {
            Some(value) => {
                self.used.insert(name.to_owned());
                Some(value.clone())
            }
            None => default,
        }
    }
}

/// The variables of a stage.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    /// ENV, in the order of the image's configuration.
    pub(super) env: Vec<(String, String)>,
    /// ARGs that have a value.
    pub(super) args: BTreeMap<String, String>,
    /// How many of `env` are from below the stage.
    inherited: usize,
}

impl Scope {
    /// The scope of a stage on an image with this `Env`.
    pub(super) fn of_image(env: &[String]) -> Self {
        let pairs = env.iter().map(|pair| match pair.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (pair.clone(), String::new()),
        });
        Scope {
            env: pairs.collect(),
            args: BTreeMap::new(),
            inherited: 0,
        }
    }

    /// What was set so far is from below a new stage.
    pub(super) fn begin_stage(&mut self) {
        self.inherited = self.env.len();
    }

    /// The value of a variable.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        let env = self
            .env
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value);
        env.or_else(|| self.args.get(name)).cloned()
    }

    /// `ENV name=value`. As in podman's images, what the stage sets keeps its place, and comes after what it inherits.
    pub(super) fn set_env(&mut self, name: String, value: String) {
        match self.env.iter().position(|(known, _)| *known == name) {
            Some(at) if at < self.inherited => {
                self.env.remove(at);
                self.inherited -= 1;
                self.env.push((name, value));
            }
            Some(at) => {
                if let Some((_, old)) = self.env.get_mut(at) {
                    *old = value;
                }
            }
            None => self.env.push((name, value)),
        }
    }

    /// `ARG name` or `ARG name=default`.
    pub(super) fn declare(&mut self, globals: &mut Globals, name: &str, default: Option<String>) {
        let inherited = |globals: &Globals| {
            let declared = globals.declared.get(name);
            declared.or_else(|| globals.automatic.get(name)).cloned()
        };
        let default = default.or_else(|| inherited(globals));
        if let Some(value) = globals.argument(name, default) {
            self.args.insert(name.to_owned(), value);
        }
    }

    /// `NAME=VALUE` as an image's configuration has them.
    pub(super) fn env_lines(&self) -> Vec<String> {
        self.env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    /// ARGs that no ENV hides.
    pub(super) fn visible_args(&self) -> Vec<(String, String)> {
        self.args
            .iter()
            .filter(|(name, _)| !self.env.iter().any(|(known, _)| known == *name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globals(given: &[(&str, &str)]) -> Globals {
        let given = given
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Globals {
            given: given.collect(),
            ..Globals::default()
        }
    }

    #[test]
    fn build_arguments_beat_defaults_and_env_beats_both() {
        let mut globals = globals(&[("a", "given"), ("unused", "x")]);
        let mut scope = Scope::default();
        scope.declare(&mut globals, "a", Some("default".to_owned()));
        scope.declare(&mut globals, "b", Some("default".to_owned()));
        scope.declare(&mut globals, "c", None);
        assert_eq!(scope.value("a").as_deref(), Some("given"));
        assert_eq!(scope.value("b").as_deref(), Some("default"));
        assert_eq!(scope.value("c"), None);
        scope.set_env("a".to_owned(), "env".to_owned());
        scope.declare(&mut globals, "a", None);
        assert_eq!(scope.value("a").as_deref(), Some("env"));
        assert_eq!(scope.visible_args(), [("b".to_owned(), "default".to_owned())]);
        assert!(globals.used.contains("a") && !globals.used.contains("unused"));
    }

    #[test]
    fn what_a_stage_sets_comes_after_what_it_inherits() {
        let mut scope = Scope::of_image(&["a=1".to_owned(), "b=2".to_owned()]);
        scope.begin_stage();
        for (name, value) in [("c", "3"), ("a", "4"), ("c", "5")] {
            scope.set_env(name.to_owned(), value.to_owned());
        }
        assert_eq!(scope.env_lines(), ["b=2", "c=5", "a=4"]);
    }

    #[test]
    fn a_bare_arg_takes_what_stands_before_the_first_from() {
        let mut globals = globals(&[]);
        globals.declare("v", Some("1".to_owned()));
        let mut scope = Scope::default();
        assert_eq!(scope.value("v"), None);
        scope.declare(&mut globals, "v", None);
        assert_eq!(scope.value("v").as_deref(), Some("1"));
        scope.declare(&mut globals, "v", Some("2".to_owned()));
        assert_eq!(scope.value("v").as_deref(), Some("2"));
    }

    #[test]
    fn proxies_need_no_declaration() {
        assert!(is_predeclared("http_proxy") && is_predeclared("NO_PROXY"));
        assert!(!is_predeclared("Http_Proxy") && !is_predeclared("PATH"));
    }
}
