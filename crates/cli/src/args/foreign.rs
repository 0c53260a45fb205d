//! Options of podman's builds that there are not here: each is understood, so that the answer is why, and what to do.
//! Those that ask for what is so in any case are taken.

use clap::{Arg, ArgAction, ArgMatches, Command};

/// An option of podman's builds.
#[derive(Debug)]
struct Foreign {
    long: &'static str,
    short: Option<char>,
    takes: Takes,
    holds: Holds,
    /// Why there is no such option.
    why: &'static str,
    /// What to do.
    instead: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Nothing, or `=true`, or `=false`.
    Truth,
    /// A value.
    Value,
}

/// For which values the option asks for what is so in any case.
#[derive(Debug)]
enum Holds {
    All,
    Only(&'static [&'static str]),
}

/// What was given of these options.
#[derive(Debug, Default)]
pub(crate) struct ForeignOptions {
    given: Vec<(&'static Foreign, String)>,
}

/// An option that there is not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What it was, and why it is refused.
    pub(crate) message: String,
    /// What to do.
    pub(crate) hint: &'static str,
}

impl ForeignOptions {
    /// The first of those that ask for something else than what is so.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        let refused = self.given.iter().find(|(option, value)| match option.holds {
            Holds::All => false,
            Holds::Only(values) => !values.contains(&value.as_str()),
        });
        refused.map(|(option, value)| {
            let text = match (option.takes, &option.holds, value.as_str()) {
                (Takes::Truth, _, "true") | (Takes::Value, Holds::Only([]), _) => {
                    format!("--{}", option.long)
                }
                (_, _, value) => format!("--{}={value}", option.long),
            };
            Refusal {
                message: format!("osmith build has no {text}: {}", option.why),
                hint: option.instead,
            }
        })
    }
}

impl Foreign {
    fn argument(&self) -> Arg {
        let argument = Arg::new(self.long)
            .long(self.long)
            .hide(true)
            .action(ArgAction::Append);
        let argument = match self.short {
            Some(short) => argument.short(short),
            None => argument,
        };
        match self.takes {
            Takes::Truth => argument
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true"),
            Takes::Value => argument.num_args(1).allow_hyphen_values(true),
        }
    }
}

impl clap::Args for ForeignOptions {
    fn augment_args(command: Command) -> Command {
        FOREIGN
            .iter()
            .fold(command, |command, option| command.arg(option.argument()))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for ForeignOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Vec::new();
        for option in FOREIGN {
            let values = matches.get_many::<String>(option.long).into_iter().flatten();
            given.extend(values.map(|value| (option, value.clone())));
        }
        Ok(ForeignOptions { given })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

const fn truth(long: &'static str, holds: Holds, why: &'static str, instead: &'static str) -> Foreign {
    Foreign {
        long,
        short: None,
        takes: Takes::Truth,
        holds,
        why,
        instead,
    }
}

const fn value(long: &'static str, holds: Holds, why: &'static str, instead: &'static str) -> Foreign {
    Foreign {
        takes: Takes::Value,
        ..truth(long, holds, why, instead)
    }
}

const fn limit(long: &'static str, short: Option<char>) -> Foreign {
    Foreign {
        short,
        ..value(
            long,
            NEVER,
            "RUN steps have the limits of the whole build",
            "limit that: systemd-run --scope -p MemoryMax=4G -p CPUQuota=200% osmith build ... (with --user if not root)",
        )
    }
}

const fn namespace(long: &'static str) -> Foreign {
    value(
        long,
        Holds::Only(&["private", "container"]),
        "every RUN step has a sandbox of its own",
        "leave it out",
    )
}

const fn map(long: &'static str) -> Foreign {
    value(
        long,
        NEVER,
        "an ordinary user builds in a user namespace with their subordinate ids, root in none",
        "leave it out; /etc/subuid and /etc/subgid say which ids a user has",
    )
}

const fn cache(long: &'static str) -> Foreign {
    value(
        long,
        NEVER,
        "what builds remember is in the store, and nowhere else",
        "keep the store from build to build: --store DIR, or OSMITH_STORE",
    )
}

const fn runtime(long: &'static str) -> Foreign {
    value(
        long,
        NEVER,
        "RUN steps run in osmith's own sandbox, not by a runtime that has options and hooks",
        "leave it out",
    )
}

const fn log(long: &'static str, takes: Takes) -> Foreign {
    let why = "what a build has to say goes to standard error";
    let instead = "redirect it: osmith build --progress plain ... 2> FILE";
    Foreign {
        takes,
        ..truth(long, NEVER, why, instead)
    }
}

const NEVER: Holds = Holds::Only(&[]);
const TRUE: Holds = Holds::Only(&["true"]);
const FALSE: Holds = Holds::Only(&["false"]);

const FOREIGN: &[Foreign] = &[
    // What is so.
    truth("rm", Holds::All, "", ""),
    truth("force-rm", Holds::All, "", ""),
    truth("compress", Holds::All, "", ""),
    truth("disable-content-trust", Holds::All, "", ""),
    truth("load", Holds::All, "", ""),
    truth("no-hostname", Holds::All, "", ""),
    value("shm-size", Holds::All, "", ""),
    Foreign {
        short: Some('D'),
        ..truth("disable-compression", Holds::All, "", "")
    },
    truth(
        "layers",
        TRUE,
        "every step that changes files has a layer that is remembered",
        "--squash makes one layer of all new ones, --no-cache runs every step",
    ),
    truth(
        "skip-unused-stages",
        TRUE,
        "stages that the target does not need are never built",
        "build another one: --target STAGE",
    ),
    truth(
        "inherit-labels",
        TRUE,
        "labels of the base image are taken over",
        "take them out by name: --unsetlabel NAME",
    ),
    truth(
        "identity-label",
        FALSE,
        "osmith puts no label of its own into images",
        "set one: --label NAME=VALUE",
    ),
    truth(
        "compat-volumes",
        FALSE,
        "a VOLUME is a directory like others, and later steps may change it",
        "leave it out",
    ),
    value(
        "security-opt",
        Holds::Only(&[
            "label=disable",
            "label=false",
            "label:disable",
            "seccomp=unconfined",
            "seccomp:unconfined",
            "apparmor=unconfined",
        ]),
        "the sandbox of RUN steps has no seccomp filter, no SELinux label and no AppArmor profile",
        "leave it out; --cap-add and --cap-drop say what the steps may do",
    ),
    namespace("ipc"),
    namespace("pid"),
    namespace("uts"),
    namespace("cgroupns"),
    // What is not.
    value(
        "isolation",
        NEVER,
        "every RUN step runs in osmith's own sandbox, and there is no other way",
        "leave it out",
    ),
    map("userns"),
    map("userns-uid-map"),
    map("userns-gid-map"),
    map("userns-uid-map-user"),
    map("userns-gid-map-group"),
    value(
        "group-add",
        NEVER,
        "RUN steps have the groups that the image's /etc/group gives their user",
        "add the user to the group in the Containerfile",
    ),
    value(
        "device",
        NEVER,
        "a build has no rights on this computer's devices",
        "do what needs the device outside, and COPY the result",
    ),
    limit("memory", Some('m')),
    limit("memory-swap", None),
    limit("cpu-period", None),
    limit("cpu-quota", None),
    limit("cpu-shares", Some('c')),
    limit("cpuset-cpus", None),
    limit("cpuset-mems", None),
    limit("cgroup-parent", None),
    value(
        "ulimit",
        NEVER,
        "RUN steps have the limits of osmith itself",
        "set them before: ulimit -n 65536 && osmith build ...",
    ),
    cache("cache-from"),
    cache("cache-to"),
    value(
        "cache-ttl",
        NEVER,
        "what builds remember has no age",
        "--no-cache runs every step, 'osmith prune --cache' forgets all",
    ),
    truth(
        "all-platforms",
        NEVER,
        "the platforms are not asked of the base image",
        "name them: --platform linux/amd64,linux/arm64",
    ),
    value(
        "cpp-flag",
        NEVER,
        "the C preprocessor is run by whoever wants it",
        "run it: cpp -E -P Containerfile.in -o Containerfile",
    ),
    runtime("runtime"),
    runtime("runtime-flag"),
    runtime("hooks-dir"),
    log("logfile", Takes::Value),
    log("logsplit", Takes::Truth),
    truth(
        "stdin",
        NEVER,
        "RUN steps have nothing to read, so that they do the same every time",
        "give them a file: COPY, or RUN --mount=type=secret",
    ),
    truth(
        "push",
        NEVER,
        "a build leaves its image in the store",
        "send it from there: osmith push NAME",
    ),
    value(
        "metadata-file",
        NEVER,
        "there is no such file",
        "--iidfile FILE has the ID, 'osmith inspect' all that is known of the image",
    ),
    value(
        "sbom",
        NEVER,
        "osmith makes no bill of materials",
        "let a scanner read the file tree: osmith build --output DIR ...",
    ),
    value(
        "layer-label",
        NEVER,
        "layers have no labels",
        "--label and --annotation are the image's",
    ),
    value(
        "sign-by",
        NEVER,
        "images are signed where they are pulled from",
        "push the image, then sign it there with skopeo or cosign",
    ),
    value(
        "decryption-key",
        NEVER,
        "encrypted images are not read",
        "decrypt the base image before: skopeo copy --decryption-key KEY docker://NAME oci:DIR, then FROM oci:DIR",
    ),
    value(
        "signature-policy",
        NEVER,
        "signatures of images are not checked",
        "name base images by digest: FROM NAME@sha256:DIGEST",
    ),
    value(
        "retry-delay",
        NEVER,
        "the wait between two tries grows by itself, or is what the registry asks for",
        "--retry says how often something is tried again",
    ),
    value(
        "os-version",
        NEVER,
        "only images of Windows have versions of their system",
        "leave it out",
    ),
    value(
        "os-feature",
        NEVER,
        "only images of Windows have features of their system",
        "leave it out",
    ),
];

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    fn refused(line: &str) -> Option<String> {
        let command = ForeignOptions::augment_args(Command::new("build").no_binary_name(true));
        let matches = command.try_get_matches_from(line.split_whitespace()).unwrap();
        let options = ForeignOptions::from_arg_matches(&matches).unwrap();
        options.refusal().map(|refusal| refusal.message)
    }

    #[test]
    fn what_is_so_is_taken() {
        for line in [
            "--layers --rm=false --force-rm -D --compress --identity-label=false --shm-size 1g",
            "--security-opt label=disable --security-opt seccomp=unconfined --pid private",
            "",
        ] {
            assert_eq!(refused(line), None, "{line}");
        }
    }

    #[test]
    fn what_is_not_is_told_by_its_name() {
        for (line, beginning) in [
            ("-m 4g", "osmith build has no --memory: "),
            ("--memory-swap -1", "osmith build has no --memory-swap: "),
            ("--layers=false", "osmith build has no --layers=false: "),
            ("--identity-label", "osmith build has no --identity-label: "),
            ("--rm --stdin", "osmith build has no --stdin: "),
            (
                "--security-opt seccomp=/file",
                "osmith build has no --security-opt=seccomp=/file: ",
            ),
        ] {
            let message = refused(line).unwrap();
            assert!(message.starts_with(beginning), "{message}");
        }
    }

    #[test]
    fn whatever_may_be_refused_has_its_reason() {
        for option in FOREIGN {
            let is_taken = matches!(option.holds, Holds::All);
            let said = [option.why, option.instead].map(|text| !text.is_empty());
            assert_eq!(said, [!is_taken; 2], "{}", option.long);
        }
    }
}
