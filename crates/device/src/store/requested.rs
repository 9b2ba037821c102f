//! Requested updates: who asked, what was handed in, and how the list is read and tidied.

use std::path::Path;

use bundle::Digest;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    database::Store,
    records::{NewUpdate, Update},
    row::{UPDATE_COLUMNS, optional, update_of_row},
};
use crate::{Result, state::Phase};

/// Where an update came from, beside what its bundle says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Who asked for it over the API; none if its bundle was dropped, or applied at the console.
    pub requested_by: Option<String>,
    /// SHA-256 of the bundle's file, where it was received over the network.
    pub file_sha256: Option<Digest>,
}

impl Store {
    /// Records a requested update, which waits.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn add_requested(&mut self, new: &NewUpdate, origin: &Origin, now: &str) -> Result<Update> {
        let update = self.add(new, now)?;
        set_origin(&self.connection, update.id, origin)?;
        Ok(update)
    }

    /// Where an update came from, as far as that is known.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn origin(&self, id: i64) -> Result<Origin> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT requested_by, file_sha256 FROM origin WHERE update_id = ?1")?;
        let origin = statement.query_row([id], |row| {
            Ok(Origin {
                requested_by: row.get(0)?,
                file_sha256: optional(row, 1)?,
            })
        });
        Ok(origin.optional()?.unwrap_or_default())
    }

    /// The update with this public name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn update_called(&self, public_id: &str) -> Result<Option<Update>> {
        let sql = format!("SELECT {UPDATE_COLUMNS} FROM \"update\" WHERE public_id = ?1");
        let mut statement = self.connection.prepare_cached(&sql)?;
        Ok(statement.query_row([public_id], update_of_row).optional()?)
    }

    /// Updates, the newest first: `limit` of them after `offset`, and how many there are.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn page_of_updates(&self, offset: u64, limit: u64) -> Result<(Vec<Update>, u64)> {
        let total = self
            .connection
            .query_row("SELECT count(*) FROM \"update\"", [], |row| row.get(0))?;
        let sql = format!("SELECT {UPDATE_COLUMNS} FROM \"update\" ORDER BY id DESC LIMIT ?1 OFFSET ?2");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let updates = statement.query_map([limit, offset], update_of_row)?;
        Ok((updates.collect::<rusqlite::Result<_>>()?, total))
    }

    /// The update that waits with the bundle at `path`, if one does.
    pub(crate) fn waiting_with(&self, path: &Path) -> Result<Option<Update>> {
        let sql = format!("SELECT {UPDATE_COLUMNS} FROM \"update\" WHERE phase = ?1 AND bundle = ?2 ORDER BY id DESC");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let found = statement.query_row(params![Phase::Pending.name(), path.to_string_lossy()], update_of_row);
        Ok(found.optional()?)
    }

    /// Gives an update that waits the bundle that was handed in for it.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn hand_in(&mut self, id: i64, new: &NewUpdate, origin: &Origin) -> Result<()> {
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "UPDATE \"update\" SET bundle = ?2, manifest_digest = ?3, file_size = ?4,
             changelog = CASE WHEN ?5 = '' THEN changelog ELSE ?5 END WHERE id = ?1 AND phase = ?6",
            params![
                id,
                new.bundle.as_ref().map(|path| path.to_string_lossy().into_owned()),
                new.manifest_digest.map(|digest| digest.to_string()),
                new.file_size,
                new.changelog,
                Phase::Pending.name()
            ],
        )?;
        set_origin(&transaction, id, origin)?;
        Ok(transaction.commit()?)
    }

    /// Removes the record of an update, with its journal.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn remove_update(&mut self, id: i64) -> Result<()> {
        self.connection.execute("DELETE FROM \"update\" WHERE id = ?1", [id])?;
        Ok(())
    }
}

fn set_origin(connection: &Connection, id: i64, origin: &Origin) -> rusqlite::Result<()> {
    let file_sha256 = origin.file_sha256.map(|digest| digest.to_string());
    connection
        .execute(
            "INSERT OR REPLACE INTO origin (update_id, requested_by, file_sha256) VALUES (?1, ?2, ?3)",
            params![id, origin.requested_by, file_sha256],
        )
        .map(drop)
}
