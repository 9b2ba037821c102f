//! Bringing a version back: after a failure, for a person, and after a failed rollback.
//!
//! ```text
//! undoing        an update failed: the previous version, with its data if a gated update may have changed it
//! rolling back   a person wants the previous version: checked by the data rule first, in `expect_rollback`
//! returning      rolling back failed: the target version again
//! ```
//!
//! Data is never deleted. A database that is replaced stays beside the one that takes its place.

use super::{run::Ended, updater::Updater};
use crate::{
    Error, Result,
    containers::Services,
    stack::{
        health::{self, Question},
        postgres::Postgres,
        release,
    },
    state::{Event, Phase},
    store::{Change, Fact, Release, Update},
    system::{crash, files},
};

impl Updater<'_> {
    /// The phase "undoing".
    pub(super) fn undo(&mut self, update: &Update) -> Result<Ended> {
        let why = update.error.clone().unwrap_or_default();
        let switched = self.store.has_been(update.id, Phase::Switching)?;
        let quiesced = self.store.has_been(update.id, Phase::Quiescing)?;
        if switched || quiesced {
            self.wait_for_engine()?;
        }
        match self.release_before(update)? {
            Some(before) if switched || quiesced => {
                if update.state.gated && switched {
                    self.put_data_back(update, &before)?;
                }
                self.put_environment_back(update)?;
                release::activate(self.config, self.engine, &before, Services::All)?;
                self.expect_images(&before, None)?;
                self.expect_health(update, &before)?;
            }
            // A first installation that failed leaves nothing running; its data and `.env` stay for the next try.
            None if switched => {
                let to = self.release_after(update)?;
                self.engine.down(&release::stack(self.config, &to))?;
            }
            Some(before) => self.give_names_back(update, &before)?,
            None => {}
        }
        crash::point("old version runs");
        if let Some(digest) = &update.manifest_digest {
            self.store.refuse(digest, &why, &self.clock.stamp())?;
        }
        self.reject(update.id, &why)?;
        files::remove(&self.work_directory(update))?;
        Ok((Event::Restored, Change::default()))
    }

    /// The phase "rolling back".
    pub(super) fn bring_back(&mut self, update: &Update) -> Result<Ended> {
        let before = self
            .release_before(update)?
            .ok_or_else(|| Error::engine("roll back", "there is no version before this one"))?;
        self.wait_for_engine()?;
        self.make_images_available(update, &before)?;
        crash::point("old images there");
        if update.facts.discard_data_since.is_some() {
            let current = self.release_after(update)?;
            self.stop_all_but_the_database(update, &current)?;
            // Recorded before it is used, so a repetition after a crash looks for the same database.
            if update.facts.replaced_database.is_none() {
                let name = self.name_beside(update, &current, "discarded")?;
                self.store.add_facts(update.id, &[Fact::Replaced(name)])?;
            }
            let update = self.store.update(update.id)?;
            self.put_data_back(&update, &before)?;
        }
        release::activate(self.config, self.engine, &before, Services::All)?;
        self.expect_images(&before, None)?;
        self.expect_health(update, &before)?;
        let change = Change {
            current: Some((before.id, None)),
            ..Change::default()
        };
        Ok((Event::Restored, change))
    }

    /// The phase "returning".
    pub(super) fn return_to(&mut self, update: &Update) -> Result<Ended> {
        let to = self.release_after(update)?;
        self.wait_for_engine()?;
        if let (Some(_), Some(replaced)) = (&update.facts.discard_data_since, &update.facts.replaced_database)
            && let Some(database) = &update.facts.database
        {
            self.stop_all_but_the_database(update, &to)?;
            let postgres = self.postgres(&to, database);
            self.start_database(&postgres)?;
            postgres.take_back(replaced)?;
            self.store.set_data(&to.data)?;
        }
        self.make_images_available(update, &to)?;
        release::activate(self.config, self.engine, &to, Services::All)?;
        self.expect_images(&to, None)?;
        self.expect_health(update, &to)?;
        Ok((Event::Restored, Change::default()))
    }

    /// Puts the database back as it was when nothing wrote any more.
    fn put_data_back(&mut self, update: &Update, before: &Release) -> Result<()> {
        let Some(database) = &update.facts.database else {
            return Ok(());
        };
        let (Some(dump), Some(replaced)) = (&update.facts.gated_backup, &update.facts.replaced_database) else {
            return Err(Error::engine("put the data back", "no backup of it was recorded"));
        };
        if let Ok(to) = self.release_after(update) {
            self.stop_all_but_the_database(update, &to)?;
        }
        crash::point("new services stopped");
        // The previous version's files first: its database server must read what is there.
        release::put_in_place(self.config, before)?;
        let postgres = self.postgres(before, database);
        self.start_database(&postgres)?;
        postgres.replace(dump, replaced)?;
        self.store
            .set_data(update.facts.data_before.as_ref().unwrap_or(&before.data))?;
        crash::point("data put back");
        Ok(())
    }

    fn start_database(&self, postgres: &Postgres<'_>) -> Result<()> {
        let only = vec![postgres.backup.service.clone()];
        self.engine.up(&postgres.stack, Services::Only(&only))?;
        let question = Question {
            stack: postgres.stack.clone(),
            health: None,
            only: Some(only),
            migrates: None,
        };
        health::wait(self.engine, self.clock, &question, &mut |_| {})?;
        postgres.wait(self.clock)
    }

    /// The environment as it was before the switch, byte for byte. What is set in `.env` afterwards is only the version.
    fn put_environment_back(&self, update: &Update) -> Result<()> {
        let saved = self.work_directory(update).join("env");
        if saved.is_file() {
            files::put(&saved, &self.config.env())?;
        }
        Ok(())
    }
}
