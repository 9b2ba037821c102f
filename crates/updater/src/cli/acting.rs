//! Commands that act on the product: take the lock, call the engine, show the status afterwards.

use std::path::Path;

use tracing::debug;

use super::{
    output::{Json, out},
    status,
    terminal::Terminal,
};
use device::{
    Error, Result,
    config::Config,
    containers::{SystemClock, docker::Docker},
    engine::{Updater, lock::Lock, preflight::Permissions},
    store::Store,
};

/// Acts while holding the lock. `what` names the command to those who find the lock taken.
pub(super) fn acting<T>(config: &Config, what: &str, act: impl FnOnce(&mut Updater<'_>) -> Result<T>) -> Result<T> {
    acting_then(config, what, act, |_, done| Ok(done))
}

/// Acts while holding the lock, then shows the status.
pub(super) fn acting_and_showing(
    config: &Config,
    what: &str,
    json: Json,
    act: impl FnOnce(&mut Updater<'_>) -> Result<()>,
) -> Result<()> {
    acting_then(config, what, act, |updater, ()| {
        // With the updater's own connection: it knows already what the engine is.
        status::show(config, &updater.store, updater.engine, json)
    })
}

fn acting_then<T, U>(
    config: &Config,
    what: &str,
    act: impl FnOnce(&mut Updater<'_>) -> Result<T>,
    then: impl FnOnce(&Updater<'_>, T) -> Result<U>,
) -> Result<U> {
    let lock = Lock::take(&config.lock(), what)?;
    debug!(what, "lock taken");
    // One may have been removed since the installation, and without a place for its bundle an update never ends.
    config.make_folders()?;
    let engine = Docker::new(config.docker_host.as_deref())?;
    let (clock, progress) = (SystemClock::start(), Terminal::new());
    let mut updater = Updater::new(config, Store::open(&config.database())?, &engine, &clock, &progress);
    let done = act(&mut updater)?;
    drop(lock);
    debug!("lock released");
    then(&updater, done)
}

/// `updater start`.
pub(super) fn start(config: &Config) -> Result<()> {
    let started = acting(config, "updater start", |updater| updater.start())?;
    match started.version {
        Some(version) => out(format_args!("{} {version} runs", config.product)),
        None => Err(Error::refused(
            format!("{} is not installed", config.product),
            "updater install BUNDLE, or drop a bundle into updates/",
        )),
    }
}

/// Applies a bundle and shows the status. An interrupted update is finished or undone first.
pub(super) fn apply_bundle(
    config: &Config,
    what: &str,
    bundle: &Path,
    permissions: Permissions,
    json: Json,
) -> Result<()> {
    acting_and_showing(config, what, json, |updater| {
        updater.recover()?;
        updater.adopt()?;
        let update = updater.take_by_hand(bundle, permissions)?;
        updater.apply(update.id).map(drop)
    })
}
