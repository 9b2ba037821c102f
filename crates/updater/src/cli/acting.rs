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
    containers::docker::Docker,
    engine::{Means, Updater, lock::Lock, preflight::Permissions},
    store::Store,
    system::clock::SystemClock,
};

/// Acts while holding the lock: an interrupted update is finished or undone first, and a version that was set by hand is
/// adopted. `what` names the command to those who find the lock taken.
pub(super) fn acting<T>(config: &Config, what: &str, act: impl FnOnce(&mut Updater<'_>) -> Result<T>) -> Result<T> {
    with(config, what, |means, lock| act(&mut Updater::recovered(means, lock)?))
}

/// As [`acting`], for commands that leave an interrupted update as it is.
pub(super) fn looking<T>(config: &Config, what: &str, look: impl FnOnce(&mut Updater<'_>) -> Result<T>) -> Result<T> {
    with(config, what, |means, lock| look(&mut Updater::as_it_is(means, lock)?))
}

/// Acts while holding the lock, then shows the status.
pub(super) fn acting_and_showing(
    config: &Config,
    what: &str,
    json: Json,
    act: impl FnOnce(&mut Updater<'_>) -> Result<()>,
) -> Result<()> {
    with(config, what, |means, lock| {
        act(&mut Updater::recovered(means, lock)?)?;
        // The lock is free again. The engine is the same: it is not asked once more what it is.
        status::show(config, &Store::open(&config.database())?, means.engine, json)
    })
}

fn with<T>(config: &Config, what: &str, act: impl FnOnce(Means<'_>, Lock) -> Result<T>) -> Result<T> {
    let lock = Lock::take(&config.lock(), what)?;
    debug!(what, "lock taken");
    // One may have been removed since the installation, and without a place for its bundle an update never ends.
    config.make_directories()?;
    let engine = Docker::new(config.docker_host.as_deref())?;
    let (clock, progress) = (SystemClock::start(), Terminal::new());
    let means = Means {
        config,
        engine: &engine,
        clock: &clock,
        progress: &progress,
    };
    let done = act(means, lock);
    debug!("lock released");
    done
}

/// `updater start`.
pub(super) fn start(config: &Config) -> Result<()> {
    match acting(config, "updater start", |updater| updater.start())? {
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
        let update = updater.take_by_hand(bundle, permissions)?;
        updater.apply(update.id).map(drop)
    })
}
