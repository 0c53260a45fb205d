//! Who runs the program in the tests of builds and containers: root, and an ordinary user.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use osmith_testing::oracle;
use serde_json::Value;

use super::program::{OSMITH, Place, clean, said};

const CONTAINERFILE: &str = "\
FROM scratch
COPY busybox /bin/busybox
COPY passwd group /etc/
COPY page /srv/page
RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]
ENV COLOR=blue
WORKDIR /srv
CMD [\"sh\", \"-c\", \"echo $COLOR; pwd\"]
";
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Who runs the program, on a store with the image `box`.
pub(crate) struct Person {
    pub(crate) place: Place,
    name: Option<String>,
}

impl Person {
    pub(crate) fn root() -> Option<Self> {
        oracle::require_root("containers").then(|| Person::with_image(None))?
    }

    /// An account with subordinate ids.
    #[allow(clippy::print_stderr)]
    pub(crate) fn ordinary() -> Option<Self> {
        if !oracle::require_root("another user") {
            return None;
        }
        let subuid = fs::read_to_string("/etc/subuid").unwrap_or_default();
        let name = std::env::var("OSMITH_TEST_USER").ok();
        let name = name.or_else(|| subuid.split(':').next().map(str::to_owned));
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            assert!(!oracle::in_ci(), "no account has subordinate ids");
            eprintln!("SKIPPED: no account has subordinate ids");
            return None;
        };
        Person::with_image(Some(name))
    }

    fn with_image(name: Option<String>) -> Option<Self> {
        let busybox = oracle::require("busybox")?;
        let place = Place::new();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
        // The place it was built in may be closed to others.
        let copied = Command::new("cp")
            .arg(OSMITH)
            .arg(place.path().join("osmith"))
            .status();
        assert!(copied.unwrap().success());
        fs::create_dir(place.path().join("box")).unwrap();
        fs::copy(busybox, place.path().join("box/busybox")).unwrap();
        place.file(
            "box/passwd",
            "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n",
        );
        place.file("box/group", "root:x:0:\nweb:x:34:\n");
        place.file("box/page", "It answers\n");
        place.file("box/Containerfile", CONTAINERFILE);
        let person = Person { place, name };
        person.ok(&["build", "-t", "box", "box"]);
        Some(person)
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let program = self.place.path().join("osmith");
        let mut command = match &self.name {
            None => Command::new(program),
            Some(name) => {
                let mut command = Command::new("setpriv");
                command
                    .args([
                        "--reuid",
                        name,
                        "--regid",
                        name,
                        "--init-groups",
                        "--inh-caps=-all",
                    ])
                    .arg(program);
                command
            }
        };
        command.args(words).current_dir(self.place.path());
        let mut command = clean(command);
        match self.name {
            None => command.env("OSMITH_STORE", self.store()),
            // Where an ordinary user's store is if nothing says so.
            Some(_) => command.env("XDG_DATA_HOME", self.place.path().join("data")),
        };
        command
            .env("HOME", self.place.path())
            .env("CONTAINERS_REGISTRIES_CONF", "/dev/null");
        command
    }

    /// The directory of the store.
    pub(crate) fn store(&self) -> PathBuf {
        match self.name {
            None => self.place.store(),
            Some(_) => self.place.path().join("data/osmith"),
        }
    }

    pub(crate) fn output(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// The standard output of a command that succeeds.
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        let output = self.output(words);
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command in a new container without a network prints, and how it ends.
    pub(crate) fn run(&self, options: &[&str], script: &str) -> String {
        let words = [
            &["run", "--rm", "--network", "none"],
            options,
            &["box", "sh", "-c", script],
        ]
        .concat();
        said(&self.output(&words))
    }

    pub(crate) fn containers(&self) -> Vec<Value> {
        serde_json::from_str(&self.ok(&["ps", "--all", "--format", "json"])).unwrap()
    }

    pub(crate) fn wait_for_log(&self, name: &str, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.ok(&["logs", name]).contains(text) {
            assert!(Instant::now() < deadline, "{name} never says '{text}'");
            sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn require_nothing_left(&self) {
        assert_eq!(self.containers(), Vec::<Value>::new());
        let names = |directory: &str| -> Vec<_> {
            let entries = fs::read_dir(self.store().join(directory)).unwrap();
            entries.map(|entry| entry.unwrap().file_name()).collect()
        };
        assert_eq!(names("containers"), ["lock"]);
        assert!(names("holds").is_empty());
        assert!(names("tmp").is_empty());
    }
}
