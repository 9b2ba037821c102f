//! The command line, as its users call it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails by panicking")]

mod github;
mod messages;
mod verify;
