//! Logging in and out.

use std::sync::Arc;

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use bundle::Digest;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    caller::{Admin, CLOCK_SLACK, COOKIE, Caller, SESSION, Who},
    client::Client,
    origin, password,
};
use crate::web::{
    answer::BASE,
    app::App,
    body::{Body, InvalidBody},
    refusal::{Problem, Refusal, Refused},
    worker::blocking,
};
use device::{
    Error,
    store::{REFUSED_LOGIN, Session},
    system::random::random,
};

/// Letters and digits of a session's secret: 256 bits.
const SECRET: usize = 43;

/// The longest accepted password, in bytes.
const MAX_PASSWORD: usize = 1024;

/// The caller.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionView {
    /// `admin`, or `token NAME`; null without credentials.
    user: Option<String>,
    /// Whether they may change things.
    can_change: bool,
    /// Whether this device knows a repository on GitHub to look for newer versions in.
    github: bool,
    /// The product that this device runs.
    product: String,
}

/// What a person logs in with.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Credentials {
    /// The administrator's password.
    #[schema(max_length = 1024, format = Password)]
    password: String,
}

/// A call that does not come from another site's page.
pub(crate) struct NotForeign(Client);

impl FromRequestParts<Arc<App>> for NotForeign {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let client = Client::of(parts, &app.config.web.proxies);
        origin::expect_not_foreign(parts, &client)?;
        Ok(Self(client))
    }
}

/// Who calls.
#[utoipa::path(get, path = "/api/v1/ota/session", tag = "session",
    responses((status = 200, description = "Who calls", body = SessionView), Refused), security(()))]
pub(crate) async fn show(State(app): State<Arc<App>>, caller: Caller) -> Json<SessionView> {
    let can_change = !matches!(caller.who, Who::Anonymous | Who::Token { read_only: true, .. });
    Json(SessionView {
        user: (caller.who != Who::Anonymous).then(|| caller.who.to_string()),
        can_change,
        github: app.config.github.is_some(),
        product: app.config.product.to_string(),
    })
}

/// Logs in: the response sets the session's cookie.
#[utoipa::path(post, path = "/api/v1/ota/session", tag = "session", request_body = Credentials,
    responses(
        (status = 204, description = "Logged in"),
        (status = 422, description = "Not what it should be", body = Problem),
        InvalidBody,
        Refused,
    ), security(()))]
pub(crate) async fn begin(
    State(app): State<Arc<App>>,
    NotForeign(client): NotForeign,
    Body(Credentials { password }): Body<Credentials>,
) -> Result<Response, Refusal> {
    if password.len() > MAX_PASSWORD {
        return Err(Refusal::unprocessable(format!(
            "the password is longer than {MAX_PASSWORD} bytes"
        )));
    }
    let caller = Caller {
        who: Who::Anonymous,
        address: client.address,
    };
    let checked = check(&app, &client, password).await;
    let password = match checked {
        Ok(fingerprint) => fingerprint,
        Err(refusal) => {
            if refusal.status() == StatusCode::UNAUTHORIZED {
                app.counters.refused_login();
                app.audit(&caller, REFUSED_LOGIN, "", refusal.detail()).await;
            }
            return Err(refusal);
        }
    };
    let secret = random(SECRET)?;
    let now = jiff::Timestamp::now().as_second();
    let lasting = SESSION.as_secs();
    let session = Session {
        secret: Digest::of(secret.as_bytes()),
        password,
        created: now,
    };
    app.record(move |store| store.add_session(&session, now - lasting.cast_signed() - CLOCK_SLACK))
        .await?;
    let caller = Caller {
        who: Who::Admin(session.secret),
        ..caller
    };
    app.audit(&caller, "login", "", "accepted").await;
    cookie(&secret, lasting, client.tls)
}

/// The fingerprint of the right password.
async fn check(app: &Arc<App>, client: &Client, password: String) -> Result<Digest, Refusal> {
    let busy = || {
        Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too many people log in at the same time")
            .retry_after(std::time::Duration::from_secs(2))
    };
    let _place = app.logins.try_acquire().map_err(|_| busy())?;
    let _turn = app.hashing.acquire().await.map_err(|_| busy())?;
    // Here, not before: waiting does not give a caller more attempts.
    if let Some(wait) = app.limits.passwords_of(client.address) {
        let seconds = wait.as_secs() + 1;
        return Err(Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            format!("too many attempts; the next one in {seconds} s"),
        )
        .retry_after(wait));
    }
    app.limits.tried_password(client.address);
    let shared = app.clone();
    let verified = blocking(move || match password::verify(&shared.config, &password) {
        // On this device, not in the call.
        Err(error @ Error::Refused { .. }) => {
            let hint = error.hint().unwrap_or_default();
            Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{error}; at the device's console: {hint}"),
            ))
        }
        verified => Ok(verified?),
    });
    match verified.await? {
        Some(fingerprint) => {
            app.limits.right_password(client.address);
            Ok(fingerprint)
        }
        None => Err(Refusal::new(StatusCode::UNAUTHORIZED, "the password is wrong")),
    }
}

/// Logs out.
#[utoipa::path(delete, path = "/api/v1/ota/session", tag = "session",
    responses((status = 204, description = "Logged out"), Refused))]
pub(crate) async fn end(
    State(app): State<Arc<App>>,
    NotForeign(client): NotForeign,
    Admin(caller): Admin,
) -> Result<Response, Refusal> {
    if let Who::Admin(secret) = caller.who {
        app.record(move |store| store.end_session(&secret)).await?;
    }
    cookie("", 0, client.tls)
}

/// A response that sets the cookie.
fn cookie(secret: &str, seconds: u64, tls: bool) -> Result<Response, Refusal> {
    let secure = if tls { "; Secure" } else { "" };
    let text = format!("{COOKIE}={secret}; Path={BASE}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let value =
        HeaderValue::from_str(&text).map_err(|error| Refusal::internal(&Error::engine("make a cookie", error)))?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, value)]).into_response())
}
