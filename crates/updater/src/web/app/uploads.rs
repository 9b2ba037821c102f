//! Uploads in several requests, between them: a hidden file, and a note beside it with its final length.
//!
//! That is all there is of an upload, so it survives a restart of the updater; its hash is then computed again.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use uuid::Uuid;

use super::receive::{Incoming, hidden};
use crate::web::refusal::Refusal;
use device::{config::Config, system::files};

/// The prefix of files that are received in several requests.
pub(crate) const PREFIX: &str = ".partial-resumable-";

/// The suffix of the note beside a file.
pub(crate) const NOTE: &str = ".json";

/// The largest number of uploads that are under way or interrupted.
pub(crate) const UPLOADS: usize = 4;

/// The uploads that are under way.
#[derive(Default)]
pub(crate) struct Uploads {
    known: Mutex<HashMap<Uuid, Arc<Upload>>>,
    /// Uploads in one request that are under way.
    single: Arc<()>,
}

pub(crate) struct Upload {
    pub(crate) length: u64,
    /// Notified when another request continues the upload: a broken connection is noticed late.
    pub(crate) interrupt: Notify,
    /// The file, while no request writes to it; none before it is opened, and after it is removed.
    pub(crate) incoming: Arc<AsyncMutex<Option<Incoming>>>,
}

/// The note beside a file.
#[derive(Serialize, Deserialize)]
struct Note {
    length: u64,
}

impl Uploads {
    /// A place for an upload in one request.
    pub(crate) fn place(&self) -> Result<Arc<()>, Refusal> {
        let place = self.single.clone();
        match Arc::strong_count(&place) - 1 <= UPLOADS {
            true => Ok(place),
            false => Err(too_many()),
        }
    }

    /// The bytes that are still to come of the uploads that have begun.
    pub(crate) fn pledged(&self, config: &Config) -> u64 {
        hidden(config, PREFIX)
            .into_iter()
            .filter_map(|path| {
                let note = read_note(&path)?;
                Some(note.length.saturating_sub(fs::metadata(&path).ok()?.len()))
            })
            .sum()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Upload>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The upload with this id, for a request that continues or ends it; the request that writes to it stops.
    pub(crate) fn take_over(&self, config: &Config, id: &str) -> Result<(Uuid, Arc<Upload>), Refusal> {
        let (id, upload) = self.find(config, id)?;
        upload.interrupt.notify_waiters();
        Ok((id, upload))
    }

    /// The upload with this id; one from before a restart is found by its file.
    fn find(&self, config: &Config, id: &str) -> Result<(Uuid, Arc<Upload>), Refusal> {
        let unknown = || {
            Refusal::new(
                StatusCode::NOT_FOUND,
                "there is no such upload; it may have ended or expired",
            )
        };
        let id = Uuid::try_parse(id).map_err(|_| unknown())?;
        let mut known = self.known();
        if let Some(upload) = known.get(&id) {
            return Ok((id, upload.clone()));
        }
        let note = read_note(&file_of(config, id)).ok_or_else(unknown)?;
        let upload = Arc::new(Upload {
            length: note.length,
            interrupt: Notify::new(),
            incoming: Arc::default(),
        });
        known.insert(id, upload.clone());
        Ok((id, upload))
    }

    /// A new upload of `length` bytes.
    pub(crate) fn add(&self, id: Uuid, length: u64, incoming: Incoming) {
        let upload = Upload {
            length,
            interrupt: Notify::new(),
            incoming: Arc::new(AsyncMutex::new(Some(incoming))),
        };
        self.known().insert(id, Arc::new(upload));
    }

    /// Whether no request writes to an upload.
    pub(crate) fn is_idle(&self, id: Uuid) -> bool {
        let known = self.known();
        known.get(&id).is_none_or(|upload| upload.incoming.try_lock().is_ok())
    }

    pub(crate) fn forget(&self, config: &Config, id: Uuid) {
        self.known().remove(&id);
        fs::remove_file(note_of(&file_of(config, id))).ok();
    }
}

pub(crate) fn too_many() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too many uploads at the same time")
        .retry_after(Duration::from_secs(30))
}

pub(crate) fn file_of(config: &Config, id: Uuid) -> PathBuf {
    config.updates().join(format!("{PREFIX}{id}"))
}

fn note_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(NOTE);
    PathBuf::from(name)
}

/// Writes the note of a new upload.
pub(crate) fn write_note(config: &Config, id: Uuid, length: u64) -> device::Result<()> {
    let note = serde_json::to_vec(&Note { length }).unwrap_or_default();
    files::write(&note_of(&file_of(config, id)), &note, 0o600)
}

fn read_note(file: &Path) -> Option<Note> {
    serde_json::from_slice(&fs::read(note_of(file)).ok()?).ok()
}
