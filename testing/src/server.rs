//! A server of a test's own: a free port, a thread for every connection, gone when it is dropped.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Server {
    address: String,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// A server; a connection is closed when `serve` returns, which may fail: either side may go when it likes.
    pub(crate) fn start(serve: impl Fn(&TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("the port").to_string();
        let stopping = Arc::new(AtomicBool::new(false));
        let is_stopping = stopping.clone();
        let thread = thread::spawn(move || accept(&listener, &is_stopping, Arc::new(serve)));
        Server {
            address,
            stopping,
            thread: Some(thread),
        }
    }

    /// Where it listens: `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a client.
        let _ = TcpStream::connect(&self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(
    listener: &TcpListener,
    stopping: &AtomicBool,
    serve: Arc<impl Fn(&TcpStream) -> io::Result<()> + Send + Sync + 'static>,
) {
    while let Ok((client, _)) = listener.accept() {
        if stopping.load(Ordering::Relaxed) {
            return;
        }
        let serve = serve.clone();
        thread::spawn(move || {
            let _ = serve(&client);
            let _ = client.shutdown(Shutdown::Both);
        });
    }
}
