//! The life of an update: replay the record → do what the phase says → record what came of it.
//!
//! ```text
//! admit       verifying    the bundle is whole and trusted, and this device can take it; nothing changes
//! apply       backing up → loading → (quiescing) → switching → checking → soaking
//! commit      committing   tidying up; for a gated update, starting the rest
//! undo        undoing, rolling back, returning: making a release run that ran before
//! ```
//!
//! [`Updater::drive`] is the loop. A phase is durable before it begins ([`crate::store::Store::record`]), so after a crash
//! [`Updater::recover`] knows what was being done, and does it again: every phase may be repeated.

pub(crate) mod adopt;
pub(crate) mod apply;
pub(crate) mod asked;
pub(crate) mod commit;
pub(crate) mod diagnose;
pub mod intake;
pub(crate) mod legacy;
pub mod lock;
pub mod preflight;
pub mod rollback_plan;
pub mod self_update;
pub(crate) mod undo;
pub mod verify;

use std::time::Duration;

use crate::{
    Error, Result,
    config::Config,
    containers::{ContainerEngine, EngineFacts},
    control::progress::Progress,
    stack::bundle_files::Bundle,
    state::{Event, Phase, State},
    store::{Change, Facts, NewUpdate, Release, Store, Update},
    system::{clock::Clock, files},
};

/// How long bringing a version back waits for an engine that does not answer.
const ENGINE_PATIENCE: Duration = Duration::from_secs(5 * 60);

/// How often it looks.
const ENGINE_PAUSE: Duration = Duration::from_secs(2);

/// Everything that an update is applied with. Whoever makes one holds the lock.
pub struct Updater<'a> {
    /// Where everything lies.
    pub config: &'a Config,
    /// The durable record.
    pub store: Store,
    /// Docker.
    pub engine: &'a dyn ContainerEngine,
    /// Time.
    pub clock: &'a dyn Clock,
    /// Whoever watches.
    pub progress: &'a dyn Progress,
    /// The bundle of the update under way, once it is verified by this process.
    opened: Option<Opened>,
    /// How long the bundle that was opened last took to be verified, in milliseconds.
    pub(crate) verify_ms: u64,
    /// Why the update under way failed.
    failure: Option<Error>,
}

/// A verified bundle with the engine that it is for.
pub struct Opened {
    pub(crate) update: i64,
    pub(crate) bundle: Bundle,
    pub(crate) engine: EngineFacts,
}

impl<'a> Updater<'a> {
    /// An updater for a device.
    pub fn new(
        config: &'a Config,
        store: Store,
        engine: &'a dyn ContainerEngine,
        clock: &'a dyn Clock,
        progress: &'a dyn Progress,
    ) -> Self {
        Self {
            config,
            store,
            engine,
            clock,
            progress,
            opened: None,
            verify_ms: 0,
            failure: None,
        }
    }

    /// Finishes or undoes what was under way when the updater ended, if anything was.
    ///
    /// # Errors
    /// What [`Updater::drive`] gives. A device that is stuck stays so until a person retries.
    pub fn recover(&mut self) -> Result<Option<State>> {
        let Some(update) = self.store.active()? else {
            self.tidy()?;
            return Ok(None);
        };
        self.progress.note(&format!(
            "{} was interrupted while {}; going on",
            update.version, update.state.phase
        ));
        let next = update.state.next(Event::Interrupted)?;
        let mut change = Change {
            detail: Some("the updater was ended in the middle".to_owned()),
            ..Change::default()
        };
        if next.phase != update.state.phase {
            let message = format!("interrupted {} times while {}", next.interruptions, update.state.phase);
            if next.phase == Phase::Failed {
                self.reject(update.id, &message)?;
            }
            change.error = Some(message);
        }
        self.record(update.id, Event::Interrupted, change)?;
        self.drive(update.id).map(Some)
    }

    /// Applies an update that waits.
    ///
    /// # Errors
    /// Why it was refused, with nothing changed; [`Error::Undone`] if the version before runs; [`Error::Stuck`].
    pub fn apply(&mut self, id: i64) -> Result<State> {
        self.begin(id)?;
        self.go_on(id)
    }

    /// Records that an update that waits is applied; [`Updater::go_on`] does it.
    pub(crate) fn begin(&mut self, id: i64) -> Result<()> {
        self.failure = None;
        self.expect_rest()?;
        self.record(id, Event::Start, Change::default()).map(drop)
    }

    /// Does what was begun, and says how it ended.
    pub fn go_on(&mut self, id: i64) -> Result<State> {
        let state = self.drive(id)?;
        self.outcome(id, state)
    }

    /// Brings the version back that ran before an update. What is in the way is found before anything is changed.
    ///
    /// # Errors
    /// Why it is not possible; [`Error::Undone`] if the newer version runs again; [`Error::Stuck`].
    pub fn roll_back(&mut self, id: i64, discard_data_since: Option<&str>) -> Result<State> {
        self.begin_rollback(id, discard_data_since)?;
        self.go_on(id)
    }

    /// Records that an update is rolled back; [`Updater::go_on`] does it.
    pub(crate) fn begin_rollback(&mut self, id: i64, discard_data_since: Option<&str>) -> Result<()> {
        self.failure = None;
        self.expect_rest()?;
        let update = self.store.update(id)?;
        self.expect_rollback(&update, discard_data_since)?;
        let facts = Facts {
            discard_data_since: discard_data_since.map(str::to_owned),
            // The name that an earlier rollback has used would say that the data was put back.
            replaced_database: None,
            ..update.facts
        };
        self.record(
            id,
            Event::RollBack,
            Change {
                facts: Some(facts),
                ..Change::default()
            },
        )
        .map(drop)
    }

    /// Tries again what is stuck.
    ///
    /// # Errors
    /// Nothing is stuck; [`Error::Stuck`] if it still is.
    pub fn retry(&mut self) -> Result<State> {
        let stuck = self
            .store
            .stuck()?
            .ok_or_else(|| Error::refused("nothing is stuck", "updater status"))?;
        self.begin_retry(stuck.id)?;
        self.go_on(stuck.id)
    }

    /// Records that what is stuck is tried again; [`Updater::go_on`] does it.
    pub(crate) fn begin_retry(&mut self, id: i64) -> Result<()> {
        self.failure = None;
        self.record(id, Event::Retry, Change::default()).map(drop)
    }

    /// Does what the record says, until the update rests.
    ///
    /// # Errors
    /// The record cannot be read or written. Everything else becomes an event.
    pub fn drive(&mut self, id: i64) -> Result<State> {
        loop {
            let update = self.store.update(id)?;
            let phase = update.state.phase;
            if !phase.is_active() {
                self.opened = None;
                return Ok(update.state);
            }
            self.progress.phase(&update.version.to_string(), phase);
            let began = self.clock.elapsed();
            let (event, mut change) = match self.step(&update) {
                Ok(done) => done,
                // A record that cannot be written cannot say what comes next: the next start finds out.
                Err(error @ Error::Store(_)) => return Err(error),
                Err(error) => self.failed(&update, error)?,
            };
            let mut facts = match change.facts.take() {
                Some(facts) => facts,
                None => self.store.update(id)?.facts,
            };
            let took = self.clock.elapsed().saturating_sub(began);
            *facts.durations_ms.entry(phase.name().to_owned()).or_default() += milliseconds(took);
            change.facts = Some(facts);
            self.record(id, event, change)?;
        }
    }

    fn step(&mut self, update: &Update) -> Result<(Event, Change)> {
        let done = |event| Ok((event, Change::default()));
        match update.state.phase {
            Phase::Verifying => self.admit(update),
            Phase::BackingUp => self.back_up(update).and_then(|()| done(Event::BackedUp)),
            Phase::Loading => self.load(update).and_then(|()| done(Event::Loaded)),
            Phase::Quiescing => self.quiesce(update).and_then(|()| done(Event::Quiesced)),
            Phase::Switching => self.switch(update).and_then(|()| done(Event::Switched)),
            Phase::Checking => self.check(update).and_then(|()| done(Event::Healthy)),
            Phase::Soaking => self.soak(update).map(|change| (Event::Stayed, change)),
            Phase::Committing => self.commit(update).and_then(|()| done(Event::Committed)),
            Phase::Undoing => self.undo(update).and_then(|()| done(Event::Restored)),
            Phase::RollingBack => self.bring_back(update).map(|change| (Event::Restored, change)),
            Phase::Returning => self.return_to(update).and_then(|()| done(Event::Restored)),
            phase @ (Phase::Pending
            | Phase::Downloading
            | Phase::Completed
            | Phase::Failed
            | Phase::Stuck
            | Phase::RolledBack) => Err(Error::engine(
                "go on",
                format!("an update that is {phase} does nothing"),
            )),
        }
    }

    /// What a phase that did not work means.
    fn failed(&mut self, update: &Update, error: Error) -> Result<(Event, Change)> {
        let message = error.with_hint();
        // A refusal is told by whoever asked; nothing has happened.
        if update.state.phase != Phase::Verifying {
            self.progress.note(&format!(
                "{} failed while {}: {error}",
                update.version, update.state.phase
            ));
        }
        let event = match update.state.phase {
            Phase::Undoing | Phase::Returning => Event::RestoreFailed,
            // The new version stays, whatever could not be started or tidied up: that is noted and told.
            Phase::Committing => {
                self.warn(update.id, message)?;
                self.failure = Some(error);
                return Ok((Event::Committed, Change::default()));
            }
            _ => Event::Failed,
        };
        if event == Event::Failed && update.state.phase != Phase::RollingBack {
            // Now, while the containers that failed are still there.
            self.keep_diagnosis(update, &message);
        }
        if update.state.phase == Phase::Verifying {
            // Before it is recorded: a crash in between does it again.
            if error.is_the_bundles_fault()
                && let Some(digest) = update.manifest_digest
            {
                self.store.refuse(&digest, &message, &self.clock.stamp())?;
            }
            self.reject(update.id, &message)?;
            files::remove(&self.work_folder(update))?;
        }
        let text = match event {
            // Why it failed in the first place must not be lost.
            Event::RestoreFailed => match &update.error {
                Some(first) => format!("{first}; then bringing the other version back failed: {message}"),
                None => message,
            },
            _ => message,
        };
        self.failure = Some(error);
        Ok((
            event,
            Change {
                error: Some(text),
                ..Change::default()
            },
        ))
    }

    /// How an update that rests looks to whoever asked for it.
    fn outcome(&mut self, id: i64, state: State) -> Result<State> {
        let update = self.store.update(id)?;
        let message = update
            .error
            .clone()
            .unwrap_or_else(|| "no reason was recorded".to_owned());
        let failure = self.failure.take();
        match state.phase {
            Phase::Stuck => Err(Error::Stuck(message)),
            Phase::Failed if self.store.has_been(id, Phase::Undoing)? => Err(Error::Undone {
                version: update.version.to_string(),
                message,
            }),
            Phase::Failed => Err(failure.unwrap_or(Error::Refused { message, hint: None })),
            // A rollback that did not work: the newer version runs.
            Phase::Completed if failure.is_some() && update.error.is_some() => Err(Error::Undone {
                version: self
                    .release_before(&update)?
                    .map_or_else(String::new, |release| release.version.to_string()),
                message,
            }),
            _ => failure.map_or(Ok(state), Err),
        }
    }

    /// Removes what was put aside for updates that have ended. A stuck one's may be needed.
    fn tidy(&self) -> Result<()> {
        let folder = self.config.work();
        if self.store.stuck()?.is_some() || !folder.exists() {
            return Ok(());
        }
        for entry in std::fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
            files::remove(&entry.map_err(Error::io("read", &folder))?.path())?;
        }
        Ok(())
    }

    /// Waits for an engine that is being restarted: bringing a version back must not fail because of that.
    pub(crate) fn wait_for_engine(&self) -> Result<()> {
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

    /// Nothing else may be under way or stuck.
    pub(crate) fn expect_rest(&self) -> Result<()> {
        if let Some(stuck) = self.store.stuck()? {
            return Err(Error::Stuck(stuck.error.unwrap_or_default()));
        }
        match self.store.active()? {
            Some(active) => Err(Error::Busy {
                holder: format!("the update to {} ({})", active.version, active.state.phase),
            }),
            None => Ok(()),
        }
    }

    /// Records a new update, which waits.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn add(&mut self, new: &NewUpdate) -> Result<Update> {
        let now = self.clock.stamp();
        self.store.add(new, &now)
    }

    pub(crate) fn record(&mut self, id: i64, event: Event, change: Change) -> Result<State> {
        let now = self.clock.stamp();
        self.store.record(id, event, &change, &now)
    }

    /// Notes something that does not stop the update.
    pub(crate) fn warn(&mut self, id: i64, text: String) -> Result<()> {
        self.progress.note(&format!("warning: {text}"));
        let mut facts = self.store.update(id)?.facts;
        facts.warnings.push(text);
        self.store.set_facts(id, &facts)
    }

    /// The release that an update started from.
    pub(crate) fn release_before(&self, update: &Update) -> Result<Option<Release>> {
        update.from.map(|id| self.store.release(id)).transpose()
    }

    /// The release that an update brings.
    pub(crate) fn release_after(&self, update: &Update) -> Result<Release> {
        match update.to {
            Some(id) => self.store.release(id),
            None => Err(Error::engine("go on", "the release was not recorded")),
        }
    }

    /// Keeps a verified bundle for the update that comes next, so that it is not verified again.
    pub fn keep_open(&mut self, opened: Opened) {
        self.opened = Some(opened);
    }

    /// The bundle of the update, if this process has verified it.
    pub(crate) fn take_open(&mut self, update: &Update) -> Option<Opened> {
        self.opened.take_if(|opened| opened.update == update.id)
    }

    /// The bundle of the update, verified: the one that this process verified before, or, after a crash, again.
    pub(crate) fn opened(&mut self, update: &Update) -> Result<Opened> {
        if let Some(opened) = self.take_open(update) {
            return Ok(opened);
        }
        let opened = self.open(update)?;
        if Some(opened.bundle.manifest_digest()) != update.manifest_digest {
            return Err(Error::refused(
                "the bundle is another one than when the update began",
                "apply it as a new update",
            ));
        }
        Ok(opened)
    }
}

pub(crate) fn milliseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
