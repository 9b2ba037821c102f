//! Extractors of JSON bodies, queries and path parameters, each with a readable error response.

use std::time::Duration;

use axum::{
    body::to_bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{StatusCode, header, request::Parts},
};
use serde::de::DeserializeOwned;
use utoipa::IntoResponses;

use super::refusal::{Problem, Refusal};

/// The largest JSON body in bytes; release notes are the largest part of one.
pub(crate) const MAX_JSON: usize = 256 << 10;

/// The time limit for a JSON body.
const PATIENCE: Duration = Duration::from_secs(15);

/// The error responses of a call with a JSON body, for the OpenAPI document. What 422 means, each call says.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only the document is made of it")]
pub(crate) enum InvalidBody {
    /// No JSON
    #[response(status = 400)]
    NoJson(Problem),
    /// The body did not come in time
    #[response(status = 408)]
    Late(Problem),
    /// The body is too large
    #[response(status = 413)]
    TooLarge(Problem),
    /// The body is not JSON
    #[response(status = 415)]
    OtherType(Problem),
}

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

/// A JSON body, or none.
pub(crate) struct OptionalBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let is_json = is_json(&request);
        let bytes = read(request).await?;
        if !is_json {
            return Err(not_json());
        }
        parse(&bytes).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let is_json = is_json(&request);
        let bytes = read(request).await?;
        match bytes.is_empty() {
            true => Ok(Self(T::default())),
            false if !is_json => Err(not_json()),
            false => parse(&bytes).map(Self),
        }
    }
}

fn is_json(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

fn not_json() -> Refusal {
    Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "the body must be JSON, with the header Content-Type: application/json",
    )
}

async fn read(request: Request) -> Result<axum::body::Bytes, Refusal> {
    let too_large = || {
        Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {} KiB", MAX_JSON >> 10),
        )
    };
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_JSON as u64) {
        return Err(too_large());
    }
    let bytes = tokio::time::timeout(PATIENCE, to_bytes(request.into_body(), MAX_JSON)).await;
    let bytes = bytes.map_err(|_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"))?;
    bytes.map_err(|_| too_large())
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            Refusal::unprocessable(format!("the body is not what it should be: {error}"))
        }
        _ => Refusal::bad_request(format!("the body is not JSON: {error}")),
    })
}

/// The path parameter.
pub(crate) struct Name(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(_) => Err(Refusal::new(StatusCode::NOT_FOUND, "there is nothing of that name")),
        }
    }
}

/// More pages than any list has.
const LAST_PAGE: u64 = 1_000_000;

/// The requested part of a list.
pub(crate) struct Page {
    /// From 1.
    pub(crate) page: u64,
    pub(crate) page_size: u64,
}

impl Page {
    /// The number of entries before it.
    pub(crate) fn offset(&self) -> u64 {
        (self.page - 1) * self.page_size
    }
}

#[derive(serde::Deserialize)]
struct PageQuery {
    page: Option<u64>,
    page_size: Option<u64>,
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query = Query::<PageQuery>::from_request_parts(parts, state).await;
        let Query(query) = query.map_err(|error| Refusal::unprocessable(error.body_text()))?;
        let page = query.page.unwrap_or(1);
        let page_size = query.page_size.unwrap_or(20);
        if !(1..=LAST_PAGE).contains(&page) || !(1..=100).contains(&page_size) {
            return Err(Refusal::unprocessable(format!(
                "page is 1 to {LAST_PAGE}, and page_size is 1 to 100"
            )));
        }
        Ok(Self { page, page_size })
    }
}
