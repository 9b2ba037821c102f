//! GitHub Releases for tests: real state, GitHub's rules, and faults on demand.
//!
//! ```text
//! listeners → log → faults → limits → routes → world → answer, held against GitHub's description
//! ```
//!
//! | module | what it is |
//! |---|---|
//! | `world` | repositories, tags, releases, assets, and the rules about them; no HTTP |
//! | `json` | what GitHub says about them |
//! | `api`, `uploads`, `downloads` | the hosts: JSON calls, uploads, the web page's downloads with the storage behind |
//! | `fault` | what goes wrong, and when |
//! | `description` | GitHub's OpenAPI description, trimmed; every call is held against it |
//! | `serve`, `answer`, `call` | four listeners in a thread of their own; the way of every request |
//!
//! As at GitHub, the four hosts differ (here: four ports), a download is a redirect to a signed address on another
//! host, and pages of a list are linked by the repository's number. What it leaves out: TLS, web pages, and every
//! call that neither side of a release makes.

mod answer;
mod api;
mod body;
mod call;
mod description;
mod downloads;
mod fault;
mod json;
mod log;
mod path;
mod send;
mod serve;
mod shared;
mod uploads;
mod world;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
};

pub use fault::{Break, Effect, Event, Fault};
pub use log::{Host, Request};
pub use world::{Access, Asset, Commit, Draft, Limits, MakeLatest, Release, Repository, State, World};

use self::shared::{Shared, lock};

/// A running double. It ends when this is dropped.
#[derive(Debug)]
pub struct GitHub {
    shared: Arc<Shared>,
    _server: serve::Server,
}

impl GitHub {
    /// Starts an empty one on free ports of the loopback address.
    ///
    /// # Errors
    ///
    /// When no port can be opened, or no directory for what is uploaded can be made.
    pub fn start() -> io::Result<Self> {
        Self::start_with(["", ""])
    }

    /// Starts one whose addresses are an Enterprise server's: `…/api/v3` for calls and `…/api/uploads` for uploads.
    ///
    /// # Errors
    ///
    /// As for [`GitHub::start`].
    pub fn start_enterprise() -> io::Result<Self> {
        Self::start_with(["/api/v3", "/api/uploads"])
    }

    fn start_with(prefixes: [&str; 2]) -> io::Result<Self> {
        let listeners = serve::Listeners::open()?;
        let world = World::new(listeners.origins(prefixes)?)?;
        let shared = Arc::new(Shared {
            world: Mutex::new(world),
            faults: Mutex::default(),
            log: Mutex::default(),
            violations: Mutex::default(),
        });
        let server = listeners.serve(&shared)?;
        Ok(Self {
            shared,
            _server: server,
        })
    }

    /// The address that goes into `GITHUB_API_URL`.
    pub fn api_url(&self) -> String {
        self.world().origins().api.clone()
    }

    /// The state, locked: no request is answered while it is held.
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.shared.world)
    }

    /// Adds a fault; the first that matches a request is the one that happens.
    pub fn fault(&self, fault: Fault) {
        lock(&self.shared.faults).push(fault);
    }

    /// Takes back all faults that have not happened, and says how many times they still would have.
    pub fn take_back_faults(&self) -> usize {
        std::mem::take(&mut *lock(&self.shared.faults))
            .iter()
            .map(Fault::left)
            .sum()
    }

    /// All requests since the start or since [`GitHub::forget_requests`], in the order of their arrival.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.log).iter().map(log::Entry::request).collect()
    }

    /// Begins a new log.
    pub fn forget_requests(&self) {
        lock(&self.shared.log).clear();
    }

    /// Where calls, or this double's answers, were not as GitHub's OpenAPI description has them.
    pub fn violations(&self) -> Vec<String> {
        lock(&self.shared.violations).clone()
    }
}
