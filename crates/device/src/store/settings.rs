//! Single values: the state of the data, the security epoch, texts under a key.

use bundle::manifest::DataRule;
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::{database::Store, row};
use crate::Result;

impl Store {
    /// What the data is, whichever version runs: an older one that can read it may. None if no update has said it yet.
    pub(crate) fn data(&self) -> Result<Option<DataRule>> {
        let sql = "SELECT value FROM setting WHERE key = 'data'";
        Ok(self
            .connection
            .query_row(sql, [], |row| row::from_json(row, 0))
            .optional()?)
    }

    /// Records what the data is from now on.
    pub(crate) fn set_data(&mut self, data: &DataRule) -> Result<()> {
        let text = row::to_json(data)?;
        self.set_setting("data", Some(&text))
    }

    /// The smallest security epoch that is accepted.
    pub(crate) fn security_epoch(&self) -> Result<u64> {
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

/// Records a text under `key`, or removes it, in a transaction of the caller.
pub(super) fn set(transaction: &Transaction<'_>, key: &str, value: Option<&str>) -> rusqlite::Result<()> {
    match value {
        Some(value) => transaction.execute(
            "INSERT OR REPLACE INTO setting (key, value) VALUES (?1, ?2)",
            params![key, value],
        ),
        None => transaction.execute("DELETE FROM setting WHERE key = ?1", [key]),
    }
    .map(drop)
}
