//! Callers: recognised by a session cookie or a bearer token, as extractors of the rights that a call needs.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    extract::FromRequestParts,
    http::{Method, StatusCode, header, request::Parts},
};
use bundle::Digest;
use subtle::ConstantTimeEq as _;

use super::{client::Client, origin, password};
use crate::web::{app::App, refusal::Refusal, worker::blocking};
use device::store::Session;

/// How long a session lasts.
pub(super) const SESSION: Duration = Duration::from_secs(12 * 60 * 60);

/// How far a clock may go back without ending sessions.
pub(super) const CLOCK_SLACK: i64 = 5 * 60;

/// The cookie's name.
pub(crate) const COOKIE: &str = "ota_session";

/// An identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// The administrator, with the digest of the session's secret.
    Admin(Digest),
    /// A script.
    Token { name: String, read_only: bool },
    /// No credentials.
    Anonymous,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin(_) => f.write_str("admin"),
            Self::Token { name, .. } => write!(f, "token {name}"),
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}

/// A caller.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) who: Who,
    pub(crate) address: Option<IpAddr>,
}

/// A caller that may read.
pub(crate) struct Reader;

/// A caller that may change things.
pub(crate) struct Admin(pub(crate) Caller);

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let client = Client::of(parts, &app.config.web.proxies);
        let who = match bearer(parts) {
            Some(token) => by_token(app, token, client.address).await?,
            None => by_session(app, parts).await?,
        };
        Ok(Self {
            who,
            address: client.address,
        })
    }
}

impl FromRequestParts<Arc<App>> for Reader {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        match Caller::from_request_parts(parts, app).await?.who {
            Who::Anonymous => Err(unknown(parts)),
            Who::Admin(_) | Who::Token { .. } => Ok(Self),
        }
    }
}

impl FromRequestParts<Arc<App>> for Admin {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let caller = Caller::from_request_parts(parts, app).await?;
        match &caller.who {
            Who::Anonymous => return Err(unknown(parts)),
            Who::Token { read_only: true, name } => {
                return Err(Refusal::new(
                    StatusCode::FORBIDDEN,
                    format!("the token {name} may read only"),
                ));
            }
            Who::Token { .. } => {}
            Who::Admin(_) if parts.method == Method::GET || parts.method == Method::HEAD => {}
            Who::Admin(_) => origin::expect_own(parts, &Client::of(parts, &app.config.web.proxies))?,
        }
        Ok(Self(caller))
    }
}

fn unknown(parts: &Parts) -> Refusal {
    let detail = match cookie(parts) {
        Some(_) => "the session has ended; log in again",
        None => "log in, or send a token: Authorization: Bearer …",
    };
    Refusal::new(StatusCode::UNAUTHORIZED, detail)
}

fn bearer(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

async fn by_token(app: &Arc<App>, token: &str, address: Option<IpAddr>) -> Result<Who, Refusal> {
    if let Some(wait) = app.limits.tokens_of(address) {
        return Err(
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens from this address").retry_after(wait),
        );
    }
    let secret = Digest::of(token.as_bytes());
    let tokens = app.record(|store| store.tokens()).await?;
    // All are compared, each in constant time.
    let found = tokens.into_iter().fold(None, |found, token| {
        match bool::from(token.secret.hex().as_bytes().ct_eq(secret.hex().as_bytes())) {
            true => Some(token),
            false => found,
        }
    });
    match found {
        Some(token) => Ok(Who::Token {
            name: token.name,
            read_only: token.read_only,
        }),
        None => {
            app.limits.wrong_token(address);
            Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "the token is not known; it may have been removed",
            ))
        }
    }
}

async fn by_session(app: &Arc<App>, parts: &Parts) -> Result<Who, Refusal> {
    let Some(secret) = cookie(parts) else {
        return Ok(Who::Anonymous);
    };
    let secret = Digest::of(secret.as_bytes());
    let (shared, now) = (app.clone(), jiff::Timestamp::now().as_second());
    let valid = blocking(move || {
        let password = password::fingerprint(&shared.config)?;
        let session = shared.store(|store| store.session(&secret))?;
        Ok(session.is_some_and(|session| Some(session.password) == password && lasts(&session, now)))
    });
    Ok(match valid.await? {
        true => Who::Admin(secret),
        false => Who::Anonymous,
    })
}

/// Whether a session has not ended at the time `now`, in seconds since 1970.
fn lasts(session: &Session, now: i64) -> bool {
    (session.created - CLOCK_SLACK..session.created + SESSION.as_secs().cast_signed()).contains(&now)
}

fn cookie(parts: &Parts) -> Option<&str> {
    parts
        .headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_by_the_clock_whichever_way_it_goes() {
        let session = Session {
            secret: Digest::of(b""),
            password: Digest::of(b""),
            created: 1_000_000,
        };
        let twelve_hours = 12 * 60 * 60;
        for (now, expected) in [
            (1_000_000, true),
            (1_000_000 + twelve_hours - 1, true),
            (1_000_000 + twelve_hours, false),
            (1_000_000 - 200, true),
            (0, false),
        ] {
            assert_eq!(lasts(&session, now), expected, "{now}");
        }
    }
}
