//! When GitHub is asked: daily, with jitter, later after failures, never in a tight loop.
//!
//! Nothing here reads a clock. The time of day is used once, at the start, for how long ago the last answer came; it may
//! be wrong on a device without a clock of its own, and then counts for nothing. From there on only the monotonic clock
//! counts. Devices of a fleet share an address and its limit, so nothing happens at a round time: `chance` is any
//! random number.

use std::time::Duration;

/// After the start, it is waited at least so long, however long ago the last answer came: a device that restarts again and
/// again asks no more often.
const SETTLE: Duration = Duration::from_secs(60);

/// Within how long after that devices that start together ask.
const SPREAD: Duration = Duration::from_secs(10 * 60);

/// The wait after a first failure; it doubles with each that follows.
const FIRST_RETRY: Duration = Duration::from_secs(15 * 60);

/// When to ask next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    interval: Duration,
    due: Duration,
    failures: u32,
}

impl Schedule {
    /// The schedule at the start. `ago` is how long ago the last answer came; none if that is not known, or the time of
    /// day has gone back since. `now` is from a monotonic clock, here and below.
    pub(crate) fn start(interval: Duration, ago: Option<Duration>, now: Duration, chance: u64) -> Self {
        let left = interval.saturating_sub(ago.unwrap_or(interval));
        let first = SETTLE + portion(SPREAD, chance);
        Self {
            interval,
            due: now + first.max(left),
            failures: 0,
        }
    }

    /// How long until it is time to ask.
    pub(crate) fn until_due(&self, now: Duration) -> Duration {
        self.due.saturating_sub(now)
    }

    /// An answer came: the next time is a tenth of the interval early or late.
    pub(crate) fn answered(&mut self, now: Duration, chance: u64) {
        self.failures = 0;
        self.due = now + self.interval - self.interval / 10 + portion(self.interval / 5, chance);
    }

    /// None came. `wait` is how long GitHub asks to wait, if it does.
    pub(crate) fn failed(&mut self, now: Duration, wait: Option<Duration>, chance: u64) {
        let pause = doubled(FIRST_RETRY, self.failures, self.interval);
        self.failures = self.failures.saturating_add(1);
        let pause = pause.max(wait.unwrap_or_default());
        self.due = now + pause + portion(pause / 2, chance);
    }
}

/// `first`, doubled `times` times, but not more than `most`.
pub(crate) fn doubled(first: Duration, times: u32, most: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times.min(31))).min(most)
}

/// A part of `whole` by chance.
fn portion(whole: Duration, chance: u64) -> Duration {
    whole.mul_f64((chance % 10_000) as f64 / 10_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const NOW: Duration = Duration::from_secs(1_000_000);
    const CHANCES: [u64; 4] = [0, 1, 9_999, u64::MAX];

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(60 * count)
    }

    #[test]
    fn the_first_time() {
        for (ago, earliest, latest) in [
            // Never asked, or the clock has gone back: soon, but not at once.
            (None, minutes(1), minutes(11)),
            (Some(DAY * 40), minutes(1), minutes(11)),
            (Some(DAY), minutes(1), minutes(11)),
            (Some(Duration::ZERO), DAY, DAY),
            (Some(DAY - minutes(30)), minutes(30), minutes(30)),
            (Some(DAY - minutes(5)), minutes(5), minutes(11)),
        ] {
            for chance in CHANCES {
                let wait = Schedule::start(DAY, ago, NOW, chance).until_due(NOW);
                assert!((earliest..=latest).contains(&wait), "{ago:?} {chance}: {wait:?}");
            }
        }
    }

    #[test]
    fn after_an_answer_it_is_a_day() {
        for chance in CHANCES {
            let mut schedule = Schedule::start(DAY, None, NOW, 0);
            schedule.answered(NOW, chance);
            let wait = schedule.until_due(NOW);
            assert!((DAY * 9 / 10..=DAY * 11 / 10).contains(&wait), "{wait:?}");
            assert_eq!(schedule.until_due(NOW + DAY * 2), Duration::ZERO);
        }
    }

    #[test]
    fn failures_make_it_rarer_and_an_answer_resets_it() {
        let mut schedule = Schedule::start(DAY, None, NOW, 0);
        let waits: Vec<u64> = (0..9)
            .map(|_| {
                schedule.failed(NOW, None, 0);
                schedule.until_due(NOW).as_secs() / 60
            })
            .collect();
        assert_eq!(waits, [15, 30, 60, 120, 240, 480, 960, 1440, 1440]);
        schedule.answered(NOW, 0);
        schedule.failed(NOW, None, 0);
        assert_eq!(schedule.until_due(NOW), minutes(15));
    }

    #[test]
    fn what_github_asks_for_is_waited() {
        for chance in CHANCES {
            let mut schedule = Schedule::start(DAY, None, NOW, 0);
            schedule.failed(NOW, Some(minutes(50)), chance);
            assert!(schedule.until_due(NOW) >= minutes(50));
            let mut schedule = Schedule::start(DAY, None, NOW, 0);
            schedule.failed(NOW, Some(Duration::from_secs(1)), chance);
            assert!(schedule.until_due(NOW) >= minutes(15));
        }
    }
}
