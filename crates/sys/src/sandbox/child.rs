//! The child's side: the outer process, which only waits, and the init of the new pid namespace.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::ExitCode;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use rustix::thread::UnshareFlags;

use super::{CHILD_ARGUMENT, Exit, Network, Order, Report, Sandbox, Stage, command, mounts, root, system};
use crate::{OsError, Result, mount};

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
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut bytes);
    let order: Option<Order> = read.ok().and_then(|_| postcard::from_bytes(&bytes).ok());
    let Some(order) = order else {
        return ExitCode::FAILURE;
    };
    // SAFETY: the parent left this descriptor open for this process alone, and nothing else knows its number.
    let reports = File::from(unsafe { OwnedFd::from_raw_fd(order.report) });
    if let Err((stage, error)) = run_outer(&order.sandbox, &reports) {
        report_failure(&reports, stage, &error);
    }
    ExitCode::SUCCESS
}

fn run_outer(sandbox: &Sandbox, reports: &File) -> Result<(), StageError> {
    enter_namespaces(sandbox.network).or_else(at(Stage::Namespaces))?;
    let init = fork(|| {
        if let Err((stage, error)) = run_init(sandbox, reports) {
            report_failure(reports, stage, &error);
        }
        0
    });
    wait_for(init.or_else(at(Stage::Namespaces))?).or_else(at(Stage::Namespaces))?;
    Ok(())
}

fn enter_namespaces(network: Network) -> Result<()> {
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    if network == Network::None {
        flags |= UnshareFlags::NEWNET;
    }
    // SAFETY: no flag affects the file descriptors or the memory, and there is no other thread.
    unsafe { rustix::thread::unshare_unsafe(flags) }
        .map_err(|errno| OsError::new("enter", "new namespaces", errno))?;
    // Only hides the paths of cgroups; kernels without are fine.
    // SAFETY: as above.
    let _ = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWCGROUP) };
    mount::make_private()
}

/// Everything that pid 1 does. Its end is the end of all that runs inside.
fn run_init(sandbox: &Sandbox, reports: &File) -> Result<(), StageError> {
    die_with_parent().or_else(at(Stage::Namespaces))?;
    rustix::process::umask(rustix::fs::Mode::empty());
    rustix::system::sethostname(sandbox.hostname.as_bytes())
        .map_err(|errno| OsError::new("set", "the host name", errno))
        .or_else(at(Stage::Namespaces))?;
    if sandbox.network == Network::None {
        system::raise_loopback().or_else(at(Stage::Namespaces))?;
    }
    let staging = root::Staging::new(&sandbox.scratch).or_else(at(Stage::Root))?;
    let root = root::mount(&sandbox.root, &staging, "root").or_else(at(Stage::Root))?;
    system::mount_all(&root, sandbox.network).or_else(at(Stage::System))?;
    mounts::attach_all(&root, &staging, &sandbox.mounts).or_else(at(Stage::System))?;
    mount::enter_root(&root).or_else(at(Stage::Enter))?;
    let payload = fork(|| command::execute(sandbox, reports)).or_else(at(Stage::User))?;
    if let Some(exit) = wait_for(payload).or_else(at(Stage::User))? {
        report(reports, &Report::Ended(exit));
    }
    Ok(())
}

fn die_with_parent() -> Result<()> {
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

/// The first report counts. The parent takes a sandbox without a report for killed, so there is nobody to tell if this fails.
pub(super) fn report(mut reports: &File, report: &Report) {
    if let Ok(bytes) = postcard::to_stdvec(report) {
        let _ = reports.write_all(&bytes);
    }
}

pub(super) fn report_failure(reports: &File, stage: Stage, error: &OsError) {
    let failed = Report::Failed {
        stage,
        operation: error.operation().to_owned(),
        object: error.object().to_owned(),
        errno: error.errno().raw_os_error(),
        detail: error.detail().unwrap_or_default().to_owned(),
    };
    report(reports, &failed);
}
