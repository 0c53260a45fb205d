//! Ctrl-C while a registry says nothing.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::process::{Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use osmith_testing::fault_proxy::{Fault, FaultProxy, SeenRequest};
use osmith_testing::registry::Registry;
use rustix::process::{Pid, Signal, kill_process};

use super::program::{Place, said};

/// A wish to stop that is not noticed is noticed when the registry is given up, after two minutes.
const LIMIT: Duration = Duration::from_secs(60);

/// A proxy that falls silent at the first request that `is_meant`, and what tells that it has.
fn silent(
    registry: &Registry,
    fault: Fault,
    is_meant: impl Fn(&SeenRequest) -> bool + Send + 'static,
) -> (FaultProxy, Receiver<()>) {
    let (sender, receiver) = channel();
    let proxy = FaultProxy::start(registry.address(), move |request| {
        is_meant(request).then(|| {
            let _ = sender.send(());
            fault.clone()
        })
    });
    (proxy, receiver)
}

/// Runs a command until the registry is silent, and interrupts it.
fn interrupted(place: &Place, line: &str, silence: &Receiver<()>) -> Output {
    let mut command = place.command(line);
    command
        .env("HOME", place.path())
        .env("REGISTRY_AUTH_FILE", place.path().join("auth.json"))
        .env("CONTAINERS_REGISTRIES_CONF", place.path().join("registries.conf"));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_child(&child);
    let is_silent = silence.recv_timeout(LIMIT);
    kill_process(pid, Signal::INT).unwrap();
    let (sender, ended) = channel();
    let mut errors = child.stderr.take().unwrap();
    let reading = thread::spawn(move || {
        let mut text = Vec::new();
        let _ = errors.read_to_end(&mut text);
        let _ = sender.send(());
        text
    });
    let in_time = ended.recv_timeout(LIMIT);
    if in_time.is_err() {
        let _ = child.kill();
    }
    let mut output = child.wait_with_output().unwrap();
    output.stderr = reading.join().unwrap();
    assert!(is_silent.is_ok() && in_time.is_ok(), "{line}: {}", said(&output));
    output
}

fn require_interrupted(place: &Place, line: &str, silence: &Receiver<()>) {
    let output = interrupted(place, line, silence);
    assert_eq!(said(&output), "error: interrupted\nexit status 130\n", "{line}");
}

fn place() -> Place {
    let place = Place::new();
    place.file("registries.conf", "");
    place.image("localhost/web", &[("page", "hello")]);
    place
}

#[test]
fn every_command_can_be_interrupted() {
    let Some(registry) = Registry::start() else { return };
    let place = place();
    let push = format!(
        "push -q --tls-verify=false localhost/web {}/web",
        registry.address()
    );
    let is_manifest = |request: &SeenRequest| request.path.contains("/manifests/");
    let is_blob = |request: &SeenRequest| request.path.contains("/blobs/sha256:");
    // The last request: nothing else is going on that could notice.
    let is_upload = move |request: &SeenRequest| request.method == "PUT" && is_manifest(request);
    let is_any = |_: &SeenRequest| true;

    let (proxy, silence) = silent(&registry, Fault::Silence, is_upload);
    let address = proxy.address();
    let line = format!("push --tls-verify=false localhost/web {address}/web");
    require_interrupted(&place, &line, &silence);
    place.ok(&push);
    place.ok("rmi localhost/web");
    place.ok("prune");

    let (proxy, silence) = silent(&registry, Fault::Silence, is_manifest);
    let line = format!("pull --tls-verify=false {}/web", proxy.address());
    require_interrupted(&place, &line, &silence);
    place.require_no_images();

    let (proxy, silence) = silent(&registry, Fault::Stall(10), is_blob);
    let address = proxy.address();
    let line = format!("pull --tls-verify=false {address}/web");
    require_interrupted(&place, &line, &silence);
    place.require_no_images();
    let line = format!("copy --src-tls-verify=false docker://{address}/web oci:out");
    require_interrupted(&place, &line, &silence);
    assert!(!place.path().join("out").exists());

    let (proxy, silence) = silent(&registry, Fault::Silence, is_any);
    let address = proxy.address();
    let line = format!("login --tls-verify=false -u tester -p secret {address}");
    require_interrupted(&place, &line, &silence);
    assert!(!place.path().join("auth.json").exists());

    place.ok(&format!("pull -q --tls-verify=false {}/web", registry.address()));
}

#[test]
fn a_host_that_does_not_answer_the_first_bytes_of_tls() {
    let place = Place::new();
    place.file("registries.conf", "");
    fs::create_dir(place.path().join("certificates")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, silence) = channel();
    // The connection is open as long as the test runs.
    let accepting = thread::spawn(move || {
        let connection = listener.accept().unwrap();
        sender.send(()).unwrap();
        connection
    });
    let line = format!("pull --cert-dir certificates {address}/web");
    require_interrupted(&place, &line, &silence);
    drop(accepting.join().unwrap());
}
