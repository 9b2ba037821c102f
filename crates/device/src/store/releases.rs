//! The releases on this device, and which of them runs.

use std::path::PathBuf;

use rusqlite::params;

use super::{
    database::Store,
    records::Release,
    row::{release_of_row, to_json},
    settings::set,
};
use crate::Result;

impl Store {
    /// Records a release, or gives the one with the same bundle with its new files and pins.
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
                path(&release.directory),
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
    pub(crate) fn adopt(&mut self, release: i64) -> Result<()> {
        let previous = self.current()?.map(|release| release.id.to_string());
        let transaction = self.connection.transaction()?;
        set(&transaction, "previous", previous.as_deref())?;
        set(&transaction, "current", Some(&release.to_string()))?;
        Ok(transaction.commit()?)
    }

    fn release_setting(&self, key: &str) -> Result<Option<Release>> {
        match self.setting(key)?.and_then(|id| id.parse().ok()) {
            Some(id) => self.release(id).map(Some),
            None => Ok(None),
        }
    }
}
