//! The backend's HTTP: `/health` and `/api/v1/datapoints`.
//!
//! Errors are JSON, `{"error": "…"}`, for every failure. Reading is open, as the page is; writing needs the
//! secret key as a bearer token where one is set.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{
        DefaultBodyLimit, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::json;

use super::{
    build::Fault,
    settings::Settings,
    store::{Insertion, Store, StoreError},
};
use crate::reading::{DatabaseHealth, Health, HealthStatus, Page, Reading, Stored};

/// The longest body of a request; a reading has some hundred bytes.
const LONGEST_BODY: usize = 16 * 1024;

/// Readings on a page, unless asked otherwise, and at most.
const PAGE: (u16, u16) = (50, 1000);

#[derive(Clone)]
struct Api {
    store: Arc<Store>,
    version: Arc<str>,
    secret_key: Option<Arc<str>>,
    fault: Fault,
}

/// The routes.
pub fn router(store: Arc<Store>, settings: &Settings, fault: Fault) -> Router {
    let api = Api {
        store,
        version: settings.version.as_str().into(),
        secret_key: settings.secret_key.as_deref().map(Into::into),
        fault,
    };
    Router::new()
        .route("/health", get(health))
        .route("/api/v1/datapoints", get(list).post(create))
        .fallback(async || ApiError(StatusCode::NOT_FOUND, "there is nothing here".to_owned()))
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(api)
}

async fn health(State(api): State<Api>) -> (StatusCode, Json<Health>) {
    let revision = api.store.schema_revision().await;
    let (code, status) = match &revision {
        _ if api.fault == Fault::Unhealthy => (StatusCode::SERVICE_UNAVAILABLE, HealthStatus::Unavailable),
        Ok(_) => (StatusCode::OK, HealthStatus::Ok),
        Err(_) if !api.store.is_open() => (StatusCode::SERVICE_UNAVAILABLE, HealthStatus::Starting),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, HealthStatus::Unavailable),
    };
    let error = revision.as_ref().err().map(ToString::to_string);
    let report = Health {
        status,
        version: api.version.to_string(),
        schema_revision: revision.ok().flatten(),
        database: DatabaseHealth {
            reachable: error.is_none(),
            error,
        },
    };
    (code, Json(report))
}

async fn create(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Result<Json<Reading>, JsonRejection>,
) -> Result<(StatusCode, Json<Stored>), ApiError> {
    api.authorize(&headers)?;
    let Json(reading) = body.map_err(|error| ApiError(error.status(), error.body_text()))?;
    let reading = reading
        .checked()
        .map_err(|error| ApiError(StatusCode::UNPROCESSABLE_ENTITY, error))?;
    Ok(match api.store.insert(&reading).await? {
        Insertion::New(stored) => (StatusCode::CREATED, Json(stored)),
        Insertion::Known(stored) => (StatusCode::OK, Json(stored)),
    })
}

#[derive(Deserialize)]
struct Paging {
    limit: Option<u16>,
    after: Option<i64>,
}

async fn list(State(api): State<Api>, paging: Result<Query<Paging>, QueryRejection>) -> Result<Json<Page>, ApiError> {
    let Query(paging) = paging.map_err(|error| ApiError(error.status(), error.body_text()))?;
    let (default, most) = PAGE;
    let limit = paging.limit.unwrap_or(default);
    if !(1..=most).contains(&limit) {
        return Err(ApiError(
            StatusCode::BAD_REQUEST,
            format!("`limit` is {limit}, expected 1 to {most}"),
        ));
    }
    Ok(Json(api.store.page(limit.into(), paging.after).await?))
}

impl Api {
    fn authorize(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(expected) = &self.secret_key else {
            return Ok(());
        };
        let shown = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
            .unwrap_or_default();
        if same(shown, expected.as_bytes()) {
            Ok(())
        } else {
            Err(ApiError(
                StatusCode::UNAUTHORIZED,
                "writing needs the secret key as a bearer token".to_owned(),
            ))
        }
    }
}

/// Compares in a time that tells nothing about where the two differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// An error as the caller sees it.
struct ApiError(StatusCode, String);

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let status = match &error {
            StoreError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            StoreError::Conflict(_) => StatusCode::CONFLICT,
            StoreError::Unstorable(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self(status, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_same_or_not() {
        assert!(same(b"key", b"key"));
        assert!(!same(b"kez", b"key"));
        assert!(!same(b"", b"key"));
        assert!(!same(b"key2", b"key"));
    }
}
