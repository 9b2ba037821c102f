//! A bundle in one request: `multipart/form-data` with a field `file`, as `curl -F file=@…` sends it.
//!
//! network → worker that hashes and writes a hidden file → manifest → record that waits → the daemon. Memory is a few
//! chunks for any size. An upload that breaks off leaves no file.

use std::sync::Arc;

use axum::{
    extract::{FromRequest as _, Multipart, Request, State, multipart::Field},
    http::{StatusCode, header},
    response::Response,
};
use uuid::Uuid;

use super::claim::{self, expect_plain_name};
use crate::web::{
    access::{Admin, Caller},
    answer::{Done, created},
    app::{
        App,
        receive::{Feed, Incoming, PREFIX, Received, STALL, expect_room},
    },
    refusal::{Problem, Refusal, Refused},
    worker::blocking,
};
use device::store::Update;

/// The largest overhead of a form around its file, in bytes.
const FORM: u64 = 16 << 10;

/// A form with a bundle.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "only the document is made of it")]
pub(crate) struct BundleForm {
    /// The bundle, .tar.gz or .zip.
    #[schema(content_media_type = "application/octet-stream", format = Binary)]
    file: String,
}

/// Uploads a bundle. It is applied when it is here.
#[utoipa::path(post, path = "/api/v1/ota/upload", tag = "upload",
    request_body(content = BundleForm, content_type = "multipart/form-data"),
    responses(
        (status = 201, description = "Received; it is applied next", body = Done, headers(("Location" = String, description = "The update"))),
        (status = 400, description = "Not a bundle, or not one for this product", body = Problem),
        (status = 408, description = "Nothing came any more", body = Problem),
        (status = 409, description = "The bundle, or its version, is here already", body = Problem),
        (status = 413, description = "It does not fit on the disk", body = Problem),
        (status = 415, description = "Not a form", body = Problem),
        Refused,
    ))]
pub(crate) async fn upload(
    State(app): State<Arc<App>>,
    Admin(caller): Admin,
    request: Request,
) -> Result<Response, Refusal> {
    let outcome = receive(&app, &caller, request).await;
    app.audit_upload(&caller, &outcome).await;
    let update = outcome?;
    Ok(created(
        &update,
        &format!("{} was uploaded and is applied next", update.version),
    ))
}

async fn receive(app: &Arc<App>, caller: &Caller, request: Request) -> Result<Update, Refusal> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let pledged = app.uploads.pledged(&app.config);
    expect_room(&app.config.updates(), length.unwrap_or(0).saturating_sub(FORM), pledged)?;
    let _place = app.uploads.place()?;
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|error| Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error.body_text()))?;
    loop {
        let field = in_time(form.next_field()).await?;
        let Some(mut field) = field else {
            return Err(Refusal::bad_request("the form has no field `file`"));
        };
        if field.name() == Some("file") {
            if let Some(name) = field.file_name() {
                expect_plain_name(name)?;
            }
            let received = store(app, &mut field).await?;
            drop(field);
            let (app, caller) = (app.clone(), caller.clone());
            return blocking(move || claim::claim(&app, received, &caller)).await;
        }
        // Other fields are ignored.
        while in_time(field.chunk()).await?.is_some() {}
    }
}

/// Writes the field to a hidden file.
async fn store(app: &Arc<App>, field: &mut Field<'_>) -> Result<Received, Refusal> {
    let path = app.config.updates().join(format!("{PREFIX}{}", Uuid::new_v4()));
    let feed = Feed::start(Incoming::create(path, &app.counters, claim::early(app))?);
    let broken = loop {
        match in_time(field.chunk()).await {
            Ok(Some(chunk)) => {
                if !feed.send(chunk).await {
                    break None;
                }
            }
            Ok(None) => break None,
            Err(refusal) => break Some(refusal),
        }
    };
    let (incoming, written) = feed.end().await;
    if let Some(refusal) = broken {
        return Err(refusal);
    }
    written?;
    let incoming = incoming.ok_or_else(|| Refusal::bad_request("the upload broke off"))?;
    blocking(move || incoming.finish()).await
}

/// The next part of a form, within the time limit.
async fn in_time<T>(
    next: impl Future<Output = Result<T, axum::extract::multipart::MultipartError>>,
) -> Result<T, Refusal> {
    match tokio::time::timeout(STALL, next).await {
        Ok(Ok(next)) => Ok(next),
        Ok(Err(error)) => Err(Refusal::bad_request(format!(
            "the form broke off: {}",
            error.body_text()
        ))),
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("nothing came for {} s", STALL.as_secs()),
        )),
    }
}
