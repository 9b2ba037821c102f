//! The responses of calls that change something: a status and a sentence.

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use device::store::Update;

/// The path that every call begins with; the session cookie is limited to it.
pub(crate) const BASE: &str = "/api/v1/ota";

/// That something was done, or begun.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Done {
    /// `success`.
    status: &'static str,
    /// What was done, in a sentence.
    message: String,
}

impl Done {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            status: "success",
            message: message.into(),
        }
    }
}

/// `201 Created`, with the update's address.
pub(crate) fn created(update: &Update, message: &str) -> Response {
    let location = format!("{BASE}/{}", update.public_id);
    (
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(Done::new(message)),
    )
        .into_response()
}
