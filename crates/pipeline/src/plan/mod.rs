//! The plan: everything a release will do, as data.
//!
//! [`plan`] turns declaration, facts and request into steps and does nothing itself. `--plan` prints them;
//! [`crate::release`] executes them in one `match`.

mod bake;
mod make;
pub(crate) mod pins;
pub(crate) mod stages;
mod step;

pub(crate) use bake::{Timestamps, contexts, no_attestations, oci_output};
pub(crate) use make::plan;
pub(crate) use step::{Plan, Step};
