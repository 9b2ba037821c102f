//! A bundle in several requests, so that a broken connection costs only what was on its way: tus 1.0 (tus.io, "Resumable
//! upload protocol"), the core protocol with creation and termination.
//!
//! ```text
//! POST   uploads          Upload-Length          → 201, Location
//! PATCH  uploads/{id}     Upload-Offset, bytes   → 204, Upload-Offset; with the last byte, Location is the update
//! HEAD   uploads/{id}                            → Upload-Offset: where to continue
//! DELETE uploads/{id}
//! ```
//!
//! tus rather than `Content-Range`: where to continue has a defined call, creating says the size before the first byte, and
//! clients for it exist in every language. The time between the requests is in [`super::unfinished`].

use std::{fs, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt as _;
use serde::Serialize;

use super::{
    claim,
    unfinished::{self, opened},
};
use crate::web::{
    access::{Admin, Caller},
    answer::BASE,
    app::{
        App,
        receive::{Feed, Incoming, STALL},
        uploads::{Upload, file_of},
    },
    body::Name,
    refusal::{Problem, Refusal, Refused},
    worker::blocking,
};
use device::Error;

const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const VERSION: HeaderValue = HeaderValue::from_static("1.0.0");

/// The supported versions of tus, for the OpenAPI document.
#[derive(utoipa::ToSchema, Serialize)]
#[expect(dead_code, reason = "only the document is made of it")]
enum TusVersion {
    #[serde(rename = "1.0.0")]
    V1,
}

/// The supported parts of tus.
#[utoipa::path(options, path = "/api/v1/ota/uploads", tag = "upload",
    responses((status = 204, description = "Tus-Version, Tus-Extension")), security(()))]
pub(crate) async fn options() -> Response {
    let headers = [
        (TUS_RESUMABLE, VERSION),
        (HeaderName::from_static("tus-version"), VERSION),
        (
            HeaderName::from_static("tus-extension"),
            HeaderValue::from_static("creation,termination,expiration"),
        ),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// Begins an upload in several requests.
#[utoipa::path(post, path = "/api/v1/ota/uploads", tag = "upload",
    params(
        ("Tus-Resumable" = inline(TusVersion), Header, description = "The version of the protocol"),
        ("Upload-Length" = u64, Header, minimum = 1, description = "The size of the bundle in bytes"),
    ),
    responses(
        (status = 201, description = "Begun", headers(("Location" = String, description = "Where the bytes go"))),
        (status = 400, description = "Upload-Length is missing or invalid", body = Problem),
        (status = 412, description = "Another version of tus", body = Problem),
        (status = 413, description = "It does not fit on the disk", body = Problem),
        Refused,
    ))]
pub(crate) async fn begin(
    State(app): State<Arc<App>>,
    Admin(_): Admin,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    expect_version(&headers)?;
    let length = number(&headers, &UPLOAD_LENGTH)?;
    if length == 0 {
        return Err(Refusal::bad_request("an empty file is not a bundle"));
    }
    let shared = app.clone();
    let id = blocking(move || unfinished::begin(&shared, length)).await?;
    let location = HeaderValue::try_from(format!("{BASE}/uploads/{id}")).unwrap_or(HeaderValue::from_static(""));
    let headers = [(TUS_RESUMABLE, VERSION), (header::LOCATION, location)];
    Ok((StatusCode::CREATED, headers).into_response())
}

/// How far an upload is.
#[utoipa::path(head, path = "/api/v1/ota/uploads/{id}", tag = "upload",
    params(("id" = String, Path), ("Tus-Resumable" = inline(TusVersion), Header, description = "The version of the protocol")),
    responses(
        (status = 200, description = "How far", headers(("Upload-Offset" = u64, description = "Where to continue"), ("Upload-Length" = u64, description = "Its size"))),
        (status = 400, description = "Tus-Resumable is missing"),
        (status = 404, description = "There is no such upload"),
        (status = 412, description = "Another version of tus"),
        Refused,
    ))]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Admin(_): Admin,
    Name(id): Name,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    expect_version(&headers)?;
    let (id, upload) = app.uploads.take_over(&app.config, &id)?;
    let mut place = upload.incoming.lock().await;
    let offset = opened(&app, id, &mut place).await?;
    let headers = [
        (TUS_RESUMABLE, VERSION),
        (UPLOAD_OFFSET, HeaderValue::from(offset)),
        (UPLOAD_LENGTH, HeaderValue::from(upload.length)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((StatusCode::OK, headers).into_response())
}

/// Continues an upload. With the last byte, the bundle is accepted: `Location` names the update.
#[utoipa::path(patch, path = "/api/v1/ota/uploads/{id}", tag = "upload",
    params(
        ("id" = String, Path),
        ("Tus-Resumable" = inline(TusVersion), Header, description = "The version of the protocol"),
        ("Upload-Offset" = u64, Header, description = "Where these bytes begin"),
    ),
    request_body(content = Vec<u8>, content_type = "application/offset+octet-stream"),
    responses(
        (status = 204, description = "Received", headers(("Upload-Offset" = u64, description = "Where to continue"), ("Location" = String, description = "The update, once all is here"))),
        (status = 400, description = "Not a bundle, or a header is missing", body = Problem),
        (status = 404, description = "There is no such upload", body = Problem),
        (status = 408, description = "No more bytes came", body = Problem),
        (status = 409, description = "The bytes begin elsewhere, or the bundle is here already", body = Problem),
        (status = 412, description = "Another version of tus", body = Problem),
        (status = 413, description = "More than was announced, or the disk is full", body = Problem),
        (status = 415, description = "Not application/offset+octet-stream", body = Problem),
        Refused,
    ))]
pub(crate) async fn append(
    State(app): State<Arc<App>>,
    Admin(caller): Admin,
    Name(id): Name,
    request: Request,
) -> Result<Response, Refusal> {
    let headers = request.headers();
    expect_version(headers)?;
    if headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes) != Some(b"application/offset+octet-stream") {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the bytes of an upload are application/offset+octet-stream",
        ));
    }
    let offset = number(headers, &UPLOAD_OFFSET)?;
    let (id, upload) = app.uploads.take_over(&app.config, &id)?;
    // A task of its own: a broken connection drops the call, and the bytes that came must be kept all the same.
    let task = tokio::spawn(async move {
        let mut place = upload.incoming.clone().lock_owned().await;
        let there = opened(&app, id, &mut place).await?;
        if offset != there {
            return Err(Refusal::conflict(format!(
                "the upload continues at byte {there}, not {offset}"
            )));
        }
        let Some(incoming) = place.take() else {
            return Err(Refusal::conflict("the upload has ended"));
        };
        let (incoming, received) = receive(&upload, incoming, request.into_body(), upload.length - there).await;
        let Some(mut incoming) = incoming else {
            return received.map(|()| answer(there, None));
        };
        let is_complete = incoming.size() == upload.length;
        let outcome = match received {
            Ok(()) if is_complete => {
                app.uploads.forget(&app.config, id);
                finish(&app, &caller, incoming).await
            }
            Ok(()) => {
                let offset = incoming.size();
                *place = Some(incoming);
                return Ok(answer(offset, None));
            }
            Err(refusal) if refusal.status() == StatusCode::REQUEST_TIMEOUT => {
                *place = Some(incoming);
                return Err(refusal);
            }
            // A refusal is permanent, however often the bytes are sent.
            Err(refusal) => {
                incoming.discard();
                drop(incoming);
                app.uploads.forget(&app.config, id);
                Err(refusal)
            }
        };
        app.audit_upload(&caller, &outcome).await;
        outcome.map(|update| answer(upload.length, Some(update.public_id)))
    });
    match task.await {
        Ok(outcome) => outcome,
        Err(error) => Err(Refusal::internal(&Error::engine("receive an upload", error))),
    }
}

async fn finish(app: &Arc<App>, caller: &Caller, mut incoming: Incoming) -> Result<device::store::Update, Refusal> {
    incoming.discard();
    let (app, caller) = (app.clone(), caller.clone());
    blocking(move || claim::claim(&app, incoming.finish()?, &caller)).await
}

fn answer(offset: u64, update: Option<String>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(TUS_RESUMABLE, VERSION);
    headers.insert(UPLOAD_OFFSET, HeaderValue::from(offset));
    if let Some(location) = update.and_then(|id| HeaderValue::try_from(format!("{BASE}/{id}")).ok()) {
        headers.insert(header::LOCATION, location);
    }
    response
}

/// Writes what comes, at most `left` bytes. The bytes from before a broken connection are kept.
async fn receive(
    upload: &Upload,
    incoming: Incoming,
    body: Body,
    left: u64,
) -> (Option<Incoming>, Result<(), Refusal>) {
    let feed = Feed::start(incoming);
    let mut stream = body.into_data_stream();
    let interrupted = upload.interrupt.notified();
    tokio::pin!(interrupted);
    let mut left = left;
    let stopped = loop {
        let next = tokio::time::timeout(STALL, stream.next());
        let chunk = tokio::select! {
            chunk = next => chunk,
            () = &mut interrupted => break Err(cut_off("another request continues the upload")),
        };
        match chunk {
            Ok(Some(Ok(chunk))) => {
                let Some(rest) = left.checked_sub(chunk.len() as u64) else {
                    break Err(Refusal::new(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        "more came than was announced",
                    ));
                };
                left = rest;
                if !feed.send(chunk).await {
                    break Ok(());
                }
            }
            Ok(None) => break Ok(()),
            Ok(Some(Err(_))) => break Err(cut_off("the connection broke")),
            Err(_) => break Err(cut_off("no more bytes came")),
        }
    };
    let (incoming, written) = feed.end().await;
    (incoming, written.and(stopped))
}

fn cut_off(detail: &str) -> Refusal {
    Refusal::new(StatusCode::REQUEST_TIMEOUT, detail)
}

/// Cancels an upload.
#[utoipa::path(delete, path = "/api/v1/ota/uploads/{id}", tag = "upload",
    params(("id" = String, Path), ("Tus-Resumable" = inline(TusVersion), Header, description = "The version of the protocol")),
    responses(
        (status = 204, description = "Cancelled"),
        (status = 400, description = "Tus-Resumable is missing", body = Problem),
        (status = 404, description = "There is no such upload", body = Problem),
        (status = 412, description = "Another version of tus", body = Problem),
        Refused,
    ))]
pub(crate) async fn end(
    State(app): State<Arc<App>>,
    Admin(_): Admin,
    Name(id): Name,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    expect_version(&headers)?;
    let (id, upload) = app.uploads.take_over(&app.config, &id)?;
    let incoming = upload.incoming.lock().await.take();
    app.uploads.forget(&app.config, id);
    drop(incoming);
    fs::remove_file(file_of(&app.config, id)).ok();
    Ok((StatusCode::NO_CONTENT, [(TUS_RESUMABLE, VERSION)]).into_response())
}

fn expect_version(headers: &HeaderMap) -> Result<(), Refusal> {
    match headers.get(TUS_RESUMABLE) {
        Some(version) if version == VERSION => Ok(()),
        Some(_) => Err(Refusal::new(
            StatusCode::PRECONDITION_FAILED,
            "the header Tus-Resumable must be 1.0.0",
        )),
        None => Err(Refusal::bad_request("the header Tus-Resumable is missing: 1.0.0")),
    }
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<u64, Refusal> {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| Refusal::bad_request(format!("the header {name} must be a number of bytes")))
}
