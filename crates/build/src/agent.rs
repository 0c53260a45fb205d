//! A socket for a command that leads to an agent for SSH keys of the machine.
//!
//! The agent's own socket has the owner and mode that the machine gave it; this one has those that the command needs.

use std::io;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use osmith_sys::file::{descriptor_path, open_directory};

/// A socket that passes everything on, as long as this lives.
#[derive(Debug)]
pub(crate) struct Agent {
    path: PathBuf,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    /// Listens at `name` in `directory` and passes connections on to the socket `agent`.
    pub(crate) fn listen(
        agent: &Path,
        directory: &Path,
        name: &str,
        (mode, uid, gid): (u32, u32, u32),
    ) -> io::Result<Agent> {
        // It answers, or the command would be the one to find out.
        drop(UnixStream::connect(agent)?);
        // A socket's path has 107 bytes at most.
        let open = open_directory(directory).map_err(|error| io::Error::from(error.errno()))?;
        let listener = UnixListener::bind(descriptor_path(&open).join(name))?;
        let path = directory.join(name);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        std::os::unix::fs::chown(&path, Some(uid), Some(gid))?;
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, agent) = (Arc::clone(&is_over), agent.to_owned());
        let thread = std::thread::spawn(move || serve(&listener, &agent, &over));
        Ok(Agent {
            path,
            is_over,
            thread: Some(thread),
        })
    }

    /// The socket.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn wake(&self) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let open = open_directory(directory).map_err(|error| io::Error::from(error.errno()))?;
        let name = self.path.file_name().unwrap_or_default();
        UnixStream::connect(descriptor_path(&open).join(name)).map(drop)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        if self.wake().is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &UnixListener, agent: &Path, is_over: &AtomicBool) {
    for connection in listener.incoming() {
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        let both = connection.and_then(|inside| Ok((inside, UnixStream::connect(agent)?)));
        if let Ok((inside, outside)) = both {
            std::thread::spawn(move || connect(&inside, &outside));
        }
    }
}

/// Copies both ways until both ends are closed. An end that breaks off is noticed by the other.
fn connect(inside: &UnixStream, outside: &UnixStream) {
    std::thread::scope(|scope| {
        scope.spawn(|| pass(inside, outside));
        pass(outside, inside);
    });
}

fn pass(mut from: &UnixStream, mut to: &UnixStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn what_is_said_arrives_and_the_answer_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().join("real");
        let listener = UnixListener::bind(&real).unwrap();
        let answers = std::thread::spawn(move || {
            // The first connection is the probe.
            drop(listener.accept().unwrap());
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            stream.write_all(text.to_uppercase().as_bytes()).unwrap();
        });
        let own = (
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
        );
        let agent = Agent::listen(&real, directory.path(), "agent", (0o600, own.0, own.1)).unwrap();
        let mut stream = UnixStream::connect(agent.path()).unwrap();
        stream.write_all(b"key?").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text, "KEY?");
        answers.join().unwrap();
        drop(agent);
        let gone = Agent::listen(
            &directory.path().join("none"),
            directory.path(),
            "other",
            (0o600, 0, 0),
        );
        assert!(gone.is_err());
    }
}
