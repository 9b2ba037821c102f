//! From the backup to the soak: what an update does, phase by phase.
//!
//! Each phase may be repeated: a dump is written again, an image that is there is not loaded again, files that are in
//! place are written again with the same content, and Compose recreates only what differs.

use bundle::manifest::{Backup, Manifest};

use crate::{
    Error, Result,
    containers::Services,
    engine::{Updater, milliseconds},
    stack::{
        health::{self, Question},
        load,
        postgres::Postgres,
        release,
    },
    store::{Change, Facts, Release, Update},
    system::{crash, files},
};

impl Updater<'_> {
    /// The phase "backing up": the running version's database, into a file that a person can use.
    pub(crate) fn back_up(&mut self, update: &Update) -> Result<()> {
        let Some(path) = self.dump(update, "")? else {
            return Ok(());
        };
        let mut facts = update.facts.clone();
        facts.backup = Some(path);
        self.store.set_facts(update.id, &facts)
    }

    /// The phase "loading": every image can be run, and the release's files are on this device.
    pub(crate) fn load(&mut self, update: &Update) -> Result<()> {
        let mut opened = self.opened(update)?;
        let manifest = opened.bundle.manifest().clone().into_inner();
        let mut sent_bytes = 0;
        let mut ids = None;
        if opened.bundle.is_legacy() {
            self.progress.begin("loading images", Some(manifest.images_size));
            let progress = |bytes| self.progress.advance(bytes);
            let loaded = load::load_legacy(
                self.engine,
                &opened.engine,
                &mut self.store,
                &mut opened.bundle,
                &progress,
            )?;
            sent_bytes = loaded.sent_bytes;
            ids = Some(loaded.ids);
        }
        for image in &manifest.image_details {
            let total = image
                .on(&opened.engine.platform)
                .map(|image| image.layers.iter().map(|layer| layer.size).sum());
            self.progress.begin(&format!("loading {}", image.reference), total);
            let loaded = load::load_image(
                self.engine,
                &opened.engine,
                &mut self.store,
                &mut opened.bundle,
                image,
                &opened.engine.platform.clone(),
                &|bytes| self.progress.advance(bytes),
            )?;
            sent_bytes += loaded.sent_bytes;
        }
        let stack = self.write_new_files(&mut opened.bundle, &manifest, &self.work_folder(update))?;
        let project = self.engine.project(&stack)?;
        let pins = match &ids {
            Some(ids) => release::pins_of(&project.services, |reference| ids.get(reference).copied())?,
            None => release::pins(&project.services, &manifest, &opened.engine)?,
        };
        let digest = opened.bundle.manifest_digest();
        let folder = release::folder_of(self.config, &manifest, &digest.hex());
        release::prepare(self.config, &mut opened.bundle, &folder, &project.name, &pins)?;
        let to = self.store.add_release(&Release {
            id: 0,
            version: manifest.version.clone(),
            manifest_digest: Some(digest),
            folder: Some(folder),
            bundle: update.bundle.clone(),
            pins,
            data: manifest.data.clone(),
            made_on: self.clock.stamp(),
        })?;
        self.store.set_releases(update.id, update.from, Some(to))?;
        let mut facts = update.facts.clone();
        facts.sent_bytes = sent_bytes;
        self.store.set_facts(update.id, &facts)?;
        self.keep_open(opened);
        Ok(())
    }

    /// The phase "quiescing": nothing writes any more, and the database is saved as it is then.
    pub(crate) fn quiesce(&mut self, update: &Update) -> Result<()> {
        let before = self
            .release_before(update)?
            .ok_or_else(|| Error::engine("stop services", "there is no version before this one"))?;
        let mut facts = update.facts.clone();
        facts.stopped_at.get_or_insert_with(|| self.clock.stamp());
        // Fixed before anything is stopped: after a crash, the undoing must look for this very name.
        if facts.replaced_database.is_none() {
            facts.data_before = self.store.data()?;
            facts.replaced_database = self.name_beside(update, &before, "failed")?;
        }
        self.store.set_facts(update.id, &facts)?;
        self.stop_all_but_the_database(update, &before)?;
        crash::point("services stopped");
        facts.gated_backup = self.dump(update, "_gated")?;
        self.store.set_facts(update.id, &facts)
    }

    /// The phase "switching".
    pub(crate) fn switch(&mut self, update: &Update) -> Result<()> {
        let to = self.release_after(update)?;
        self.keep_old_compose_file(update)?;
        let first = self.first_services(update, &to)?;
        self.keep_quiet(update, first.as_deref())?;
        let services = first.as_deref().map_or(Services::All, Services::Only);
        let began = self.clock.elapsed();
        // Before it is migrated: no older version may be let at it that cannot read it.
        if self.store.data()?.is_none_or(|data| data.revision < to.data.revision) {
            self.store.set_data(&to.data)?;
        }
        release::activate(self.config, self.engine, &to, services)?;
        let mut facts = update.facts.clone();
        facts.compose_ms = milliseconds(self.clock.elapsed().saturating_sub(began));
        self.store.set_facts(update.id, &facts)?;
        self.expect_images(&to, first.as_deref())
    }

    /// The phase "checking".
    pub(crate) fn check(&mut self, update: &Update) -> Result<()> {
        self.ask(update, health::wait)
    }

    /// The phase "soaking". Its end is the commit: from then on the new version is the current one.
    pub(crate) fn soak(&mut self, update: &Update) -> Result<Change> {
        self.ask(update, health::soak)?;
        let to = self.release_after(update)?;
        self.expect_images(&to, self.first_services(update, &to)?.as_deref())?;
        // Applied again, it is still the version before that can be brought back.
        let previous = match update.from == update.to {
            true => self.store.previous()?.map(|release| release.id),
            false => update.from,
        };
        let epoch = release::manifest(&to)?.map_or(0, |manifest| manifest.security_epoch);
        Ok(Change {
            current: Some((to.id, previous)),
            security_epoch: Some(epoch.max(self.store.security_epoch()?)),
            ..Change::default()
        })
    }

    fn ask(&mut self, update: &Update, how: Asked) -> Result<()> {
        let to = self.release_after(update)?;
        let first = self.first_services(update, &to)?;
        self.keep_quiet(update, first.as_deref())?;
        let question = Question {
            migrates: match first {
                Some(_) => release::manifest(&to)?.as_ref().and_then(migrated_by),
                None => None,
            },
            only: first,
            ..Question::about(self.config, &to)?
        };
        let mut facts = update.facts.clone();
        let (clock, progress) = (self.clock, self.progress);
        let answer = how(self.engine, clock, &question, &mut |text| {
            note_health(&mut facts, clock, progress, text);
        });
        // What was seen is kept with the record, whatever it was.
        self.store.set_facts(update.id, &facts)?;
        answer
    }

    /// In a gated update, the services that start before it is sure that the new version stays: the database and the one
    /// that migrates it.
    fn first_services(&self, update: &Update, to: &Release) -> Result<Option<Vec<String>>> {
        if !update.state.gated {
            return Ok(None);
        }
        Ok(release::manifest(to)?.map(|manifest| first_services(&manifest)))
    }

    /// In a gated update, stops again what must not write yet: an engine that was restarted in the middle starts services that
    /// say `restart: always`.
    fn keep_quiet(&self, update: &Update, first: Option<&[String]>) -> Result<()> {
        match (first, self.release_before(update)?) {
            (Some(first), Some(before)) => self.stop_all_but(first, &before),
            _ => Ok(()),
        }
    }

    /// Dumps the running version's database; none if there is none.
    fn dump(&mut self, update: &Update, suffix: &str) -> Result<Option<std::path::PathBuf>> {
        let Some(before) = self.release_before(update)? else {
            return Ok(None);
        };
        let Some(database) = &update.facts.database else {
            return Ok(None);
        };
        let started = update.started_on.clone().unwrap_or_else(|| self.clock.stamp());
        let stamp = compact(&started);
        let name = format!("{}_backup_{stamp}{suffix}.sql", self.config.product);
        let path = self.config.backups().join(name);
        self.progress.begin("saving the database", None);
        self.postgres(&before, database).dump(&path)?;
        Ok(Some(path))
    }

    /// A name that no database has yet, for the one that is replaced in `update`; short enough for PostgreSQL's 63 bytes.
    /// None if there is no database. `running` is the release whose database server runs.
    pub(crate) fn name_beside(&self, update: &Update, running: &Release, why: &str) -> Result<Option<String>> {
        let Some(backup) = &update.facts.database else {
            return Ok(None);
        };
        let short: String = backup.database.chars().filter(char::is_ascii).take(20).collect();
        let stamp = compact(&self.clock.stamp()).to_lowercase();
        let free = self
            .postgres(running, backup)
            .free_name(&format!("{short}_{why}_{stamp}"))?;
        Ok(Some(free))
    }

    /// The database `backup`, in the stack of the release that runs.
    pub(crate) fn postgres<'b>(&'b self, running: &Release, backup: &'b Backup) -> Postgres<'b> {
        Postgres {
            engine: self.engine,
            stack: release::stack(self.config, running),
            backup,
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

    fn keep_old_compose_file(&self, update: &Update) -> Result<()> {
        let Some(before) = self.release_before(update)? else {
            return Ok(());
        };
        let Some(folder) = &before.folder else { return Ok(()) };
        let backup = self.config.folder.join(format!("{}.bak", self.config.compose_file));
        files::copy(&folder.join(&self.config.compose_file), &backup)
    }

    /// What runs is what was pinned, whatever tags say.
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

    /// Where what an update replaces is kept until it has ended.
    pub(crate) fn work_folder(&self, update: &Update) -> std::path::PathBuf {
        self.config.work().join(&update.public_id)
    }
}

/// [`health::wait`] or [`health::soak`].
type Asked = fn(
    &dyn crate::containers::ContainerEngine,
    &dyn crate::system::clock::Clock,
    &Question,
    &mut dyn FnMut(String),
) -> Result<()>;

/// The database, and the service that migrates it when it starts.
fn first_services(manifest: &Manifest) -> Vec<String> {
    let database = manifest.backup.as_ref().map(|backup| backup.service.clone());
    database.into_iter().chain(migrated_by(manifest)).collect()
}

fn migrated_by(manifest: &Manifest) -> Option<String> {
    let declared = manifest.data.migrated_by.clone();
    declared.or_else(|| manifest.health.as_ref().map(|health| health.service.clone()))
}

/// How many health answers a record keeps: the first and the last ones.
const HEALTH_ANSWERS: usize = 100;

pub(crate) fn note_health(
    facts: &mut Facts,
    clock: &dyn crate::system::clock::Clock,
    progress: &dyn crate::control::progress::Progress,
    text: String,
) {
    progress.note(&text);
    if facts.health.len() >= HEALTH_ANSWERS {
        facts.health.remove(HEALTH_ANSWERS / 2);
    }
    facts.health.push(format!("{} {text}", clock.stamp()));
}

/// A time as it stands in file names: `20260131T120000Z`.
pub(crate) fn compact(stamp: &str) -> String {
    stamp.chars().filter(|c| !matches!(c, '-' | ':')).collect()
}

/// Milliseconds between two recorded times; none if the clock went back.
pub(crate) fn milliseconds_between(from: &str, until: &str) -> Option<u64> {
    let [from, until] = [from, until].map(|stamp| stamp.parse::<jiff::Timestamp>());
    let passed = until.ok()?.as_millisecond().checked_sub(from.ok()?.as_millisecond())?;
    u64::try_from(passed).ok()
}
