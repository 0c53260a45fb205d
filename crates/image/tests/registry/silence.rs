//! The user's wish to stop, while nothing comes from the network.
//!
//! The observer knows nothing of the wish: only a wait that looks at the settings can say that it was interrupted.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use osmith_image::registry::{Client, PullOptions, RegistryError, Settings, pull, resolve};
use osmith_report::Silent;
use osmith_testing::fault_proxy::{Fault, FaultProxy};
use osmith_testing::registry::Registry;

use super::images::{STEP, client, platform, reference, sample, settings, store};
use super::push::push_options;

fn interruptible(wish: &Arc<AtomicBool>) -> Client {
    Client::new(Settings {
        interrupted: wish.clone(),
        ..settings()
    })
}

/// Whether the system has sent a request for a connection to that port, and waits for an answer.
fn is_connecting(port: u16) -> bool {
    const SYN_SENT: &str = "02";
    let remote = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    table.lines().any(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        words[2].ends_with(&remote) && words[3] == SYN_SENT
    })
}

#[test]
fn a_host_that_takes_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    // Who is not accepted fills the queue; the next one gets no answer.
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queue.push(stream);
    }
    let wish = Arc::new(AtomicBool::new(false));
    let client = interruptible(&wish);
    let name = reference(&format!("{address}/sample:1"));
    let result = thread::scope(|scope| {
        let resolving = scope.spawn(|| resolve(&client, &name, &platform(), &Silent));
        while !is_connecting(address.port()) {
            thread::yield_now();
        }
        wish.store(true, Ordering::Relaxed);
        resolving.join().unwrap()
    });
    assert!(matches!(result, Err(RegistryError::Interrupted(_))), "{result:?}");
}

#[test]
fn a_blob_that_comes_only_half() {
    let Some(registry) = Registry::start() else { return };
    let (_directory, store) = store();
    let image = sample(&store, "localhost/sample:1", 1);
    let name = |address: &str| reference(&format!("{address}/sample:1"));
    osmith_image::registry::push(
        &client(),
        &image,
        &store,
        &name(registry.address()),
        &push_options(osmith_image::compression::Codec::Zstd),
        &Silent,
        STEP,
    )
    .unwrap();
    let wish = Arc::new(AtomicBool::new(false));
    let of_user = wish.clone();
    let mut blobs = 0;
    let proxy = FaultProxy::start(registry.address(), move |request| {
        // The first blob is the configuration.
        blobs += usize::from(request.path.contains("/blobs/"));
        (blobs == 2).then(|| {
            of_user.store(true, Ordering::Relaxed);
            Fault::Stall(100_000)
        })
    });
    let client = interruptible(&wish);
    let resolved = resolve(&client, &name(proxy.address()), &platform(), &Silent).unwrap();
    let (_other_directory, other) = super::images::store();
    let result = pull(&client, &resolved, &other, &PullOptions::default(), &Silent, STEP);
    assert!(matches!(result, Err(RegistryError::Interrupted(_))), "{result:?}");
    assert!(other.images().unwrap().images.is_empty());
}
