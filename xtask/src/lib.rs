//! This repository's chores: everything that is not the release itself.
//!
//! | module | what it does |
//! |---|---|
//! | [`mod@cargo`] | runs Cargo from within |
//! | [`checkout`] | finds the checkout that a chore is for |
//! | [`setup`] | makes a bare Debian machine able to build and test |
//! | [`engines`] | Docker engines of our own, to build with and to test against |
//! | `architecture` | holds the code to the architecture |
//! | [`ci`] | the whole check, as CI runs it |
//! | [`mod@bench`] | measures packing against the procedure that it replaces |

mod architecture;
pub mod bench;
pub mod cargo;
pub mod checkout;
pub mod ci;
pub mod engines;
pub mod setup;
