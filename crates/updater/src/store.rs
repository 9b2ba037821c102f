//! The durable record: updates, their journal, the releases on this device, and what was loaded for them.
//!
//! One SQLite database in WAL mode with `synchronous=FULL`: what was recorded has survived a power cut before the call
//! returns (SQLite documentation, "PRAGMA synchronous"). The journal is written in the same transaction as the state
//! that follows from it, by [`Store::record`] alone, so that neither can be ahead of the other.
//!
//! New columns and tables may be added; nothing that an older updater reads is ever changed, because a failed
//! self-update goes back to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use bundle::{
    Digest,
    manifest::{Backup, DataRule},
};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result, crash, files,
    state::{Event, Phase, State},
};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS release (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    version TEXT NOT NULL,
    manifest_digest TEXT UNIQUE,
    folder TEXT,
    bundle TEXT,
    pins TEXT NOT NULL,
    data TEXT NOT NULL,
    made_on TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS \"update\" (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    public_id TEXT NOT NULL UNIQUE,
    version TEXT NOT NULL,
    changelog TEXT NOT NULL DEFAULT '',
    bundle TEXT,
    manifest_digest TEXT,
    file_size INTEGER,
    phase TEXT NOT NULL,
    state TEXT NOT NULL,
    error TEXT,
    from_release INTEGER REFERENCES release(id),
    to_release INTEGER REFERENCES release(id),
    facts TEXT NOT NULL DEFAULT '{}',
    created_on TEXT NOT NULL,
    started_on TEXT,
    completed_on TEXT
);
CREATE TABLE IF NOT EXISTS journal (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    update_id INTEGER NOT NULL REFERENCES \"update\"(id) ON DELETE CASCADE,
    at TEXT NOT NULL,
    event TEXT NOT NULL,
    phase TEXT NOT NULL,
    detail TEXT
);
CREATE INDEX IF NOT EXISTS journal_of_update ON journal(update_id);
CREATE TABLE IF NOT EXISTS loaded (
    image TEXT PRIMARY KEY,
    blobs TEXT NOT NULL,
    release INTEGER
);
CREATE TABLE IF NOT EXISTS refused (
    manifest_digest TEXT PRIMARY KEY,
    why TEXT NOT NULL,
    at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS setting (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
";

const UPDATE_COLUMNS: &str = "id, public_id, version, changelog, bundle, manifest_digest, file_size, state, error, \
                              from_release, to_release, facts, created_on, started_on, completed_on";

/// An update, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Update {
    /// Its number in this database.
    #[serde(skip)]
    pub id: i64,
    /// Its name outside.
    pub public_id: String,
    /// The version that it brings.
    pub version: Version,
    /// What changed, in Markdown.
    pub changelog: String,
    /// Where its bundle is now.
    #[serde(skip)]
    pub bundle: Option<PathBuf>,
    /// The bundle's identity, once it was verified.
    pub manifest_digest: Option<Digest>,
    /// The bundle file's size in bytes.
    pub file_size: Option<u64>,
    /// Where it stands.
    pub state: State,
    /// What went wrong.
    pub error: Option<String>,
    /// The release that ran before.
    #[serde(skip)]
    pub from: Option<i64>,
    /// The release that it brings, once its files are here.
    #[serde(skip)]
    pub to: Option<i64>,
    /// What was found out on the way.
    pub facts: Facts,
    /// When it was recorded, RFC 3339 in UTC, as all times here.
    pub created_on: String,
    /// When it was begun.
    pub started_on: Option<String>,
    /// When it came to rest.
    pub completed_on: Option<String>,
}

/// What is found out while an update is applied, for its later phases and for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The database that is saved: what the running version declares, or else what the new one does.
    pub database: Option<Backup>,
    /// The database backup, a path on this device.
    pub backup: Option<PathBuf>,
    /// The backup that was made when nothing wrote any more, of a gated update.
    pub gated_backup: Option<PathBuf>,
    /// The name that the replaced database gets if its data must be undone.
    pub replaced_database: Option<String>,
    /// The health answers, oldest first, each with its time.
    pub health: Vec<String>,
    /// What did not stop the update and should be known.
    pub warnings: Vec<String>,
    /// How long each phase took, in milliseconds; what happened before an interruption is not in it.
    pub durations_ms: BTreeMap<String, u64>,
    /// Of the phases, how long Compose took to start services, in milliseconds.
    pub compose_ms: u64,
    /// Bytes that the engine was sent.
    pub sent_bytes: u64,
    /// When services were stopped on purpose.
    pub stopped_at: Option<String>,
    /// How long services were stopped on purpose, in milliseconds.
    pub downtime_ms: Option<u64>,
    /// Since when writes are discarded, if a person said so for a rollback.
    pub discard_data_since: Option<String>,
    /// Whether a version older than the running one is accepted.
    pub allow_downgrade: bool,
    /// Whether the bundle was made by the old release procedure.
    pub legacy: bool,
    /// Whether the version before was healthy when the update began; none if nothing ran.
    pub was_healthy: Option<bool>,
}

/// A version that was or is installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Release {
    /// Its number in this database.
    #[serde(skip)]
    pub id: i64,
    /// The version.
    pub version: Version,
    /// The bundle that it came from; none if a person installed it by hand.
    pub manifest_digest: Option<Digest>,
    /// The folder of its files of record; none if a person installed it by hand.
    #[serde(skip)]
    pub folder: Option<PathBuf>,
    /// Where its bundle is kept.
    #[serde(skip)]
    pub bundle: Option<PathBuf>,
    /// Which image each service runs.
    pub pins: BTreeMap<String, Pin>,
    /// Which versions can work on its data.
    pub data: DataRule,
    /// When it was recorded.
    pub made_on: String,
}

/// The image of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// What the compose file calls it.
    pub reference: String,
    /// The engine's ID of it.
    pub id: Digest,
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JournalEntry {
    /// When.
    pub at: String,
    /// What happened.
    pub event: String,
    /// The phase that followed.
    pub phase: String,
    /// More about it.
    pub detail: Option<String>,
}

/// An update that is not recorded yet.
#[derive(Clone, Debug)]
pub struct NewUpdate {
    /// The version that it brings.
    pub version: Version,
    /// What changed.
    pub changelog: String,
    /// Where its bundle is.
    pub bundle: Option<PathBuf>,
    /// The bundle's identity, where it is known.
    pub manifest_digest: Option<Digest>,
    /// The bundle file's size in bytes.
    pub file_size: Option<u64>,
}

/// Changes that belong to an event and are made together with it.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// What went wrong.
    pub error: Option<String>,
    /// What was found out.
    pub facts: Option<Facts>,
    /// The releases that are current and previous from now on.
    pub current: Option<(i64, Option<i64>)>,
    /// The smallest security epoch that is accepted from now on.
    pub security_epoch: Option<u64>,
    /// More for the journal.
    pub detail: Option<String>,
}

/// The record of one device.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
}

impl Store {
    /// Opens the record, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    pub fn open(path: &Path) -> Result<Self> {
        let fresh = !path.exists();
        if let Some(folder) = path.parent() {
            files::make_folder(folder)?;
        }
        let connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        connection.execute_batch(SCHEMA)?;
        if fresh {
            files::sync_folder_of(path)?;
        }
        Ok(Self { connection })
    }

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
        Ok(self
            .updates()?
            .into_iter()
            .find(|update| update.state.phase.is_active()))
    }

    /// The update that is stuck, if one is.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn stuck(&self) -> Result<Option<Update>> {
        Ok(self
            .updates()?
            .into_iter()
            .find(|update| update.state.phase == Phase::Stuck))
    }

    /// Records that `event` happened to an update, and everything that comes with it, at once.
    ///
    /// # Errors
    /// It cannot happen now, or the database cannot be written; then nothing is recorded.
    pub fn record(&mut self, id: i64, event: Event, change: &Change, now: &str) -> Result<State> {
        crash::point(&format!("before {}", event.name()));
        let state = self.update(id)?.state.next(event)?;
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "UPDATE \"update\" SET phase = ?2, state = ?3 WHERE id = ?1",
            params![id, state.phase.name(), to_json(&state)?],
        )?;
        // A text of an earlier try would mislead.
        if matches!(event, Event::Start | Event::Download | Event::Retry) {
            transaction.execute(
                "UPDATE \"update\" SET error = NULL, completed_on = NULL, started_on = ?2 WHERE id = ?1",
                params![id, now],
            )?;
        }
        if let Some(error) = &change.error {
            transaction.execute("UPDATE \"update\" SET error = ?2 WHERE id = ?1", params![id, error])?;
        }
        if let Some(facts) = &change.facts {
            transaction.execute(
                "UPDATE \"update\" SET facts = ?2 WHERE id = ?1",
                params![id, to_json(facts)?],
            )?;
        }
        if !state.phase.is_active() {
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
        crash::point(&format!("after {}", event.name()));
        Ok(state)
    }

    /// Records what went wrong.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn set_error(&mut self, id: i64, error: &str) -> Result<()> {
        self.connection
            .execute("UPDATE \"update\" SET error = ?2 WHERE id = ?1", params![id, error])?;
        Ok(())
    }

    /// Whether an update was ever in a phase since it was begun last.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn has_been(&self, id: i64, phase: Phase) -> Result<bool> {
        let journal = self.journal(id)?;
        let since_start = journal
            .iter()
            .rev()
            .take_while(|entry| entry.event != Event::Start.name());
        Ok(since_start.into_iter().any(|entry| entry.phase == phase.name()))
    }

    /// Records what was found out while a phase goes on.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn set_facts(&mut self, id: i64, facts: &Facts) -> Result<()> {
        self.connection.execute(
            "UPDATE \"update\" SET facts = ?2 WHERE id = ?1",
            params![id, to_json(facts)?],
        )?;
        Ok(())
    }

    /// Records what the bundle of an update turned out to be.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn set_identity(&mut self, id: i64, version: &Version, changelog: &str, digest: Digest) -> Result<()> {
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

    /// Records which releases an update lies between.
    ///
    /// # Errors
    /// The database cannot be written.
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

    /// Forgets an update that is at rest and that nothing depends on.
    ///
    /// # Errors
    /// It is under way or stuck, or the database cannot be written.
    pub fn forget(&mut self, id: i64) -> Result<()> {
        let update = self.update(id)?;
        if update.state.phase.is_active() || update.state.phase == Phase::Stuck {
            return Err(Error::refused(
                format!("{} is {}", update.version, update.state.phase),
                "wait until it has ended",
            ));
        }
        self.connection.execute("DELETE FROM \"update\" WHERE id = ?1", [id])?;
        Ok(())
    }

    /// Records a release, or gives the one with the same bundle with its new files and pins.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn add_release(&mut self, release: &Release) -> Result<i64> {
        let digest = release.manifest_digest.map(|digest| digest.to_string());
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
        let id = self.connection.query_row(
            "INSERT INTO release (version, manifest_digest, folder, bundle, pins, data, made_on)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (manifest_digest) DO UPDATE SET folder = ?3, bundle = ?4, pins = ?5, data = ?6
             RETURNING id",
            params![
                release.version.to_string(),
                digest,
                path(&release.folder),
                path(&release.bundle),
                to_json(&release.pins)?,
                to_json(&release.data)?,
                release.made_on
            ],
            |row| row.get(0),
        )?;
        Ok(id)
    }

    /// The release with the number `id`.
    ///
    /// # Errors
    /// There is none, or the database cannot be read.
    pub fn release(&self, id: i64) -> Result<Release> {
        Ok(self.connection.query_row(
            "SELECT id, version, manifest_digest, folder, bundle, pins, data, made_on FROM release WHERE id = ?1",
            [id],
            release_of_row,
        )?)
    }

    /// All releases, the newest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn releases(&self) -> Result<Vec<Release>> {
        let mut statement = self.connection.prepare(
            "SELECT id, version, manifest_digest, folder, bundle, pins, data, made_on FROM release ORDER BY id DESC",
        )?;
        let releases = statement.query_map([], release_of_row)?;
        Ok(releases.collect::<rusqlite::Result<_>>()?)
    }

    /// The release that runs, if anything was installed.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn current(&self) -> Result<Option<Release>> {
        self.release_setting("current")
    }

    /// The release that ran before and can be rolled back to.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn previous(&self) -> Result<Option<Release>> {
        self.release_setting("previous")
    }

    /// Makes a release the current one without an update: a person did it by hand.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn adopt(&mut self, release: i64) -> Result<()> {
        let previous = self.current()?.map(|release| release.id.to_string());
        let transaction = self.connection.transaction()?;
        set(&transaction, "previous", previous.as_deref())?;
        set(&transaction, "current", Some(&release.to_string()))?;
        Ok(transaction.commit()?)
    }

    /// The smallest security epoch that is accepted.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn security_epoch(&self) -> Result<u64> {
        Ok(self
            .setting("security_epoch")?
            .and_then(|text| text.parse().ok())
            .unwrap_or(0))
    }

    /// A text that was recorded under `key`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn setting(&self, key: &str) -> Result<Option<String>> {
        Ok(self
            .connection
            .query_row("SELECT value FROM setting WHERE key = ?1", [key], |row| row.get(0))
            .optional()?)
    }

    /// Records a text under `key`, or removes it.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn set_setting(&mut self, key: &str, value: Option<&str>) -> Result<()> {
        let transaction = self.connection.transaction()?;
        set(&transaction, key, value)?;
        Ok(transaction.commit()?)
    }

    /// Records that an image was loaded with these blobs, and that they are on the disk.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn remember_loaded(&mut self, image: &Digest, blobs: &BTreeSet<Digest>) -> Result<()> {
        self.connection.execute(
            "INSERT OR REPLACE INTO loaded (image, blobs) VALUES (?1, ?2)",
            params![image.to_string(), to_json(blobs)?],
        )?;
        Ok(())
    }

    /// The images that were loaded, each with the blobs that it consists of.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn loaded(&self) -> Result<BTreeMap<Digest, BTreeSet<Digest>>> {
        let mut statement = self.connection.prepare("SELECT image, blobs FROM loaded")?;
        let rows = statement.query_map([], |row| Ok((parsed::<Digest>(row, 0)?, from_json(row, 1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Forgets an image that was removed.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn forget_loaded(&mut self, image: &Digest) -> Result<()> {
        self.connection
            .execute("DELETE FROM loaded WHERE image = ?1", [image.to_string()])?;
        Ok(())
    }

    /// Remembers a bundle that caused a failure, so that it is not tried again by itself.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn refuse(&mut self, bundle: &Digest, why: &str, now: &str) -> Result<()> {
        self.connection.execute(
            "INSERT OR REPLACE INTO refused (manifest_digest, why, at) VALUES (?1, ?2, ?3)",
            params![bundle.to_string(), why, now],
        )?;
        Ok(())
    }

    /// Why a bundle is not tried again by itself, if that is so.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn refusal(&self, bundle: &Digest) -> Result<Option<String>> {
        Ok(self
            .connection
            .query_row(
                "SELECT why FROM refused WHERE manifest_digest = ?1",
                [bundle.to_string()],
                |row| row.get(0),
            )
            .optional()?)
    }

    /// Lets a bundle be tried again: a person said so.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn forgive(&mut self, bundle: &Digest) -> Result<()> {
        self.connection
            .execute("DELETE FROM refused WHERE manifest_digest = ?1", [bundle.to_string()])?;
        Ok(())
    }

    fn release_setting(&self, key: &str) -> Result<Option<Release>> {
        match self.setting(key)?.and_then(|id| id.parse().ok()) {
            Some(id) => self.release(id).map(Some),
            None => Ok(None),
        }
    }
}

fn set(transaction: &Transaction<'_>, key: &str, value: Option<&str>) -> rusqlite::Result<()> {
    match value {
        Some(value) => transaction.execute(
            "INSERT OR REPLACE INTO setting (key, value) VALUES (?1, ?2)",
            params![key, value],
        ),
        None => transaction.execute("DELETE FROM setting WHERE key = ?1", [key]),
    }
    .map(drop)
}

fn update_of_row(row: &Row<'_>) -> rusqlite::Result<Update> {
    Ok(Update {
        id: row.get(0)?,
        public_id: row.get(1)?,
        version: parsed(row, 2)?,
        changelog: row.get(3)?,
        bundle: row.get::<_, Option<String>>(4)?.map(PathBuf::from),
        manifest_digest: optional(row, 5)?,
        file_size: row.get(6)?,
        state: from_json(row, 7)?,
        error: row.get(8)?,
        from: row.get(9)?,
        to: row.get(10)?,
        facts: from_json(row, 11)?,
        created_on: row.get(12)?,
        started_on: row.get(13)?,
        completed_on: row.get(14)?,
    })
}

fn release_of_row(row: &Row<'_>) -> rusqlite::Result<Release> {
    Ok(Release {
        id: row.get(0)?,
        version: parsed(row, 1)?,
        manifest_digest: optional(row, 2)?,
        folder: row.get::<_, Option<String>>(3)?.map(PathBuf::from),
        bundle: row.get::<_, Option<String>>(4)?.map(PathBuf::from),
        pins: from_json(row, 5)?,
        data: from_json(row, 6)?,
        made_on: row.get(7)?,
    })
}

fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()).into())
}

fn from_json<T: for<'a> Deserialize<'a>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable(column, error))
}

fn parsed<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error| unreadable(column, error))
}

fn optional<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse().map_err(|error| unreadable(column, error)))
        .transpose()
}

fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-31T12:00:00Z";

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("state/updates.sqlite")).unwrap();
        (folder, store)
    }

    fn new() -> NewUpdate {
        NewUpdate {
            version: Version::new(2, 1, 0),
            changelog: "- better".to_owned(),
            bundle: Some("/opt/webmacs/updates/a.tar.gz".into()),
            manifest_digest: Some(Digest::of(b"manifest")),
            file_size: Some(7),
        }
    }

    #[test]
    fn an_update_survives_reopening() {
        let (folder, mut store) = store();
        let added = store.add(&new(), NOW).unwrap();
        store.record(added.id, Event::Start, &Change::default(), NOW).unwrap();
        drop(store);
        let store = Store::open(&folder.path().join("state/updates.sqlite")).unwrap();
        let found = store.active().unwrap().unwrap();
        assert_eq!(found.state.phase, Phase::Verifying);
        assert_eq!(found.public_id, added.public_id);
        assert_eq!(store.journal(found.id).unwrap().len(), 1);
    }

    #[test]
    fn what_cannot_happen_is_not_recorded() {
        let (_folder, mut store) = store();
        let id = store.add(&new(), NOW).unwrap().id;
        let refused = store.record(id, Event::Loaded, &Change::default(), NOW);
        assert!(matches!(refused, Err(Error::Illegal(_))));
        assert_eq!(store.update(id).unwrap().state, State::NEW);
        assert!(store.journal(id).unwrap().is_empty());
    }

    #[test]
    fn replaying_the_journal_gives_the_state() {
        let (_folder, mut store) = store();
        let id = store.add(&new(), NOW).unwrap().id;
        for event in [
            Event::Start,
            Event::VerifiedGated,
            Event::Interrupted,
            Event::BackedUp,
            Event::Failed,
        ] {
            store.record(id, event, &Change::default(), NOW).unwrap();
        }
        let last = store.journal(id).unwrap().pop().unwrap();
        assert_eq!(last.phase, store.update(id).unwrap().state.phase.name());
        assert_eq!(last.phase, "undoing");
    }

    #[test]
    fn a_release_is_recorded_once_per_bundle() {
        let (_folder, mut store) = store();
        let mut release = Release {
            id: 0,
            version: Version::new(2, 0, 0),
            manifest_digest: Some(Digest::of(b"a")),
            folder: None,
            bundle: None,
            pins: BTreeMap::new(),
            data: DataRule::default(),
            made_on: NOW.to_owned(),
        };
        let first = store.add_release(&release).unwrap();
        release.bundle = Some("/moved".into());
        assert_eq!(store.add_release(&release).unwrap(), first);
        assert_eq!(store.release(first).unwrap().bundle, release.bundle);
        store.adopt(first).unwrap();
        assert_eq!(store.current().unwrap().unwrap().id, first);
        assert_eq!(store.previous().unwrap(), None);
    }

    #[test]
    fn the_database_survives_a_power_cut_by_its_settings() {
        let (_folder, store) = store();
        let pragma = |name| {
            store
                .connection
                .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
                .unwrap()
        };
        assert_eq!(pragma("journal_mode"), rusqlite::types::Value::Text("wal".to_owned()));
        // 2 is FULL.
        assert_eq!(pragma("synchronous"), rusqlite::types::Value::Integer(2));
    }
}
