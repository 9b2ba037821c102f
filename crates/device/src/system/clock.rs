//! Time: the time of day and a monotonic clock, behind a trait that tests implement.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Time.
pub trait Clock {
    /// The time of day, which may jump.
    fn now(&self) -> Timestamp;

    /// The time since an arbitrary moment, from a monotonic clock.
    fn elapsed(&self) -> Duration;

    /// Waits.
    fn sleep(&self, time: Duration);

    /// The time of day as it is recorded: RFC 3339 in UTC, whole seconds.
    fn stamp(&self) -> String {
        stamp(self.now())
    }
}

/// A time of day as it is recorded: RFC 3339 in UTC, whole seconds.
pub fn stamp(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Starts the monotonic clock at zero.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
