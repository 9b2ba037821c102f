//! Looking into bundles: what is in one, whether it is whole, what differs between two.

mod bundle_file;
pub(crate) mod sbom;
pub(crate) mod split;

pub(crate) use bundle_file::{compare, inspect, open_verified, verify_bundle};
