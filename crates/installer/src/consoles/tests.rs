use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::symlink;

use osmith_report::{Outcome, Progress, Step, StepId, Unit};

use super::*;

/// A root folder with these active consoles.
fn machine(active: &str, devices: &[&str]) -> tempfile::TempDir {
    let host = tempfile::tempdir().unwrap();
    let folder = host.path().join("sys/class/tty/console");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("active"), active).unwrap();
    fs::create_dir(host.path().join("dev")).unwrap();
    for device in devices {
        fs::write(host.path().join("dev").join(device), "").unwrap();
    }
    host
}

fn read(host: &tempfile::TempDir, path: &str) -> String {
    fs::read_to_string(host.path().join(path)).unwrap()
}

/// The log without its times.
fn log(host: &tempfile::TempDir) -> Vec<String> {
    let text = read(host, LOG_PATH);
    text.lines()
        .map(|line| line.split_once("] ").unwrap().1.to_owned())
        .collect()
}

#[test]
fn every_active_console_and_the_log_are_told() {
    let host = machine("tty0 ttyS0 ttyX\n", &["tty0", "ttyS0"]);
    let consoles = Consoles::open(host.path());
    consoles.line("first\tline\nsecond \u{1b}[2J");
    consoles.log("for the log");
    consoles.flush(Duration::from_secs(10));
    let missing = "warning: cannot write to the console ttyX: No such file or directory (os error 2)";
    let expected = format!("{missing}\r\nfirst        line\r\nsecond \\u{{1b}}[2J\r\n");
    assert_eq!(read(&host, "dev/tty0"), expected);
    assert_eq!(read(&host, "dev/ttyS0"), expected);
    assert_eq!(
        log(&host),
        [missing, "first        line", "second \\u{1b}[2J", "for the log"]
    );
    let mode = fs::metadata(host.path().join(LOG_PATH))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn without_active_consoles_there_is_the_one() {
    let host = machine("", &["console"]);
    let consoles = Consoles::open(host.path());
    consoles.line("hello");
    consoles.flush(Duration::from_secs(10));
    assert_eq!(read(&host, "dev/console"), "hello\r\n");
}

#[test]
fn a_console_that_hangs_holds_nobody_up() {
    let host = machine("ttyS0 tty0", &["tty0"]);
    // A terminal whose other side reads nothing.
    let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
    let other_side = rustix::pty::openpt(flags).unwrap();
    rustix::pty::grantpt(&other_side).unwrap();
    rustix::pty::unlockpt(&other_side).unwrap();
    let name = rustix::pty::ptsname(&other_side, Vec::new()).unwrap();
    symlink(name.to_str().unwrap(), host.path().join("dev/ttyS0")).unwrap();
    let consoles = Consoles::open(host.path());
    let line = "x".repeat(1000);
    let begun = Instant::now();
    let mut sent = 0;
    // The other one may be slower than this loop, too.
    while begun.elapsed() < Duration::from_millis(100) || sent < 2000 {
        consoles.line(&line);
        sent += 1;
        if sent % 100 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    consoles.flush(Duration::from_millis(500));
    assert!(read(&host, "dev/tty0").lines().count() >= 500);
    assert_eq!(log(&host).len(), sent);
}

#[test]
fn what_does_not_fit_is_counted() {
    let (queue, received) = std::sync::mpsc::channel::<()>();
    let shown = Arc::new(Mutex::new(Vec::new()));
    let for_thread = shown.clone();
    let mut sink = Sink::start(move |line| {
        let _ = received.recv();
        for_thread.lock().unwrap().push(line.to_owned());
    });
    for number in 0..2000 {
        sink.send(&number.to_string());
    }
    drop(queue);
    while sink.mark().is_none_or(|mark| mark.recv().is_err()) {}
    sink.send("last");
    while sink.mark().is_none_or(|mark| mark.recv().is_err()) {}
    let shown = shown.lock().unwrap();
    // A thread that is slow to begin makes room once more, so that there may be two notes.
    let left_out = |line: &String| {
        line.strip_prefix("... ")?
            .split(' ')
            .next()?
            .parse::<usize>()
            .ok()
    };
    let notes: Vec<usize> = shown.iter().filter_map(left_out).collect();
    let lines = shown.len() - notes.len();
    assert_eq!(lines + notes.iter().sum::<usize>(), 2001, "{notes:?}");
    assert!(notes.iter().sum::<usize>() > 1000, "{notes:?}");
    assert_eq!(shown.last().map(String::as_str), Some("last"));
}

#[test]
fn syslog_servers_are_told() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let host = machine("tty0", &["tty0"]);
    fs::create_dir_all(host.path().join("proc/sys/kernel")).unwrap();
    fs::write(host.path().join("proc/sys/kernel/hostname"), "web1\n").unwrap();
    let consoles = Consoles::open(host.path());
    consoles.add_syslog(&SyslogServer {
        host: "127.0.0.1".to_owned(),
        port: server.local_addr().unwrap().port(),
    });
    consoles.line("warning: careful");
    let mut buffer = [0; 2000];
    let count = server.recv(&mut buffer).unwrap();
    let text = std::str::from_utf8(&buffer[..count]).unwrap();
    assert!(
        text.starts_with("<12>1 20") && text.ends_with("Z web1 osmith - - - warning: careful"),
        "{text}"
    );
}

#[test]
fn events_are_lines() {
    let host = machine("tty0", &["tty0"]);
    let consoles = Consoles::open(host.path());
    let interrupted = Arc::new(AtomicBool::new(false));
    let observer = ConsoleObserver::new(&consoles, interrupted.clone());
    let step = StepId(3);
    let steps = vec![Step {
        id: step,
        title: "format /dev/sda1".to_owned(),
    }];
    observer.observe(Event::Plan { steps });
    observer.observe(Event::Started { step });
    let progress = Progress {
        done: 50,
        total: Some(100),
        unit: Unit::Bytes,
    };
    observer.observe(Event::Advanced { step, progress });
    observer.observe(Event::Finished {
        step,
        outcome: Outcome::Cached,
        summary: String::new(),
    });
    observer.observe(Event::Output {
        step,
        stream: osmith_report::Stream::Stdout,
        line: "mke2fs 1.47".to_owned(),
    });
    assert_eq!(
        log(&host),
        ["[1/1] format /dev/sda1", "[1/1] cached", "mke2fs 1.47"]
    );
    consoles.flush(Duration::from_secs(10));
    assert_eq!(
        read(&host, "dev/tty0"),
        "[1/1] format /dev/sda1\r\n[1/1] cached\r\n"
    );
    assert!(!observer.interrupted());
    interrupted.store(true, Ordering::Relaxed);
    assert!(observer.interrupted());
}
