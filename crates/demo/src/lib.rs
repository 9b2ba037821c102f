//! The demo product: a small monitoring system that keeps real data, so that updates have something to lose.
//!
//! ```text
//! controller ──POST /api/v1/datapoints──► backend ──► PostgreSQL
//! browser ──► frontend ──/api/v1/, /health──► backend
//! ```
//!
//! Three programs, one library. Each has its own module here and a thin `src/bin/<program>.rs`:
//!
//! - [`backend`] owns the database: migrations, datapoints, `/health`.
//! - [`controller`] measures every second (simulated sensors) and hands readings in until they are acknowledged.
//! - [`frontend`] serves the page and passes API calls on.
//!
//! What they share: [`program`] (command line, logs, signals, exit codes), [`environment`] (settings),
//! [`client`] (HTTP inside of the stack) and [`reading`] (what goes over the wire).
//!
//! It deliberately has no users, no TLS and no plug-ins: it is what the release pipeline ships and what the
//! end-to-end tests update, not a product to sell.

pub mod backend;
pub mod client;
pub mod controller;
pub mod environment;
pub mod frontend;
pub mod program;
pub mod reading;

pub use program::Error;
