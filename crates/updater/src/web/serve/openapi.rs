//! The OpenAPI document, generated from the calls. A test compares it with `docs/src/reference/openapi.json`.

use axum::http::header;
use axum::response::IntoResponse;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use crate::web::{
    access::{self, caller, login},
    api::{self, actions, events, metrics},
    refusal,
    upload::{form, resumable},
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "OTA updates",
        description = "Installs versions of a product on the device that serves this, and brings them back. \
                       People log in and get a session cookie; scripts send a token made with `updater token add`. \
                       Every response with a status of 400 or more is a Problem."
    ),
    paths(
        api::list, actions::register, api::check, api::show, actions::delete, actions::apply, api::rollback_plan,
        actions::roll_back, form::upload, resumable::options, resumable::begin, resumable::show, resumable::append,
        resumable::end, events::events, api::audit, login::show, login::begin, login::end, document_call,
        api::health, metrics::metrics,
    ),
    components(schemas(events::Snapshot, device::control::board::Work, refusal::Problem)),
    modifiers(&Schemes),
    security(("session" = []), ("token" = [])),
    tags(
        (name = "updates", description = "Versions, and what is done with them"),
        (name = "upload", description = "Bundles, in one request or in several (tus 1.0)"),
        (name = "device", description = "The device itself"),
        (name = "session", description = "Logging in"),
    ),
)]
struct Document;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        // The crate's licence and version are not the API's.
        document.info.license = None;
        document.info.version = "1".to_owned();
        let components = document.components.get_or_insert_default();
        let cookie = ApiKey::Cookie(ApiKeyValue::new(caller::COOKIE));
        components.add_security_scheme("session", SecurityScheme::ApiKey(cookie));
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("token", SecurityScheme::Http(token));
    }
}

/// The document, as it is served and checked in.
pub fn document() -> String {
    let text = Document::openapi().to_pretty_json().unwrap_or_default();
    format!("{text}\n")
}

/// This document.
#[utoipa::path(get, path = "/api/v1/ota/openapi.json", tag = "device",
    responses((status = 200, description = "This document", content_type = "application/json", body = serde_json::Value), refusal::Refused))]
pub(crate) async fn document_call(_: access::Reader) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_that_is_checked_in_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/reference/openapi.json");
        let there = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            there == super::document(),
            "docs/src/reference/openapi.json is not up to date\n  hint: cargo run -p updater -- openapi > docs/src/reference/openapi.json"
        );
    }
}
