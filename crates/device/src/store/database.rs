//! The database of the record, opened.

use std::{path::Path, time::Duration};

use rusqlite::Connection;

use super::schema;
use crate::{Result, system::files};

/// The record of one device.
#[derive(Debug)]
pub struct Store {
    pub(super) connection: Connection,
}

impl Store {
    /// Opens the record, and creates it if it does not exist.
    ///
    /// # Errors
    /// It cannot be read, or is not a database.
    pub fn open(path: &Path) -> Result<Self> {
        let new = !path.exists();
        if let Some(directory) = path.parent() {
            files::make_directory(directory)?;
        }
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        for schema in [schema::UPDATES, schema::ACCESS, schema::REQUESTED] {
            connection.execute_batch(schema)?;
        }
        if new {
            files::sync_directory_of(path)?;
        }
        Ok(Self { connection })
    }
}
