//! Releases from end to end: the real program, the real builder, real engines.
//!
//! Two products are released. [`support::product`] makes a small one that builds in a second, and shows what the pipeline
//! does with its inputs, its outputs, and input that is bad. [`real`] releases this repository and uses nothing of ours to
//! look at what came out.
//!
//! `cargo xtask ci` runs them one at a time, because they share the builder and two processors:
//!
//! ```text
//! cargo test -p xtask --test e2e -- --ignored --test-threads 1 --nocapture
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on ends with a panic"
)]

mod inspect;
mod interrupted;
mod output;
mod parts;
mod plan;
mod publish;
mod refused;
mod registry;
mod reproducible;
mod support;
mod unchanged;
mod vendored_stage;
