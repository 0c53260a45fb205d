//! Kickstart files from real servers and real file systems.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use osmith_image::registry::RetryPolicy;
use osmith_installer::boot_options::{BootOptions, KickstartSource};
use osmith_installer::fetch::{Access, FetchError, Fetched, Fetcher, identity_headers};
use osmith_report::{Event, Failure, Observer, Silent};
use osmith_testing::certificates::Authority;
use osmith_testing::fault_proxy::{Fault, FaultProxy, SeenRequest};
use osmith_testing::forward_proxy::{ForwardOptions, ForwardProxy};
use osmith_testing::oracle;
use osmith_testing::registry::{Registry, RegistryOptions};

const TEXT: &str = "text\nreboot\n";

fn source(text: &str) -> KickstartSource {
    text.parse().unwrap()
}

fn access() -> Access {
    Access {
        retry: RetryPolicy {
            retries: 2,
            first_wait: Duration::from_millis(1),
            longest_wait: Duration::from_millis(5),
        },
        ..Access::default()
    }
}

fn fetcher<'a>(host: &'a Path, access: &Access) -> Fetcher<'a> {
    let mut fetcher = Fetcher::new(host, access, Vec::new(), &Silent);
    (fetcher.device_wait, fetcher.default_wait) = (Duration::ZERO, Duration::ZERO);
    fetcher
}

fn fetch(url: &str) -> Result<Fetched, FetchError> {
    let host = tempfile::tempdir().unwrap();
    fetcher(host.path(), &access()).fetch(&source(url))
}

/// The whole text of an error for a person.
fn said(error: &FetchError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

fn answer(status: u16, body: &str) -> Option<Fault> {
    Some(Fault::Answer(status, Vec::new(), body.to_owned()))
}

fn redirect(to: &str) -> Option<Fault> {
    Some(Fault::Answer(
        302,
        vec![("Location".to_owned(), to.to_owned())],
        String::new(),
    ))
}

/// A server that has a Kickstart file, and others that lead to it.
fn server() -> FaultProxy {
    FaultProxy::start("127.0.0.1:1", |request: &SeenRequest| {
        match request.path.as_str() {
            "/ks.cfg" => answer(200, TEXT),
            "/moved" => redirect("/ks.cfg"),
            "/round" => redirect("/round"),
            "/dir/a.ks" => answer(200, "included\n"),
            _ => answer(404, "no"),
        }
    })
}

#[test]
fn a_server_gives_it_also_by_a_redirect() {
    let server = server();
    let url = format!("http://jo:secret@{}/moved", server.address());
    let fetched = fetch(&url).unwrap();
    assert_eq!(fetched.text, TEXT);
    assert_eq!(fetched.name, format!("http://{}/moved", server.address()));
    let authorization: Vec<_> = server
        .seen()
        .iter()
        .map(|request| request.header("authorization").map(str::to_owned))
        .collect();
    assert_eq!(authorization, vec![Some("Basic am86c2VjcmV0".to_owned()); 2]);
}

#[test]
fn what_the_server_says_is_told() {
    let server = server();
    let url = |path: &str| format!("http://{}{path}", server.address());
    let error = fetch(&url("/other.cfg")).unwrap_err();
    assert_eq!(
        said(&error),
        format!(
            "cannot fetch '{}': the server answered with the status 404",
            url("/other.cfg")
        )
    );
    assert_eq!(error.class(), osmith_report::Class::NotFound);
    let error = fetch(&url("/round")).unwrap_err();
    assert!(
        said(&error).ends_with("it redirects more than 10 times"),
        "{}",
        said(&error)
    );
}

#[test]
fn what_passes_is_tried_again() {
    let upstream = server();
    let is_meant = |_: &SeenRequest| true;
    let faults = [Fault::Cut(3), Fault::Answer(503, Vec::new(), String::new())];
    let server = FaultProxy::with_faults(upstream.address(), is_meant, faults);
    let fetched = fetch(&format!("http://{}/ks.cfg", server.address())).unwrap();
    assert_eq!(fetched.text, TEXT);
    assert_eq!(server.seen().len(), 3);

    let faults = vec![Fault::Cut(3); 3];
    let server = FaultProxy::with_faults(upstream.address(), is_meant, faults);
    let error = fetch(&format!("http://{}/ks.cfg", server.address())).unwrap_err();
    assert!(
        said(&error).contains(&format!("the connection to '{}' broke", server.address())),
        "{}",
        said(&error)
    );

    let slow = FaultProxy::with_faults(
        upstream.address(),
        is_meant,
        [Fault::Slow(Duration::from_millis(20), 3)],
    );
    assert_eq!(
        fetch(&format!("http://{}/ks.cfg", slow.address())).unwrap().text,
        TEXT
    );
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let upstream = server();
    let server = FaultProxy::start(upstream.address(), |_: &SeenRequest| Some(Fault::Stall(4)));
    let host = tempfile::tempdir().unwrap();
    let access = access();
    let mut fetcher = fetcher(host.path(), &access);
    fetcher.time_limit = Duration::from_secs(1);
    let error = fetcher
        .fetch(&source(&format!("http://{}/ks.cfg", server.address())))
        .unwrap_err();
    assert!(
        said(&error).contains("it took longer than 1 s"),
        "{}",
        said(&error)
    );
}

#[test]
fn nobody_there() {
    let error = fetch("http://127.0.0.1:1/ks.cfg").unwrap_err();
    assert_eq!(
        said(&error),
        "cannot fetch 'http://127.0.0.1:1/ks.cfg': cannot connect to '127.0.0.1:1': Connection refused (os error 111)"
    );
    insta::assert_snapshot!(error.hints().join("\n"), @"check the address and the network; a proxy is named by inst.proxy=http://HOST:PORT");
}

#[test]
fn what_is_too_long_or_no_text_is_none() {
    let long = "x".repeat((16 << 20) + 1);
    let server = FaultProxy::start("127.0.0.1:1", move |_: &SeenRequest| answer(200, &long));
    let error = fetch(&format!("http://{}/ks.cfg", server.address())).unwrap_err();
    assert!(said(&error).contains("longer than 16777216 bytes"));

    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("ks.cfg"), b"text\nlang \xff\n").unwrap();
    let error = fetcher(host.path(), &access())
        .fetch(&source("/ks.cfg"))
        .unwrap_err();
    assert_eq!(
        said(&error),
        "'file:/ks.cfg' is no Kickstart file: line 2 is not UTF-8"
    );
}

#[test]
fn own_authorities_are_trusted_and_others_are_not() {
    let work = tempfile::tempdir().unwrap();
    let authority = Authority::new(work.path(), "authority");
    let options = RegistryOptions {
        tls: Some(authority.sign(work.path(), "host", &["127.0.0.1"])),
        ..RegistryOptions::default()
    };
    let Some(server) = Registry::start_with(&options) else {
        return;
    };
    let source = source(&format!("https://{}/v2/", server.address()));
    let fetch = |access: &Access| fetcher(work.path(), access).fetch(&source);

    let error = fetch(&access()).unwrap_err();
    assert!(
        said(&error)
            .ends_with("cannot be trusted: its certificate is signed by an authority that is not known")
    );
    insta::assert_snapshot!(
        error.hints().join("\n"),
        @"put the certificate of the authority into the image, or in front of other files with %certificate; for this file inst.noverifyssl does without"
    );
    let trusting = Access {
        authorities: vec![authority.certificate().to_owned()],
        ..access()
    };
    assert_eq!(fetch(&trusting).unwrap().text, "{}");
    let careless = Access {
        verifies_tls: false,
        ..access()
    };
    assert_eq!(fetch(&careless).unwrap().text, "{}");
    // The authorities of the image.
    let bundle = work.path().join("etc/ssl/certs/ca-certificates.crt");
    fs::create_dir_all(bundle.parent().unwrap()).unwrap();
    fs::copy(authority.certificate(), bundle).unwrap();
    assert_eq!(fetch(&access()).unwrap().text, "{}");
}

#[test]
fn a_proxy_is_used_and_told_its_password() {
    let server = server();
    let options = ForwardOptions {
        hosts: [("ks.example".to_owned(), server.address().to_owned())].into(),
        authorization: Some("Basic am86c2VjcmV0".to_owned()),
        ..ForwardOptions::default()
    };
    let proxy = ForwardProxy::start(options);
    let host = tempfile::tempdir().unwrap();
    let fetch = |proxy: String, no_proxy: &str| {
        let access = Access {
            proxy: Some(proxy),
            no_proxy: no_proxy.to_owned(),
            ..access()
        };
        fetcher(host.path(), &access).fetch(&source("http://ks.example/ks.cfg"))
    };
    let address = proxy.address();
    assert_eq!(
        fetch(format!("http://jo:secret@{address}"), "").unwrap().text,
        TEXT
    );
    assert_eq!(proxy.take_seen().len(), 1);
    let error = fetch(format!("http://{address}"), "").unwrap_err();
    assert!(
        said(&error).contains(&format!("by the proxy '{address}', which inst.proxy names")),
        "{}",
        said(&error)
    );
    insta::assert_snapshot!(error.hints().join("\n"), @"check inst.proxy=[http://][NAME:PASSWORD@]HOST[:PORT] and the proxy");
    proxy.take_seen();
    fetch(format!("http://jo:secret@{address}"), "ks.example").unwrap_err();
    assert!(proxy.take_seen().is_empty());
}

#[test]
fn the_machine_says_who_it_is() {
    let host = tempfile::tempdir().unwrap();
    let card = host.path().join("sys/class/net/ens3");
    fs::create_dir_all(&card).unwrap();
    for (file, text) in [
        ("type", "1"),
        ("address", "52:54:00:aa:bb:cc"),
        ("flags", "0x1003"),
    ] {
        fs::write(card.join(file), text).unwrap();
    }
    let identity = host.path().join("sys/class/dmi/id");
    fs::create_dir_all(&identity).unwrap();
    fs::write(identity.join("product_serial"), "ABC 123\n").unwrap();
    fs::create_dir_all(host.path().join("etc")).unwrap();
    fs::write(
        host.path().join("etc/os-release"),
        "ID=x\nNAME=\"Example Linux\"\n",
    )
    .unwrap();
    let server = server();
    let line = format!(
        "inst.ks.sendmac inst.ks.sendsn inst.ks=http://{}/ks.cfg",
        server.address()
    );
    let options = BootOptions::parse(&line).unwrap();
    let headers = identity_headers(host.path(), &options);
    let fetcher = Fetcher::new(host.path(), &Access::of(&options), headers, &Silent);
    fetcher.kickstart(&options).unwrap();
    let seen = &server.seen()[0];
    assert_eq!(
        seen.header("x-anaconda-architecture"),
        Some(std::env::consts::ARCH)
    );
    assert_eq!(seen.header("x-anaconda-system-release"), Some("Example Linux"));
    assert_eq!(
        seen.header("x-rhn-provisioning-mac-0"),
        Some("ens3 52:54:00:aa:bb:cc")
    );
    assert_eq!(seen.header("x-system-serial-number"), Some("ABC 123"));
    assert_eq!(identity_headers(host.path(), &BootOptions::default()).len(), 2);
}

#[test]
fn includes_are_found_by_address_path_or_beside() {
    let server = server();
    let host = tempfile::tempdir().unwrap();
    fs::create_dir_all(host.path().join("run")).unwrap();
    fs::write(host.path().join("run/disk.ks"), "made\n").unwrap();
    let access = access();
    let fetcher = fetcher(host.path(), &access);
    let from = source(&format!("http://{}/dir/main.ks", server.address()));
    let include = |reference: &str| fetcher.include(reference, &from);
    assert_eq!(include("/run/disk.ks").unwrap().text, "made\n");
    assert_eq!(include("run/disk.ks").unwrap().text, "made\n");
    assert_eq!(include("a.ks").unwrap().text, "included\n");
    assert_eq!(
        include(&format!("http://{}/ks.cfg", server.address()))
            .unwrap()
            .text,
        TEXT
    );
    assert_eq!(
        said(&include("/run/none.ks").unwrap_err()),
        "cannot read '/run/none.ks': No such file or directory (os error 2)"
    );
    assert!(matches!(include("ftp://a/b"), Err(FetchError::Source(_))));
}

#[test]
fn several_places_are_tried_in_turn() {
    let server = server();
    let host = tempfile::tempdir().unwrap();
    fs::create_dir_all(host.path().join("run/osmith/initramfs")).unwrap();
    fs::write(host.path().join("run/osmith/initramfs/own.cfg"), TEXT).unwrap();
    let access = access();
    let fetcher = fetcher(host.path(), &access);
    let url = format!("http://{}/none", server.address());
    let options = |line: &str| BootOptions::parse(&format!("inst.ks.all {line}")).unwrap();
    let found = fetcher
        .kickstart(&options(&format!("inst.ks={url} inst.ks=/own.cfg")))
        .unwrap();
    assert_eq!(
        (found.text.as_str(), found.name.as_str()),
        (TEXT, "file:/own.cfg")
    );
    let error = fetcher
        .kickstart(&options(&format!("inst.ks={url} inst.ks=/none")))
        .unwrap_err();
    assert_eq!(
        said(&error),
        format!(
            "none of the places of inst.ks= has a Kickstart file: {url}: cannot fetch '{url}': the server answered with \
             the status 404; file:/none: cannot read '/none': No such file or directory (os error 2)"
        )
    );
}

/// A loop device with a file system, gone when it is dropped.
struct Disk(
    PathBuf,
    #[allow(dead_code, reason = "keeps the file")] tempfile::TempDir,
);

impl Disk {
    fn new(make: impl FnOnce(&Path, &Path)) -> Self {
        let work = tempfile::tempdir().unwrap();
        let (image, files) = (work.path().join("image"), work.path().join("files"));
        fs::create_dir(&files).unwrap();
        fs::write(files.join("ks.cfg"), TEXT).unwrap();
        symlink("/ks.cfg", files.join("link.cfg")).unwrap();
        make(&image, &files);
        let output = Command::new("losetup")
            .args(["--find", "--show"])
            .arg(&image)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Disk(String::from_utf8(output.stdout).unwrap().trim().into(), work)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

fn run(program: &str, arguments: &[&dyn AsRef<std::ffi::OsStr>]) {
    let program = oracle::require(program).expect("it was looked for before");
    let output = Command::new(program)
        .args(arguments.iter().map(|argument| argument.as_ref()))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A root folder whose udev knows these labels.
fn machine(labels: &[(&str, &Path)]) -> tempfile::TempDir {
    let host = tempfile::tempdir().unwrap();
    let folder = host.path().join("dev/disk/by-label");
    fs::create_dir_all(&folder).unwrap();
    for (label, device) in labels {
        symlink(device, folder.join(label)).unwrap();
    }
    let disk = host.path().join("sys/class/block/sda1");
    fs::create_dir_all(&disk).unwrap();
    fs::write(disk.join("size"), "2048\n").unwrap();
    fs::write(disk.join("dev"), "8:1\n").unwrap();
    let data = host.path().join("run/udev/data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("b8:1"), "E:ID_FS_TYPE=vfat\nE:ID_FS_LABEL=DATA\n").unwrap();
    host
}

#[test]
fn file_systems_of_devices() {
    let programs = ["losetup", "mkfs.ext4", "mkfs.erofs"];
    let is_missing = |program: &&str| oracle::require(program).is_none();
    if !oracle::require_root("mounting") || programs.iter().any(is_missing) {
        return;
    }
    let ext4 = Disk::new(|image, files| {
        fs::File::create(image).unwrap().set_len(4 << 20).unwrap();
        run("mkfs.ext4", &[&"-q", &"-d", &files, &image]);
    });
    let erofs = Disk::new(|image, files| run("mkfs.erofs", &[&image, &files]));
    let host = machine(&[("MY\\x20DISK", &ext4.0), ("OEMDRV", &erofs.0)]);
    let access = access();
    let fetcher = fetcher(host.path(), &access);
    let fetch = |text: &str| fetcher.fetch(&source(text));
    let fetched = fetch(r"hd:LABEL=MY\x20DISK").unwrap();
    assert_eq!(
        (fetched.text.as_str(), fetched.name.as_str()),
        (TEXT, "hd:LABEL=MY DISK:/ks.cfg")
    );
    // Links stay inside the file system.
    assert_eq!(fetch(r"hd:LABEL=MY\x20DISK:/link.cfg").unwrap().text, TEXT);
    assert_eq!(fetcher.include("ks.cfg", &fetched.source).unwrap().text, TEXT);
    let error = said(&fetch(r"hd:LABEL=MY\x20DISK:/none").unwrap_err());
    assert_eq!(
        error,
        format!(
            "cannot read '/none' of '{}', a file system of the type ext4: cannot open none: No such file or directory",
            ext4.0.display()
        )
    );
    // Nothing is said, and there is a volume with the label.
    assert_eq!(fetcher.kickstart(&BootOptions::default()).unwrap().text, TEXT);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&*ext4.0.to_string_lossy()));
    // One that is mounted for writing elsewhere.
    let elsewhere = tempfile::tempdir().unwrap();
    run("mount", &[&ext4.0, &elsewhere.path()]);
    let text = fetch(r"hd:LABEL=MY\x20DISK");
    run("umount", &[&elsewhere.path()]);
    assert_eq!(text.unwrap().text, TEXT);
}

#[test]
fn what_is_on_a_device_must_be_known() {
    if !oracle::require_root("mounting") || oracle::require("losetup").is_none() {
        return;
    }
    let empty = Disk::new(|image, _| fs::File::create(image).unwrap().set_len(1 << 20).unwrap());
    let host = machine(&[("EMPTY", &empty.0)]);
    let access = access();
    let error = fetcher(host.path(), &access)
        .fetch(&source("hd:LABEL=EMPTY"))
        .unwrap_err();
    let text = said(&error);
    assert!(
        text.starts_with(&format!("cannot mount '{}': ", empty.0.display()))
            && text.contains("ext4: it is none"),
        "{text}"
    );
}

#[test]
fn a_missing_device_is_told_with_those_that_are_there() {
    let host = machine(&[]);
    let access = access();
    let fetcher = fetcher(host.path(), &access);
    let error = fetcher.fetch(&source("hd:LABEL=OTHER")).unwrap_err();
    insta::assert_snapshot!(said(&error), @"there is no device 'LABEL=OTHER' after 0 s; there are sda1 (vfat, label DATA)");
    let error = fetcher.kickstart(&BootOptions::default()).unwrap_err();
    insta::assert_snapshot!(said(&error), @"no Kickstart file: the kernel command line has no inst.ks=, and there is no volume with the label OEMDRV; there are sda1 (vfat, label DATA)");
    let error = fetcher.fetch(&source("cdrom")).unwrap_err();
    insta::assert_snapshot!(said(&error), @"there is no device 'cdrom' after 0 s; there are sda1 (vfat, label DATA)");
}

/// Keeps what it is told.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Observer for Told {
    fn observe(&self, event: Event) {
        if let Event::Message { text, .. } = event {
            self.0.lock().unwrap().push(text);
        }
    }
}

#[test]
fn tries_are_told_in_words_for_any_server() {
    let told = Told::default();
    let host = tempfile::tempdir().unwrap();
    let fetcher = Fetcher::new(host.path(), &access(), Vec::new(), &told);
    fetcher.fetch(&source("http://127.0.0.1:1/ks.cfg")).unwrap_err();
    let told = told.0.into_inner().unwrap();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[0], "fetching http://127.0.0.1:1/ks.cfg");
    assert!(
        told[1].contains("cannot connect to '127.0.0.1:1'") && told[1].contains("trying again in"),
        "{told:?}"
    );
    assert!(!told[1].contains("registry"));
}
