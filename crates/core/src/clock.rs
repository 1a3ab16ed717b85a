//! The time, as something that is handed in. It is used for detection, for deadlines and for what people
//! read in a history; no safety property depends on it (invariant I12).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of time. The simulation brings its own.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970, for people to read; may jump.
    fn unix_ms(&self) -> u64;
    /// Time since some fixed moment of this process; never goes back.
    fn monotonic(&self) -> Duration;
}

/// The machine's clock.
#[derive(Debug, Clone)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn unix_ms(&self) -> u64 {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}
