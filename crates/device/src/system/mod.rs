//! What the directories above need of the operating system: clocks, files, programs, random numbers.
//!
//! It uses nothing of this crate but [`crate::error`].

pub mod clock;
pub mod crash;
pub mod files;
pub mod process;
pub mod random;
pub(crate) mod timing;
