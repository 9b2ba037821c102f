//! Commands: registering a version, applying, rolling back, deleting.
//!
//! Registering only adds a record that waits. The daemon executes or refuses the others; the audit log has both outcomes.

use std::sync::Arc;

use axum::{Json, extract::State, response::Response};
use semver::Version;

use super::views::{ApplyOptions, NewVersion, RollbackOptions};
use crate::web::{
    access::{Admin, Caller},
    answer::{Done, created},
    app::App,
    body::{Body, InvalidBody, Name, OptionalBody},
    refusal::{Problem, Refusal, Refused},
    worker::blocking,
};
use device::{
    control::requests::Command,
    state::Phase,
    store::{NewUpdate, Origin, Update},
    system::clock::stamp,
};

/// The longest accepted version, in bytes.
const MAX_VERSION: usize = 100;

/// The longest accepted release notes, in characters.
const MAX_CHANGELOG: usize = 100_000;

/// Registers a version by hand: it waits until its bundle is uploaded or downloaded.
#[utoipa::path(post, path = "/api/v1/ota", tag = "updates", request_body = NewVersion,
    responses(
        (status = 201, description = "Registered", body = Done, headers(("Location" = String, description = "The update"))),
        (status = 409, description = "The version exists", body = Problem),
        (status = 422, description = "Not a semantic version", body = Problem),
        InvalidBody,
        Refused,
    ))]
pub(crate) async fn register(
    State(app): State<Arc<App>>,
    Admin(caller): Admin,
    Body(new): Body<NewVersion>,
) -> Result<Response, Refusal> {
    let text = new.version.trim();
    let version = Version::parse(text).ok().filter(|_| text.len() <= MAX_VERSION);
    let version = version.ok_or_else(|| {
        let shown: String = text.chars().take(MAX_VERSION).collect();
        Refusal::unprocessable(format!("`{shown}` is not a semantic version, such as 2.1.0"))
    })?;
    let changelog = new.changelog.unwrap_or_default();
    if changelog.chars().count() > MAX_CHANGELOG {
        return Err(Refusal::unprocessable(format!(
            "the release notes are longer than {MAX_CHANGELOG} characters"
        )));
    }
    let outcome = add(&app, &caller, &version, changelog).await;
    app.audit_outcome(&caller, "register", &version.to_string(), &outcome)
        .await;
    Ok(created(
        &outcome?,
        &format!("{version} is registered; upload its bundle to apply it"),
    ))
}

async fn add(app: &Arc<App>, caller: &Caller, version: &Version, changelog: String) -> Result<Update, Refusal> {
    let origin = Origin {
        requested_by: Some(caller.who.to_string()),
        file_sha256: None,
    };
    let new = NewUpdate {
        version: version.clone(),
        changelog,
        bundle: None,
        manifest_digest: None,
        file_size: None,
    };
    let shared = app.clone();
    blocking(move || {
        let _claiming = shared.claiming.lock();
        let exists = shared.store(|store| Ok(store.updates()?.iter().any(|update| update.version == new.version)))?;
        if exists {
            return Err(Refusal::conflict(format!("{} is in the list already", new.version)));
        }
        let now = stamp(jiff::Timestamp::now());
        Ok(shared.store(|store| store.add_requested(&new, &origin, &now))?)
    })
    .await
}

/// Applies an update that waits, or tries one again that did not work. With `download_url`, its bundle is downloaded first.
#[utoipa::path(post, path = "/api/v1/ota/{id}/apply", tag = "updates",
    params(("id" = String, Path, description = "The update's public_id")),
    request_body(content = inline(Option<ApplyOptions>), description = "May be left away"),
    responses(
        (status = 200, description = "Begun", body = Done),
        (status = 404, description = "There is no such update", body = Problem),
        (status = 409, description = "It cannot be applied now", body = Problem),
        (status = 422, description = "Not what it should be, or an address that is not a release asset of the declared repository", body = Problem),
        InvalidBody,
        Refused,
    ))]
pub(crate) async fn apply(
    State(app): State<Arc<App>>,
    Admin(caller): Admin,
    Name(id): Name,
    OptionalBody(options): OptionalBody<Option<ApplyOptions>>,
) -> Result<Json<Done>, Refusal> {
    let options = options.unwrap_or_default();
    let update = app.update(&id).await?;
    let outcome = begin(&app, &update, options).await;
    let subject = update.version.to_string();
    app.audit_outcome(&caller, "apply", &subject, &outcome).await;
    outcome.map(Json)
}

async fn begin(app: &Arc<App>, update: &Update, options: ApplyOptions) -> Result<Done, Refusal> {
    let expected = options.file_hash_sha256.as_deref().map(parse_hash).transpose()?;
    if let Some(url) = options.download_url {
        return super::github::begin_download(app, update, &url, expected).await;
    }
    if let Some(expected) = expected {
        let id = update.id;
        let origin = app.record(move |store| store.origin(id)).await?;
        if origin.file_sha256.is_some_and(|known| known != expected) {
            return Err(Refusal::unprocessable(
                "the bundle on this device is another file: its SHA-256 is not the one that is expected",
            ));
        }
    }
    app.ask(Command::Apply { id: update.id }).await?;
    Ok(Done::new(format!("{} is being applied", update.version)))
}

fn parse_hash(text: &str) -> Result<bundle::Digest, Refusal> {
    bundle::Digest::from_hex(&text.trim().to_ascii_lowercase())
        .map_err(|_| Refusal::unprocessable("file_hash_sha256 is not a SHA-256 of 64 hexadecimal digits"))
}

/// Brings the version back that ran before a completed update.
#[utoipa::path(post, path = "/api/v1/ota/{id}/rollback", tag = "updates",
    params(("id" = String, Path, description = "The update's public_id")),
    request_body(content = inline(Option<RollbackOptions>), description = "May be left away"),
    responses(
        (status = 200, description = "Begun", body = Done),
        (status = 404, description = "There is no such update", body = Problem),
        (status = 409, description = "It cannot be rolled back", body = Problem),
        (status = 422, description = "Not what it should be", body = Problem),
        InvalidBody,
        Refused,
    ))]
pub(crate) async fn roll_back(
    State(app): State<Arc<App>>,
    Admin(caller): Admin,
    Name(id): Name,
    OptionalBody(options): OptionalBody<Option<RollbackOptions>>,
) -> Result<Json<Done>, Refusal> {
    let options = options.unwrap_or_default();
    let update = app.update(&id).await?;
    let command = Command::RollBack {
        id: update.id,
        discard_data_since: options.discard_data_since,
    };
    let outcome = match update.state.phase {
        Phase::Completed => app.ask(command).await,
        phase => Err(Refusal::conflict(format!(
            "the update to {} is {phase}, and only a completed one can be rolled back",
            update.version
        ))),
    };
    app.audit_outcome(&caller, "rollback", &update.version.to_string(), &outcome)
        .await;
    outcome?;
    Ok(Json(Done::new(format!("{} is being rolled back", update.version))))
}

/// Removes the record of an update, and its bundle unless a version needs it that runs or ran before.
#[utoipa::path(delete, path = "/api/v1/ota/{id}", tag = "updates",
    params(("id" = String, Path, description = "The update's public_id")),
    responses(
        (status = 200, description = "Removed", body = Done),
        (status = 404, description = "There is no such update", body = Problem),
        (status = 409, description = "It is under way, or needed", body = Problem),
        Refused,
    ))]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Admin(caller): Admin,
    Name(id): Name,
) -> Result<Json<Done>, Refusal> {
    let update = app.update(&id).await?;
    let outcome = app.ask(Command::Delete { id: update.id }).await;
    app.audit_outcome(&caller, "delete", &update.version.to_string(), &outcome)
        .await;
    outcome?;
    Ok(Json(Done::new(format!("the record of {} is removed", update.version))))
}
