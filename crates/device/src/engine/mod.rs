//! The life of an update: replay the record → do what the phase says → record the result.
//!
//! ```text
//! intake      a bundle from a person, the page or a USB stick becomes an update that waits
//! verify      checks that the bundle is complete and trusted, and that this device can take it (examine → preflight)
//! backup      dumps the database of the running version
//! load        loads images that the engine lacks
//! switch      stops what must not write (gated), puts files in place, starts the target version
//! health      checks, then soaks: the end is the commit
//! commit      tidies up; for a gated update, starts the rest
//! undo        undoes, rolls back, returns: brings a version back that ran before
//! ```
//!
//! [`Updater::begin`] makes a command durable, [`Updater::finish`] carries it out. Between them and after a
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
