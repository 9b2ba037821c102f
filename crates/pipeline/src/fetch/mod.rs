//! Registry images beforehand: pinned in the lock file, and saved for builds without a network.
//!
//! [`lock`] asks registries what tags mean now. [`vendor`] saves exactly those images, by the same BuildKit
//! that will build from them, then the declared stages ([`crate::plan::stages`]), and the crates.

mod images;
mod stage;

pub use images::check_lock;
pub(crate) use images::{lock, vendor};
