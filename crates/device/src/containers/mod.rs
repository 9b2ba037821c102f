//! Docker with its Compose plugin.
//!
//! ```text
//! engine     ContainerEngine, the seam that tests replace      facts      what it says, as data
//! docker     its implementation                                env_file   the project's `.env`
//!                                                              pins       the file that pins each service's image
//! ```
//!
//! Everything above decides, everything here does. Nothing here knows updates, releases or bundles.

pub mod docker;
mod engine;
pub(crate) mod env_file;
mod facts;
pub(crate) mod pins;

pub(crate) use self::facts::major;
pub use self::{
    engine::{ContainerEngine, Input, Services, WriteArchive},
    facts::{ContainerFacts, ContainerHealth, EngineFacts, ImageFacts, ImageStore, Project, Service, Stack},
};
