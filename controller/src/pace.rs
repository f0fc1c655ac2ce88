//! How fast one host may be heard: a bucket of tokens, so that one that floods waits for itself (D11).

use std::time::{Duration, Instant};

/// Frames that may come at once...
const BURST: f64 = 512.0;
/// ...and then in a second.
const PER_SECOND: f64 = 20.0;

/// The pace of one connection.
#[derive(Debug)]
pub(crate) struct Pace {
    tokens: f64,
    last: Instant,
}

impl Pace {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { tokens: BURST, last: now }
    }

    /// Counts one frame; says how long to wait before the next is read.
    pub(crate) fn take(&mut self, now: Instant) -> Duration {
        let gained = now.saturating_duration_since(self.last).as_secs_f64() * PER_SECOND;
        self.tokens = (self.tokens + gained).min(BURST) - 1.0;
        self.last = now;
        if self.tokens >= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(-self.tokens / PER_SECOND) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d11_a_flood_is_slowed_to_the_steady_pace_and_a_burst_is_not() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        assert!((0..512).all(|_| pace.take(now) == Duration::ZERO));
        let began = now;
        for _ in 0..200 {
            now += pace.take(now);
        }
        let took = now.duration_since(began).as_secs_f64();
        assert!((9.0..11.0).contains(&took), "200 frames took {took} s");
    }
}
