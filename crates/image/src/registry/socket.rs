//! Connections that can be given up: every wait for the network ends when the user asks to stop.
//!
//! A socket here never blocks. Who must wait for it waits with `poll`, at most [`PATIENCE`] at a time, and looks at the
//! user's wish in between; the time-outs are those of the agent.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use osmith_report::Interrupted;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
use ureq::Timeout;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, time,
};

/// So long a wish to stop may go unnoticed.
const PATIENCE: Duration = Duration::from_millis(250);

/// Whether the user asked to stop.
#[derive(Debug, Clone, Default)]
pub(super) struct Wish(pub(super) Arc<AtomicBool>);

impl Wish {
    fn require_running(&self) -> io::Result<()> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(io::Error::other(Interrupted)),
            false => Ok(()),
        }
    }
}

/// Finds the addresses of names.
#[derive(Debug)]
pub(super) struct NameResolver {
    /// The proxy that is connected to in the place of any host: it is the proxy that knows the addresses of those.
    pub(super) proxy: Option<Uri>,
    pub(super) wish: Wish,
}

impl Resolver for NameResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let (sender, receiver) = mpsc::channel();
        let (uri, config) = (self.proxy.as_ref().unwrap_or(uri).clone(), config.clone());
        // The system's resolver cannot be interrupted, only left alone. Nobody listens then, and nobody needs to.
        thread::spawn(move || {
            let _ = sender.send(DefaultResolver::default().resolve(&uri, &config, timeout));
        });
        loop {
            match receiver.recv_timeout(PATIENCE) {
                Ok(found) => return found.map_err(not_found),
                Err(RecvTimeoutError::Timeout) => self.wish.require_running()?,
                Err(RecvTimeoutError::Disconnected) => return Err(ureq::Error::HostNotFound),
            }
        }
    }
}

/// What the system says of a name that it cannot look up has no kind of its own.
fn not_found(error: ureq::Error) -> ureq::Error {
    match error {
        ureq::Error::Io(error) => io::Error::new(io::ErrorKind::AddrNotAvailable, error).into(),
        error => error,
    }
}

/// Makes connections, if nobody did before.
#[derive(Debug)]
pub(super) struct SocketConnector(pub(super) Wish);

impl<In: Transport> Connector<In> for SocketConnector {
    type Out = Either<In, Socket>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        if let Some(transport) = chained {
            return Ok(Some(Either::A(transport)));
        }
        let stream = connect_any(&details.addrs, details.timeout, &self.0)?;
        stream.set_nodelay(details.config.no_delay())?;
        let config = details.config;
        Ok(Some(Either::B(Socket {
            stream,
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
            wish: self.0.clone(),
        })))
    }
}

/// A TCP connection.
pub(super) struct Socket {
    stream: TcpStream,
    buffers: LazyBuffers,
    wish: Wish,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Socket").field(&self.stream).finish()
    }
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let limit = Limit::new(timeout.for_write());
        let mut left = self.buffers.output().get(..amount).unwrap_or_default();
        while !left.is_empty() {
            match self.stream.write(left) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(count) => left = left.get(count..).unwrap_or_default(),
                Err(error) if is_passing(&error) => limit.wait(&self.stream, PollFlags::OUT, &self.wish)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let limit = Limit::new(timeout.for_read());
        loop {
            match self.stream.read(self.buffers.input_append_buf()) {
                Ok(count) => {
                    self.buffers.input_appended(count);
                    return Ok(count > 0);
                }
                Err(error) if is_passing(&error) => limit.wait(&self.stream, PollFlags::IN, &self.wish)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn is_open(&mut self) -> bool {
        // Between requests a registry that is there has nothing to say.
        matches!(self.stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// When a wait is over, and what it was for.
#[derive(Clone, Copy)]
struct Limit {
    end: Option<Instant>,
    reason: Timeout,
}

impl Limit {
    fn new(timeout: NextTimeout) -> Self {
        let end = match timeout.after {
            time::Duration::Exact(after) => Instant::now().checked_add(after),
            time::Duration::NotHappening => None,
        };
        Limit {
            end,
            reason: timeout.reason,
        }
    }

    fn left(&self) -> Option<Duration> {
        self.end.map(|end| end.saturating_duration_since(Instant::now()))
    }

    /// Waits until the socket is ready, which includes that it is broken.
    fn wait(&self, stream: &TcpStream, flags: PollFlags, wish: &Wish) -> Result<(), ureq::Error> {
        loop {
            wish.require_running()?;
            let slice = self.left().map_or(PATIENCE, |left| left.min(PATIENCE));
            if slice.is_zero() {
                return Err(ureq::Error::Timeout(self.reason));
            }
            let slice = Timespec::try_from(slice).map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(stream, flags)], Some(&slice)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
    }
}

/// A connection to the first address that takes one. Each has half of the time that is left, the last one all.
fn connect_any(
    addresses: &[SocketAddr],
    timeout: NextTimeout,
    wish: &Wish,
) -> Result<TcpStream, ureq::Error> {
    let all = Limit::new(timeout);
    let mut error = ureq::Error::ConnectionFailed;
    for (index, address) in addresses.iter().enumerate() {
        let is_last = index + 1 == addresses.len();
        let own = match all.left() {
            Some(left) if !is_last => Limit {
                end: Instant::now().checked_add(left / 2),
                reason: Timeout::Connect,
            },
            _ => all,
        };
        match connect_one(address, &own, wish) {
            Ok(stream) => return Ok(stream),
            Err(failed) => error = failed,
        }
        wish.require_running()?;
    }
    Err(error)
}

fn connect_one(address: &SocketAddr, limit: &Limit, wish: &Wish) -> Result<TcpStream, ureq::Error> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None).map_err(io::Error::from)?;
    let begun = connect(&socket, address);
    let stream = TcpStream::from(socket);
    match begun {
        Ok(()) => return Ok(stream),
        Err(Errno::INPROGRESS | Errno::INTR) => {}
        Err(error) => return Err(io::Error::from(error).into()),
    }
    limit.wait(&stream, PollFlags::OUT, wish)?;
    match sockopt::socket_error(&stream).map_err(io::Error::from)? {
        Ok(()) => Ok(stream),
        Err(error) => Err(io::Error::from(error).into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn within(limit: Duration) -> NextTimeout {
        NextTimeout {
            after: limit.into(),
            per_read: Some(limit.into()),
            per_write: Some(limit.into()),
            ..NextTimeout::default()
        }
    }

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(20);

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// Both ends of a connection.
    fn connected() -> (Socket, TcpStream) {
        let (listener, address) = listener();
        let socket = Socket {
            stream: connect_any(&[address], within(LONG), &Wish::default()).unwrap(),
            buffers: LazyBuffers::new(1 << 10, 1 << 20),
            wish: Wish::default(),
        };
        (socket, listener.accept().unwrap().0)
    }

    #[test]
    fn the_next_address_is_tried() {
        let (listener, good) = listener();
        let refused = SocketAddr::from(([127, 0, 0, 1], 1));
        let stream = connect_any(&[refused, good], within(LONG), &Wish::default()).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        drop(listener);
        let error = connect_any(&[refused, good], within(LONG), &Wish::default()).unwrap_err();
        assert!(matches!(error, ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused));
    }

    #[test]
    fn bytes_go_both_ways_and_an_end_is_no_error() {
        let (mut socket, mut other) = connected();
        // More than the system keeps for a reader who is late.
        let sent: Vec<u8> = (0..20_u32 << 18).flat_map(u32::to_le_bytes).collect();
        let received = thread::scope(|scope| {
            let reading = scope.spawn(move || {
                let mut received = Vec::new();
                other.read_to_end(&mut received).map(|_| received)
            });
            for piece in sent.chunks(1 << 20) {
                socket.buffers().output()[..piece.len()].copy_from_slice(piece);
                socket.transmit_output(piece.len(), within(LONG)).unwrap();
            }
            drop(socket);
            reading.join().unwrap().unwrap()
        });
        assert!(received == sent);
        let (mut socket, mut other) = connected();
        other.write_all(b"hello").unwrap();
        assert!(socket.await_input(within(LONG)).unwrap());
        assert_eq!(socket.buffers().input(), b"hello");
        drop(other);
        assert!(!socket.await_input(within(LONG)).unwrap());
    }

    #[test]
    fn who_says_nothing_and_takes_nothing_is_given_up() {
        let (mut socket, _other) = connected();
        let error = socket.await_input(within(SHORT)).unwrap_err();
        assert!(matches!(error, ureq::Error::Timeout(_)), "{error:?}");
        let error = loop {
            let length = socket.buffers().output().len();
            if let Err(error) = socket.transmit_output(length, within(SHORT)) {
                break error;
            }
        };
        assert!(matches!(error, ureq::Error::Timeout(_)), "{error:?}");
    }

    #[test]
    fn a_connection_that_ended_or_says_what_nobody_asked_is_not_used_again() {
        let (mut socket, other) = connected();
        assert!(socket.is_open());
        drop(other);
        let limit = Limit::new(within(LONG));
        limit.wait(&socket.stream, PollFlags::IN, &socket.wish).unwrap();
        assert!(!socket.is_open());
        let (mut socket, mut other) = connected();
        other.write_all(b"x").unwrap();
        limit.wait(&socket.stream, PollFlags::IN, &socket.wish).unwrap();
        assert!(!socket.is_open());
    }
}
