//! Signals to this process, as something that can be waited for together with files.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::process::Signal;

use crate::{OsError, Result};

/// Signals that are read instead of doing what they do.
pub struct Signals {
    file: OwnedFd,
}

impl Signals {
    /// Takes these signals, from now on and for good. Programs that this process starts inherit that. Must come before any thread: those that run already still get
    /// them.
    pub fn take(signals: &[Signal]) -> Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: the set is made before anything reads it, and both calls get a valid pointer to it.
        let file = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in signals {
                libc::sigaddset(set.as_mut_ptr(), signal.as_raw());
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
            libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if file < 0 {
            let error = std::io::Error::last_os_error();
            return Err(OsError::from_io("listen for", "signals", &error));
        }
        // SAFETY: the descriptor was made above and belongs to nobody else.
        let file = unsafe { OwnedFd::from_raw_fd(file) };
        Ok(Signals { file })
    }

    /// The number of the next one that has come, if one has.
    pub fn take_next(&mut self) -> Option<i32> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size_bytes = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the kernel writes at most as many bytes as the structure has.
        let answer = unsafe { libc::read(self.file.as_raw_fd(), info.as_mut_ptr().cast(), size_bytes) };
        if usize::try_from(answer) != Ok(size_bytes) {
            return None;
        }
        // SAFETY: the kernel has written the whole structure, in which every value is valid.
        let info = unsafe { info.assume_init() };
        info.ssi_signo.try_into().ok()
    }
}

/// Makes every signal do what it does in a new process, whatever this one inherited or [took](Signals::take).
pub(crate) fn reset_all() {
    // SAFETY: no handler is installed, and none that was is needed: the caller is about to become another program. The set
    // is made before it is read. What cannot be changed (KILL, STOP) is refused, and is as it should be.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

/// Sends a signal by its number to a process that is open (pidfd_open(2)); one that has ended needs none.
pub fn send(process: impl AsFd, signal: i32) -> rustix::io::Result<()> {
    let process = process.as_fd().as_raw_fd();
    // SAFETY: takes numbers and a null pointer, which stands for the usual information about the sender.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process,
            signal,
            std::ptr::null::<u8>(),
            0,
        )
    };
    match answer {
        0 => Ok(()),
        _ => match rustix::io::Errno::from_io_error(&std::io::Error::last_os_error()) {
            Some(rustix::io::Errno::SRCH) => Ok(()),
            errno => Err(errno.unwrap_or(rustix::io::Errno::INVAL)),
        },
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_read_once() {
        let mut signals = Signals::take(&[Signal::USR1]).unwrap();
        assert_eq!(signals.take_next(), None);
        // To this thread: others of the test program do not take it.
        // SAFETY: raise(3) has no conditions.
        unsafe { libc::raise(libc::SIGUSR1) };
        assert_eq!(signals.take_next(), Some(libc::SIGUSR1));
        assert_eq!(signals.take_next(), None);
    }
}
