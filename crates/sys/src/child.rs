//! Child processes that do not outlive what started them.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Signal, set_parent_process_death_signal};

/// Has the kernel send `signal` to the child when the thread that starts it ends (prctl(2), `PR_SET_PDEATHSIG`).
pub fn end_with_parent(command: &mut Command, signal: Signal) {
    let parent = rustix::process::getpid();
    let set_signal = move || {
        set_parent_process_death_signal(Some(signal)).map_err(io::Error::from)?;
        // The parent may have ended before it could be bound to.
        match rustix::process::getppid() == Some(parent) {
            true => Ok(()),
            false => Err(rustix::io::Errno::SRCH.into()),
        }
    };
    // SAFETY: between fork and exec the closure makes system calls on copied numbers; it allocates nothing and takes no
    // lock.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(set_signal);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::Stdio;
    use std::thread;

    use super::*;

    #[test]
    fn a_child_ends_with_the_thread_that_started_it() {
        let mut child = thread::spawn(|| {
            let mut command = Command::new("sleep");
            command.arg("1000").stdout(Stdio::piped());
            end_with_parent(&mut command, Signal::KILL);
            command.spawn().expect("a child")
        })
        .join()
        .expect("the thread");
        // The pipe's other end closes when the child ends.
        let mut output = child.stdout.take().expect("a pipe");
        assert_eq!(output.read(&mut [0]).expect("read"), 0);
        let status = child.wait().expect("a status");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }
}
