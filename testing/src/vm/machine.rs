//! A machine of the laboratory.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::http::{self, Page};
use super::ssh::Ssh;
use super::{Access, BOOT_TIMEOUT, COMMAND_TIMEOUT};

const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How much of a console is shown when a test fails.
const CONSOLE_TAIL_BYTES: usize = 4000;

/// What a command in the machine said.
#[derive(Debug, Clone)]
pub struct Answer {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output, without the last newline.
    pub stdout: String,
    /// Its standard error, without the last newline.
    pub stderr: String,
}

/// A running machine; its power is cut when it is dropped.
///
/// What does not come true in time panics and shows the end of the console.
#[derive(Debug)]
pub struct Machine {
    process: Child,
    ssh: Ssh,
    http_port: u16,
    console: PathBuf,
    powered_on: Instant,
}

impl Machine {
    pub(super) fn power_on(
        osmith: &Path,
        disk: &Path,
        options: &[&str],
        (folder, access): (&Path, Access),
    ) -> io::Result<Self> {
        let (http_port, ssh_port) = free_ports()?;
        let console = folder.join(format!("console-{ssh_port}"));
        let mut command = Command::new(osmith);
        command.args(["vm", "run", "--progress", "plain"]);
        if access != Access::Console {
            command.args(["-p", &format!("{http_port}:80"), "-p", &format!("{ssh_port}:22")]);
        }
        if access == Access::Credential {
            command.arg("--authorized-key").arg(Ssh::public_key(folder));
        }
        let process = command
            .args(options)
            .arg(disk)
            .env("TMPDIR", folder)
            .stdin(Stdio::piped())
            .stdout(File::create(&console)?)
            .spawn()?;
        Ok(Machine {
            process,
            ssh: Ssh::new(folder, ssh_port),
            http_port,
            console,
            powered_on: Instant::now(),
        })
    }

    /// How long ago the machine was powered on, in seconds.
    pub fn seconds(&self) -> u64 {
        self.powered_on.elapsed().as_secs()
    }

    /// Types a line on the serial console.
    #[track_caller]
    pub fn type_line(&mut self, text: &str) {
        let stdin = self.process.stdin.as_mut().expect("the console's pipe");
        let typed = stdin.write_all(format!("{text}\n").as_bytes());
        if let Err(error) = typed.and_then(|()| stdin.flush()) {
            self.fail(&format!("cannot type '{text}': {error}"));
        }
    }

    /// Logs in as another user than root from now on.
    pub fn log_in_as(&mut self, user: &str) {
        self.ssh.log_in_as(user);
    }

    /// Everything the machine wrote to its serial console since it was powered on.
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.console).unwrap_or_default()).into_owned()
    }

    /// Waits for a text on the console.
    #[track_caller]
    pub fn wait_for_console(&mut self, text: &str) {
        self.wait_for(&format!("'{text}' on its console"), BOOT_TIMEOUT, |machine| {
            machine.console().contains(text).then_some(())
        });
    }

    /// Waits for the machine's web server and returns what it answers to a path.
    #[track_caller]
    pub fn wait_for_page(&mut self, path: &str) -> Page {
        self.wait_for(&format!("the page {path}"), BOOT_TIMEOUT, |machine| {
            machine.fetch(path).ok()
        })
    }

    /// Asks the machine's web server once.
    pub fn fetch(&self, path: &str) -> io::Result<Page> {
        http::fetch(self.http_port, path)
    }

    /// Waits until the user can log in.
    #[track_caller]
    pub fn wait_for_ssh(&mut self) {
        self.wait_for("ssh", BOOT_TIMEOUT, |machine| {
            machine
                .try_run("true")
                .ok()
                .filter(|answer| answer.status.success())
                .map(drop)
        });
    }

    /// Runs a shell command in the machine.
    #[track_caller]
    pub fn try_run(&mut self, command: &str) -> io::Result<Answer> {
        // Output goes to files: a connection that is kept would hold pipes open.
        let (stdout, stderr) = (
            self.console.with_extension("out"),
            self.console.with_extension("err"),
        );
        let mut child = self
            .ssh
            .command(command)
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?)
            .spawn()?;
        let status = match wait_with_timeout(&mut child, COMMAND_TIMEOUT)? {
            Some(status) => status,
            None => {
                child.kill()?;
                child.wait()?
            }
        };
        Ok(Answer {
            status,
            stdout: read_text(&stdout)?,
            stderr: read_text(&stderr)?,
        })
    }

    /// Runs a shell command that must succeed, and returns its standard output.
    #[track_caller]
    pub fn run(&mut self, command: &str) -> String {
        let answer = self.try_run(command).expect("ssh is installed");
        if !answer.status.success() {
            self.fail(&format!(
                "'{command}' failed: {}\n{}",
                answer.status, answer.stderr
            ));
        }
        answer.stdout
    }

    /// Waits until a command in the machine succeeds and prints this, over as many restarts as it takes.
    #[track_caller]
    pub fn wait_for_output(&mut self, command: &str, expected: &str) {
        self.wait_for(&format!("'{expected}' of '{command}'"), BOOT_TIMEOUT, |machine| {
            let answer = machine.try_run(command).ok();
            let is_expected =
                answer.is_some_and(|answer| answer.status.success() && answer.stdout == expected);
            if !is_expected {
                // The machine may restart: a kept connection to it would block the next attempts.
                machine.ssh.hang_up();
            }
            is_expected.then_some(())
        });
    }

    /// Reboots the machine from within and waits until root can log in to the next boot.
    #[track_caller]
    pub fn reboot(&mut self) {
        let boot_id = "cat /proc/sys/kernel/random/boot_id";
        let before = self.run(boot_id);
        // The connection may end before the command's own end is reported.
        let _ = self.try_run("systemctl reboot");
        self.ssh.hang_up();
        self.wait_for("another boot", BOOT_TIMEOUT, |machine| {
            let now = machine
                .try_run(boot_id)
                .ok()
                .filter(|answer| answer.status.success())?;
            if now.stdout == before {
                // It is still going down: a kept connection to it would block the next attempts.
                machine.ssh.hang_up();
                return None;
            }
            Some(())
        });
    }

    /// Shuts the machine down as Ctrl-C would, and waits until it is off.
    #[track_caller]
    pub fn shut_down(mut self) {
        self.ssh.hang_up();
        let process = Pid::from_child(&self.process);
        kill_process(process, Signal::INT).expect("osmith vm run runs");
        self.require_end();
    }

    /// Waits until the machine is off, which nobody but itself has to do, and returns what was on its console.
    #[track_caller]
    pub fn wait_until_off(mut self) -> String {
        self.require_end();
        self.console()
    }

    #[track_caller]
    fn require_end(&mut self) {
        let ended = wait_with_timeout(&mut self.process, BOOT_TIMEOUT).expect("a child");
        match ended {
            Some(status) if status.success() => {}
            Some(status) => self.fail(&format!("osmith vm run failed: {status}")),
            None => self.fail("the machine does not end"),
        }
    }

    /// Waits for something that is seen from outside.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        self.wait_for(what, BOOT_TIMEOUT, |machine| is_so(machine).then_some(()));
    }

    /// Kills QEMU, which is to the machine what a power cut is to a computer.
    pub fn cut_power(mut self) {
        let id = self.process.id();
        let children =
            fs::read_to_string(format!("/proc/{id}/task/{id}/children")).expect("osmith vm run runs");
        let children = children.split_whitespace().filter_map(|id| id.parse().ok());
        let killed = children
            .filter_map(Pid::from_raw)
            .filter(|child| kill_process(*child, Signal::KILL).is_ok())
            .count();
        assert_eq!(killed, 1, "osmith vm run has one child, QEMU");
        self.process.wait().expect("osmith vm run ends with QEMU");
    }

    #[track_caller]
    fn wait_for<T>(
        &mut self,
        what: &str,
        timeout: Duration,
        mut attempt: impl FnMut(&mut Self) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(value) = attempt(self) {
                return value;
            }
            if let Ok(Some(status)) = self.process.try_wait() {
                self.fail(&format!("waiting for {what}: osmith vm run has ended: {status}"));
            }
            if Instant::now() >= deadline {
                self.fail(&format!("waiting for {what}: nothing in {} s", timeout.as_secs()));
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    #[track_caller]
    fn fail(&self, message: &str) -> ! {
        let console = self.console();
        let start = console.len().saturating_sub(CONSOLE_TAIL_BYTES);
        let start = (start..=console.len())
            .find(|index| console.is_char_boundary(*index))
            .unwrap_or(0);
        panic!("{message}\n--- the end of the console ---\n{}", &console[start..]);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.ssh.hang_up();
        // Both fail only when it has ended already. QEMU ends with the osmith that started it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Two ports that nobody uses at the moment.
fn free_ports() -> io::Result<(u16, u16)> {
    // Both are taken at the same time, so that they differ.
    let one = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok((one.local_addr()?.port(), other.local_addr()?.port()))
}

fn wait_with_timeout(child: &mut Child, timeout: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    let text = String::from_utf8_lossy(&fs::read(path)?).into_owned();
    Ok(text.strip_suffix('\n').map(str::to_owned).unwrap_or(text))
}
