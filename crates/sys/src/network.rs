//! Turning network interfaces on (netdevice(7)).

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::{OsError, Result};

/// Turns an interface on.
pub fn raise(name: &str) -> Result<()> {
    let operation = "turn on the network interface";
    let failed = || OsError::from_io(operation, name, &std::io::Error::last_os_error());
    // SAFETY: all zeros is a valid value of this plain structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The name ends with a zero.
    if name.len() >= request.ifr_name.len() {
        return Err(OsError::new(operation, name, Errno::NODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    // SAFETY: takes numbers only.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(failed());
    }
    // SAFETY: the descriptor was made above and belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: the kernel reads and writes the structure, which lives until the call returns.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, &raw mut request) };
    if answer != 0 {
        return Err(failed());
    }
    // SAFETY: the kernel has written the flags, and every value of them is valid. What else is set stays.
    unsafe { request.ifr_ifru.ifru_flags |= (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short };
    // SAFETY: the kernel reads the structure, which lives until the call returns.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    match answer {
        0 => Ok(()),
        _ => Err(failed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_is_named() {
        for name in ["none-such", "a-name-that-is-too-long-for-one"] {
            let error = raise(name).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("cannot turn on the network interface {name}: No such device")
            );
        }
    }
}
