//! Uploads in several requests: beginning, opening again, and removing what is left of them.
//!
//! An upload that has not continued for a day is removed, and the oldest one makes room where there are too many.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use super::claim;
use crate::web::{
    app::{
        App,
        receive::{Incoming, expect_room, hidden},
        uploads::{NOTE, PREFIX, UPLOADS, file_of, too_many, write_note},
    },
    refusal::Refusal,
    worker::blocking,
};

/// The time after which an upload that does not continue is removed.
const EXPIRES: Duration = Duration::from_secs(24 * 60 * 60);

/// Removes uploads that have not continued for a day.
pub(crate) fn remove_expired(app: &App) {
    for path in hidden(&app.config, PREFIX) {
        let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
        // A note is as old as its upload.
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

/// Removes the uploads that have not continued for the longest time, where there are too many.
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
        if app.uploads.is_idle(id) {
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

/// Opens the file if it is not open; returns its size.
pub(crate) async fn opened(app: &Arc<App>, id: Uuid, place: &mut Option<Incoming>) -> Result<u64, Refusal> {
    if let Some(incoming) = place {
        return Ok(incoming.size());
    }
    let shared = app.clone();
    let mut incoming =
        blocking(move || Incoming::reopen(file_of(&shared.config, id), &shared.counters, claim::early(&shared)))
            .await?;
    incoming.keep();
    Ok(place.insert(incoming).size())
}

/// A new upload of `length` bytes, if they fit.
pub(crate) fn begin(app: &Arc<App>, length: u64) -> Result<Uuid, Refusal> {
    make_room(app)?;
    expect_room(&app.config.updates(), length, app.uploads.pledged(&app.config))?;
    let id = Uuid::new_v4();
    write_note(&app.config, id, length)?;
    let mut incoming = Incoming::create(file_of(&app.config, id), &app.counters, claim::early(app))?;
    incoming.keep();
    app.uploads.add(id, length, incoming);
    Ok(id)
}
