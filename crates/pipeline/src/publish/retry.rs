//! Which failures pass by themselves, and how long they are waited for.

use std::time::Duration;

use super::{
    error::PublishError,
    failure::{Failure, Reason},
};
use crate::{Error, Result, system::interrupt};

/// How long things may take, and how often they are tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// After so many failures without any progress it is given up.
    pub attempts: u32,
    /// The wait after the first failure; it doubles with each.
    pub first_wait: Duration,
    /// The longest of these waits.
    pub longest_wait: Duration,
    /// The longest wait that GitHub may ask for.
    pub longest_limit: Duration,
    /// How long a call may take, and an upload may stand still.
    pub stall: Duration,
}

impl Default for Patience {
    /// About a minute of failures without any progress.
    fn default() -> Self {
        Self {
            attempts: 7,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(60),
            longest_limit: Duration::from_secs(15 * 60),
            stall: Duration::from_secs(60),
        }
    }
}

/// Counts failures.
#[derive(Debug)]
pub(super) struct Retries {
    patience: Patience,
    failures: u32,
}

impl Retries {
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, failures: 0 }
    }

    /// Something worked: the count begins anew.
    pub(super) fn progressed(&mut self) {
        self.failures = 0;
    }

    /// Waits as long as `failure` asks for.
    pub(super) async fn wait(&mut self, failure: Failure) -> Result<()> {
        let wait = self.decide(failure)?;
        let end = tokio::time::Instant::now() + wait;
        while tokio::time::Instant::now() < end {
            interrupt::check()?;
            let tick = tokio::time::Instant::now() + Duration::from_millis(200);
            tokio::time::sleep_until(tick.min(end)).await;
        }
        interrupt::check()
    }

    /// How long to wait, if it is worth it.
    fn decide(&mut self, failure: Failure) -> Result<Duration> {
        let (action, reason) = match failure {
            Failure::Interrupted => return Err(Error::Interrupted),
            Failure::Io(error) => return Err(*error),
            Failure::Final(error) => return Err(error.into()),
            Failure::Call { action, reason } => (action, reason),
        };
        self.failures += 1;
        let attempts = self.failures;
        match reason {
            Reason::Limited(wait) if wait > self.patience.longest_limit => Err(PublishError::Limited {
                action,
                seconds: wait.as_secs(),
            }
            .into()),
            _ if attempts >= self.patience.attempts => Err(PublishError::GaveUp {
                action,
                message: reason.to_string(),
                attempts,
            }
            .into()),
            Reason::Limited(wait) => Ok(wait),
            Reason::Passing(_) => {
                let doubled = self.patience.first_wait.saturating_mul(1 << (attempts - 1).min(16));
                Ok(doubled.min(self.patience.longest_wait))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passing() -> Failure {
        Failure::Call {
            action: "try",
            reason: Reason::Passing("502".to_owned()),
        }
    }

    fn limited(seconds: u64) -> Failure {
        Failure::Call {
            action: "try",
            reason: Reason::Limited(Duration::from_secs(seconds)),
        }
    }

    #[test]
    fn waits_double_and_end() {
        let mut retries = Retries::new(Patience::default());
        let waits: Vec<_> = (0..6).map(|_| retries.decide(passing()).unwrap().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32]);
        assert_eq!(
            retries.decide(passing()).unwrap_err().to_string(),
            "cannot try: 502 (7 attempts)"
        );
        retries.progressed();
        assert_eq!(retries.decide(passing()).unwrap().as_secs(), 1);
    }

    #[test]
    fn github_is_given_the_time_that_it_asks_for_up_to_a_point() {
        let mut retries = Retries::new(Patience::default());
        assert_eq!(retries.decide(limited(90)).unwrap().as_secs(), 90);
        let error = retries.decide(limited(3000)).unwrap_err().to_string();
        assert_eq!(error, "cannot try: GitHub allows no request for another 3000 s");
    }
}
