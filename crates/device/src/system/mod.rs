//! What everything above needs of the operating system.

pub mod crash;
pub mod files;
pub mod process;
