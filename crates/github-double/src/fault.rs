//! What goes wrong, and at which request.

use std::fmt;

use crate::{Host, World};

/// Something that goes wrong once, or several times, at requests that match.
#[derive(Debug)]
pub struct Fault {
    host: Host,
    method: &'static str,
    path: String,
    skip: usize,
    times: usize,
    effect: Effect,
}

/// What happens instead of the right answer, or beside it.
#[derive(Debug)]
pub enum Effect {
    /// 502 with a page of HTML; nothing was done.
    BadGateway,
    /// 502 with a page of HTML; yet what was asked is done.
    BadGatewayAfterwards,
    /// The connection is cut before anything is done.
    Reset,
    /// What was asked is done, but the connection is cut before the answer.
    ResetAfterwards,
    /// No answer ever comes; nothing is done.
    Stall,
    /// An upload breaks after this many bytes of the file, and an asset in state `starter` stays behind.
    Upload {
        /// How many bytes are read
        after: u64,
        /// How it ends
        ending: Break,
    },
    /// A download breaks after this many bytes of the answer.
    Download {
        /// How many bytes are sent
        after: u64,
        /// How it ends
        ending: Break,
    },
    /// One byte of a download, at this place of the answer, is another.
    Flip(u64),
    /// 403 as for the secondary limit, with `retry-after` in seconds.
    SecondaryLimit(u64),
    /// 403 as for the primary limit, which ends in so many seconds.
    PrimaryLimit(u64),
    /// A redirect to an unknown host, without encryption.
    Elsewhere,
    /// Something else happens first: see [`Effect::meanwhile`].
    Meanwhile(Event),
}

/// How a transfer breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// 502 with a page of HTML (an upload only; a download is cut)
    BadGateway,
    /// The connection is cut
    Reset,
    /// Nothing moves any more
    Stall,
}

impl Fault {
    /// At the first request to `host` with this method whose path and query contain `path`.
    pub fn new(host: Host, method: &'static str, path: impl Into<String>, effect: Effect) -> Self {
        Self {
            host,
            method,
            path: path.into(),
            skip: 0,
            times: 1,
            effect,
        }
    }

    /// Not at the first `skip` of them.
    #[must_use]
    pub fn after(self, skip: usize) -> Self {
        Self { skip, ..self }
    }

    /// At so many of them, one after the other.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// How many times it would still happen.
    pub(crate) fn left(&self) -> usize {
        self.times
    }

    /// Whether it happens at this request; counts it.
    pub(crate) fn strikes(&mut self, host: Host, method: &str, path: &str) -> bool {
        if self.times == 0 || host != self.host || method != self.method || !path.contains(&self.path) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.times -= 1;
        true
    }

    /// What happens now.
    pub(crate) fn strike(&mut self, world: &mut World) -> Struck {
        match &mut self.effect {
            Effect::BadGateway => Struck::Instead(Break::BadGateway),
            Effect::Reset => Struck::Instead(Break::Reset),
            Effect::Stall => Struck::Instead(Break::Stall),
            Effect::BadGatewayAfterwards => Struck::Afterwards(Break::BadGateway),
            Effect::ResetAfterwards => Struck::Afterwards(Break::Reset),
            Effect::Upload { after, ending } => Struck::Upload(BreakAfter {
                after: *after,
                ending: *ending,
            }),
            Effect::Download { after, ending } => Struck::Download(BreakAfter {
                after: *after,
                ending: *ending,
            }),
            Effect::Flip(at) => Struck::Flip(*at),
            Effect::SecondaryLimit(seconds) => Struck::SecondaryLimit(*seconds),
            Effect::PrimaryLimit(seconds) => Struck::PrimaryLimit(*seconds),
            Effect::Elsewhere => Struck::Elsewhere,
            Effect::Meanwhile(Event(happens)) => {
                happens(world);
                Struck::Nothing
            }
        }
    }
}

/// A fault at one request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Struck {
    Nothing,
    Instead(Break),
    Afterwards(Break),
    Upload(BreakAfter),
    Download(BreakAfter),
    Flip(u64),
    SecondaryLimit(u64),
    PrimaryLimit(u64),
    Elsewhere,
}

/// Where and how a transfer breaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BreakAfter {
    pub(crate) after: u64,
    pub(crate) ending: Break,
}

/// What happens to the world of its own accord.
pub struct Event(Box<dyn FnMut(&mut World) + Send>);

impl Effect {
    /// This happens to the world just before the request is answered, as the world then is.
    pub fn meanwhile(happens: impl FnMut(&mut World) + Send + 'static) -> Self {
        Self::Meanwhile(Event(Box::new(happens)))
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Event")
    }
}
