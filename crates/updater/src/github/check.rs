//! Asking GitHub for the newest release, and remembering the answer.
//!
//! The answer is kept with what GitHub calls it by (its ETag), so that asking again costs nothing while nothing has changed.
//! It counts only for the settings with which it was asked. While GitHub asks to wait, it is not asked.

use std::time::Duration;

use semver::Version;
use serde::{Deserialize, Serialize};
use tracing::{info, info_span};

use super::{
    client::{Client, Releases},
    fault::Fault,
    releases::{self, Found, Wanted},
    repository::GitHub,
};
use device::{Error, Result, store::Store};

/// Where the last answer is kept in the record.
const KEY: &str = "github";

/// What is known of newer versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// When GitHub last answered, RFC 3339 in UTC; none if it never did.
    pub checked_at: Option<String>,
    /// The newest release of the declared channel; none if no release is published.
    pub latest: Option<Found>,
    /// Why the last question has no answer, in words for people; none if it has one.
    pub error: Option<String>,
}

impl Check {
    /// The newest version, if it is newer than `current`.
    pub fn newer_than(&self, current: Option<&Version>) -> Option<&Found> {
        let latest = self.latest.as_ref()?;
        current
            .is_none_or(|current| latest.version > *current)
            .then_some(latest)
    }
}

/// What is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Memory {
    /// The settings that it was asked with.
    asked: String,
    etag: Option<String>,
    check: Check,
    limit: Option<Limit>,
}

/// A rate limit that GitHub imposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Limit {
    /// Since when, in seconds of Unix time by our clock.
    since: i64,
    /// For how long, in seconds.
    seconds: u64,
}

impl Limit {
    /// How long it still lasts. If our clock has gone back since, nothing is known, and it is over.
    fn left(self, now: i64) -> Option<Duration> {
        let gone = u64::try_from(now.checked_sub(self.since)?).ok()?;
        let left = self.seconds.checked_sub(gone).filter(|left| *left > 0)?;
        Some(Duration::from_secs(left))
    }
}

impl GitHub<'_> {
    /// What was known after the last check. No request is sent.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn last_check(&self, store: &Store) -> Result<Check> {
        Ok(self.memory(store)?.check)
    }

    /// Asks GitHub for the newest release. What it answered before stays known if it does not answer now.
    ///
    /// # Errors
    /// The record cannot be used, or the token or certificate that the configuration names. That GitHub does not answer
    /// is no error here: see [`Check::error`].
    pub fn check(&self, store: &mut Store) -> Result<Check> {
        Ok(self.ask(store)?.0)
    }

    /// As [`GitHub::check`], with what went wrong.
    ///
    /// # Errors
    /// As for [`GitHub::check`].
    pub fn ask(&self, store: &mut Store) -> Result<(Check, Option<Fault>)> {
        let _span = info_span!("check", repository = %self.settings.repository).entered();
        let mut memory = self.memory(store)?;
        let now = self.clock.now().as_second();
        let answer = match memory.limit.and_then(|limit| limit.left(now)) {
            Some(left) => Err(Fault::Limited(left)),
            None => {
                memory.limit = None;
                let client = Client::new(self.settings, self.patience)?;
                client.releases(self.settings.repository.as_str(), memory.etag.as_deref())
            }
        };
        let fault = match answer {
            Ok(Releases::Unchanged) => None,
            Ok(Releases::Now { releases, etag }) => {
                memory.check.latest = releases::newest(&releases, &self.wanted());
                memory.etag = etag;
                None
            }
            Err(fault) => Some(fault),
        };
        if let Some(Fault::Limited(wait)) = fault
            && memory.limit.is_none()
        {
            memory.limit = Some(Limit {
                since: now,
                seconds: wait.as_secs(),
            });
        }
        match (&fault, &memory.check.latest) {
            (Some(fault), _) => info!("no answer: {fault}"),
            (None, Some(found)) => info!(latest = %found.version, "GitHub answered"),
            (None, None) => info!("GitHub answered: there is no release"),
        }
        memory.check.error = fault.as_ref().map(ToString::to_string);
        if fault.is_none() {
            memory.check.checked_at = Some(self.clock.stamp());
        }
        self.remember(store, &memory)?;
        Ok((memory.check, fault))
    }

    /// The release of a version: the one that the last check found, or else GitHub is asked.
    pub(crate) fn find(&self, store: &mut Store, version: &Version, again: bool) -> Result<Found> {
        let known = self.memory(store)?.check.latest;
        if let Some(found) = known.filter(|found| !again && found.version == *version && found.bundle.is_some()) {
            return Ok(found);
        }
        let client = Client::new(self.settings, self.patience)?;
        let repository = self.settings.repository.as_str();
        let Releases::Now { releases, .. } = client.releases(repository, None)? else {
            return Err(Fault::Unreadable("it says that nothing has changed, which was not asked".to_owned()).into());
        };
        releases::of_version(&releases, &self.wanted(), version).ok_or_else(|| {
            let text = format!("there is no release of {version} in {repository}");
            Error::refused(text, format!("see {}", self.releases_page()))
        })
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            product: &self.config.product,
            platform: self.platform,
            channel: self.settings.channel,
        }
    }

    fn memory(&self, store: &Store) -> Result<Memory> {
        let kept = store
            .setting(KEY)?
            .and_then(|text| serde_json::from_str::<Memory>(&text).ok());
        let asked = self.question();
        // What was kept in another form, or for other settings, is as good as nothing.
        Ok(kept.filter(|memory| memory.asked == asked).unwrap_or_else(|| Memory {
            asked,
            ..Memory::default()
        }))
    }

    fn remember(&self, store: &mut Store, memory: &Memory) -> Result<()> {
        let text = serde_json::to_string(memory).map_err(|error| Error::engine("remember the check", error))?;
        store.set_setting(KEY, Some(&text))
    }

    /// Everything that an answer depends on.
    fn question(&self) -> String {
        let Wanted {
            product,
            platform,
            channel,
        } = self.wanted();
        let (api, repository) = (&self.settings.api, &self.settings.repository);
        format!("{api} {repository} {channel:?} {product} {platform}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_ends() {
        let limit = Limit {
            since: 1000,
            seconds: 60,
        };
        for (now, left) in [
            (1000, Some(60)),
            (1059, Some(1)),
            (1060, None),
            (9999, None),
            // The clock has gone back.
            (999, None),
            (i64::MIN, None),
        ] {
            assert_eq!(limit.left(now), left.map(Duration::from_secs), "{now}");
        }
    }
}
