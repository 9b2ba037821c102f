//! `updater status`: reads the record and asks the engine, without the lock.

use super::{
    output::{Json, out, print},
    show::{self, DownloadView, Status, UpdateView},
};
use device::{
    Result,
    config::Config,
    containers::{ContainerEngine, docker::Docker},
    engine::lock::Lock,
    stack::release,
    state::Phase,
    store::{Store, Update},
};

/// `updater status`.
pub(super) fn status(config: &Config, json: Json) -> Result<()> {
    let engine = Docker::new(config.docker_host.as_deref())?;
    show(config, &Store::open(&config.database())?, &engine, json)
}

/// Prints the status. An engine that does not answer is part of it.
pub(super) fn show(config: &Config, store: &Store, engine: &dyn ContainerEngine, Json { json }: Json) -> Result<()> {
    let current = store.current()?;
    let updates = store.updates()?;
    let downloads = downloads(store, &updates)?;
    let update = match store.active()?.or(store.stuck()?) {
        Some(update) => Some(update),
        None => updates.into_iter().next(),
    };
    let containers = match &current {
        Some(current) => engine.containers(&release::stack(config, current)),
        None => Ok(Vec::new()),
    };
    let status = Status {
        product: config.product.to_string(),
        previous: store.previous()?,
        current,
        update: update.map(UpdateView::from),
        downloads,
        busy: Lock::holder(&config.lock())?,
        engine_error: containers.as_ref().err().map(ToString::to_string),
        containers: containers.unwrap_or_default(),
    };
    if json {
        print(&status)
    } else {
        out(show::status(&status))
    }
}

/// The updates that are being downloaded.
fn downloads(store: &Store, updates: &[Update]) -> Result<Vec<DownloadView>> {
    let is_coming = |update: &&Update| update.state.phase == Phase::Downloading;
    updates
        .iter()
        .filter(is_coming)
        .map(|update| {
            Ok(DownloadView {
                fetched: store.fetched(update.id)?,
                version: update.version.clone(),
                interruption: update.error.clone(),
            })
        })
        .collect()
}
