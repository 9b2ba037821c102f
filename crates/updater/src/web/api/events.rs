//! The progress of an update, live, as server-sent events (HTML Living Standard, "Server-sent events").
//!
//! One task reads the record and the board twice a second while there are listeners, and all of them get the same text:
//! many listeners cost no more than one. `state` is sent first, and when anything but the number of bytes has changed;
//! `progress` when it has. A browser connects again by itself when the connection breaks, and gets the state then.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::sse::{self, KeepAlive, Sse},
};
use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::views::UpdateView;
use crate::web::{
    access::Reader,
    app::{App, events::Event},
    refusal::{Refusal, Refused},
    worker::blocking,
};
use device::{
    Result,
    control::board::{Note, Work},
    state::Phase,
    store::{Store, Update},
};

/// How often the record and the board are read.
const LOOK: Duration = Duration::from_millis(500);

/// How often a silent connection gets a sign of life.
const ALIVE: Duration = Duration::from_secs(15);

/// The longest life of a connection; then a listener shows its credentials again.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// The device at a moment: the data of the event `state`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Snapshot {
    /// The version that runs.
    current_version: Option<String>,
    /// The update that is under way or stuck, or else the one that changed last.
    update: Option<UpdateView>,
    /// The services that it restarts, as far as that is known.
    restarts: Vec<String>,
    /// The phases that it has gone through, with the one that it is in.
    phases: Vec<Phase>,
    /// Whether services stop for a migration.
    gated: bool,
    /// How many updates are recorded.
    total: u64,
    /// Messages on the way, the oldest first.
    notes: Vec<Note>,
}

/// Sends events until there are no listeners.
async fn send(app: Arc<App>, sender: watch::Sender<Event>) {
    while sender.receiver_count() > 0 {
        match event(&app).await {
            Ok(event) => {
                sender.send_if_modified(|last| {
                    let changed = *last != event;
                    *last = event;
                    changed
                });
            }
            Err(refusal) => tracing::warn!("the events cannot be sent: {}", refusal.detail()),
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn event(app: &Arc<App>) -> Result<Event, Refusal> {
    let shared = app.clone();
    blocking(move || {
        let (snapshot, work) = shared.store(|store| Ok((snapshot(&shared, store)?, work(&shared, store)?)))?;
        Ok(Event {
            state: json(&snapshot),
            progress: json(&work),
        })
    })
    .await
}

fn json(value: &impl Serialize) -> Arc<str> {
    // These have no keys that are not texts, so they can be written.
    serde_json::to_string(value).unwrap_or_default().into()
}

fn snapshot(app: &App, store: &Store) -> Result<Snapshot> {
    let updates = store.updates()?;
    let total = updates.len() as u64;
    let update = match shown(store)? {
        Some(update) => Some(update),
        None => updates
            .into_iter()
            .max_by_key(|update| (last_touched(update), update.id)),
    };
    let notes = app.board.notes().into_iter().map(|note| Note {
        text: app.without_paths(&note.text),
        ..note
    });
    Ok(Snapshot {
        current_version: store.current()?.map(|release| release.version.to_string()),
        restarts: update
            .as_ref()
            .map_or(Ok(Vec::new()), |update| restarts(store, update))?,
        phases: update.as_ref().map_or(Ok(Vec::new()), |update| phases(store, update))?,
        gated: update.as_ref().is_some_and(|update| update.state.gated),
        update: update.map(|update| UpdateView::of(app, store, update)).transpose()?,
        total,
        notes: notes.collect(),
    })
}

/// When something last happened to an update; the form of these times is such that they can be compared as texts.
fn last_touched(update: &Update) -> String {
    let times = [&update.completed_on, &update.started_on];
    let last = times.into_iter().flatten().max();
    last.unwrap_or(&update.created_on).clone()
}

/// The update that is under way, stuck or downloading.
fn shown(store: &Store) -> Result<Option<Update>> {
    if let Some(update) = store.active()?.or(store.stuck()?) {
        return Ok(Some(update));
    }
    let updates = store.updates()?.into_iter();
    Ok(updates
        .into_iter()
        .find(|update| update.state.phase == Phase::Downloading))
}

/// The progress of the current work. A download runs beside everything else; its progress is in the record.
fn work(app: &App, store: &Store) -> Result<Work> {
    let work = app.board.work();
    let downloading = shown(store)?.filter(|update| update.state.phase == Phase::Downloading);
    let fetched = downloading
        .map(|update| store.fetched(update.id))
        .transpose()?
        .flatten();
    Ok(match fetched {
        Some(fetched) => Work {
            what: Some("downloading".to_owned()),
            done_bytes: fetched.bytes,
            total_bytes: Some(fetched.total),
        },
        None => work,
    })
}

/// The services whose image the update replaces; known once its images are loaded.
fn restarts(store: &Store, update: &Update) -> Result<Vec<String>> {
    let Some(to) = update.to else { return Ok(Vec::new()) };
    let to = store.release(to)?;
    let from = update.from.map(|from| store.release(from)).transpose()?;
    let same = |service: &String, id| {
        from.as_ref()
            .and_then(|from| from.pins.get(service))
            .is_some_and(|old| old.id == id)
    };
    let changed = to.pins.iter().filter(|(service, pin)| !same(service, pin.id));
    Ok(changed.map(|(service, _)| service.clone()).collect())
}

/// The phases since the update was begun last.
fn phases(store: &Store, update: &Update) -> Result<Vec<Phase>> {
    let mut phases = Vec::new();
    for entry in store.journal(update.id)? {
        if entry.event == "start" || entry.event == "download" {
            phases.retain(|phase| *phase == Phase::Downloading);
        }
        if let Some(phase) = Phase::from_name(&entry.phase)
            && phases.last() != Some(&phase)
        {
            phases.push(phase);
        }
    }
    Ok(phases)
}

/// The progress of updates, live: events `state` ([`Snapshot`]) and `progress` ([`device::control::board::Work`]), as server-sent events.
#[utoipa::path(get, path = "/api/v1/ota/events", tag = "device",
    responses((status = 200, description = "Events `state` and `progress`", content_type = "text/event-stream", body = String), Refused))]
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    _: Reader,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Refusal> {
    let first = event(&app).await?;
    let receiver = app.events.listen(first.clone(), |sender| {
        tokio::spawn(send(app.clone(), sender));
    })?;
    let ends = tokio::time::Instant::now() + LONGEST;
    let listener = Listener {
        receiver,
        sent: Event::default(),
        next: first,
    };
    let stream = stream::unfold(listener, move |mut listener| async move {
        loop {
            if let Some(event) = listener.next_event() {
                return Some((Ok(event), listener));
            }
            match tokio::time::timeout_at(ends, listener.receiver.changed()).await {
                Ok(Ok(())) => listener.next = listener.receiver.borrow_and_update().clone(),
                Ok(Err(_)) | Err(_) => return None,
            }
        }
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(ALIVE)))
}

struct Listener {
    receiver: watch::Receiver<Event>,
    sent: Event,
    next: Event,
}

impl Listener {
    /// The next event, if something is not sent yet.
    fn next_event(&mut self) -> Option<sse::Event> {
        let Event { state, progress } = &self.next;
        if self.sent.state != *state {
            self.sent.state = state.clone();
            return Some(sse::Event::default().event("state").data(&**state));
        }
        if self.sent.progress != *progress {
            self.sent.progress = progress.clone();
            return Some(sse::Event::default().event("progress").data(&**progress));
        }
        None
    }
}
