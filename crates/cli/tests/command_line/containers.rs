//! Containers of a busybox image, from `run` to `rm`: as root, and the same as an ordinary user.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use osmith_testing::oracle;
use osmith_testing::registry::Registry;

use super::person::{PATIENCE, Person};
use super::program::{clean, said};

#[test]
fn a_command_in_the_foreground() {
    for person in [Person::root(), Person::ordinary()].into_iter().flatten() {
        let output = person.output(&["run", "--rm", "--network", "none", "box"]);
        assert_eq!(said(&output), "blue\n/srv\nexit status 0\n");
        let seen = person.run(
            &["-e", "COLOR=red", "-u", "web", "-w", "/tmp/new", "-h", "host"],
            "echo $COLOR $(id -u) $(id -g) $HOME $(hostname) $$; pwd; echo no >&2",
        );
        assert_eq!(seen, "red 33 34 /srv host 1\n/tmp/new\nno\nexit status 0\n");
        let output = person.output(&["run", "--rm", "--network", "host", "box", "sh", "-c", "exit 7"]);
        assert_eq!(output.status.code(), Some(7), "{}", said(&output));
        assert!(
            person
                .run(&["--read-only"], "touch /x 2>/dev/null")
                .ends_with("exit status 1\n")
        );
        for (program, status) in [("nothing", 127), ("/etc/passwd", 126)] {
            let output = person.output(&["run", "--network", "none", "box", program]);
            assert_eq!(output.status.code(), Some(status), "{}", said(&output));
        }
        assert_eq!(person.output(&["run", "nothing"]).status.code(), Some(125));
        let mut cat = person
            .command(&["run", "--rm", "-i", "--network", "none", "box", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        cat.stdin.take().unwrap().write_all(b"typed").unwrap();
        let echoed = cat.wait_with_output().unwrap();
        assert_eq!(echoed.stdout, b"typed");
        person.require_nothing_left();
    }
}

#[test]
fn an_image_that_is_not_in_the_store_is_fetched() {
    for person in [Person::root(), Person::ordinary()].into_iter().flatten() {
        let Some(registry) = Registry::start() else {
            return;
        };
        let there = format!("{}/box", registry.address());
        let absent = format!("{}/absent", registry.address());
        person.ok(&["push", "--quiet", "--tls-verify=false", "box", &there]);
        person.ok(&["rmi", "box"]);
        // As if the store had never been.
        fs::rename(person.store(), person.place.path().join("other-store")).unwrap();
        let run = |options: &[&str], image: &str| {
            let words = [
                &[
                    "run",
                    "--rm",
                    "--network",
                    "none",
                    "--tls-verify=false",
                    "--retry",
                    "0",
                ],
                options,
                &[image, "sh", "-c", "echo ran"],
            ]
            .concat();
            let output = person.output(&words);
            (
                String::from_utf8(output.stdout).unwrap(),
                String::from_utf8(output.stderr).unwrap(),
                output.status.code(),
            )
        };
        let ran = |options: &[&str], image: &str| {
            let (printed, errors, status) = run(options, image);
            assert_eq!((printed.as_str(), status), ("ran\n", Some(0)), "{errors}");
            errors
        };
        let refused = |options: &[&str], image: &str| {
            let (printed, errors, status) = run(options, image);
            assert_eq!((printed.as_str(), status), ("", Some(125)), "{errors}");
            errors
        };
        assert!(refused(&["--pull", "never"], &there).contains("no image store"));
        assert!(ran(&[], &there).contains(&format!("pull {there}")));
        assert_eq!(ran(&[], &there), "");
        assert!(ran(&["--pull", "always"], &there).contains(&format!("pull {there}")));
        assert_eq!(ran(&["--pull", "always", "--quiet"], &there), "");
        assert!(refused(&[], &absent).contains("has no image"));
        assert!(refused(&["--pull", "never"], &absent).contains("there is no image"));
        drop(registry);
        assert_eq!(ran(&[], &there), "");
        assert_ne!(ran(&["--pull", "newer"], &there), "");
        refused(&["--pull", "always"], &there);
        refused(&["--pull", "always"], "localhost/box");
        person.ok(&["tag", &there, "localhost/box"]);
        assert_eq!(ran(&["--pull", "always"], "localhost/box"), "");
        person.require_nothing_left();
    }
}

#[test]
fn a_container_from_its_beginning_to_its_end() {
    for person in [Person::root(), Person::ordinary()].into_iter().flatten() {
        let script = "trap 'echo ending; exit 3' TERM; echo begun; while true; do sleep 0.05; done";
        let start = [
            "run",
            "-d",
            "--name",
            "one",
            "--network",
            "none",
            "box",
            "sh",
            "-c",
            script,
        ];
        let id = person.ok(&start);
        person.wait_for_log("one", "begun");
        assert_eq!(person.containers()[0]["State"], "running");
        assert_eq!(person.ok(&["ps", "--quiet"]).trim(), &id[..12]);
        assert_eq!(
            person.ok(&["exec", "one", "sh", "-c", "pwd; id -u; echo $COLOR"]),
            "/srv\n0\nblue\n"
        );
        assert_eq!(person.ok(&["exec", "-u", "web", &id[..6], "id", "-u"]), "33\n");
        assert_eq!(
            person.output(&["exec", "-l", "sh", "-c", "exit 9"]).status.code(),
            Some(9)
        );
        assert_eq!(person.output(&["exec", "-l", "nothing"]).status.code(), Some(127));
        let again = said(&person.output(&start));
        assert!(
            again.contains("the name 'one' is that of the container"),
            "{again}"
        );
        assert!(said(&person.output(&["rm", "one"])).contains("the container one runs"));
        let refused = said(&person.output(&["rmi", "box"]));
        assert!(refused.contains("is needed by the container") && refused.contains("osmith rm --force"));
        person.ok(&["stop", "one"]);
        let ended = &person.containers()[0];
        assert_eq!(
            (&ended["State"], &ended["ExitCode"]),
            (&"exited".into(), &3.into())
        );
        assert_eq!(person.ok(&["logs", "one"]), "begun\nending\n");
        assert_eq!(person.ok(&["logs", "--tail", "1", "-l"]), "ending\n");
        assert!(said(&person.output(&["exec", "one", "true"])).contains("the container one does not run"));
        person.ok(&["prune"]);
        person.ok(&["rm", "one"]);
        person.require_nothing_left();
        person.ok(&["rmi", "box"]);
    }
}

#[test]
fn containers_of_an_image_share_a_root_that_none_changes() {
    for person in [Person::root(), Person::ordinary()].into_iter().flatten() {
        let roots = || {
            let entries = fs::read_dir(person.store().join("roots")).unwrap();
            entries.count()
        };
        let script = "echo mine > page; rm /etc/group; touch ready; exec sleep 1000";
        let start = [
            "run",
            "-d",
            "--name",
            "one",
            "--network",
            "none",
            "box",
            "sh",
            "-c",
        ];
        person.ok(&[&start[..], &[script]].concat());
        let seen = person.run(&[], "cat page; ls /etc");
        assert_eq!(
            seen,
            "It answers\ngroup\nhostname\nhosts\npasswd\nresolv.conf\nexit status 0\n"
        );
        assert_eq!(roots(), 1);
        person.run(&["-w", "/elsewhere"], "true");
        assert_eq!(roots(), 2);
        person.ok(&["prune"]);
        assert_eq!(roots(), 1, "one is in use");
        assert_eq!(
            person
                .ok(&["exec", "one", "cat", "page", "/etc/passwd"])
                .lines()
                .next(),
            Some("mine")
        );
        person.ok(&["rm", "--force", "one"]);
        person.ok(&["prune"]);
        assert_eq!(roots(), 0);
        person.require_nothing_left();
    }
}

#[test]
fn a_killed_supervisor_takes_everything_with_it() {
    for person in [Person::root(), Person::ordinary()].into_iter().flatten() {
        for options in [&["--name", "kept"][..], &["--name", "gone", "--rm", "-u", "web"]] {
            let words = [
                &["run", "-d", "--network", "none"],
                options,
                &["box", "sleep", "1000"],
            ]
            .concat();
            person.ok(&words);
            let pid = person.containers()[0]["Pid"].as_u64().unwrap();
            kill(parent(parent(pid)));
            let deadline = Instant::now() + PATIENCE;
            while fs::metadata(format!("/proc/{pid}")).is_ok() {
                assert!(Instant::now() < deadline, "its command still runs");
                sleep(Duration::from_millis(10));
            }
            let ended = &person.containers()[0];
            assert_eq!(
                (&ended["State"], &ended["ExitCode"]),
                (&"exited".into(), &137.into())
            );
        }
        assert_eq!(person.run(&[], "true"), "exit status 0\n");
        let left = person.containers();
        assert_eq!((left.len(), &left[0]["Names"][0]), (1, &"kept".into()));
        person.ok(&["rm", "--all"]);
        person.require_nothing_left();
    }
}

fn parent(pid: u64) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn kill(pid: u64) {
    assert!(
        Command::new("kill")
            .args(["-KILL", &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn volumes_and_folders_in_memory() {
    for person in [Person::root(), Person::ordinary()].into_iter().flatten() {
        person.place.file("shared/file", "of this computer\n");
        let shared = format!("{}:/mnt/shared:ro", person.place.path().join("shared").display());
        let seen = person.run(
            &["-v", &shared, "-v", "notes:/srv", "--tmpfs", "/fast:size=1m"],
            "cat /mnt/shared/file page; touch /mnt/shared/x 2>/dev/null || echo refused; echo more >> page; \
             grep -c ' /fast tmpfs' /proc/mounts",
        );
        assert_eq!(seen, "of this computer\nIt answers\nrefused\n1\nexit status 0\n");
        let kept = person.run(&["-v", "notes:/other"], "cat /other/page /srv/page");
        assert_eq!(kept, "It answers\nmore\nIt answers\nexit status 0\n");
        person.require_nothing_left();
    }
}

#[test]
fn a_terminal_is_the_containers_own() {
    if oracle::require("script").is_none() {
        return;
    }
    for person in [Person::root(), Person::ordinary()].into_iter().flatten() {
        let program = person.place.path().join("osmith");
        let line = format!(
            "{} run --rm -t --network none box sh -c 'tty; test -c /dev/console && stty size; exit 4'",
            program.display()
        );
        let mut command = person.command(&[]);
        let prefix: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let mut script = match command.get_program() == program.as_os_str() {
            true => Command::new("script"),
            false => {
                let mut script = Command::new(command.get_program());
                script.args(prefix.iter().take(prefix.len() - 1)).arg("script");
                script
            }
        };
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        command = clean(script);
        command.env("OSMITH_STORE", person.store());
        let text = said(&command.output().unwrap()).replace('\r', "");
        assert_eq!(text, "/dev/pts/0\n24 80\nexit status 4\n");
    }
}

#[test]
fn a_network_of_its_own_has_ports_and_names() {
    if oracle::require("pasta").is_none() {
        return;
    }
    for person in [Person::root(), Person::ordinary()].into_iter().flatten() {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let published = format!("{port}:8000");
        let start = ["run", "-d", "--name", "web", "-p", &published, "-u", "web", "box"];
        person.ok(&[&start[..], &["httpd", "-f", "-p", "8000", "-h", "/srv"]].concat());
        assert!(fetch(port).ends_with("It answers\n"));
        assert!(person.ok(&["ps"]).contains(&format!("0.0.0.0:{port}->8000/tcp")));
        assert_eq!(
            person
                .ok(&["exec", "web", "cat", "/etc/resolv.conf"])
                .lines()
                .last(),
            Some("nameserver 169.254.1.1")
        );
        assert!(
            person
                .ok(&["exec", "web", "ip", "route"])
                .starts_with("default via")
        );
        let taken = said(&person.output(&["run", "--rm", "-p", &published, "box"]));
        assert!(
            taken.contains("pasta cannot connect the container's network"),
            "{taken}"
        );
        person.ok(&["rm", "--force", "web"]);
        assert!(
            TcpListener::bind(("127.0.0.1", port)).is_ok(),
            "pasta ends with the container"
        );
        person.require_nothing_left();
    }
}

/// The page that a server has, once it listens.
fn fetch(port: u16) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut text = String::new();
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            let sent = stream.write_all(b"GET /page HTTP/1.0\r\n\r\n");
            if sent.is_ok() && stream.read_to_string(&mut text).is_ok() && !text.is_empty() {
                return text;
            }
        }
        assert!(Instant::now() < deadline, "nobody answers");
        sleep(Duration::from_millis(20));
    }
}
