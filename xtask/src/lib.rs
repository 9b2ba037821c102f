//! This repository's chores: everything that is not the release itself.
//!
//! | module | what it does |
//! |---|---|
//! | [`mod@cargo`] | runs Cargo from within |
//! | [`setup`] | makes a bare Debian machine able to build and test |
//! | [`engines`] | Docker engines of our own, to build with and to test against |
//! | [`ci`] | the whole check, as CI runs it |
//! | [`mod@bench`] | measures packing against the procedure that it replaces |

pub mod bench;
pub mod cargo;
pub mod ci;
pub mod engines;
pub mod setup;
