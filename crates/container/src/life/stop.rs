//! Ending a container from outside.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Container, is_locked};
use crate::ContainerError;

const PAUSE: Duration = Duration::from_millis(10);
/// How long a killed container may take: the kernel ends its processes, the supervisor cleans up.
const KILLED_TIMEOUT: Duration = Duration::from_secs(30);
const KILL: i32 = 9;

impl Container {
    /// Asks the container to end and kills it if it takes longer than `timeout`, or than it said itself. Returns when
    /// its supervisor has cleaned up; at once if it does not run.
    pub fn stop(&self, timeout: Option<Duration>) -> Result<(), ContainerError> {
        let specification = &self.record.specification;
        let own = Duration::from_secs(specification.stop_timeout_seconds.into());
        self.signal(specification.stop_signal)?;
        if self.ends_within(timeout.unwrap_or(own))? {
            return Ok(());
        }
        self.kill()
    }

    /// Ends it without asking.
    pub fn kill(&self) -> Result<(), ContainerError> {
        let deadline = Instant::now() + KILLED_TIMEOUT;
        while Instant::now() < deadline {
            // It may have been starting at the first try.
            self.signal(KILL)?;
            if self.ends_within(PAUSE * 10)? {
                return Ok(());
            }
        }
        Err(ContainerError::DoesNotEnd(self.record.name.clone()))
    }

    /// Whether its supervisor has ended, after that time at the latest.
    pub fn ends_within(&self, timeout: Duration) -> Result<bool, ContainerError> {
        let deadline = Instant::now() + timeout;
        while is_locked(&self.path)? {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            sleep(PAUSE);
        }
        Ok(true)
    }

    /// Sends its pid 1 a signal, if it runs.
    fn signal(&self, signal: i32) -> Result<(), ContainerError> {
        match self.process() {
            Ok(process) => Ok(process.signal(signal)?),
            Err(ContainerError::NotRunning(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
