//! The durable record: updates, their journal, the releases on this device, and what was loaded for them.
//!
//! One SQLite database in WAL mode with `synchronous=FULL`: what was recorded has survived a power cut before the call
//! returns (SQLite documentation, "PRAGMA synchronous"). The journal is written in the same transaction as the state
//! that follows from it, by [`Store::record`] alone, so that neither can be ahead of the other.
//!
//! New columns and tables may be added; nothing that an older updater reads ever changes, because a failed self-update
//! returns to it.

mod access;
mod database;
mod downloads;
mod images;
mod records;
mod releases;
mod requested;
mod row;
mod schema;
mod settings;
#[cfg(test)]
mod tests;
mod updates;

pub use self::{
    access::{Audit, REFUSED_LOGIN, Session, Token},
    database::Store,
    downloads::{Download, Fetched, RemoteBundle, RemoteFile},
    records::{Change, Fact, Facts, JournalEntry, NewUpdate, Pin, Release, Update},
    requested::Origin,
};
