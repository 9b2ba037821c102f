//! What a person asks for on the page or over the API, begun by the daemon: see [`crate::control::requests`].

use crate::{
    Error, Result,
    control::requests::Wish,
    engine::Updater,
    stack::bundle_files,
    state::{Event, Phase},
    store::{Change, Update},
};

impl Updater<'_> {
    /// Does what is asked for, up to where it is durable that it has begun; the number of the update that
    /// [`Updater::go_on`] is to be called for, if something remains to be done.
    pub fn begin_wish(&mut self, wish: &Wish) -> Result<Option<i64>> {
        match wish {
            Wish::Apply { id } => self.begin_asked(*id).map(|()| Some(*id)),
            Wish::RollBack { id, discard_data_since } => self
                .begin_rollback(*id, discard_data_since.as_deref())
                .map(|()| Some(*id)),
            Wish::Delete { id } => self.delete_asked(*id).map(|()| None),
        }
    }

    /// Begins an update that waits, or one that did not work once more: a person wants it, even if it failed before.
    pub(crate) fn begin_asked(&mut self, id: i64) -> Result<()> {
        let update = self.store.update(id)?;
        match update.state.phase {
            Phase::Stuck => return self.begin_retry(id),
            Phase::Pending | Phase::Failed | Phase::RolledBack => {}
            // The record says why not.
            _ => return self.begin(id),
        }
        self.expect_rest()?;
        expect_bundle(&update)?;
        if let Some(digest) = &update.manifest_digest {
            self.store.forgive(digest)?;
        }
        if update.state.phase != Phase::Pending {
            self.record(id, Event::Retry, Change::default())?;
        }
        self.begin(id)
    }

    /// Removes the record of an update that rests. The bundle goes with it, unless a version needs it that runs or can be
    /// rolled back to.
    fn delete_asked(&mut self, id: i64) -> Result<()> {
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

/// The bundle of an update is on this device.
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
