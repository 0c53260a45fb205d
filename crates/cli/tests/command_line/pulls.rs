//! Pulls that fail: the store is as it was, and the same command works when the reason is gone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use insta::assert_snapshot;
use osmith_testing::certificates::self_signed;
use osmith_testing::fault_proxy::{Fault, FaultProxy, SeenRequest};
use osmith_testing::registry::{PASSWORD, Registry, RegistryOptions, USERNAME};

use super::person::Person;
use super::program::{Place, for_any_host, said};

const LIMIT: Duration = Duration::from_secs(60);

/// A place with an image in its store, and one more in the registry.
struct Shop {
    place: Place,
    registry: Registry,
}

impl Shop {
    fn open(options: &RegistryOptions) -> Option<Self> {
        let registry = Registry::start_with(options)?;
        let place = Place::new();
        place.file("registries.conf", "");
        place.image("localhost/kept", &[("page", "kept")]);
        let contents = "a line that is longer than a name\n".repeat(2000);
        place.image("localhost/web", &[("page", &contents), ("other", "short")]);
        let shop = Shop { place, registry };
        let credential = match options.password {
            true => format!("--creds {USERNAME}:{PASSWORD} "),
            false => String::new(),
        };
        let address = shop.registry.address();
        shop.ok(&format!(
            "push -q --tls-verify=false {credential}localhost/web {address}/web"
        ));
        shop.ok("rmi localhost/web");
        shop.ok("prune --cache");
        Some(shop)
    }

    fn command(&self, line: &str) -> std::process::Command {
        let mut command = self.place.command(line);
        command
            .env("HOME", self.place.path())
            .env("REGISTRY_AUTH_FILE", self.place.path().join("auth.json"))
            .env(
                "CONTAINERS_REGISTRIES_CONF",
                self.place.path().join("registries.conf"),
            );
        command
    }

    fn run(&self, line: &str) -> String {
        said(&self.command(line).output().unwrap())
    }

    fn ok(&self, line: &str) {
        let text = self.run(line);
        assert!(text.ends_with("exit status 0\n"), "{line}: {text}");
    }

    fn start(&self, line: &str) -> Child {
        let mut command = self.command(line);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Runs a command that fails, and leaves everything as it is.
    fn failure(&self, line: &str) -> String {
        let before = self.files();
        let text = self.run(line);
        assert!(text.ends_with("exit status 1\n"), "{line}: {text}");
        assert_eq!(self.files(), before, "{line}");
        format!("$ osmith {line}\n{text}\n")
    }

    /// The files of the store and of this user, with their contents.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        add_files(self.place.path(), &mut files);
        files.sort();
        files
    }

    /// The image is there, and whole.
    fn require_pulled(&self, line: &str) {
        self.ok(line);
        self.ok("fsck");
        let images = self.run("images");
        assert!(images.contains("/web") && images.contains("/kept"), "{images}");
    }
}

fn add_files(directory: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => add_files(&entry.path(), files),
            false => files.push((entry.path(), fs::read(entry.path()).unwrap())),
        }
    }
}

/// The text without the digests, which are those of this machine's processor.
fn without_digests(text: &str) -> String {
    let is_hex = |character: char| character.is_ascii_hexdigit();
    let mut parts = text.split("sha256:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + "[DIGEST]" + part.trim_start_matches(is_hex)
    })
}

fn is_blob(request: &SeenRequest) -> bool {
    request.method == "GET" && request.path.contains("/blobs/")
}

#[test]
fn a_registry_that_is_down_lies_or_has_something_else() {
    let Some(shop) = Shop::open(&RegistryOptions::default()) else {
        return;
    };
    let address = shop.registry.address();
    let mut text = shop.failure("pull --retry 0 --tls-verify=false 127.0.0.1:1/web");
    text += &shop.failure(&format!("pull --tls-verify=false {address}/nothing"));
    text += &shop
        .failure(&format!(
            "pull --tls-verify=false --platform linux/vax {address}/web"
        ))
        .replace(std::env::consts::ARCH, "HOST");
    // The configuration is the first blob, the layer the second.
    for (number, fault) in [
        (1, Fault::Drop),
        (1, Fault::Flip(60)),
        (2, Fault::Answer(503, Vec::new(), String::new())),
        (2, Fault::Cut(60)),
        (2, Fault::Flip(60)),
    ] {
        let mut blobs = 0;
        let proxy = FaultProxy::start(address, move |request| {
            blobs += usize::from(is_blob(request));
            (blobs == number).then(|| fault.clone())
        });
        let line = format!("pull --retry 0 --tls-verify=false {}/web", proxy.address());
        text += &shop.failure(&line).replace(proxy.address(), "REGISTRY");
    }
    assert_snapshot!(without_digests(&for_any_host(&text.replace(address, "REGISTRY"))));
    shop.require_pulled(&format!("pull -q --tls-verify=false {address}/web"));
}

#[test]
fn a_wrong_password() {
    let options = RegistryOptions {
        password: true,
        ..RegistryOptions::default()
    };
    let Some(shop) = Shop::open(&options) else { return };
    let address = shop.registry.address();
    let login = format!("login --tls-verify=false -u {USERNAME}");
    let mut text = shop.failure(&format!("{login} -p wrong {address}"));
    text += &shop.failure(&format!(
        "pull --tls-verify=false --creds {USERNAME}:wrong {address}/web"
    ));
    shop.ok(&format!("{login} -p {PASSWORD} {address}"));
    // A password that was right is not forgotten for one that is not.
    text += &shop.failure(&format!("{login} -p wrong {address}"));
    assert_snapshot!(text.replace(address, "REGISTRY"));
    shop.require_pulled(&format!("pull -q --tls-verify=false {address}/web"));
}

#[test]
fn an_expired_certificate() {
    let work = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for (name, years) in [("old", 2020..2021), ("future", 2088..2089)] {
        let certificate = self_signed(work.path(), name, years);
        let options = RegistryOptions {
            tls: Some(certificate.clone()),
            ..RegistryOptions::default()
        };
        let Some(shop) = Shop::open(&options) else { return };
        let address = shop.registry.address();
        let trusted = shop.place.path().join("trusted");
        fs::create_dir(&trusted).unwrap();
        fs::copy(certificate.0, trusted.join("ca.crt")).unwrap();
        for line in [
            format!("pull --cert-dir trusted {address}/web"),
            format!("copy --src-cert-dir trusted docker://{address}/web oci:out"),
            format!("login --cert-dir trusted -u jo -p secret {address}"),
        ] {
            text += &shop.failure(&line).replace(address, "REGISTRY");
        }
        shop.require_pulled(&format!("pull -q --tls-verify=false {address}/web"));
    }
    assert_snapshot!(text);
}

#[test]
fn a_store_that_is_damaged_is_repaired_from_the_registry() {
    let Some(shop) = Shop::open(&RegistryOptions::default()) else {
        return;
    };
    let pull = format!("pull -q --tls-verify=false {}/web", shop.registry.address());
    shop.require_pulled(&pull);
    let is_object = |path: &Path| path.starts_with(shop.place.store().join("objects"));
    let objects: Vec<_> = shop
        .files()
        .into_iter()
        .filter(|(path, _)| is_object(path))
        .collect();
    let (path, mut bytes) = objects.into_iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    bytes[300] ^= 1;
    fs::write(path, bytes).unwrap();
    let text = shop.run("fsck");
    assert!(
        text.contains("is damaged") && text.contains("hint: remove the images"),
        "{text}"
    );
    let address = shop.registry.address();
    shop.ok(&format!("rmi {address}/web"));
    shop.ok("prune --cache");
    shop.require_pulled(&pull);
}

/// A registry that is slow from the first blob on, and what tells that it was asked for one.
fn slow(registry: &Registry) -> (FaultProxy, std::sync::mpsc::Receiver<()>) {
    let (sender, receiver) = channel();
    let proxy = FaultProxy::start(registry.address(), move |request| {
        is_blob(request).then(|| {
            let _ = sender.send(());
            Fault::Slow(Duration::from_millis(20), 40)
        })
    });
    (proxy, receiver)
}

#[test]
fn two_pulls_at_once() {
    let Some(shop) = Shop::open(&RegistryOptions::default()) else {
        return;
    };
    let (proxy, begun) = slow(&shop.registry);
    let line = format!("pull -q --tls-verify=false {}/web", proxy.address());
    let first = shop.start(&line);
    begun.recv_timeout(LIMIT).unwrap();
    let second = shop.start(&line);
    let outputs = [first, second].map(|child| said(&child.wait_with_output().unwrap()));
    assert!(outputs[0].ends_with("exit status 0\n"), "{outputs:?}");
    assert_eq!(outputs[0], outputs[1]);
    shop.require_pulled(&line);
}

#[test]
fn a_pull_that_is_killed() {
    let Some(shop) = Shop::open(&RegistryOptions::default()) else {
        return;
    };
    let (sender, stalled) = channel();
    let proxy = FaultProxy::start(shop.registry.address(), move |request| {
        is_blob(request).then(|| {
            let _ = sender.send(());
            Fault::Stall(60)
        })
    });
    let mut child = shop.start(&format!("pull --tls-verify=false {}/web", proxy.address()));
    stalled.recv_timeout(LIMIT).unwrap();
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None);
    shop.ok("fsck");
    shop.require_pulled(&format!(
        "pull -q --tls-verify=false {}/web",
        shop.registry.address()
    ));
    shop.ok("prune");
    let left = fs::read_dir(shop.place.store().join("tmp")).unwrap().count();
    assert_eq!(left, 0, "unfinished files in the store");
}

#[test]
fn passwords_of_an_ordinary_user_are_found_by_builds() {
    let options = RegistryOptions {
        password: true,
        ..RegistryOptions::default()
    };
    let (Some(shop), Some(person)) = (Shop::open(&options), Person::ordinary()) else {
        return;
    };
    // Where 'login' of podman and of this program keeps them.
    let runtime = person.place.path().join("runtime");
    let file = runtime.join("containers/auth.json");
    shop.ok(&format!(
        "login --tls-verify=false --authfile {} -u {USERNAME} -p {PASSWORD} {}",
        file.display(),
        shop.registry.address()
    ));
    let containerfile = format!("FROM {}/web\nCOPY page /srv/\n", shop.registry.address());
    person.place.file("box/Containerfile", containerfile);
    for path in [&file, &runtime] {
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let build = |directory: &Path| {
        let mut command = person.command(&["build", "-q", "--tls-verify=false", "box"]);
        said(&command.env("XDG_RUNTIME_DIR", directory).output().unwrap())
    };
    let denied = build(Path::new("/nowhere"));
    assert!(denied.ends_with("exit status 1\n"), "{denied}");
    let built = build(&runtime);
    assert!(
        built.starts_with("sha256:") && built.ends_with("exit status 0\n"),
        "{built}"
    );
}
