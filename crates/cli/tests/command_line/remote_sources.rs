//! ADD of what is on a server, from a server of busybox's, and base images of a registry.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use osmith_testing::oracle;
use osmith_testing::registry::Registry;

use super::program::Place;

/// Serves the directory `www` of a place; ends when dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(place: &Place) -> Option<Server> {
        let busybox = oracle::require("busybox")?;
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let address = format!("127.0.0.1:{port}");
        let child = Command::new(busybox)
            .args(["httpd", "-f", "-p", &address, "-h"])
            .arg(place.path().join("www"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Server { child, address };
        for _ in 0..200 {
            if TcpStream::connect(&server.address).is_ok() {
                return Some(server);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("busybox httpd does not answer");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn build(place: &Place, text: &str, options: &str) -> (bool, String) {
    place.file("context/Containerfile", text);
    let output = place
        .command(&format!(
            "build --progress plain -t localhost/t {options} context"
        ))
        .env_remove("http_proxy")
        .env("no_proxy", "127.0.0.1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

/// What the image has, as `tar -tv` lists it.
fn listing(place: &Place) -> String {
    place.file("list/Containerfile", "FROM localhost/t\n");
    let archive = place.path().join("list.tar");
    let _ = fs::remove_file(&archive);
    place.ok("build -q -o type=tar,dest=list.tar list");
    let output = Command::new("tar")
        .args(["--utc", "-tvf"])
        .arg(archive)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn files_of_a_server() {
    let place = Place::new();
    let file = place.file("www/d/a b.txt", "one\n");
    let at = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(at)
        .unwrap();
    let Some(server) = Server::start(&place) else {
        return;
    };
    let url = format!("http://{}/d/a%20b.txt", server.address);
    let text = format!("FROM scratch\nADD {url} /x/\n");
    let (ok, said) = build(&place, &text, "");
    assert!(ok, "{said}");
    let list = listing(&place);
    assert!(
        list.contains("-rw-------") && list.contains("2001-09-09 01:46 ./x/a b.txt")
            || list.contains("2001-09-09 01:46 x/a b.txt"),
        "{list}"
    );
    // The same file is not another layer, another one is.
    let (_, said) = build(&place, &text, "");
    assert!(said.contains("cached"), "{said}");
    fs::write(&file, "two, and longer\n").unwrap();
    let (_, said) = build(&place, &text, "");
    assert!(!said.contains("cached"), "{said}");
    // A checksum is checked; with it and the file known, nobody is asked.
    let wrong = format!(
        "FROM scratch\nADD --checksum=sha256:{} {url} /x/\n",
        "0".repeat(64)
    );
    let (ok, said) = build(&place, &wrong, "");
    assert!(!ok && said.contains("has the checksum sha256:"), "{said}");
    let digest = said
        .split("has the checksum sha256:")
        .nth(1)
        .unwrap()
        .get(..64)
        .unwrap()
        .to_owned();
    let address = server.address.clone();
    drop(server);
    let right = format!("FROM scratch\nADD --checksum=sha256:{digest} {url} /x/\n");
    let (ok, said) = build(&place, &right, "");
    assert!(ok, "{said}");
    let (ok, said) = build(&place, &text, "");
    assert!(
        !ok && said.contains(&format!("cannot fetch 'http://{address}/d/a%20b.txt'")),
        "{said}"
    );
}

#[test]
fn archives_of_a_server_stay_whole_unless_asked_for() {
    let place = Place::new();
    place.file("www/f", "F");
    let status = Command::new("tar")
        .args(["-C", "www", "-cf", "www/f.tar", "f"])
        .current_dir(place.path())
        .status();
    assert!(status.unwrap().success());
    let Some(server) = Server::start(&place) else {
        return;
    };
    let url = format!("http://{}/f.tar", server.address);
    let (ok, said) = build(
        &place,
        &format!("FROM scratch\nADD {url} /whole/\nADD --unpack {url} /apart/\n"),
        "",
    );
    assert!(ok, "{said}");
    let list = listing(&place);
    assert!(
        list.contains("whole/f.tar") && list.contains("apart/f\n"),
        "{list}"
    );
    let (ok, said) = build(
        &place,
        &format!("FROM scratch\nADD http://{}/none /\n", server.address),
        "",
    );
    assert!(!ok && said.contains("answered with the status 404"), "{said}");
}

#[test]
fn git_repositories() {
    let place = Place::new();
    let git = |arguments: &[&str]| {
        let status = Command::new("git")
            .args([
                "-c",
                "user.name=n",
                "-c",
                "user.email=e",
                "-c",
                "init.defaultBranch=main",
            ])
            .args(arguments)
            .current_dir(place.path().join("www"))
            .env("GIT_COMMITTER_DATE", "1000000000 +0000")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "{arguments:?}");
    };
    place.file("www/index", "");
    git(&["init", "work"]);
    place.file("www/work/sub/page", "one");
    place.file("www/work/top", "t");
    place.file("www/work/sub/Containerfile", "FROM scratch\nCOPY sub/page /\n");
    git(&["-C", "work", "add", "."]);
    git(&["-C", "work", "commit", "-m", "one"]);
    git(&["-C", "work", "branch", "old"]);
    place.file("www/work/sub/page", "two");
    git(&["-C", "work", "commit", "-a", "-m", "two"]);
    git(&["clone", "--bare", "work", "project.git"]);
    git(&["-C", "project.git", "update-server-info"]);
    let Some(server) = Server::start(&place) else {
        return;
    };
    let url = format!("http://{}/project.git", server.address);
    let text = format!(
        "FROM scratch\nADD {url} /all/\nADD {url}#old:sub /old/\nADD --keep-git-dir {url}#main /kept/\n"
    );
    let (ok, said) = build(&place, &text, "-o out");
    assert!(ok, "{said}");
    let read = |name: &str| fs::read_to_string(place.path().join("out").join(name)).unwrap();
    assert_eq!(
        (read("all/sub/page"), read("old/page")),
        ("two".to_owned(), "one".to_owned())
    );
    assert!(place.path().join("out/kept/.git").is_dir() && !place.path().join("out/all/.git").exists());
    assert!(listing(&place).contains("2001-09-09 01:46"));
    place.ok(&format!("build -q -f sub/Containerfile -o git-out {url}#old"));
    assert!(place.path().join("git-out/page").exists());
    let (ok, said) = build(&place, &format!("FROM scratch\nADD {url}#nowhere /\n"), "");
    assert!(!ok && said.contains("git cannot fetch"), "{said}");
    let (ok, said) = build(&place, &format!("FROM scratch\nADD {url}#main:none /\n"), "");
    assert!(!ok && said.contains("has no directory 'none'"), "{said}");
}

#[test]
fn base_images_come_from_their_registry() {
    let Some(registry) = Registry::start() else { return };
    let place = Place::new();
    place.image("localhost/base", &[("f", "1")]);
    let name = format!("{}/base:1", registry.address());
    place.ok(&format!("push -q --tls-verify=false localhost/base {name}"));
    place.ok("rmi localhost/base");
    let text = format!("FROM {name}\nENV a=b\n");
    let (ok, said) = build(&place, &text, "--tls-verify=false --pull=never");
    assert!(!ok && said.contains("there is no image"), "{said}");
    let (ok, said) = build(&place, &text, "--tls-verify=false");
    assert!(ok && said.contains(&format!("fetching {name}")), "{said}");
    let (_, said) = build(&place, &text, "--tls-verify=false");
    assert!(!said.contains("fetching"), "{said}");
    let (ok, said) = build(&place, &text, "--tls-verify=false --pull");
    assert!(ok && said.contains("fetching"), "{said}");
    drop(registry);
    let (ok, _) = build(&place, &text, "--tls-verify=false --pull=newer --retry 0");
    assert!(ok);
    let (ok, said) = build(&place, &text, "--tls-verify=false --pull=always --retry 0");
    assert!(!ok && said.contains("cannot connect"), "{said}");
}
