//! The life of an update against a recording engine, ended at every point and started again.

mod again;
mod crash_matrix;
mod legacy;
mod lives;
mod self_update;
mod split;
