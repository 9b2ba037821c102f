//! Which signatures are accepted, and which one a bundle has.

use crate::signature::{KeyId, PublicKey, TrustedKeys};

/// Which signatures are accepted.
#[derive(Debug, Clone, Copy)]
pub enum Trust<'a> {
    /// One of these keys must have signed it.
    Keys(&'a TrustedKeys),
    /// No signature is needed: only the integrity is checked, and [`Origin::Unknown`] says so.
    Unsigned,
}

/// When each layer is compared with its own digest. The whole of `images.tar`, with all layers in it, always is compared
/// with what the manifest says, so that only a mistake in making the bundle is found later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layers {
    /// During the verification.
    Hashed,
    /// When it is read, as every content is again. For a device, which reads few of them.
    WhenRead,
}

/// Who signed a verified bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// This trusted key signed it.
    Signed(PublicKey),
    /// Not verified. Where there is a signature, this key is what it claims.
    Unknown {
        /// The ID that an unverified signature names.
        claimed: Option<KeyId>,
    },
}
