//! The commands of a person, on the command line or through the API ([`crate::control::requests`]).
//!
//! ```text
//! begin    finds what blocks the command; then makes it durable that the command has begun
//! finish   carries it out until the update rests, and returns how it ended
//! ```
//!
//! The daemon answers the API in between: how a command ends is in the record.

use super::{rollback_plan::rollback_plan, updater::Updater};
use crate::{
    Error, Result,
    control::requests::Command,
    stack::bundle_files,
    state::{Event, Phase, State},
    store::{Change, Fact, Update},
};

/// A command that has begun, for [`Updater::finish`].
#[derive(Debug)]
#[must_use]
pub struct Begun(i64);

impl Updater<'_> {
    /// Begins a command; none if nothing remains to be done.
    ///
    /// # Errors
    /// Why it is refused, with nothing changed.
    pub fn begin(&mut self, command: &Command) -> Result<Option<Begun>> {
        self.failure = None;
        match command {
            Command::Apply { id } => self.begin_apply(*id)?,
            Command::RollBack { id, discard_data_since } => {
                self.begin_rollback(*id, discard_data_since.as_deref())?;
            }
            Command::Delete { id } => return self.delete(*id).map(|()| None),
        }
        let (Command::Apply { id } | Command::RollBack { id, .. } | Command::Delete { id }) = command;
        Ok(Some(Begun(*id)))
    }

    /// Carries out a command that has begun.
    ///
    /// # Errors
    /// [`Error::Undone`] if it did not work and what ran before runs; [`Error::Stuck`].
    pub fn finish(&mut self, begun: Begun) -> Result<State> {
        let state = self.run(begun.0)?;
        self.outcome(begun.0, state)
    }

    /// Applies an update that waits, retries one that failed or was rolled back, or continues one that is stuck.
    ///
    /// # Errors
    /// Why it was refused, with nothing changed; [`Error::Undone`] if the previous version runs; [`Error::Stuck`].
    pub fn apply(&mut self, id: i64) -> Result<State> {
        self.failure = None;
        self.begin_apply(id)?;
        self.finish(Begun(id))
    }

    /// Brings back the version that ran before an update. Finds what blocks it before it changes anything.
    ///
    /// # Errors
    /// Why it is not possible; [`Error::Undone`] if the newer version runs again; [`Error::Stuck`].
    pub fn roll_back(&mut self, id: i64, discard_data_since: Option<&str>) -> Result<State> {
        self.failure = None;
        self.begin_rollback(id, discard_data_since)?;
        self.finish(Begun(id))
    }

    /// Continues the stuck update.
    ///
    /// # Errors
    /// Nothing is stuck; [`Error::Stuck`] if it still is.
    pub fn retry(&mut self) -> Result<State> {
        let stuck = self
            .store
            .stuck()?
            .ok_or_else(|| Error::refused("nothing is stuck", "updater status"))?;
        self.apply(stuck.id)
    }

    fn begin_apply(&mut self, id: i64) -> Result<()> {
        let update = self.store.update(id)?;
        match update.state.phase {
            Phase::Stuck => return self.record(id, Event::Retry, Change::default()).map(drop),
            Phase::Pending | Phase::Failed | Phase::RolledBack => {
                self.expect_rest()?;
                expect_bundle(&update)?;
                // A person wants it, even if it failed before.
                if let Some(digest) = &update.manifest_digest {
                    self.store.clear_rejection(digest)?;
                }
                if update.state.phase != Phase::Pending {
                    self.record(id, Event::Retry, Change::default())?;
                }
            }
            // The record says why not.
            _ => self.expect_rest()?,
        }
        self.record(id, Event::Start, Change::default()).map(drop)
    }

    fn begin_rollback(&mut self, id: i64, discard_data_since: Option<&str>) -> Result<()> {
        self.expect_rest()?;
        self.expect_rollback(&self.store.update(id)?, discard_data_since)?;
        let agreed = Fact::RollsBack(discard_data_since.map(str::to_owned));
        self.record(id, Event::RollBack, Change::found([agreed])).map(drop)
    }

    /// Refuses while another update is under way or stuck.
    fn expect_rest(&self) -> Result<()> {
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

    /// Refuses a rollback that is not possible, or that would discard data without a person's consent.
    fn expect_rollback(&self, update: &Update, discard_data_since: Option<&str>) -> Result<()> {
        let plan = rollback_plan(&self.store, update)?;
        match (plan.discards_data_since, discard_data_since) {
            (None, _) => Ok(()),
            (Some(since), Some(agreed)) if since == agreed => Ok(()),
            (Some(since), Some(_)) => Err(Error::refused(
                "the time after --discard-data-since is not the one from which data would be lost",
                format!("--discard-data-since {since}"),
            )),
            (Some(since), None) => Err(Error::refused(
                format!(
                    "{} cannot read the data that {} has made: going back would lose everything written since {since}",
                    plan.version, update.version
                ),
                format!(
                    "if that is really meant: updater rollback --discard-data-since {since}; the database of now is kept beside"
                ),
            )),
        }
    }

    /// Removes the record of an update that rests. The bundle goes with it, unless a version needs it that runs or can be
    /// rolled back to.
    fn delete(&mut self, id: i64) -> Result<()> {
        let update = self.store.update(id)?;
        if update.state.phase.is_active() || update.state.phase == Phase::Stuck {
            return Err(Error::refused(
                format!("the update to {} is {}", update.version, update.state.phase),
                "wait until it has ended",
            ));
        }
        let [current, previous] = [self.store.current()?, self.store.previous()?];
        if update.state.phase == Phase::Completed && update.to == current.as_ref().map(|release| release.id) {
            return Err(Error::refused(
                format!("{} runs, and its record is what a rollback goes by", update.version),
                "roll it back, or install another version first",
            ));
        }
        let needed = [current, previous]
            .into_iter()
            .flatten()
            .any(|release| release.bundle.is_some() && release.bundle == update.bundle);
        if let Some(bundle) = update.bundle.as_ref().filter(|bundle| !needed && self.is_ours(bundle)) {
            // First: a bundle that waits without a record would be applied.
            bundle_files::remove(bundle)?;
        }
        bundle_files::discard(self.config, &self.store, id)?;
        self.store.remove_update(id)
    }
}

/// Refuses an update whose bundle is not on this device.
fn expect_bundle(update: &Update) -> Result<()> {
    match &update.bundle {
        Some(bundle) if bundle.exists() => Ok(()),
        Some(_) => Err(Error::refused(
            format!("the bundle of {} is no longer on this device", update.version),
            "upload it again",
        )),
        None => Err(Error::refused(
            format!("{} was registered without a bundle", update.version),
            "upload its bundle, or download it from GitHub",
        )),
    }
}
