//! Updates and their journal.

use std::path::Path;

use bundle::Digest;
use rusqlite::{OptionalExtension as _, Transaction, TransactionBehavior, params};
use semver::Version;

use super::{
    database::Store,
    records::{Change, Fact, Facts, JournalEntry, NewUpdate, Update},
    row::{UPDATE_COLUMNS, from_json, to_json, update_of_row},
    settings::set,
};
use crate::{
    Result,
    state::{Event, Phase, State},
    system::crash,
};

impl Store {
    /// Records a new update, which waits.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn add(&mut self, new: &NewUpdate, now: &str) -> Result<Update> {
        let state = to_json(&State::NEW)?;
        let public_id = uuid::Uuid::new_v4().to_string();
        self.connection.execute(
            "INSERT INTO \"update\" (public_id, version, changelog, bundle, manifest_digest, file_size, phase, state, created_on)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                public_id,
                new.version.to_string(),
                new.changelog,
                new.bundle.as_ref().map(|path| path.to_string_lossy().into_owned()),
                new.manifest_digest.map(|digest| digest.to_string()),
                new.file_size,
                State::NEW.phase.name(),
                state,
                now
            ],
        )?;
        self.update(self.connection.last_insert_rowid())
    }

    /// The update with the number `id`.
    ///
    /// # Errors
    /// There is none, or the database cannot be read.
    pub fn update(&self, id: i64) -> Result<Update> {
        let sql = format!("SELECT {UPDATE_COLUMNS} FROM \"update\" WHERE id = ?1");
        Ok(self.connection.query_row(&sql, [id], update_of_row)?)
    }

    /// All updates, the newest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn updates(&self) -> Result<Vec<Update>> {
        let sql = format!("SELECT {UPDATE_COLUMNS} FROM \"update\" ORDER BY id DESC");
        let mut statement = self.connection.prepare(&sql)?;
        let updates = statement.query_map([], update_of_row)?;
        Ok(updates.collect::<rusqlite::Result<_>>()?)
    }

    /// The update that is under way, if one is.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn active(&self) -> Result<Option<Update>> {
        self.newest_in(Phase::is_active)
    }

    /// The update that is stuck, if one is.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn stuck(&self) -> Result<Option<Update>> {
        self.newest_in(|phase| phase == Phase::Stuck)
    }

    /// The newest update in one of the phases that are `wanted`.
    fn newest_in(&self, wanted: impl Fn(Phase) -> bool) -> Result<Option<Update>> {
        let phases = Phase::ALL.into_iter().filter(|phase| wanted(*phase));
        let phases: Vec<_> = phases.map(|phase| format!("'{}'", phase.name())).collect();
        let sql = format!(
            "SELECT {UPDATE_COLUMNS} FROM \"update\" WHERE phase IN ({}) ORDER BY id DESC LIMIT 1",
            phases.join(", ")
        );
        Ok(self.connection.query_row(&sql, [], update_of_row).optional()?)
    }

    /// Records an event of an update and its changes, in one transaction.
    ///
    /// # Errors
    /// It cannot happen now, or the database cannot be written; then nothing is recorded.
    pub fn record(&mut self, id: i64, event: Event, change: &Change, now: &str) -> Result<State> {
        crash::point(&format!("before {}", event.name()));
        // Downloads are recorded at the same time, so what is read must still be true when it is written.
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let sql = format!("SELECT {UPDATE_COLUMNS} FROM \"update\" WHERE id = ?1");
        let update = transaction.query_row(&sql, [id], update_of_row)?;
        let state = update.state.next(event)?;
        transaction.execute(
            "UPDATE \"update\" SET phase = ?2, state = ?3 WHERE id = ?1",
            params![id, state.phase.name(), to_json(&state)?],
        )?;
        // Facts of an earlier attempt would mislead. A stuck update is still in the same attempt.
        if matches!(event, Event::Start | Event::Download) || state == State::NEW {
            transaction.execute(
                "UPDATE \"update\" SET error = NULL, completed_on = NULL, started_on = ?2, facts = ?3 WHERE id = ?1",
                params![id, now, to_json(&update.facts.of_a_new_try())?],
            )?;
        }
        if event == Event::Downloaded {
            transaction.execute(
                "UPDATE \"update\" SET error = NULL, started_on = NULL WHERE id = ?1",
                [id],
            )?;
        }
        if let Some(bundle) = &change.bundle {
            transaction.execute(
                "UPDATE \"update\" SET bundle = ?2 WHERE id = ?1",
                params![id, bundle.to_string_lossy()],
            )?;
        }
        if let Some(error) = &change.error {
            transaction.execute("UPDATE \"update\" SET error = ?2 WHERE id = ?1", params![id, error])?;
        }
        add_facts(&transaction, id, &change.facts)?;
        if state.phase.is_over() {
            transaction.execute(
                "UPDATE \"update\" SET completed_on = ?2 WHERE id = ?1",
                params![id, now],
            )?;
        }
        if let Some((current, previous)) = change.current {
            set(&transaction, "current", Some(&current.to_string()))?;
            set(&transaction, "previous", previous.map(|id| id.to_string()).as_deref())?;
        }
        if let Some(epoch) = change.security_epoch {
            set(&transaction, "security_epoch", Some(&epoch.to_string()))?;
        }
        transaction.execute(
            "INSERT INTO journal (update_id, at, event, phase, detail) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                id,
                now,
                event.name(),
                state.phase.name(),
                change.detail.as_ref().or(change.error.as_ref())
            ],
        )?;
        transaction.commit()?;
        tracing::debug!(
            update = id,
            event = event.name(),
            phase = state.phase.name(),
            "recorded"
        );
        crash::point(&format!("after {}", event.name()));
        Ok(state)
    }

    /// Whether an update was ever in a phase since it was begun last.
    pub(crate) fn has_been(&self, id: i64, phase: Phase) -> Result<bool> {
        let journal = self.journal(id)?;
        let since_start = journal
            .iter()
            .rev()
            .take_while(|entry| entry.event != Event::Start.name());
        Ok(since_start.into_iter().any(|entry| entry.phase == phase.name()))
    }

    /// Records what was found out during a phase.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn add_facts(&mut self, id: i64, facts: &[Fact]) -> Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        add_facts(&transaction, id, facts)?;
        Ok(transaction.commit()?)
    }

    /// Records what the bundle of an update turned out to be.
    pub(crate) fn set_identity(&mut self, id: i64, version: &Version, changelog: &str, digest: Digest) -> Result<()> {
        self.connection.execute(
            "UPDATE \"update\" SET version = ?2, changelog = ?3, manifest_digest = ?4 WHERE id = ?1",
            params![id, version.to_string(), changelog, digest.to_string()],
        )?;
        Ok(())
    }

    /// Records where the bundle of an update is now, and of the release that it brought.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn set_bundle(&mut self, id: i64, bundle: Option<&Path>) -> Result<()> {
        let bundle = bundle.map(|path| path.to_string_lossy().into_owned());
        let transaction = self.connection.transaction()?;
        transaction.execute("UPDATE \"update\" SET bundle = ?2 WHERE id = ?1", params![id, bundle])?;
        transaction.execute(
            "UPDATE release SET bundle = ?2 WHERE id = (SELECT to_release FROM \"update\" WHERE id = ?1)",
            params![id, bundle],
        )?;
        Ok(transaction.commit()?)
    }

    /// Records where the bundle of a release is now.
    pub(crate) fn set_bundle_of_release(&mut self, id: i64, bundle: &Path) -> Result<()> {
        self.connection.execute(
            "UPDATE release SET bundle = ?2 WHERE id = ?1",
            params![id, bundle.to_string_lossy()],
        )?;
        Ok(())
    }

    /// Records the previous and the target release of an update.
    pub fn set_releases(&mut self, id: i64, from: Option<i64>, to: Option<i64>) -> Result<()> {
        self.connection.execute(
            "UPDATE \"update\" SET from_release = ?2, to_release = ?3 WHERE id = ?1",
            params![id, from, to],
        )?;
        Ok(())
    }

    /// The journal of an update, oldest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn journal(&self, id: i64) -> Result<Vec<JournalEntry>> {
        let mut statement = self
            .connection
            .prepare("SELECT at, event, phase, detail FROM journal WHERE update_id = ?1 ORDER BY seq")?;
        let entries = statement.query_map([id], |row| {
            Ok(JournalEntry {
                at: row.get(0)?,
                event: row.get(1)?,
                phase: row.get(2)?,
                detail: row.get(3)?,
            })
        })?;
        Ok(entries.collect::<rusqlite::Result<_>>()?)
    }
}

fn add_facts(transaction: &Transaction<'_>, id: i64, found: &[Fact]) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let sql = "SELECT facts FROM \"update\" WHERE id = ?1";
    let mut facts: Facts = transaction.query_row(sql, [id], |row| from_json(row, 0))?;
    for fact in found {
        facts.add(fact.clone());
    }
    transaction.execute(
        "UPDATE \"update\" SET facts = ?2 WHERE id = ?1",
        params![id, to_json(&facts)?],
    )?;
    Ok(())
}
