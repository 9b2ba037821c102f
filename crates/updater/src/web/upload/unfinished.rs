//! Uploads in several requests, between them: a hidden file, and a note beside it that says how long it is to become.
//!
//! That is all there is of an upload, so it survives a restart of the updater; its hash is then made anew. One that nobody
//! has gone on with for a day is removed, and the oldest one makes room where there are too many.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use uuid::Uuid;

use super::receive::{Incoming, expect_room, hidden};
use crate::web::{
    app::{App, blocking},
    refusal::Refusal,
};
use device::{config::Config, system::files};

/// What the names of files begin with that are received in several requests.
const PREFIX: &str = ".partial-resumable-";

/// What the name of the note beside a file ends with.
const NOTE: &str = ".json";

/// How many uploads may be under way or broken off.
const UPLOADS: usize = 4;

/// How long an upload waits for being gone on with.
const EXPIRES: Duration = Duration::from_secs(24 * 60 * 60);

/// The uploads that are under way.
#[derive(Default)]
pub(crate) struct Uploads {
    known: Mutex<HashMap<Uuid, Arc<Upload>>>,
    /// Uploads in one request that are under way.
    single: Arc<()>,
}

pub(crate) struct Upload {
    pub(crate) length: u64,
    /// Rung when somebody else goes on: a connection that broke is noticed late.
    pub(crate) interrupt: Notify,
    /// The file, while nobody writes to it; none until it is opened, and after it has gone.
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

    /// How many bytes are to come of uploads that were begun.
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

    /// The upload that is called so, for somebody who goes on with it or ends it; whoever is at it stops.
    pub(crate) fn take_over(&self, config: &Config, id: &str) -> Result<(Uuid, Arc<Upload>), Refusal> {
        let (id, upload) = self.find(config, id)?;
        upload.interrupt.notify_waiters();
        Ok((id, upload))
    }

    /// The upload that is called so; one from before a restart is known by its file.
    fn find(&self, config: &Config, id: &str) -> Result<(Uuid, Arc<Upload>), Refusal> {
        let gone = || {
            Refusal::new(
                StatusCode::NOT_FOUND,
                "there is no such upload; it may have ended or expired",
            )
        };
        let id = Uuid::try_parse(id).map_err(|_| gone())?;
        let mut known = self.known();
        if let Some(upload) = known.get(&id) {
            return Ok((id, upload.clone()));
        }
        let note = read_note(&file_of(config, id)).ok_or_else(gone)?;
        let upload = Arc::new(Upload {
            length: note.length,
            interrupt: Notify::new(),
            incoming: Arc::default(),
        });
        known.insert(id, upload.clone());
        Ok((id, upload))
    }

    pub(crate) fn forget(&self, config: &Config, id: Uuid) {
        self.known().remove(&id);
        fs::remove_file(note_of(&file_of(config, id))).ok();
    }
}

fn too_many() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too many uploads at the same time")
        .retry_after(Duration::from_secs(30))
}

/// Removes uploads that nobody has gone on with for a day.
pub(crate) fn remove_expired(app: &App) {
    for path in hidden(&app.config, PREFIX) {
        let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
        // A note is as old as the upload that it is about, which goes on.
        let about = path.to_string_lossy().trim_end_matches(NOTE).to_owned();
        let newest = changed(&path).max(changed(Path::new(&about)));
        // A clock that went back keeps them.
        let age = newest.and_then(|changed| SystemTime::now().duration_since(changed).ok());
        if age.is_some_and(|age| age > EXPIRES) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let id = name.trim_start_matches(PREFIX).trim_end_matches(NOTE).parse();
            fs::remove_file(&path).ok();
            if let Ok(id) = id {
                app.uploads.forget(&app.config, id);
            }
        }
    }
}

pub(crate) fn file_of(config: &Config, id: Uuid) -> PathBuf {
    config.updates().join(format!("{PREFIX}{id}"))
}

fn note_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(NOTE);
    PathBuf::from(name)
}

fn read_note(file: &Path) -> Option<Note> {
    serde_json::from_slice(&fs::read(note_of(file)).ok()?).ok()
}

/// Where there are too many uploads, the one that was gone on with longest ago makes room.
fn make_room(app: &App) -> Result<(), Refusal> {
    let files = hidden(&app.config, PREFIX);
    let mut files: Vec<_> = files
        .into_iter()
        .filter(|path| !path.to_string_lossy().ends_with(NOTE))
        .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .collect();
    files.sort();
    let surplus = (files.len() + 1).saturating_sub(UPLOADS);
    let mut removed = 0;
    for (_, path) in files {
        if removed == surplus {
            break;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(id) = name.trim_start_matches(PREFIX).parse::<Uuid>() else {
            continue;
        };
        let is_idle = app
            .uploads
            .known()
            .get(&id)
            .is_none_or(|upload| upload.incoming.try_lock().is_ok());
        if is_idle {
            app.uploads.forget(&app.config, id);
            fs::remove_file(&path).ok();
            removed += 1;
        }
    }
    match removed == surplus {
        true => Ok(()),
        false => Err(too_many()),
    }
}

/// Opens the file if it is not open, and gives how far it is.
pub(crate) async fn opened(app: &Arc<App>, id: Uuid, place: &mut Option<Incoming>) -> Result<u64, Refusal> {
    if let Some(incoming) = place {
        return Ok(incoming.size());
    }
    let shared = app.clone();
    let mut incoming = blocking(move || Incoming::reopen(&shared, file_of(&shared.config, id))).await?;
    incoming.keep();
    Ok(place.insert(incoming).size())
}

/// A new upload of `length` bytes, if they fit.
pub(crate) fn begin(app: &Arc<App>, length: u64) -> Result<Uuid, Refusal> {
    make_room(app)?;
    expect_room(&app.config, length, app.uploads.pledged(&app.config))?;
    let id = Uuid::new_v4();
    let path = file_of(&app.config, id);
    let note = serde_json::to_vec(&Note { length }).unwrap_or_default();
    files::write(&note_of(&path), &note, 0o600)?;
    let mut incoming = Incoming::create(app, path)?;
    incoming.keep();
    let upload = Upload {
        length,
        interrupt: Notify::new(),
        incoming: Arc::new(AsyncMutex::new(Some(incoming))),
    };
    app.uploads.known().insert(id, Arc::new(upload));
    Ok(id)
}
