//! The images that were loaded into the engine, and the rejected bundles.

use std::collections::{BTreeMap, BTreeSet};

use bundle::Digest;
use rusqlite::{OptionalExtension as _, params};

use super::{
    database::Store,
    row::{from_json, parsed, to_json},
};
use crate::Result;

impl Store {
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

    /// Rejects a bundle that caused a failure: it is not tried again by itself.
    pub(crate) fn refuse(&mut self, bundle: &Digest, why: &str, now: &str) -> Result<()> {
        self.connection.execute(
            "INSERT OR REPLACE INTO refused (manifest_digest, why, at) VALUES (?1, ?2, ?3)",
            params![bundle.to_string(), why, now],
        )?;
        Ok(())
    }

    /// Why a bundle is not tried again by itself, if that is so.
    pub(crate) fn refusal(&self, bundle: &Digest) -> Result<Option<String>> {
        Ok(self
            .connection
            .query_row(
                "SELECT why FROM refused WHERE manifest_digest = ?1",
                [bundle.to_string()],
                |row| row.get(0),
            )
            .optional()?)
    }

    /// Clears the rejection of a bundle, because a person wants it tried again.
    pub(crate) fn clear_rejection(&mut self, bundle: &Digest) -> Result<()> {
        self.connection
            .execute("DELETE FROM refused WHERE manifest_digest = ?1", [bundle.to_string()])?;
        Ok(())
    }
}
