//! Backing up the database of the running version, before anything of it is stopped or changed.

use std::path::PathBuf;

use bundle::manifest::Backup;

use super::{
    run::Ended,
    updater::{Updater, compact},
};
use crate::{
    Result,
    stack::{postgres::Postgres, release},
    state::Event,
    store::{Change, Fact, Release, Update},
};

impl Updater<'_> {
    /// The phase "backing up": dumps the running version's database into a file that a person can use.
    pub(super) fn back_up(&mut self, update: &Update) -> Result<Ended> {
        let backup = self.dump(update, "")?.map(Fact::Backup);
        Ok((Event::BackedUp, Change::found(Vec::from_iter(backup))))
    }

    /// Dumps the running version's database; none if there is none.
    pub(super) fn dump(&mut self, update: &Update, suffix: &str) -> Result<Option<PathBuf>> {
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
}
