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
pub mod state;

use std::{sync::Arc, time::Duration};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::MissedTickBehavior;
use tracing::warn;

use self::{sender::Sender, state::Controller};
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

/// Without a round for this long, the controller does not count as healthy.
const STALLED: Duration = Duration::from_secs(30);

/// How long the queue may take to empty after a stop signal.
const LAST_CALL: Duration = Duration::from_secs(3);

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
