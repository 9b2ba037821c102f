//! What a substitute is made of, as data.

use serde_json::Value;

use crate::setup::{apt::Suite, oci::Compression};

/// How a substitute is made.
pub(super) struct Recipe {
    pub(super) reference: &'static str,
    pub(super) platforms: &'static [&'static str],
    pub(super) suite: Suite,
    /// mmdebstrap's `--variant`.
    pub(super) variant: &'static str,
    /// mmdebstrap's `--architectures`, beside the platform's own.
    pub(super) foreign: &'static [&'static str],
    pub(super) packages: &'static [&'static str],
    /// Paths that packages bring and the image does without.
    pub(super) excluded: &'static [&'static str],
    /// The mmdebstrap hook that finishes the root directory with `script`: extracted packages have no later one.
    pub(super) hook: &'static str,
    pub(super) script: &'static str,
    /// Files beside the script, which it copies.
    pub(super) files: &'static [(&'static str, &'static str)],
    /// The package whose version the image tells.
    pub(super) main_package: &'static str,
    pub(super) compression: Compression,
    pub(super) config: fn(&str) -> Value,
}
