//! How much may be asked: the primary limit per hour, and the secondary one for what creates content.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Caller;

/// The limits, and what was used of them in this window.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests an hour for callers without a token, all together: they share one address.
    pub anonymous: u64,
    /// Requests an hour for callers with a token.
    pub authenticated: u64,
    /// Requests that create content, a minute.
    pub creating: u64,
    /// Seconds of `retry-after` when there were more.
    pub retry_after: u64,
    used_anonymous: u64,
    used_authenticated: u64,
    created: Vec<Instant>,
    resets_at: u64,
}

/// What the limit's headers say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) limit: u64,
    pub(crate) used: u64,
    pub(crate) resets_at: u64,
}

/// Whether a request may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    /// 403, nothing remains
    Primary,
    /// 403 with `retry-after` in seconds
    Secondary(u64),
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            anonymous: 60,
            authenticated: 5000,
            creating: 80,
            retry_after: 60,
            used_anonymous: 0,
            used_authenticated: 0,
            created: Vec::new(),
            resets_at: now() + 3600,
        }
    }
}

impl Limits {
    /// Begins a new hour and a new minute.
    pub fn reset(&mut self) {
        self.used_anonymous = 0;
        self.used_authenticated = 0;
        self.created.clear();
        self.resets_at = now() + 3600;
    }

    /// How many requests counted in this hour: without a token, and with one.
    pub fn used(&self) -> (u64, u64) {
        (self.used_anonymous, self.used_authenticated)
    }

    /// Counts a request.
    pub(crate) fn admit(&mut self, caller: Caller, creates: bool) -> Verdict {
        if now() >= self.resets_at {
            self.reset();
        }
        let spent = self.spent(caller);
        if spent.used >= spent.limit {
            return Verdict::Primary;
        }
        if creates {
            self.created.retain(|at| at.elapsed() < Duration::from_secs(60));
            if self.created.len() as u64 >= self.creating {
                return Verdict::Secondary(self.retry_after);
            }
            self.created.push(Instant::now());
        }
        *self.counter(caller) += 1;
        Verdict::Pass
    }

    /// Takes a request back: an authorised one that found nothing new costs nothing.
    pub(crate) fn refund(&mut self, caller: Caller) {
        if caller != Caller::Anonymous {
            let counter = self.counter(caller);
            *counter = counter.saturating_sub(1);
        }
    }

    pub(crate) fn spent(&self, caller: Caller) -> Spent {
        let (limit, used) = match caller {
            Caller::Anonymous => (self.anonymous, self.used_anonymous),
            Caller::Token(_) => (self.authenticated, self.used_authenticated),
        };
        Spent {
            limit,
            used,
            resets_at: self.resets_at,
        }
    }

    fn counter(&mut self, caller: Caller) -> &mut u64 {
        match caller {
            Caller::Anonymous => &mut self.used_anonymous,
            Caller::Token(_) => &mut self.used_authenticated,
        }
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}
