//! The first installation, and running it again.
//!
//! ```text
//! look       root? whose product? a native installation?      nothing is changed
//! trust      the bundle, by keys that came from outside of it          (keys)
//! prepare    Docker and Compose, directories, configuration, keys, program (docker)
//! apply      the bundle, as any update: load, start, wait until healthy (device::engine)
//! boot       units for the service manager                             (units)
//! password   the administrator's, last of all, so that it is shown if it was made (admin)
//! ```
//!
//! Every step finds out what is there and adds what is missing, so running it twice keeps credentials and data, and a
//! second run repairs what was damaged. Another version that is installed already is updated through the engine, with
//! backup and undoing. [`mod@uninstall`] takes everything away again, and leaves the data.
//!
//! What it deliberately does not do: install anything that is there in another version, configure Docker, open ports.

mod apply;
mod docker;
mod keys;
mod native;
mod options;
mod places;
mod prepare;
mod program;
mod report;
mod run;
pub mod uninstall;
mod units;

pub use self::{
    options::Options,
    run::{Installed, run},
};
#[cfg(test)]
pub(crate) use self::{run::run_on, units::System};
