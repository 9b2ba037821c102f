//! Hands readings in, one after the other, each until it is acknowledged.
//!
//! An answer of 201 or 200 is an acknowledgement and is logged with the reading's id. 400, 409, 413 and 422
//! say that this very reading will never be taken: it is logged and dropped, or it would hold up all others.
//! Everything else (no connection, no answer in time, 401, 5xx) is tried again after a pause that doubles.

use std::time::Duration;

use axum::{
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode, header},
};
use serde::Deserialize;
use tracing::{error, info, warn};

use super::state::{Controller, ControllerState};
use crate::{
    client::{self, Client},
    environment::{Environment, EnvironmentError},
    program::chain,
    reading::Reading,
};

/// From the request's start to the answer's end.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Pauses after failures: the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// The longest answer that is read.
const LONGEST_ANSWER: usize = 16 * 1024;

/// Hands readings in.
pub struct Sender {
    client: Client,
    url: String,
    authorization: Option<String>,
}

/// How handing in a reading can end.
enum Outcome {
    Acknowledged { seq: i64 },
    Refused(String),
    Failed(String),
}

#[derive(Deserialize)]
struct Acknowledgement {
    seq: i64,
}

impl Sender {
    /// A sender to the backend at `BACKEND_URL`, showing `SECRET_KEY`.
    ///
    /// # Errors
    /// `BACKEND_URL` is not an address.
    pub fn new(environment: &Environment) -> Result<Self, EnvironmentError> {
        Ok(Self {
            client: client::new(),
            url: format!("{}/api/v1/datapoints", client::backend_url(environment)?),
            authorization: environment.text("SECRET_KEY").map(|key| format!("Bearer {key}")),
        })
    }

    /// Sends everything that enters the queue; never returns.
    pub async fn run(&self, controller: &Controller) {
        loop {
            self.empty(controller).await;
            controller.filled().await;
        }
    }

    /// Hands in until nothing waits.
    pub async fn empty(&self, controller: &Controller) {
        let (mut pause, longest) = PAUSES;
        loop {
            let Some(reading) = controller.state().queue.oldest().cloned() else {
                return;
            };
            let outcome = self.post(&reading).await;
            if record(&mut controller.state(), &reading, outcome, pause) {
                pause = PAUSES.0;
            } else {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(longest);
            }
        }
    }

    async fn post(&self, reading: &Reading) -> Outcome {
        tokio::time::timeout(TIMEOUT, self.post_unbounded(reading))
            .await
            .unwrap_or_else(|_| Outcome::Failed(format!("no answer within {} s", TIMEOUT.as_secs())))
    }

    async fn post_unbounded(&self, reading: &Reading) -> Outcome {
        let body = match serde_json::to_vec(reading) {
            Ok(body) => body,
            Err(error) => return Outcome::Refused(error.to_string()),
        };
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&self.url)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = match request.body(Body::from(body)) {
            Ok(request) => request,
            Err(error) => return Outcome::Failed(error.to_string()),
        };
        let answer = match self.client.request(request).await {
            Ok(answer) => answer,
            Err(error) => return Outcome::Failed(chain(&error)),
        };
        let status = answer.status();
        match to_bytes(Body::new(answer.into_body()), LONGEST_ANSWER).await {
            Ok(body) => judge(status, &body),
            Err(error) => Outcome::Failed(chain(&error)),
        }
    }
}

/// Logs and counts how it went; whether the reading is done with, and no longer in the queue.
fn record(state: &mut ControllerState, reading: &Reading, outcome: Outcome, pause: Duration) -> bool {
    match outcome {
        Outcome::Acknowledged { seq } => {
            info!(seq, id = %reading.id, name = reading.name, value = reading.value, "acknowledged");
            state.acknowledged += 1;
            if state.last_error.take().is_some() {
                info!(queued = state.queue.len(), "backend is back");
            }
        }
        Outcome::Refused(error) => {
            error!(id = %reading.id, name = reading.name, error, "refused");
            state.refused += 1;
        }
        Outcome::Failed(error) => {
            warn!(
                error,
                queued = state.queue.len(),
                retry_in_ms = pause.as_millis(),
                "not handed in"
            );
            state.last_error = Some(error);
            return false;
        }
    }
    state.queue.remove(reading.id);
    true
}

fn judge(status: StatusCode, body: &[u8]) -> Outcome {
    match status {
        StatusCode::CREATED | StatusCode::OK => match serde_json::from_slice(body) {
            Ok(Acknowledgement { seq }) => Outcome::Acknowledged { seq },
            Err(error) => Outcome::Failed(format!("answer {status} cannot be read: {error}")),
        },
        StatusCode::BAD_REQUEST
        | StatusCode::CONFLICT
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => Outcome::Refused(said(status, body)),
        _ => Outcome::Failed(said(status, body)),
    }
}

fn said(status: StatusCode, body: &[u8]) -> String {
    format!("{status}: {}", String::from_utf8_lossy(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_is_an_acknowledgement() {
        assert!(matches!(
            judge(StatusCode::CREATED, br#"{"seq":5}"#),
            Outcome::Acknowledged { seq: 5 }
        ));
        assert!(matches!(
            judge(StatusCode::OK, br#"{"seq":5,"x":1}"#),
            Outcome::Acknowledged { seq: 5 }
        ));
        assert!(matches!(judge(StatusCode::CREATED, b"<html>"), Outcome::Failed(_)));
        assert!(matches!(
            judge(StatusCode::ACCEPTED, br#"{"seq":5}"#),
            Outcome::Failed(_)
        ));
    }

    #[test]
    fn a_reading_is_let_go_only_when_it_is_at_fault() {
        for status in [400, 409, 413, 422] {
            let outcome = judge(StatusCode::from_u16(status).unwrap(), b"");
            assert!(matches!(outcome, Outcome::Refused(_)), "{status}");
        }
        for status in [401, 404, 408, 429, 500, 502, 503, 504] {
            let outcome = judge(StatusCode::from_u16(status).unwrap(), b"");
            assert!(matches!(outcome, Outcome::Failed(_)), "{status}");
        }
    }
}
