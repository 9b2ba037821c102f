//! Who may vouch for a bundle, and who does.

use crate::signature::{KeyId, PublicKey, TrustedKeys};

/// Who may vouch for a bundle.
#[derive(Debug, Clone, Copy)]
pub enum Trust<'a> {
    /// One of these keys must have signed it.
    Keys(&'a TrustedKeys),
    /// Nobody need: only the integrity is checked, and [`Origin::Unknown`] says so.
    Unsigned,
}

/// When each layer is compared with its own digest. The whole of `images.tar`, with all layers in it, always is compared
/// with what the manifest says, so that only a mistake of whoever made the bundle is found later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layers {
    /// During the verification.
    Hashed,
    /// When it is read, as every content is again. For a device, which reads few of them.
    WhenRead,
}

/// Who vouches for a verified bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// This trusted key signed it.
    Signed(PublicKey),
    /// Nobody. Where there is a signature, it was not verified; this key is what it claims.
    Unknown {
        /// The ID that an unverified signature names.
        claimed: Option<KeyId>,
    },
}
