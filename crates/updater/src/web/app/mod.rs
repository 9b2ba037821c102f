//! What all calls share.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::StatusCode;
use tokio::sync::Semaphore;

use super::{
    access::{Caller, Limits},
    api::{events::Events, metrics::Counters},
    refusal::Refusal,
    upload::unfinished::Uploads,
};
use crate::github::Waker;
use device::{
    Error, Result,
    config::Config,
    control::{
        board::Board,
        requests::{Requests, Wish},
    },
    store::{Audit, Store, Update},
    system::clock::stamp,
};

/// How long the daemon may take to begin what it is asked for.
const BEGIN: Duration = Duration::from_secs(20);

/// How many logins may wait for their turn to be hashed.
const WAITING_LOGINS: usize = 16;

/// What all calls share.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) requests: Arc<Requests>,
    pub(crate) board: Arc<Board>,
    pub(crate) limits: Limits,
    /// One password is hashed at a time: each takes 19 MiB.
    pub(crate) hashing: Semaphore,
    /// Those that may wait for it.
    pub(crate) logins: Semaphore,
    pub(crate) uploads: Uploads,
    /// Held while it is decided what becomes of an uploaded bundle.
    pub(crate) claiming: Mutex<()>,
    /// Held while GitHub is asked.
    pub(crate) asking: tokio::sync::Mutex<()>,
    /// Gets downloads going; none where no repository is configured.
    pub(crate) waker: Option<Waker>,
    pub(crate) events: Events,
    pub(crate) counters: Counters,
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
            counters: Counters::default(),
            store: Mutex::default(),
        }
    }

    /// Works with the record, in the thread that calls it. One that could not be opened is opened again the next time.
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

    /// The update that is called so.
    pub(crate) async fn update(self: &Arc<Self>, public_id: &str) -> Result<Update, Refusal> {
        let called = public_id.to_owned();
        let found = self.record(move |store| store.update_called(&called)).await?;
        found.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "there is no such update"))
    }

    /// Asks the daemon for something, and waits until it has begun.
    pub(crate) async fn ask(&self, wish: Wish) -> Result<(), Refusal> {
        let answer = self.requests.ask(wish)?;
        match tokio::time::timeout(BEGIN, answer).await {
            Ok(Ok(answer)) => Ok(answer?),
            Ok(Err(_)) | Err(_) => Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the updater did not answer in time; the list shows whether it was begun",
            )
            .retry_after(Duration::from_secs(5))),
        }
    }

    /// Writes a line of the audit log. That it cannot be written stops nothing: the journal is what counts.
    pub(crate) async fn audit(self: &Arc<Self>, caller: &Caller, action: &str, subject: &str, outcome: &str) {
        let line = Audit {
            at: stamp(jiff::Timestamp::now()),
            who: caller.who.to_string(),
            address: caller.address.map(|address| address.to_string()),
            action: action.to_owned(),
            subject: subject.to_owned(),
            outcome: outcome.to_owned(),
        };
        if let Err(refusal) = self.record(move |store| store.add_audit(&line)).await {
            tracing::warn!("the audit log cannot be written: {}", refusal.detail());
        }
    }

    /// As [`App::audit`], with what came of it.
    pub(crate) async fn audit_outcome<T>(
        self: &Arc<Self>,
        caller: &Caller,
        action: &str,
        subject: &str,
        outcome: &Result<T, Refusal>,
    ) {
        let text = match outcome {
            Ok(_) => "accepted",
            Err(refusal) => refusal.detail(),
        };
        self.audit(caller, action, subject, text).await;
    }

    /// As [`App::audit_outcome`], for an upload.
    pub(crate) async fn audit_upload(self: &Arc<Self>, caller: &Caller, outcome: &Result<Update, Refusal>) {
        let version = outcome.as_ref().map(|update| update.version.to_string());
        self.audit_outcome(caller, "upload", &version.unwrap_or_default(), outcome)
            .await;
    }

    /// A text for callers: where things lie on this device is not theirs to know.
    pub(crate) fn without_paths(&self, text: &str) -> String {
        let config = &self.config;
        [&config.folder, &config.state, &config.etc]
            .iter()
            .fold(text.to_owned(), |text, folder| {
                let folder = folder.display().to_string();
                text.replace(&format!("{folder}/"), "").replace(&folder, ".")
            })
    }
}

/// Does something that may take its time on a worker's thread.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Refusal::internal(&Error::engine("answer", error))),
    }
}
