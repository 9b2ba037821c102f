//! The durable record: updates, their journal, the releases on this device, and what was loaded for them.
//!
//! One SQLite database in WAL mode with `synchronous=FULL`: what was recorded has survived a power cut before the call
//! returns (SQLite documentation, "PRAGMA synchronous"). The journal is written in the same transaction as the state
//! that follows from it, by [`Store::record`] alone, so that neither can be ahead of the other.
//!
//! New columns and tables may be added; nothing that an older updater reads is ever changed, because a failed
//! self-update goes back to it.

mod access;
mod downloads;
mod images;
mod records;
mod releases;
mod requested;
mod row;
mod updates;

use std::path::Path;

use bundle::manifest::DataRule;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

pub use self::{
    access::{Audit, REFUSED_LOGIN, Session, Token},
    downloads::{Download, Fetched, RemoteBundle, RemoteFile},
    records::{Change, Fact, Facts, JournalEntry, NewUpdate, Pin, Release, Update},
    requested::Origin,
};
use crate::{Result, system::files};

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
CREATE TABLE IF NOT EXISTS download (
    update_id INTEGER NOT NULL REFERENCES \"update\"(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    file TEXT NOT NULL,
    at INTEGER NOT NULL,
    etag TEXT,
    PRIMARY KEY (update_id, position)
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
        for schema in [SCHEMA, access::SCHEMA, requested::SCHEMA] {
            connection.execute_batch(schema)?;
        }
        if fresh {
            files::sync_folder_of(path)?;
        }
        Ok(Self { connection })
    }
    /// What the data is, whichever version runs: an older one that can read it may. None if no update has said it yet.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn data(&self) -> Result<Option<DataRule>> {
        let sql = "SELECT value FROM setting WHERE key = 'data'";
        Ok(self
            .connection
            .query_row(sql, [], |row| row::from_json(row, 0))
            .optional()?)
    }

    /// Records what the data is from now on.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn set_data(&mut self, data: &DataRule) -> Result<()> {
        let text = row::to_json(data)?;
        self.set_setting("data", Some(&text))
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bundle::{Digest, manifest::DataRule};
    use semver::Version;

    use super::*;
    use crate::{
        Error,
        state::{Event, Phase, State},
    };

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
