//! Errors between a device and GitHub, and whether to try again.

use std::{error::Error as _, time::Duration};

use bundle::Digest;
use reqwest::{StatusCode, header::HeaderMap};
use tracing::debug;

/// How long to wait after a limit that does not say how long (GitHub documentation, "Rate limits for the REST API").
const UNSAID: Duration = Duration::from_secs(60);

/// No limit lasts longer; what claims to is a mistake.
const LONGEST: Duration = Duration::from_secs(2 * 60 * 60);

/// Characters of an answer that an error shows.
const SHOWN: usize = 200;

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// GitHub cannot be reached: a normal state of a device.
    #[error("GitHub cannot be reached: {0}")]
    Offline(String),
    /// Nothing came for too long.
    #[error("GitHub has sent nothing for {} s", .0.as_secs())]
    Stalled(Duration),
    /// The connection ended too early.
    #[error("the connection to GitHub broke: {0}")]
    CutOff(String),
    /// GitHub, or something on the way, has a problem of its own.
    #[error("GitHub has a problem: {0}")]
    Server(String),
    /// Too much was asked from this address.
    #[error("GitHub's limit is reached; it asks to wait {} min", .0.as_secs().div_ceil(60))]
    Limited(Duration),
    /// GitHub does not let us.
    #[error("GitHub refuses: {0}")]
    Denied(String),
    /// There is no such thing, or we may not see it.
    #[error("GitHub knows no {0}")]
    NotFound(String),
    /// What came is not what GitHub says that it sends.
    #[error("GitHub's answer is invalid: {0}")]
    Unreadable(String),
    /// An address that is not asked.
    #[error("{0} is not asked: only encrypted addresses are")]
    Address(String),
    /// The file is another one than when the download began.
    #[error("{name} was changed on GitHub while it was downloaded")]
    Changed {
        /// The file.
        name: String,
    },
    /// The file is not what it is said to be.
    #[error("{name} is damaged: it has digest {found}, but must have {expected}")]
    Damaged {
        /// The file.
        name: String,
        /// Its digest.
        found: Digest,
        /// What was said.
        expected: Digest,
    },
}

impl From<Fault> for device::Error {
    fn from(fault: Fault) -> Self {
        Self::Remote {
            hint: fault.hint().map(str::to_owned),
            error: Box::new(fault),
        }
    }
}

impl Fault {
    /// The fault that an error is about, if it is one.
    pub(crate) fn of(error: &device::Error) -> Option<&Self> {
        match error {
            device::Error::Remote { error, .. } => error.downcast_ref(),
            _ => None,
        }
    }

    /// Whether it may pass by itself.
    pub fn passes(&self) -> bool {
        matches!(
            self,
            Self::Offline(_) | Self::Stalled(_) | Self::CutOff(_) | Self::Server(_) | Self::Limited(_)
        )
    }

    /// Whether the release must be looked at again before anything of it is tried again.
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Changed { .. } | Self::NotFound(_))
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Offline(why) if why.contains("certificate") => {
                Some("set the clock; or name the certificate of a proxy: ca-certificate in updater.toml")
            }
            Self::Denied(_) => Some("a token that may read the repository: token-file in updater.toml"),
            Self::NotFound(_) => {
                Some("see `repository` in updater.toml; a private one needs a token that may read it: token-file there")
            }
            Self::Limited(_) => Some("a token raises the limit: token-file in updater.toml"),
            Self::Changed { .. } | Self::Damaged { .. } => Some("download it again"),
            _ => None,
        }
    }

    /// The fault that an error response stands for.
    pub(crate) fn of_answer(status: StatusCode, headers: &HeaderMap, body: &[u8], what: &str) -> Self {
        let text = || describe(status, body);
        match status.as_u16() {
            403 | 429 if let Some(wait) = wait_of(status, headers, body) => Self::Limited(wait),
            401 | 403 => Self::Denied(text()),
            404 | 410 => Self::NotFound(what.to_owned()),
            408 | 500..=599 => Self::Server(text()),
            _ => Self::Unreadable(text()),
        }
    }

    /// What an error of the connection means. `stall` is how long nothing may come.
    pub(crate) fn of_connection(error: &reqwest::Error, stall: Duration) -> Self {
        let why = match error.url().and_then(|url| url.host_str()) {
            Some(host) if is_lookup(error) => format!("{host} cannot be resolved"),
            _ => cause(error),
        };
        debug!(causes = causes(error), "the connection failed: {why}");
        if error.is_redirect() {
            Self::Address(why)
        } else if error.is_connect() {
            Self::Offline(why)
        } else if error.is_timeout() {
            Self::Stalled(stall)
        } else if error.is_request() || error.is_body() || error.is_decode() {
            Self::CutOff(why)
        } else {
            Self::Offline(why)
        }
    }
}

/// How long to wait, if an answer says that a limit is reached. The time of day of the answer is taken, not ours.
fn wait_of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let number = |name| text(name)?.trim().parse::<u64>().ok();
    if let Some(seconds) = number("retry-after") {
        return Some(Duration::from_secs(seconds).min(LONGEST));
    }
    if number("x-ratelimit-remaining") == Some(0) {
        let date = text("date").and_then(|text| jiff::fmt::rfc2822::parse(text).ok());
        let date = date.and_then(|date| u64::try_from(date.timestamp().as_second()).ok());
        let left = number("x-ratelimit-reset")
            .zip(date)
            .map(|(reset, date)| reset.saturating_sub(date));
        // One second more: the limit ends within the last one.
        let wait = left.map_or(UNSAID, |seconds| Duration::from_secs(seconds.saturating_add(1)));
        return Some(wait.min(LONGEST));
    }
    let secondary = String::from_utf8_lossy(body).to_lowercase().contains("rate limit");
    (secondary || status == StatusCode::TOO_MANY_REQUESTS).then_some(UNSAID)
}

/// The status with GitHub's message, if it has one; a page of a proxy says nothing.
fn describe(status: StatusCode, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Message {
        message: String,
    }
    match serde_json::from_slice::<Message>(body) {
        Ok(Message { message }) => format!("{status}: {}", message.chars().take(SHOWN).collect::<String>()),
        Err(_) => status.to_string(),
    }
}

/// Whether it is the lookup of a name that did not work: no network, mostly.
fn is_lookup(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        // hyper-util, client/legacy/connect/http.rs; its error has no other sign.
        if error.to_string() == "dns error" {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Everything behind an error of the connection, for the log. The error itself shows the URL, which may hold a key of the
/// storage behind GitHub.
fn causes(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(error) = source {
        causes.push(error.to_string());
        source = error.source();
    }
    causes.join(": ")
}

/// The innermost cause. The outer ones only repeat the address, which may hold a key of the storage behind GitHub.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if std::ptr::addr_eq(cause, error) {
        return "it is not known why".to_owned();
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(status: u16, headers: &[(&'static str, &str)], body: &str) -> Fault {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let status = StatusCode::from_u16(status).unwrap();
        Fault::of_answer(status, &headers.collect(), body.as_bytes(), "such thing")
    }

    fn limited(seconds: u64) -> Fault {
        Fault::Limited(Duration::from_secs(seconds))
    }

    #[test]
    fn limits() {
        // An answer of 2026-11-24 18:00:00 UTC.
        let date = ("date", "Tue, 24 Nov 2026 18:00:00 GMT");
        let none_left = ("x-ratelimit-remaining", "0");
        for (status, headers, body, expected) in [
            (429, &[("retry-after", "120")][..], "", limited(120)),
            (403, &[("retry-after", "0")], "", limited(0)),
            (403, &[("retry-after", "9999999")], "", limited(7200)),
            (
                403,
                &[date, none_left, ("x-ratelimit-reset", "1795545600")],
                "",
                limited(2401),
            ),
            // The reset is in the past, or is invalid, or nothing says what time it is.
            (403, &[date, none_left, ("x-ratelimit-reset", "1")], "", limited(1)),
            (403, &[date, none_left, ("x-ratelimit-reset", "soon")], "", limited(60)),
            (403, &[none_left, ("x-ratelimit-reset", "1795545600")], "", limited(60)),
            (
                403,
                &[date, none_left, ("x-ratelimit-reset", "99999999999999")],
                "",
                limited(7200),
            ),
            (
                403,
                &[],
                r#"{"message": "You have exceeded a secondary rate limit."}"#,
                limited(60),
            ),
            (429, &[], "<html>", limited(60)),
            (
                403,
                &[("x-ratelimit-remaining", "41")],
                r#"{"message": "no"}"#,
                Fault::Denied("403 Forbidden: no".to_owned()),
            ),
        ] {
            assert_eq!(fault(status, headers, body), expected, "{status} {headers:?} {body}");
        }
    }

    #[test]
    fn other_answers() {
        for (status, body, expected) in [
            (
                502,
                "<html>Unicorn!</html>",
                Fault::Server("502 Bad Gateway".to_owned()),
            ),
            (
                503,
                r#"{"message": "down"}"#,
                Fault::Server("503 Service Unavailable: down".to_owned()),
            ),
            (
                401,
                r#"{"message": "Bad credentials"}"#,
                Fault::Denied("401 Unauthorized: Bad credentials".to_owned()),
            ),
            (404, "{}", Fault::NotFound("such thing".to_owned())),
            (418, "", Fault::Unreadable("418 I'm a teapot".to_owned())),
        ] {
            assert_eq!(fault(status, &[], body), expected);
        }
    }

    #[test]
    fn what_passes_is_no_reason_to_look_again() {
        let name = || "a".to_owned();
        assert!(limited(1).passes() && Fault::Offline(name()).passes() && Fault::Server(name()).passes());
        let digest = Digest::of(b"");
        let damaged = Fault::Damaged {
            name: name(),
            found: digest,
            expected: digest,
        };
        assert!(!damaged.passes() && !damaged.is_stale());
        assert!(Fault::Changed { name: name() }.is_stale() && Fault::NotFound(name()).is_stale());
    }
}
