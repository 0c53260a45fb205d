//! The child's side: the outer process, which only waits, and the init of the new pid namespace.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use rustix::thread::UnshareFlags;

use super::command::Payload;
use super::messages::{CHILD_ARGUMENT, Order, Report, may_proceed, report, report_failure};
use super::terminal::Terminal;
use super::{Exit, Init, Network, Sandbox, Stage, Streams, entry, mounts, root, system};
use crate::{OsError, Result, mount, network, signals};

/// What to report instead of an exit.
pub(super) type StageError = (Stage, OsError);

/// Says at which stage something failed.
pub(super) fn at<T>(stage: Stage) -> impl Fn(OsError) -> Result<T, StageError> {
    move |error| Err((stage, error))
}

/// Does the work of the sandbox's child if this process was started as one, and returns its exit code; `None` in any
/// other process. Call it first in `main`.
pub fn run_if_child() -> Option<ExitCode> {
    (std::env::args_os().nth(1)? == CHILD_ARGUMENT).then(run_child)
}

fn run_child() -> ExitCode {
    let Some((order, socket)) = Order::of_this_process() else {
        return ExitCode::FAILURE;
    };
    // What the caller ignores or waits for is not the command's.
    signals::reset_all();
    let answer = match &order {
        Order::Sandbox(sandbox) => run_outer(sandbox, &socket),
        Order::Entry(entry) => entry::run(entry, &socket),
    };
    if let Err((stage, error)) = answer {
        report_failure(&socket, stage, &error);
    }
    ExitCode::SUCCESS
}

fn run_outer(sandbox: &Sandbox, socket: &OwnedFd) -> Result<(), StageError> {
    enter_namespaces(sandbox).or_else(at(Stage::Namespaces))?;
    if sandbox.network == Network::Private {
        report(socket, &Report::Separated, None);
        if !may_proceed(socket) {
            return Ok(());
        }
    }
    let init = || {
        let answer = match sandbox.init {
            Init::Reaper => run_init(sandbox, socket),
            Init::Command => become_command(sandbox, socket),
        };
        if let Err((stage, error)) = answer {
            report_failure(socket, stage, &error);
        }
        0
    };
    match sandbox.init {
        Init::Reaper => {
            let init = fork(init).or_else(at(Stage::Namespaces))?;
            wait_for(init).or_else(at(Stage::Namespaces))?;
            Ok(())
        }
        Init::Command => follow(socket, init),
    }
}

fn enter_namespaces(sandbox: &Sandbox) -> Result<()> {
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    if sandbox.network != Network::Host {
        flags |= UnshareFlags::NEWNET;
    }
    unshare(flags)?;
    if sandbox.cgroup.is_none() {
        // Only hides the paths of cgroups; kernels without are fine.
        let _ = unshare(UnshareFlags::NEWCGROUP);
    }
    mount::make_private()
}

fn unshare(flags: UnshareFlags) -> Result<()> {
    // SAFETY: no flag that is used here affects the file descriptors or the memory, and there is no other thread.
    unsafe { rustix::thread::unshare_unsafe(flags) }
        .map_err(|errno| OsError::new("enter", "new namespaces", errno))
}

/// Everything that pid 1 does. Its end is the end of all that runs inside.
fn run_init(sandbox: &Sandbox, socket: &OwnedFd) -> Result<(), StageError> {
    let terminal = set_up(sandbox, socket)?;
    let payload = fork(|| Payload::of(sandbox, terminal).execute(socket)).or_else(at(Stage::User))?;
    if let Some(exit) = wait_for(payload).or_else(at(Stage::User))? {
        report(socket, &Report::Ended(exit), None);
    }
    Ok(())
}

/// Makes pid 1 the command; returns only if that fails.
fn become_command(sandbox: &Sandbox, socket: &OwnedFd) -> Result<(), StageError> {
    let terminal = set_up(sandbox, socket)?;
    Payload::of(sandbox, terminal).execute(socket);
    Ok(())
}

/// Mounts everything and enters it; the terminal is what the command has of it.
fn set_up(sandbox: &Sandbox, socket: &OwnedFd) -> Result<Option<OwnedFd>, StageError> {
    die_with_parent().or_else(at(Stage::Namespaces))?;
    rustix::process::umask(rustix::fs::Mode::empty());
    rustix::system::sethostname(sandbox.hostname.as_bytes())
        .map_err(|errno| OsError::new("set", "the host name", errno))
        .or_else(at(Stage::Namespaces))?;
    if sandbox.network != Network::Host {
        network::raise("lo").or_else(at(Stage::Namespaces))?;
    }
    if let Some(cgroup) = &sandbox.cgroup {
        join(cgroup).or_else(at(Stage::Namespaces))?;
        unshare(UnshareFlags::NEWCGROUP).or_else(at(Stage::Namespaces))?;
    }
    let staging = root::Staging::new(&sandbox.scratch).or_else(at(Stage::Root))?;
    let root = root::mount(&sandbox.root, &staging, "root").or_else(at(Stage::Root))?;
    system::mount_all(&root, sandbox).or_else(at(Stage::System))?;
    mounts::attach_all(&root, &staging, &sandbox.mounts).or_else(at(Stage::System))?;
    let terminal = terminal(sandbox, &root, socket).or_else(at(Stage::System))?;
    mount::enter_root(&root).or_else(at(Stage::Enter))?;
    Ok(terminal)
}

fn terminal(sandbox: &Sandbox, root: &OwnedFd, socket: &OwnedFd) -> Result<Option<OwnedFd>> {
    let Streams::Terminal(size) = sandbox.streams else {
        return Ok(None);
    };
    let terminal = Terminal::open(root, size, &sandbox.user)?;
    terminal.attach_console(root)?;
    report(socket, &Report::Terminal, Some(terminal.outer.as_fd()));
    Ok(Some(terminal.inner))
}

/// Moves this process into a cgroup.
fn join(cgroup: &std::path::Path) -> Result<()> {
    std::fs::write(cgroup.join("cgroup.procs"), "0")
        .map_err(|error| OsError::from_io("enter", format!("the cgroup {}", cgroup.display()), &error))
}

/// Runs `become_command` in a new process, tells when it has become the command, and how that ended.
pub(super) fn follow(socket: &OwnedFd, become_command: impl FnOnce() -> i32) -> Result<(), StageError> {
    let pipe = std::io::pipe().map_err(|error| OsError::from_io("create", "a pipe", &error));
    let (mut executed, mark) = pipe.or_else(at(Stage::Namespaces))?;
    let command = fork(become_command).or_else(at(Stage::Namespaces))?;
    drop(mark);
    // The command does not inherit the other end: it is closed when the process becomes the command, or ends.
    let _ = executed.read(&mut [0]);
    let pid = command.as_raw_nonzero().get();
    report(socket, &Report::Started { pid }, None);
    if let Some(exit) = wait_for(command).or_else(at(Stage::User))? {
        report(socket, &Report::Ended(exit), None);
    }
    Ok(())
}

pub(super) fn die_with_parent() -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|errno| OsError::new("bind to", "the parent process", errno))
}

/// Runs `work` in a new process, which ends with the code that it returns.
fn fork(work: impl FnOnce() -> i32) -> Result<Pid> {
    // SAFETY: this program was started anew for the sandbox and has a single thread, so the child may run any code.
    match unsafe { libc::fork() } {
        -1 => {
            let error = std::io::Error::last_os_error();
            Err(OsError::from_io("start", "a process of the sandbox", &error))
        }
        0 => {
            let code = work();
            // SAFETY: ends the process without running what its parent registered for its own end.
            unsafe { libc::_exit(code) }
        }
        child => Pid::from_raw(child)
            .ok_or_else(|| OsError::new("start", "a process of the sandbox", rustix::io::Errno::INVAL)),
    }
}

/// Waits for `wanted`, and takes note of every other child that ends meanwhile: in init those are all orphans.
/// `None` if the command never came to run: it reported that itself.
fn wait_for(wanted: Pid) -> Result<Option<Exit>> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((child, status))) if child == wanted => return Ok(exit_of(status)),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(OsError::new("wait for", "a process of the sandbox", errno)),
        }
    }
}

fn exit_of(status: WaitStatus) -> Option<Exit> {
    let signal = status.terminating_signal().map(Exit::Signal);
    signal.or_else(|| status.exit_status().map(Exit::Code))
}
