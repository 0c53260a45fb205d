//! Trying again what may work a little later.

use std::time::{Duration, Instant, SystemTime};

use osmith_report::{Event, Interrupted, Observer, Severity};

use super::RegistryError;

/// How often and after what time something is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often, after the first time.
    pub retries: u32,
    /// The wait before the first retry; each one after it waits twice as long. A quarter is left to chance.
    pub first_wait: Duration,
    /// The longest wait, also where a registry asks for a longer one.
    pub longest_wait: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            retries: 3,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(60),
        }
    }
}

/// The tries of one thing.
pub(super) struct Tries<'a> {
    policy: RetryPolicy,
    observer: &'a dyn Observer,
    failed: u32,
}

const POLL_INTERVAL: Duration = Duration::from_millis(50);

impl<'a> Tries<'a> {
    pub(super) fn new(policy: RetryPolicy, observer: &'a dyn Observer) -> Self {
        Tries {
            policy,
            observer,
            failed: 0,
        }
    }

    /// Tries until it works, or fails for good.
    pub(super) fn run<T>(
        mut self,
        mut attempt: impl FnMut() -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        loop {
            self.observer.require_running()?;
            match attempt() {
                Ok(value) => return Ok(value),
                Err(error) => self.wait_after(error)?,
            }
        }
    }

    /// Waits until it is time for the next try; gives the error back if there is none.
    pub(super) fn wait_after(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        let said = error.to_string();
        self.wait_after_saying(error, &said)
    }

    /// The same with other words for the error.
    pub(super) fn wait_after_saying(
        &mut self,
        error: RegistryError,
        said: &str,
    ) -> Result<(), RegistryError> {
        if !error.passes() || self.failed >= self.policy.retries {
            return Err(error);
        }
        let wait = self.wait_time(&error);
        self.failed += 1;
        self.observer.observe(Event::Message {
            severity: Severity::Note,
            text: format!("{said}: trying again in {:.0} s", wait.as_secs_f64().ceil()),
        });
        Ok(sleep(wait, self.observer)?)
    }

    /// After something came of a try, the count starts anew.
    pub(super) fn reset(&mut self) {
        self.failed = 0;
    }

    fn wait_time(&self, error: &RegistryError) -> Duration {
        let policy = &self.policy;
        if let RegistryError::Status {
            retry_after_seconds: Some(seconds),
            ..
        } = error
        {
            return Duration::from_secs(*seconds).min(policy.longest_wait);
        }
        let doubled = policy
            .first_wait
            .saturating_mul(1_u32.checked_shl(self.failed).unwrap_or(u32::MAX));
        doubled.min(policy.longest_wait).mul_f64(0.75 + random_quarter())
    }
}

/// The seconds that a header `Retry-After` asks to wait: a number, or a date (RFC 9110, 10.2.3).
pub(super) fn parse_retry_after(value: &str, now: SystemTime) -> Option<u64> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(seconds);
    }
    let date = httpdate::parse_http_date(value).ok()?;
    // What is past is now.
    Some(date.duration_since(now).map_or(0, |wait| wait.as_secs() + 1))
}

fn sleep(wait: Duration, observer: &dyn Observer) -> Result<(), Interrupted> {
    let end = Instant::now() + wait;
    loop {
        observer.require_running()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(POLL_INTERVAL));
    }
}

/// From 0 to 0.25, so that many who failed together do not come back together.
fn random_quarter() -> f64 {
    let mut bytes = [0; 1];
    // Without randomness the waits are only less spread.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    f64::from(bytes[0]) / 1024.0
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use osmith_report::Silent;

    use super::*;

    const FAST: RetryPolicy = RetryPolicy {
        retries: 3,
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(3),
    };

    fn status(status: u16, retry_after_seconds: Option<u64>) -> RegistryError {
        RegistryError::Status {
            operation: "a request".to_owned(),
            host: "registry.example".to_owned(),
            status,
            message: String::new(),
            retry_after_seconds,
        }
    }

    #[test]
    fn what_passes_is_tried_four_times_and_the_rest_once() {
        for (code, expected) in [(503, 4), (429, 4), (408, 4), (400, 1), (501, 4)] {
            let mut count = 0;
            let result = Tries::new(FAST, &Silent).run(|| -> Result<(), _> {
                count += 1;
                Err(status(code, None))
            });
            assert!(matches!(result, Err(RegistryError::Status { .. })));
            assert_eq!(count, expected, "{code}");
        }
    }

    #[test]
    fn waits_grow_and_have_a_bound() {
        let policy = RetryPolicy::default();
        let wait = |failed, error: &RegistryError| {
            let tries = Tries {
                policy,
                observer: &Silent,
                failed,
            };
            tries.wait_time(error).as_secs_f64()
        };
        for (failed, shortest, longest) in [(0, 0.75, 1.0), (1, 1.5, 2.0), (2, 3.0, 4.0), (40, 45.0, 60.0)] {
            let found = wait(failed, &status(500, None));
            assert!((shortest..=longest).contains(&found), "{failed}: {found}");
        }
        assert_eq!(wait(0, &status(429, Some(7))), 7.0);
        assert_eq!(wait(0, &status(429, Some(7000))), 60.0);
    }

    #[test]
    fn retry_after_is_a_number_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(11)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(1)),
            ("Tue, 06 Nov 1984 08:49:37 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(parse_retry_after(value, now), expected, "{value}");
        }
    }

    #[test]
    fn a_request_to_stop_ends_a_wait() {
        struct Stopping(Mutex<u32>);
        impl Observer for Stopping {
            fn observe(&self, _: Event) {}
            fn interrupted(&self) -> bool {
                let mut asked = self.0.lock().unwrap();
                *asked += 1;
                *asked > 2
            }
        }
        let policy = RetryPolicy {
            first_wait: Duration::from_secs(3600),
            longest_wait: Duration::from_secs(3600),
            ..FAST
        };
        let result =
            Tries::new(policy, &Stopping(Mutex::new(0))).run(|| -> Result<(), _> { Err(status(503, None)) });
        assert!(matches!(result, Err(RegistryError::Interrupted(_))));
    }
}
