//! The live events, shared by all who listen: one task looks at the device, and every listener gets the same text.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::StatusCode;
use tokio::sync::watch;

use crate::web::refusal::Refusal;

/// The largest number of listeners.
const LISTENERS: usize = 256;

/// The data of both events at a moment, as JSON.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Event {
    /// Of the event `state`.
    pub(crate) state: Arc<str>,
    /// Of the event `progress`.
    pub(crate) progress: Arc<str>,
}

/// The channel to the listeners; none before the first one.
#[derive(Default)]
pub(crate) struct Events {
    sender: Mutex<Option<watch::Sender<Event>>>,
}

impl Events {
    /// The number of listeners.
    pub(crate) fn listeners(&self) -> usize {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        sender.as_ref().map_or(0, watch::Sender::receiver_count)
    }

    /// Listens. `start` is called for the first listener: it sends events until there are no receivers left.
    pub(crate) fn listen(
        &self,
        first: Event,
        start: impl FnOnce(watch::Sender<Event>),
    ) -> Result<watch::Receiver<Event>, Refusal> {
        let mut place = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = &*place {
            if sender.receiver_count() >= LISTENERS {
                return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too many listen already")
                    .retry_after(Duration::from_secs(30)));
            }
            if sender.receiver_count() > 0 {
                return Ok(sender.subscribe());
            }
        }
        let (sender, receiver) = watch::channel(first);
        *place = Some(sender.clone());
        start(sender);
        Ok(receiver)
    }
}
