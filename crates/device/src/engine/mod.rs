//! The life of an update: replay the record → do what the phase says → record what came of it.
//!
//! ```text
//! intake      what a person, the page or a stick brings becomes an update that waits
//! verify      the bundle is whole and trusted, and this device can take it (examine → preflight)
//! backup      the database of the version that runs
//! load        images that the engine lacks
//! switch      stop what must not write (gated), put files in place, start the target version
//! health      check, then soak: their end is the commit
//! commit      tidying up; for a gated update, starting the rest
//! undo        undoing, rolling back, returning: making a version run that ran before
//! ```
//!
//! [`Updater::begin`] is the door: it makes a command durable, [`Updater::finish`] carries it out. Between them and after a
//! crash the same loop (`run`) does what the record says: a phase is durable before it begins
//! ([`crate::store::Store::record`]), and every phase may be repeated. Nothing here knows Docker, HTTP or the command line.

pub mod drop_directory;
pub mod intake;
pub mod lock;
pub mod plan;
pub mod preflight;
pub mod rollback_plan;
pub mod self_update;
pub mod updater;

mod adopt;
mod archive;
mod backup;
mod command;
mod commit;
mod diagnose;
mod examine;
mod health;
mod legacy;
mod load;
mod prune;
mod run;
mod start;
mod switch;
mod undo;
mod verify;

pub use self::{
    command::Begun,
    diagnose::diagnosis,
    updater::{Means, Updater},
};
