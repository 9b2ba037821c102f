//! What all calls share: the configuration, the record, the way to the daemon, and what is counted and under way.
//!
//! It knows no call and no caller; `access`, `api` and `upload` are above it.

pub(crate) mod counters;
pub(crate) mod events;
pub(crate) mod limits;
pub(crate) mod receive;
pub(crate) mod uploads;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::StatusCode;
use tokio::sync::Semaphore;

use self::{counters::Counters, events::Events, limits::Limits, uploads::Uploads};
use super::{refusal::Refusal, worker::blocking};
use crate::github::Waker;
use device::{
    Result,
    config::Config,
    control::{
        board::Board,
        requests::{Command, Requests},
    },
    store::{Store, Update},
};

/// The time limit for the daemon to begin a command.
const BEGIN: Duration = Duration::from_secs(20);

/// The largest number of logins that wait for their password to be hashed.
const WAITING_LOGINS: usize = 16;

/// What all calls share.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) requests: Arc<Requests>,
    pub(crate) board: Arc<Board>,
    pub(crate) limits: Limits,
    /// One password is hashed at a time: each takes 19 MiB.
    pub(crate) hashing: Semaphore,
    /// Limits the logins that wait for it.
    pub(crate) logins: Semaphore,
    pub(crate) uploads: Uploads,
    /// Held while an uploaded bundle is claimed for an update.
    pub(crate) claiming: Mutex<()>,
    /// Held during a request to GitHub.
    pub(crate) asking: tokio::sync::Mutex<()>,
    /// Starts downloads; none where no repository is configured.
    pub(crate) waker: Option<Waker>,
    pub(crate) events: Events,
    pub(crate) counters: Arc<Counters>,
    store: Mutex<Option<Store>>,
}

impl App {
    pub(crate) fn new(config: Config, requests: Arc<Requests>, board: Arc<Board>, waker: Option<Waker>) -> Self {
        Self {
            asking: tokio::sync::Mutex::default(),
            waker,
            uploads: Uploads::default(),
            config,
            requests,
            board,
            limits: Limits::default(),
            hashing: Semaphore::new(1),
            logins: Semaphore::new(WAITING_LOGINS),
            claiming: Mutex::default(),
            events: Events::default(),
            counters: Arc::default(),
            store: Mutex::default(),
        }
    }

    /// Works with the record on this thread. A record that cannot be opened is tried again by the next call.
    pub(crate) fn store<T>(&self, work: impl FnOnce(&mut Store) -> Result<T>) -> Result<T> {
        let mut place = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let store = match &mut *place {
            Some(store) => store,
            place => place.insert(Store::open(&self.config.database())?),
        };
        work(store)
    }

    /// Works with the record on a worker's thread.
    pub(crate) async fn record<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Store) -> Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let app = self.clone();
        blocking(move || Ok(app.store(work)?)).await
    }

    /// The update with this `public_id`.
    pub(crate) async fn update(self: &Arc<Self>, public_id: &str) -> Result<Update, Refusal> {
        let called = public_id.to_owned();
        let found = self.record(move |store| store.update_called(&called)).await?;
        found.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "there is no such update"))
    }

    /// Sends the daemon a command, and waits until it has begun.
    pub(crate) async fn ask(&self, command: Command) -> Result<(), Refusal> {
        let answer = self.requests.ask(command)?;
        match tokio::time::timeout(BEGIN, answer).await {
            Ok(Ok(answer)) => Ok(answer?),
            Ok(Err(_)) | Err(_) => Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the updater did not answer in time; the list shows whether it was begun",
            )
            .retry_after(Duration::from_secs(5))),
        }
    }

    /// `text` for callers, without the paths of this device.
    pub(crate) fn without_paths(&self, text: &str) -> String {
        let config = &self.config;
        [&config.folder, &config.state, &config.etc]
            .iter()
            .fold(text.to_owned(), |text, directory| {
                let directory = directory.display().to_string();
                text.replace(&format!("{directory}/"), "").replace(&directory, ".")
            })
    }
}
