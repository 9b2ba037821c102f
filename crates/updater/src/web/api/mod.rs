//! The API: reading here, commands in `actions`, live events, metrics.

pub(crate) mod actions;
pub(crate) mod events;
pub(crate) mod github;
pub(crate) mod metrics;
pub(crate) mod views;

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use self::views::{AuditList, Check, UpdateList, UpdateView};
use super::{
    access::{Caller, Reader, Who},
    app::App,
    body::{Name, Page},
    refusal::{Problem, Refusal, Refused},
};
use device::engine::rollback_plan::{self, RollbackPlan};

/// That this program answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    status: &'static str,
}

/// Whether the updater answers.
#[utoipa::path(get, path = "/health", tag = "device",
    responses((status = 200, description = "It does", body = Health)), security(()))]
pub(crate) async fn health() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Every update that is recorded, the newest first.
#[utoipa::path(get, path = "/api/v1/ota", tag = "updates",
    params(
        ("page" = Option<u64>, Query, minimum = 1, maximum = 1000000, description = "Which part of the list, from 1"),
        ("page_size" = Option<u64>, Query, minimum = 1, maximum = 100, description = "How many in a part; 20 unless said"),
    ),
    responses(
        (status = 200, description = "A part of the list", body = UpdateList),
        (status = 422, description = "No such part", body = Problem),
        Refused,
    ))]
pub(crate) async fn list(State(app): State<Arc<App>>, _: Reader, page: Page) -> Result<Json<UpdateList>, Refusal> {
    let (offset, limit) = (page.offset(), page.page_size);
    let shared = app.clone();
    let (data, total) = app
        .record(move |store| {
            let (updates, total) = store.page_of_updates(offset, limit)?;
            let views = updates.into_iter().map(|update| UpdateView::of(&shared, store, update));
            Ok((views.collect::<device::Result<Vec<_>>>()?, total))
        })
        .await?;
    Ok(Json(UpdateList {
        data,
        total,
        page: page.page,
        page_size: page.page_size,
    }))
}

/// One update.
#[utoipa::path(get, path = "/api/v1/ota/{id}", tag = "updates",
    params(("id" = String, Path, description = "The update's public_id")),
    responses(
        (status = 200, description = "The update", body = UpdateView),
        (status = 404, description = "There is none", body = Problem),
        Refused,
    ))]
pub(crate) async fn show(State(app): State<Arc<App>>, _: Reader, Name(id): Name) -> Result<Json<UpdateView>, Refusal> {
    let update = app.update(&id).await?;
    let shared = app.clone();
    let view = app.record(move |store| UpdateView::of(&shared, store, update)).await?;
    Ok(Json(view))
}

/// What runs, and what could: by the records of this device, and by GitHub. Without credentials, only what runs.
#[utoipa::path(get, path = "/api/v1/ota/check", tag = "device",
    responses((status = 200, description = "What runs, and what could", body = Check), Refused), security((), ("session" = []), ("token" = [])))]
pub(crate) async fn check(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Check>, Refusal> {
    let (current, newest) = app
        .record(|store| {
            let current = store.current()?.map(|release| release.version);
            let waiting = store.updates()?.into_iter();
            let waiting = waiting.filter(|update| update.state.phase == device::state::Phase::Pending);
            Ok((current, waiting.map(|update| update.version).max()))
        })
        .await?;
    let current_version = current.as_ref().map(ToString::to_string);
    if caller.who == Who::Anonymous {
        return Ok(Json(Check {
            current_version,
            ..Check::default()
        }));
    }
    let github = github::newest(&app).await;
    let latest = [current.clone(), newest, github.version.clone()]
        .into_iter()
        .flatten()
        .max();
    Ok(Json(Check {
        current_version,
        update_available: Some(latest > current),
        latest_version: latest.as_ref().map(ToString::to_string),
        github_latest_version: github.version.as_ref().map(ToString::to_string),
        github_download_url: github.download_url,
        github_release_url: github.release_url,
        github_error: github.error,
    }))
}

/// Who did what, the newest first.
#[utoipa::path(get, path = "/api/v1/ota/audit", tag = "device",
    params(
        ("page" = Option<u64>, Query, minimum = 1, maximum = 1000000, description = "Which part of the log, from 1"),
        ("page_size" = Option<u64>, Query, minimum = 1, maximum = 100, description = "How many in a part; 20 unless said"),
    ),
    responses(
        (status = 200, description = "A part of the log", body = AuditList),
        (status = 422, description = "No such part", body = Problem),
        Refused,
    ))]
pub(crate) async fn audit(State(app): State<Arc<App>>, _: Reader, page: Page) -> Result<Json<AuditList>, Refusal> {
    let (offset, limit) = (page.offset(), page.page_size);
    let (lines, total) = app.record(move |store| store.audit(offset, limit)).await?;
    Ok(Json(AuditList {
        data: lines,
        total,
        page: page.page,
        page_size: page.page_size,
    }))
}

/// What rolling back an update would mean for the data. Changes nothing.
#[utoipa::path(get, path = "/api/v1/ota/{id}/rollback", tag = "updates",
    params(("id" = String, Path, description = "The update's public_id")),
    responses(
        (status = 200, description = "What it would mean", body = RollbackPlan),
        (status = 404, description = "There is no such update", body = Problem),
        (status = 409, description = "It cannot be rolled back", body = Problem),
        Refused,
    ))]
pub(crate) async fn rollback_plan(
    State(app): State<Arc<App>>,
    _: Reader,
    Name(id): Name,
) -> Result<Json<RollbackPlan>, Refusal> {
    let update = app.update(&id).await?;
    let plan = app
        .record(move |store| rollback_plan::rollback_plan(store, &update))
        .await?;
    Ok(Json(plan))
}
