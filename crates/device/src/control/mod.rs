//! The daemon's requests and its progress.

pub mod board;
pub mod progress;
pub mod requests;
