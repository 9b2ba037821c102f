//! Newer versions from GitHub Releases: asked for, downloaded, and handed to the updater. The only part that knows GitHub.
//!
//! ```text
//! check      which release is the newest that this device wants      check, releases
//! request    its bundle is wanted: an update is `downloading`        download
//! fetch      its files, each going on where it stopped               download, file, resume
//! then       `pending`, for a person; or applied, if that was meant  automatic
//! ```
//!
//! Speaking to GitHub is in `client`, what goes wrong in `fault`. The daemon does it all by itself as far as it may
//! ([`worker`]), daily (`schedule`), and applies in maintenance windows (`window`). A device without internet is a
//! device like any other: that is shown on request, and logged once.
//!
//! **For a page or an API**, four calls are enough. [`GitHub::last_check`] sends no request; [`GitHub::check`] asks GitHub, and
//! with [`Patience::SHORT`] ([`GitHub::with`]) ends in seconds, for a client that waits; [`GitHub::request`] records that a
//! version is wanted, after which [`Waker::wake`] gets the daemon going at once; [`Store::fetched`] says how far it is.
//! [`GitHub::version_of_url`] says which version an address downloads, if it is one of the declared repository. All of
//! them block: call them where that does no harm. What happens meanwhile is seen in the update's phase: `downloading`,
//! with why it does not go on in its `error`; then `pending` with a bundle, or `verifying`.
//!
//! [`Store::fetched`]: device::store::Store::fetched
//!
//! Nothing is trusted that comes from there: digests only tell early that something is damaged. What counts is the
//! signature of the bundle, which the updater checks as for any other.

mod check;
mod client;
pub(crate) mod download;
mod fault;
mod file;
pub(crate) mod releases;
mod repository;
mod resume;
mod schedule;
pub(crate) mod wanted;
pub mod worker;

pub use self::{
    check::Check, client::Patience, download::Then, fault::Fault, releases::Found, repository::GitHub, worker::Waker,
};
pub use device::config::{
    github::{Api, Automatic, Channel, Settings},
    window::Window,
};
pub use device::store::{RemoteBundle, RemoteFile};
