//! Downloads from GitHub: the files of bundles, and how much of each is on the disk.

use bundle::Digest;
use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::{
    database::Store,
    row::{from_json, to_json},
};
use crate::{Result, state::Phase};

/// A bundle among the files of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteBundle {
    /// Its file's name, or that of the list of its parts.
    pub name: String,
    /// Where a person gets that file.
    pub download_url: String,
    /// The size of all its files in bytes.
    pub size: u64,
    /// Its one file; or the list of its parts, and then the parts in order.
    pub files: Vec<RemoteFile>,
    /// Where checksums are, for files whose digest GitHub does not know.
    pub sums: Option<RemoteFile>,
}

/// A file of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteFile {
    /// Its number: another file of the same name has another one.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its address in the API.
    pub url: String,
    /// Its address for everyone.
    pub download_url: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256, where GitHub knows it.
    pub digest: Option<Digest>,
}

/// A file of a bundle that comes from GitHub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// The file.
    pub file: RemoteFile,
    /// The number of its bytes that are durable on the disk.
    pub at: u64,
    /// The content's identity when they came.
    pub etag: Option<String>,
}

/// The progress of a bundle's download, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Fetched {
    /// Bytes on the disk.
    pub bytes: u64,
    /// Bytes in all.
    pub total: u64,
}

impl Store {
    /// Records what the bundle of an update consists of on GitHub. Of files that are still the same, what is here counts.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn set_download(&mut self, update: i64, bundle: &RemoteBundle) -> Result<()> {
        let known = self.download(update)?;
        let transaction = self.connection.transaction()?;
        transaction.execute("DELETE FROM download WHERE update_id = ?1", [update])?;
        for (position, file) in bundle.files.iter().enumerate() {
            let same = |known: &&Download| (known.file.id, known.file.size) == (file.id, file.size);
            let known = known.iter().find(same);
            transaction.execute(
                "INSERT INTO download (update_id, position, file, at, etag) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    update,
                    position,
                    to_json(file)?,
                    known.map_or(0, |known| known.at),
                    known.and_then(|known| known.etag.as_ref())
                ],
            )?;
        }
        transaction.execute(
            "UPDATE \"update\" SET file_size = ?2 WHERE id = ?1",
            params![update, bundle.size],
        )?;
        Ok(transaction.commit()?)
    }

    /// Records what changed with an update, in words, until its bundle says so itself.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn set_changelog(&mut self, update: i64, changelog: &str) -> Result<()> {
        self.connection.execute(
            "UPDATE \"update\" SET changelog = ?2 WHERE id = ?1",
            params![update, changelog],
        )?;
        Ok(())
    }

    /// Records that the bundle of an update that waits is not kept any more, and why.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn forget_download(&mut self, update: i64, why: &str) -> Result<()> {
        let transaction = self.connection.transaction()?;
        transaction.execute("DELETE FROM download WHERE update_id = ?1", [update])?;
        transaction.execute(
            "UPDATE \"update\" SET bundle = NULL, error = ?2 WHERE id = ?1",
            params![update, why],
        )?;
        Ok(transaction.commit()?)
    }

    /// The files that the bundle of an update consists of on GitHub; none if it does not come from there.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn download(&self, update: i64) -> Result<Vec<Download>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT file, at, etag FROM download WHERE update_id = ?1 ORDER BY position")?;
        let files = statement.query_map([update], |row| {
            Ok(Download {
                file: from_json(row, 0)?,
                at: row.get(1)?,
                etag: row.get(2)?,
            })
        })?;
        Ok(files.collect::<rusqlite::Result<_>>()?)
    }

    /// Records the progress of the file at `position`; false if the download is no longer wanted.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn set_fetched(&mut self, update: i64, position: usize, at: u64, etag: Option<&str>) -> Result<bool> {
        let changed = self.connection.execute(
            "UPDATE download SET at = ?3, etag = ?4 WHERE update_id = ?1 AND position = ?2
             AND EXISTS (SELECT 1 FROM \"update\" WHERE id = ?1 AND phase = ?5)",
            params![update, position, at, etag, Phase::Downloading.name()],
        )?;
        Ok(changed > 0)
    }

    /// The download progress of an update's bundle; none if it does not come from GitHub.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn fetched(&self, update: i64) -> Result<Option<Fetched>> {
        let files = self.download(update)?;
        let sum = |fetched: Fetched, file: &Download| Fetched {
            bytes: fetched.bytes + file.at,
            total: fetched.total + file.file.size,
        };
        Ok((!files.is_empty()).then(|| files.iter().fold(Fetched::default(), sum)))
    }

    /// Records why a download is paused, or that it goes on.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn set_interruption(&mut self, update: i64, why: Option<&str>) -> Result<()> {
        self.connection.execute(
            "UPDATE \"update\" SET error = ?2 WHERE id = ?1 AND phase = ?3",
            params![update, why, Phase::Downloading.name()],
        )?;
        Ok(())
    }
}
