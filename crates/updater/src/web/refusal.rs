//! Error responses: a status, and a sentence for people.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use device::Error;

/// An error response.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    detail: String,
    retry_after: Option<Duration>,
}

/// The body of every response with a status of 400 or more.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// What is wrong, in a sentence.
    detail: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            retry_after: None,
        }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    pub(crate) fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// A failure that is not the caller's; its cause is logged.
    pub(crate) fn internal(error: &Error) -> Self {
        tracing::warn!("a call failed: {error}");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the updater could not do this; its log says why",
        )
    }

    pub(crate) fn retry_after(self, time: Duration) -> Self {
        Self {
            retry_after: Some(time),
            ..self
        }
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match &error {
            Error::Busy { .. } | Error::Stuck(_) | Error::Illegal(_) | Error::Refused { .. } => {
                Self::conflict(match error.hint() {
                    Some(hint) => format!("{error}; {hint}"),
                    None => error.to_string(),
                })
            }
            _ => Self::internal(&error),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = (status, Json(Problem { detail: self.detail })).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(time) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(time.as_secs().max(1)));
        }
        response
    }
}

/// The error responses of every call, for the OpenAPI document.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only the document is made of it")]
pub(crate) enum Refused {
    /// No credentials, or wrong ones
    #[response(status = 401)]
    Unauthorized(Problem),
    /// Credentials that do not suffice, or a call from another site
    #[response(status = 403)]
    Forbidden(Problem),
    /// Too many attempts
    #[response(status = 429)]
    TooMany(Problem),
    /// It failed on this device
    #[response(status = 500)]
    Internal(Problem),
    /// It cannot be answered now
    #[response(status = 503)]
    Unavailable(Problem),
}
