//! QEMU's machine protocol (QMP, `docs/interop/qmp-spec.rst`): JSON objects, one a line, over a socket.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

/// QEMU answers at once; a QEMU that hangs must not hang this program.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to a running QEMU.
pub(crate) struct Monitor {
    reader: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects and leaves the negotiation behind.
    pub(crate) fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut monitor = Monitor {
            reader: BufReader::new(stream),
        };
        let greeting = monitor.read()?;
        if greeting.get("QMP").is_none() {
            return Err(io::Error::other(format!("no QMP greeting: {greeting}")));
        }
        monitor.execute("qmp_capabilities")?;
        Ok(monitor)
    }

    /// Presses the machine's power button: its operating system shuts down.
    pub(crate) fn press_power_button(&mut self) -> io::Result<()> {
        self.execute("system_powerdown")
    }

    fn execute(&mut self, command: &str) -> io::Result<()> {
        writeln!(self.reader.get_mut(), "{}", json!({ "execute": command }))?;
        loop {
            let answer = self.read()?;
            if answer.get("return").is_some() {
                return Ok(());
            }
            if let Some(error) = answer.get("error") {
                return Err(io::Error::other(format!("{command}: {error}")));
            }
            // Anything else is an event.
        }
    }

    fn read(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// Answers every command with the next of `answers`; returns the commands.
    fn serve(listener: UnixListener, answers: Vec<&'static str>) -> thread::JoinHandle<Vec<Value>> {
        thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a connection");
            let mut reader = BufReader::new(stream);
            writeln!(
                reader.get_mut(),
                r#"{{"QMP": {{"version": {{}}, "capabilities": []}}}}"#
            )
            .expect("greeting");
            let mut commands = Vec::new();
            for answer in answers {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a command");
                commands.push(serde_json::from_str(&line).expect("JSON"));
                writeln!(reader.get_mut(), "{answer}").expect("an answer");
            }
            commands
        })
    }

    #[test]
    fn the_power_button_is_pressed_after_the_negotiation() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("monitor");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let event = "{\"event\": \"NIC_RX_FILTER_CHANGED\"}\n{\"return\": {}}";
        let server = serve(listener, vec!["{\"return\": {}}", event]);
        let mut monitor = Monitor::connect(&socket).expect("connected");
        monitor.press_power_button().expect("pressed");
        let commands = server.join().expect("commands");
        assert_eq!(commands[0]["execute"], "qmp_capabilities");
        assert_eq!(commands[1]["execute"], "system_powerdown");
    }

    #[test]
    fn a_refusal_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("monitor");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let server = serve(
            listener,
            vec![r#"{"error": {"class": "GenericError", "desc": "no"}}"#],
        );
        let error = Monitor::connect(&socket).err().expect("refused");
        assert!(error.to_string().contains("qmp_capabilities"), "{error}");
        let _ = server.join();
    }
}
