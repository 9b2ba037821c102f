//! Bringing a version back that ran before: after a failure, for a person, and when that did not work either.
//!
//! ```text
//! undoing        an update failed: the old version, with its data if a gated update may have changed it
//! rolling back   a person wants the version before: checked by the data rule first, in `expect_rollback`
//! returning      rolling back failed: the newer version again
//! ```
//!
//! Data is never deleted. A database that is replaced stays beside the one that takes its place.

use super::rollback_plan::rollback_plan;
use crate::{
    Error, Result,
    containers::Services,
    engine::{Updater, apply::note_health},
    stack::{
        health::{self, Question},
        load,
        postgres::Postgres,
        release,
    },
    state::Phase,
    store::{Change, Release, Update},
    system::{crash, files},
};

impl Updater<'_> {
    /// The phase "undoing".
    pub(crate) fn undo(&mut self, update: &Update) -> Result<()> {
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
        files::remove(&self.work_folder(update))
    }

    /// What stands against bringing back the version that ran before `update`.
    pub(crate) fn expect_rollback(&self, update: &Update, discard_data_since: Option<&str>) -> Result<()> {
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

    /// The phase "rolling back".
    pub(crate) fn bring_back(&mut self, update: &Update) -> Result<Change> {
        let before = self
            .release_before(update)?
            .ok_or_else(|| Error::engine("roll back", "there is no version before this one"))?;
        self.wait_for_engine()?;
        self.make_images_available(update, &before)?;
        crash::point("old images there");
        if update.facts.discard_data_since.is_some() {
            let current = self.release_after(update)?;
            self.stop_all_but_the_database(update, &current)?;
            // Fixed before it is used: repeated after a crash, the same database is looked for.
            if update.facts.replaced_database.is_none() {
                let mut facts = update.facts.clone();
                facts.replaced_database = self.name_beside(update, &current, "discarded")?;
                self.store.set_facts(update.id, &facts)?;
            }
            let update = self.store.update(update.id)?;
            self.put_data_back(&update, &before)?;
        }
        release::activate(self.config, self.engine, &before, Services::All)?;
        self.expect_images(&before, None)?;
        self.expect_health(update, &before)?;
        Ok(Change {
            current: Some((before.id, None)),
            ..Change::default()
        })
    }

    /// The phase "returning".
    pub(crate) fn return_to(&mut self, update: &Update) -> Result<()> {
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
        self.expect_health(update, &to)
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
        // The old version's files first: its database server must read what is there.
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

    /// Images that a person removed are loaded again from the bundle in `applied/`.
    fn make_images_available(&mut self, update: &Update, release: &Release) -> Result<()> {
        let mut missing = Vec::new();
        for pin in release.pins.values() {
            let there = self.engine.image(&pin.id.to_string())?.is_some() && self.engine.try_create(&pin.id).is_ok();
            if !there && !missing.contains(&pin.reference) {
                missing.push(pin.reference.clone());
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let gone = || {
            Error::refused(
                format!(
                    "{} is no longer on this device, and neither is the bundle of {}",
                    missing.join(", "),
                    release.version
                ),
                format!(
                    "copy {}'s bundle here and apply it with --allow-downgrade",
                    release.version
                ),
            )
        };
        let path = release.bundle.as_ref().filter(|path| path.exists()).ok_or_else(gone)?;
        let mut bundle = self.open_path(path)?;
        let manifest = bundle.manifest().clone().into_inner();
        let engine = self.engine.facts()?;
        if bundle.is_legacy() {
            self.progress.begin("loading images again", Some(manifest.images_size));
            let progress = |bytes| self.progress.advance(bytes);
            load::load_legacy(self.engine, &engine, &mut self.store, &mut bundle, &progress)?;
            for pin in release.pins.values() {
                self.engine.try_create(&pin.id)?;
            }
        }
        for image in manifest
            .image_details
            .iter()
            .filter(|image| missing.contains(&image.reference))
        {
            self.progress.begin(&format!("loading {} again", image.reference), None);
            load::load_image(
                self.engine,
                &engine,
                &mut self.store,
                &mut bundle,
                image,
                &engine.platform,
                &|bytes| self.progress.advance(bytes),
            )?;
        }
        self.progress.note(&format!(
            "{}: images were loaded again for {}",
            release.version, update.version
        ));
        Ok(())
    }

    /// The environment as it was before the switch, byte for byte. What is set in `.env` afterwards is only the version.
    fn put_environment_back(&self, update: &Update) -> Result<()> {
        let saved = self.work_folder(update).join("env");
        if saved.is_file() {
            files::put(&saved, &self.config.env())?;
        }
        Ok(())
    }

    /// The version that was brought back is healthy, or at least as well as it was.
    fn expect_health(&mut self, update: &Update, release: &Release) -> Result<()> {
        let question = Question::about(self.config, release)?;
        let mut facts = self.store.update(update.id)?.facts;
        let (clock, progress) = (self.clock, self.progress);
        let answer = health::wait(self.engine, clock, &question, &mut |text| {
            note_health(&mut facts, clock, progress, text);
        });
        self.store.set_facts(update.id, &facts)?;
        match answer {
            Err(Error::Unhealthy(message)) if facts.was_healthy == Some(false) => self.warn(
                update.id,
                format!("{} is as it was before the update: {message}", release.version),
            ),
            answer => answer,
        }
    }
}
