//! The Docker Engine API over its socket, one call at a time.
//!
//! A call connects, agrees on the API's version (once, and again after a failure: the engine may have been replaced),
//! asks, and ends within its limit. Connections are not kept.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bollard::{API_DEFAULT_VERSION, Docker as Client, errors::Error as ApiError};
use tokio::runtime::{Builder, Runtime};

use crate::{Error, Result, system::timing::timed};

/// How long a call may take, unless it says otherwise. A small board that is writing much answers slowly.
const LIMIT: Duration = Duration::from_secs(120);

/// HTTP status of what is not there.
const NOT_FOUND: u16 = 404;

/// An engine's socket.
#[derive(Debug)]
pub(super) struct Api {
    runtime: Runtime,
    socket: String,
    client: Mutex<Option<Client>>,
}

impl Api {
    /// The socket that `host` names.
    pub(super) fn new(host: &str) -> Result<Self> {
        let socket = host.strip_prefix("unix://").ok_or_else(|| {
            Error::refused(
                format!("the Docker engine at `{host}` cannot be used: an updater changes its own device"),
                "name a socket: unix:///var/run/docker.sock",
            )
        })?;
        Ok(Self {
            runtime: runtime()?,
            socket: socket.to_owned(),
            client: Mutex::new(None),
        })
    }

    /// Asks the engine something.
    pub(super) fn call<T>(&self, action: &str, ask: impl AsyncFnOnce(&Client) -> Result<T, ApiError>) -> Result<T> {
        self.call_within(LIMIT, action, ask)
    }

    /// As [`Api::call`], with its own limit.
    pub(super) fn call_within<T>(
        &self,
        limit: Duration,
        action: &str,
        ask: impl AsyncFnOnce(&Client) -> Result<T, ApiError>,
    ) -> Result<T> {
        self.raw(limit, action, ask).map_err(|error| failed(action, error))
    }

    /// Asks for something that may be missing; none if the engine answers with 404.
    pub(super) fn find<T>(
        &self,
        limit: Duration,
        action: &str,
        ask: impl AsyncFnOnce(&Client) -> Result<T, ApiError>,
    ) -> Result<Option<T>> {
        match self.raw(limit, action, ask) {
            Ok(found) => Ok(Some(found)),
            Err(error) if status(&error) == Some(NOT_FOUND) => Ok(None),
            Err(error) => Err(failed(action, error)),
        }
    }

    /// As [`Api::call`], with the client library's error.
    pub(super) fn raw<T>(
        &self,
        limit: Duration,
        action: &str,
        ask: impl AsyncFnOnce(&Client) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        timed(tracing::debug_span!("docker call", action), describe, || {
            self.ask(limit, ask)
        })
    }

    fn ask<T>(&self, limit: Duration, ask: impl AsyncFnOnce(&Client) -> Result<T, ApiError>) -> Result<T, ApiError> {
        let result = self.runtime.block_on(async {
            let client = self.client().await?.with_timeout(limit);
            tokio::time::timeout(limit, ask(&client))
                .await
                .unwrap_or(Err(ApiError::RequestTimeoutError))
        });
        if result
            .as_ref()
            .is_err_and(|error| status(error).is_none_or(|status| status != NOT_FOUND))
        {
            *self.lock() = None;
        }
        result
    }

    /// A client that speaks the engine's version of the API.
    pub(super) async fn client(&self) -> Result<Client, ApiError> {
        if let Some(client) = self.lock().clone() {
            return Ok(client);
        }
        let client = Client::connect_with_unix(&self.socket, LIMIT.as_secs(), API_DEFAULT_VERSION)?
            .negotiate_version()
            .await?;
        *self.lock() = Some(client.clone());
        Ok(client)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Client>> {
        // The content is replaced as a whole, so it is valid even after a panic.
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A runtime that runs only while a call waits for it.
pub(super) fn runtime() -> Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::engine_because("prepare talking to the Docker engine", error))
}

/// A failed call as an error of this crate, with the client library's error as its source.
pub(super) fn failed(action: &str, error: ApiError) -> Error {
    Error::Engine {
        action: action.to_owned(),
        message: describe(&error),
        source: Some(error.into()),
    }
}

/// The HTTP status that the engine refused something with.
pub(super) fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// An error in the engine's own words, or with all its causes.
fn describe(error: &ApiError) -> String {
    match error {
        ApiError::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        ApiError::DockerStreamError { error } => error.trim().to_owned(),
        ApiError::RequestTimeoutError => "the Docker engine does not answer".to_owned(),
        ApiError::SocketNotFoundError(socket) => format!("there is no Docker engine at {socket}"),
        other => {
            // The wrappings only say that a connection was used.
            let mut cause: &dyn std::error::Error = other;
            while let Some(source) = cause.source() {
                cause = source;
            }
            format!("the connection to the Docker engine broke: {cause}")
        }
    }
}
