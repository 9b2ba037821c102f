//! The [`Updater`]: its parts, and what all phases of an update share.

use std::{path::PathBuf, time::Duration};

use crate::{
    Error, Result,
    config::Config,
    containers::{ContainerEngine, EngineFacts},
    control::progress::Progress,
    engine::lock::Lock,
    stack::bundle_files::Bundle,
    state::{Event, State},
    store::{Change, Fact, NewUpdate, Release, Store, Update},
    system::clock::Clock,
};

/// How long bringing a version back waits for an engine that does not answer.
const ENGINE_PATIENCE: Duration = Duration::from_secs(5 * 60);

/// How often it is asked meanwhile.
const ENGINE_PAUSE: Duration = Duration::from_secs(2);

/// The dependencies of an updater.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// Where everything is.
    pub config: &'a Config,
    /// Docker.
    pub engine: &'a dyn ContainerEngine,
    /// Time.
    pub clock: &'a dyn Clock,
    /// Where progress is reported.
    pub progress: &'a dyn Progress,
}

/// Applies updates and rolls them back, one at a time: it owns the lock.
pub struct Updater<'a> {
    /// Where everything is.
    pub config: &'a Config,
    /// The durable record.
    pub store: Store,
    /// Docker.
    pub engine: &'a dyn ContainerEngine,
    /// Time.
    pub clock: &'a dyn Clock,
    /// Where progress is reported.
    pub progress: &'a dyn Progress,
    /// The bundle of the update under way, once it is verified by this process.
    pub(super) opened: Option<Opened>,
    /// How long the bundle that was opened last took to be verified, in milliseconds.
    pub(super) verify_ms: u64,
    /// Why the update under way failed.
    pub(super) failure: Option<Error>,
    lock: Lock,
}

/// A verified bundle, and the engine that it is for.
pub(super) struct Opened {
    pub(super) update: i64,
    pub(super) bundle: Bundle,
    pub(super) engine: EngineFacts,
}

impl<'a> Updater<'a> {
    /// An updater that acts: finishes or undoes what was interrupted, and adopts a version that was set by hand.
    ///
    /// # Errors
    /// The record cannot be used, or the version that was set by hand cannot be adopted. A device that is stuck is no
    /// error here: it stays so until a person retries.
    pub fn recovered(means: Means<'a>, lock: Lock) -> Result<Self> {
        let mut updater = Self::as_it_is(means, lock)?;
        updater.recover()?;
        updater.adopt()?;
        Ok(updater)
    }

    /// An updater that only looks: nothing is recovered or adopted.
    ///
    /// # Errors
    /// The record cannot be opened.
    pub fn as_it_is(means: Means<'a>, lock: Lock) -> Result<Self> {
        let Means {
            config,
            engine,
            clock,
            progress,
        } = means;
        Ok(Self {
            config,
            store: Store::open(&config.database())?,
            engine,
            clock,
            progress,
            opened: None,
            verify_ms: 0,
            failure: None,
            lock,
        })
    }

    pub(super) fn means(&self) -> Means<'a> {
        Means {
            config: self.config,
            engine: self.engine,
            clock: self.clock,
            progress: self.progress,
        }
    }

    /// Ends acting, and returns the lock to the caller.
    pub fn into_lock(self) -> Lock {
        self.lock
    }

    /// Records a new update, which waits.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn add(&mut self, new: &NewUpdate) -> Result<Update> {
        let now = self.clock.stamp();
        self.store.add(new, &now)
    }

    pub(super) fn record(&mut self, id: i64, event: Event, change: Change) -> Result<State> {
        let now = self.clock.stamp();
        self.store.record(id, event, &change, &now)
    }

    /// Notes something that does not stop the update.
    pub(super) fn warn(&mut self, id: i64, text: String) -> Result<()> {
        self.progress.note(&format!("warning: {text}"));
        self.store.add_facts(id, &[Fact::Warning(text)])
    }

    /// Waits for an engine that is being restarted: bringing a version back must not fail because of that.
    pub(super) fn wait_for_engine(&self) -> Result<()> {
        let began = self.clock.elapsed();
        loop {
            let error = match self.engine.facts() {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            if self.clock.elapsed().saturating_sub(began) > ENGINE_PATIENCE {
                return Err(error);
            }
            self.clock.sleep(ENGINE_PAUSE);
        }
    }

    /// The release that an update started from.
    pub(super) fn release_before(&self, update: &Update) -> Result<Option<Release>> {
        update.from.map(|id| self.store.release(id)).transpose()
    }

    /// The release that an update brings.
    pub(super) fn release_after(&self, update: &Update) -> Result<Release> {
        match update.to {
            Some(id) => self.store.release(id),
            None => Err(Error::engine("go on", "the release was not recorded")),
        }
    }

    /// The directory for what an update replaces, until it has ended.
    pub(super) fn work_directory(&self, update: &Update) -> PathBuf {
        self.config.work().join(&update.public_id)
    }
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A time as file names have it: `20260131T120000Z`.
pub(super) fn compact(stamp: &str) -> String {
    stamp.chars().filter(|c| !matches!(c, '-' | ':')).collect()
}
