//! Preflight: blocking problems of a release, all at once, each with a fix.
//!
//! ```text
//! facts → plan → repository, work tree, compose file, stages, publishing ─┐
//! machine, directories, signing key ──────────────────────────────────────┴→ problems, or a plan that nothing blocks
//! ```
//!
//! [`ready()`] is the only way to a plan that is executed. Nothing here changes anything.

mod compose;
mod machine;
pub(crate) mod offline;
mod publishing;
mod ready;
mod registries;
mod repository;
mod stages;
mod targets;
mod work_tree;

pub(crate) use ready::{Ready, ready};
pub(crate) use ready::{check, prepare};
pub(crate) use stages::check as check_stages;
