//! What people ask the daemon for, and what it tells them while it works.

pub mod board;
pub mod progress;
pub mod requests;
