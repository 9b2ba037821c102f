//! Which call goes where, and the headers that every response has.

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};

use super::{openapi, page};
use crate::web::{
    access::login,
    api::{self, actions, events, metrics},
    app::App,
    refusal::Refusal,
    upload::{form, resumable},
};

/// Everything that is served.
pub(crate) fn router(app: Arc<App>) -> Router {
    let ota = Router::new()
        .route("/", get(api::list).post(actions::register))
        .route("/check", get(api::check))
        .route("/audit", get(api::audit))
        .route("/events", get(events::events))
        .route("/openapi.json", get(openapi::document_call))
        .route("/session", get(login::show).post(login::begin).delete(login::end))
        .route("/upload", post(form::upload))
        .route("/uploads", post(resumable::begin).options(resumable::options))
        .route(
            "/uploads/{id}",
            axum::routing::head(resumable::show)
                .patch(resumable::append)
                .delete(resumable::end),
        )
        .route("/{id}", get(api::show).delete(actions::delete))
        .route("/{id}/apply", post(actions::apply))
        .route("/{id}/rollback", get(api::rollback_plan).post(actions::roll_back));
    Router::new()
        .route("/health", get(api::health))
        .route("/metrics", get(metrics::metrics))
        .nest("/api/v1/ota", ota)
        .merge(page::routes())
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(async || {
            Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "there is no such call; the OpenAPI document lists all",
            )
        })
        // Each call has a limit of its own: of the disk, or of body::MAX_JSON.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(app.clone(), finish))
        .with_state(app)
}

/// Adds the headers of every response, and counts it.
async fn finish(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    app.counters.answered(response.status().as_u16());
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=()",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // The page says more about both.
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
