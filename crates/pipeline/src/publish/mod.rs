//! Publishing: from bundles in a directory to one complete GitHub Release.
//!
//! ```text
//! target → wanted → observe → reconcile → act ─┐
//!                      ▲                       │   until nothing is left to do
//!                      └───────────────────────┘
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | [`target`] | repository, token and addresses, from declaration and environment |
//! | [`mod@wanted`] | what should be there: every asset with size and digest, notes, flags; all that is bad is found here |
//! | [`guard`] | which bundles may be published |
//! | [`mod@reconcile`] | from what should be there and what is there to what is to be done; no I/O |
//! | [`github`] | the only module that knows octocrab |
//! | [`upload`] | a file as a request's body, and the watchdog beside it |
//! | [`retry`] | which failures pass by themselves, and how long to wait |
//! | [`notes`] | the release's text |
//!
//! Nothing is believed because it was done: after every pass GitHub is asked again, and the release is published
//! only when one look at it has found nothing else to do. So it does not matter where an earlier run ended, and
//! the same command finishes the job. What is published is never changed.

mod asset;
pub(crate) mod error;
mod failure;
mod github;
mod guard;
mod notes;
mod reconcile;
mod request;
mod retry;
mod session;
mod target;
#[cfg(test)]
mod tests;
mod upload;
mod wanted;

pub(crate) use error::PublishError;
pub(crate) use request::{Publication, PublishRelease, Request};
pub(crate) use retry::Patience;
pub(crate) use session::{Published, Session};
pub(crate) use target::Target;
pub(crate) use wanted::wanted;
