//! Switching: stops what must not write (in a gated update), puts files in place, and starts the target version.
//!
//! May be repeated: files that are in place are written again with the same content, and Compose recreates only what
//! differs.

use bundle::manifest::Manifest;

use super::{
    run::Ended,
    updater::{Updater, milliseconds},
};
use crate::{
    Error, Result,
    containers::Services,
    stack::release,
    state::Event,
    store::{Change, Fact, Release, Update},
    system::{crash, files},
};

impl Updater<'_> {
    /// The phase "quiescing": stops all writes, and saves the database as it is then.
    pub(super) fn quiesce(&mut self, update: &Update) -> Result<Ended> {
        let before = self
            .release_before(update)?
            .ok_or_else(|| Error::engine("stop services", "there is no version before this one"))?;
        let mut facts = vec![Fact::Stopped(self.clock.stamp())];
        // Recorded before anything is stopped: after a crash, undoing must look for this very name.
        if update.facts.replaced_database.is_none() {
            let name = self.name_beside(update, &before, "failed")?;
            facts.push(Fact::DataBefore(self.store.data()?, name));
        }
        self.store.add_facts(update.id, &facts)?;
        self.stop_all_but_the_database(update, &before)?;
        crash::point("services stopped");
        let backup = self.dump(update, "_gated")?.map(Fact::GatedBackup);
        Ok((Event::Quiesced, Change::found(Vec::from_iter(backup))))
    }

    /// The phase "switching".
    pub(super) fn switch(&mut self, update: &Update) -> Result<Ended> {
        let to = self.release_after(update)?;
        self.keep_previous_compose_file(update)?;
        let first = self.first_services(update, &to)?;
        self.keep_quiet(update, first.as_deref())?;
        let services = first.as_deref().map_or(Services::All, Services::Only);
        let began = self.clock.elapsed();
        // Before the migration: no older version that cannot read the data may start.
        if self.store.data()?.is_none_or(|data| data.revision < to.data.revision) {
            self.store.set_data(&to.data)?;
        }
        release::activate(self.config, self.engine, &to, services)?;
        let took = milliseconds(self.clock.elapsed().saturating_sub(began));
        self.expect_images(&to, first.as_deref())?;
        Ok((Event::Switched, Change::found([Fact::Started(took)])))
    }

    /// In a gated update, the services that start before the target version is sure to stay: the database and the one
    /// that migrates it.
    pub(super) fn first_services(&self, update: &Update, to: &Release) -> Result<Option<Vec<String>>> {
        if !update.state.gated {
            return Ok(None);
        }
        Ok(release::manifest(to)?.map(|manifest| first_services(&manifest)))
    }

    /// In a gated update, stops again what must not write yet: an engine that was restarted in the middle starts services that
    /// say `restart: always`.
    pub(super) fn keep_quiet(&self, update: &Update, first: Option<&[String]>) -> Result<()> {
        match (first, self.release_before(update)?) {
            (Some(first), Some(before)) => self.stop_all_but(first, &before),
            _ => Ok(()),
        }
    }

    pub(crate) fn stop_all_but_the_database(&self, update: &Update, release: &Release) -> Result<()> {
        let database = update.facts.database.as_ref().map(|database| database.service.clone());
        self.stop_all_but(&database.into_iter().collect::<Vec<_>>(), release)
    }

    /// Stops everything of the project that runs, whether the release knows it or a person has started it.
    fn stop_all_but(&self, kept: &[String], release: &Release) -> Result<()> {
        let stack = release::stack(self.config, release);
        let mut containers = self.engine.containers(&stack)?;
        containers.retain(|container| container.running || container.state == "restarting");
        containers.retain(|container| !kept.contains(&container.service));
        match containers.is_empty() {
            true => Ok(()),
            false => self.engine.stop_containers(&containers),
        }
    }

    fn keep_previous_compose_file(&self, update: &Update) -> Result<()> {
        let Some(before) = self.release_before(update)? else {
            return Ok(());
        };
        let Some(directory) = &before.directory else {
            return Ok(());
        };
        let backup = self.config.folder.join(format!("{}.bak", self.config.compose_file));
        files::copy(&directory.join(&self.config.compose_file), &backup)
    }

    /// Checks that every service runs its pinned image, even where tags name another.
    ///
    /// # Errors
    /// [`Error::Unhealthy`]: a service runs another image.
    pub fn expect_images(&self, release: &Release, only: Option<&[String]>) -> Result<()> {
        let containers = self.engine.containers(&release::stack(self.config, release))?;
        for (service, pin) in &release.pins {
            if only.is_some_and(|only| !only.contains(service)) {
                continue;
            }
            let running: Vec<_> = containers
                .iter()
                .filter(|container| container.service == *service)
                .collect();
            if let Some(wrong) = running.iter().find(|container| container.image != pin.id) {
                return Err(Error::Unhealthy(format!(
                    "{service} runs the image {}, not {} ({})",
                    wrong.image, pin.id, pin.reference
                )));
            }
        }
        Ok(())
    }
}

/// The database, and the service that migrates it when it starts.
fn first_services(manifest: &Manifest) -> Vec<String> {
    let database = manifest.backup.as_ref().map(|backup| backup.service.clone());
    database.into_iter().chain(migrated_by(manifest)).collect()
}

pub(super) fn migrated_by(manifest: &Manifest) -> Option<String> {
    let declared = manifest.data.migrated_by.clone();
    declared.or_else(|| manifest.health.as_ref().map(|health| health.service.clone()))
}
