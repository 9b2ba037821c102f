//! What may be done unasked: downloading what is newer, and applying what is here while a window is open.
//!
//! A bundle that was tried before, with any outcome, is never tried again unasked: a person has to want it.

use jiff::{civil::DateTime, tz::TimeZone};

use device::config::window::is_open;
use device::{
    Error, Result,
    config::Config,
    engine::Updater,
    state::Phase,
    store::{Store, Update},
    system::clock::Clock,
};

/// The update that is to be applied now because its bundle has come from GitHub.
///
/// # Errors
/// The record cannot be read.
pub fn due(config: &Config, store: &Store, clock: &dyn Clock) -> Result<Option<Update>> {
    due_at(config, store, clock.now().to_zoned(TimeZone::system()).datetime())
}

fn due_at(config: &Config, store: &Store, time: DateTime) -> Result<Option<Update>> {
    if config.github.is_none() {
        return Ok(None);
    }
    let is_here = |update: &Update| update.bundle.as_ref().is_some_and(|bundle| bundle.exists());
    let updates = store.updates()?.into_iter().filter(is_here);
    let mut waiting = Vec::new();
    for update in updates {
        match update.state.phase {
            // A download request with `apply` includes applying.
            Phase::Downloading => return Ok(Some(update)),
            Phase::Pending if !store.download(update.id)?.is_empty() => waiting.push(update),
            _ => {}
        }
    }
    if !config.automatic.apply || !is_open(&config.automatic.windows, time) {
        return Ok(None);
    }
    let Some(current) = store.current()? else {
        return Ok(None);
    };
    waiting.retain(|update| update.version > current.version);
    Ok(waiting.into_iter().max_by(|a, b| a.version.cmp(&b.version)))
}

/// Applies the update whose bundle has come from GitHub, if it is time for one.
///
/// # Errors
/// The record cannot be used. How the update ended is in the record, and noted.
pub(crate) fn apply_what_is_due(updater: &mut Updater<'_>) -> Result<()> {
    let Some(update) = due(updater.config, &updater.store, updater.clock)? else {
        return Ok(());
    };
    // Without an engine any update would fail.
    updater.engine.facts()?;
    match updater.apply_unasked(&update) {
        Err(error @ Error::Store(_)) => return Err(error),
        Err(error) => updater.progress.note(&format!("{}: {error}", update.version)),
        Ok(state) => updater.progress.note(&format!("{}: {}", update.version, state.phase)),
    }
    Ok(())
}
