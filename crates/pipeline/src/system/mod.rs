//! What everything above needs of the operating system: files, programs, signals, the terminal.

pub(crate) mod files;
pub(crate) mod interrupt;
pub mod process;
pub(crate) mod report;
