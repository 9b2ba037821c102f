//! The controller: measures every second and hands readings in until the backend acknowledges them.
//!
//! Flow: the sampler reads the [`sensors`] and puts what it read into the [`queue`] → the [`sender`] takes the
//! oldest, posts it, repeats until it is acknowledged, logs that, and goes on. While the backend is away the
//! queue grows, up to a bound; then the oldest readings are dropped, counted and logged. On a stop signal,
//! what is queued is still handed in if that is quick.
//!
//! It deliberately keeps nothing on disk: a reading is safe once it is acknowledged, and not before.

pub mod queue;
pub mod sender;
pub mod sensors;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use jiff::Timestamp;
use serde::Serialize;
use tokio::{sync::Notify, time::MissedTickBehavior};
use tracing::warn;

use self::{queue::Queue, sender::Sender};
use crate::{
    environment::Environment,
    program::{Error, Program, Shutdown},
};

/// The program.
pub const PROGRAM: Program = Program {
    name: "controller",
    default_port: 8001,
    health_path: "/health",
};

/// One round of measuring.
const PERIOD: Duration = Duration::from_secs(1);

/// Readings that wait at most: a quarter of an hour of them, less than 1 MiB.
const CAPACITY: usize = 15 * 60 * sensors::COUNT;

/// Without a round for this long, the controller does not count as healthy.
const STALLED: Duration = Duration::from_secs(30);

/// How long the queue may take to empty after a stop signal.
const LAST_CALL: Duration = Duration::from_secs(3);

/// What sampler, sender and health report share.
pub struct Controller {
    state: Mutex<ControllerState>,
    /// Told when a reading is put into the queue.
    filled: Notify,
}

/// How the controller is.
pub struct ControllerState {
    /// Readings that are not acknowledged.
    pub queue: Queue,
    /// Readings that were acknowledged since the start.
    pub acknowledged: u64,
    /// Readings that the backend refused for good since the start.
    pub refused: u64,
    /// Why the last attempt failed, until one succeeds.
    pub last_error: Option<String>,
    /// The last round of measuring.
    pub last_round: Instant,
}

impl Controller {
    fn new() -> Self {
        let state = ControllerState {
            queue: Queue::new(CAPACITY),
            acknowledged: 0,
            refused: 0,
            last_error: None,
            last_round: Instant::now(),
        };
        Self {
            state: Mutex::new(state),
            filled: Notify::new(),
        }
    }

    /// The state, for a moment: never held across an `await`.
    pub fn state(&self) -> MutexGuard<'_, ControllerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there may be something in the queue.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    fn measure(&self, source: &str, at: Timestamp) {
        let mut state = self.state();
        state.last_round = Instant::now();
        for reading in sensors::read(source, at) {
            if let Some(dropped) = state.queue.push(reading) {
                warn!(id = %dropped.id, name = dropped.name, "dropped: the queue is full");
            }
        }
        drop(state);
        self.filled.notify_one();
    }
}

/// Measures and hands in until the shutdown.
///
/// # Errors
/// A setting is wrong or the port is taken.
pub async fn run(environment: Environment, shutdown: Shutdown) -> Result<(), Error> {
    let source = environment.text("SOURCE").unwrap_or_else(|| "revpi-1".to_owned());
    let sender = Sender::new(&environment)?;
    let port = PROGRAM.port(&environment)?;
    let controller = Arc::new(Controller::new());
    let router = Router::new()
        .route("/health", get(health))
        .with_state(Arc::clone(&controller));
    tokio::select! {
        served = PROGRAM.serve(port, router, shutdown.clone()) => served?,
        () = sample(&controller, &source, shutdown) => {}
        () = sender.run(&controller) => {}
    }
    // Serving or sampling ended because of the signal: the sender gets a last chance.
    let emptied = tokio::time::timeout(LAST_CALL, sender.empty(&controller)).await;
    if emptied.is_err() {
        warn!(
            readings = controller.state().queue.len(),
            "lost: not acknowledged before the end"
        );
    }
    Ok(())
}

async fn sample(controller: &Controller, source: &str, shutdown: Shutdown) {
    let mut rounds = tokio::time::interval(PERIOD);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut stop = std::pin::pin!(shutdown.requested());
    loop {
        tokio::select! {
            _ = rounds.tick() => controller.measure(source, Timestamp::now()),
            () = &mut stop => return,
        }
    }
}

#[derive(Serialize)]
struct Report {
    status: &'static str,
    queued: usize,
    acknowledged: u64,
    refused: u64,
    dropped: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The controller is well while it measures. A backend that is away is not its fault, and is reported as
/// `waiting`.
async fn health(State(controller): State<Arc<Controller>>) -> (StatusCode, Json<Report>) {
    let state = controller.state();
    let (code, status) = match state.last_error {
        _ if state.last_round.elapsed() > STALLED => (StatusCode::SERVICE_UNAVAILABLE, "stalled"),
        Some(_) => (StatusCode::OK, "waiting"),
        None => (StatusCode::OK, "ok"),
    };
    let report = Report {
        status,
        queued: state.queue.len(),
        acknowledged: state.acknowledged,
        refused: state.refused,
        dropped: state.queue.dropped(),
        error: state.last_error.clone(),
    };
    (code, Json(report))
}
