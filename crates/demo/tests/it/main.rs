//! The programs as they are shipped, against a real PostgreSQL.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on ends with a panic"
)]

mod backend;
mod controller;
mod frontend;
mod http;
mod migrations;
mod postgres;
mod process;

use std::time::{Duration, Instant};

/// Waits until `condition` gives something, or panics after half a minute.
fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
