//! Where each registry image of a release comes from: the registry by digest, or a directory.
//!
//! Lock and vendor directory are put together here, once; a build never asks a tag what it means.

use std::path::PathBuf;

use bundle::Digest;
use serde::Serialize;

use crate::{
    Problem,
    facts::{lock_file::Lock, vendored::Vendor},
};

/// A registry image with the bytes that it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Pin {
    /// The reference exactly as the compose file or the Dockerfile writes it.
    pub reference: String,
    /// Where its bytes are.
    pub origin: Origin,
}

/// Where an image's bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "from", rename_all = "lowercase")]
pub(crate) enum Origin {
    /// In the registry.
    Registry {
        /// The index's digest.
        digest: Digest,
    },
    /// In the registry, under the digest that the tag has now: no registry could be asked for the lock file yet.
    Unpinned,
    /// In the vendor directory, fetched from the registry before.
    Vendored {
        /// The OCI layout's directory.
        layout: PathBuf,
        /// The digest in the layout.
        digest: Digest,
        /// The digest in the registry.
        source_digest: Digest,
    },
    /// In a directory, made by another source than the reference names.
    Substitute {
        /// The OCI layout's directory.
        layout: PathBuf,
        /// The digest in the layout.
        digest: Digest,
        /// What made it.
        made_by: String,
    },
}

impl Pin {
    /// Looks `reference` up in the vendor directory and the lock file.
    pub(crate) fn resolve(reference: &str, lock: &Lock, vendor: &Vendor, offline: bool) -> Result<Self, Problem> {
        let locked = lock
            .get(reference)
            .ok_or_else(|| Problem::error(reference, "is not in the lock file").hint("cargo xtask lock"))?;
        let pin = |origin| Self {
            reference: reference.to_owned(),
            origin,
        };
        if let Some(vendored) = vendor.get(reference) {
            let (layout, digest) = (vendored.layout.clone(), vendored.digest);
            return match (vendored.source_digest, locked.digest) {
                _ if vendored.substitute => {
                    let made_by = vendored.made_by.clone().unwrap_or_else(|| "unknown".to_owned());
                    Ok(pin(Origin::Substitute {
                        layout,
                        digest,
                        made_by,
                    }))
                }
                (Some(source), Some(locked)) if source == locked => Ok(pin(Origin::Vendored {
                    layout,
                    digest,
                    source_digest: source,
                })),
                _ => Err(
                    Problem::error(reference, "is vendored in another version than the lock file names")
                        .hint("cargo xtask vendor"),
                ),
            };
        }
        match locked.digest {
            Some(digest) if !offline => Ok(pin(Origin::Registry { digest })),
            Some(_) => Err(
                Problem::error(reference, "is not vendored, so it cannot be used without a network")
                    .hint("cargo xtask vendor, on a machine with a network"),
            ),
            None if !offline => Ok(pin(Origin::Unpinned)),
            None => Err(
                Problem::error(reference, "has no digest in the lock file, and no substitute here")
                    .hint("cargo xtask lock, then cargo xtask vendor, on a machine with a network"),
            ),
        }
    }

    /// The named context that makes BuildKit use these bytes for the reference.
    pub(crate) fn context(&self) -> String {
        match &self.origin {
            Origin::Registry { digest } => format!("docker-image://{}@{digest}", self.reference),
            Origin::Unpinned => format!("docker-image://{}", self.reference),
            Origin::Vendored { layout, digest, .. } | Origin::Substitute { layout, digest, .. } => {
                format!("oci-layout://{}@{digest}", layout.display())
            }
        }
    }

    /// The digest that tells these bytes from others: the registry's where one is known.
    pub(crate) fn digest(&self) -> Option<Digest> {
        match &self.origin {
            Origin::Registry { digest }
            | Origin::Vendored {
                source_digest: digest, ..
            }
            | Origin::Substitute { digest, .. } => Some(*digest),
            Origin::Unpinned => None,
        }
    }

    /// The reference with the registry's digest, where one is known.
    pub(crate) fn source(&self) -> String {
        match &self.origin {
            Origin::Registry { digest }
            | Origin::Vendored {
                source_digest: digest, ..
            } => {
                format!("{}@{digest}", self.reference)
            }
            Origin::Substitute { .. } | Origin::Unpinned => self.reference.clone(),
        }
    }

    /// What the person should know about where the bytes come from.
    pub(crate) fn warning(&self) -> Option<Problem> {
        let reference = &self.reference;
        match &self.origin {
            Origin::Substitute { .. } => Some(Problem::warning(
                reference,
                "a substitute is used; the bundle says so and cannot be published",
            )),
            Origin::Unpinned => Some(
                Problem::warning(
                    reference,
                    "is not pinned by digest, so another release may get other bytes",
                )
                .hint("cargo xtask lock, and commit the lock file"),
            ),
            Origin::Registry { .. } | Origin::Vendored { .. } => None,
        }
    }

    /// Whether a registry's digest says which bytes these are.
    pub(crate) fn is_pinned(&self) -> bool {
        matches!(self.origin, Origin::Registry { .. } | Origin::Vendored { .. })
    }

    /// Whether the bytes only stand in for what the reference names.
    pub(crate) fn is_substitute(&self) -> bool {
        matches!(self.origin, Origin::Substitute { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{
        lock_file::{LockSource, LockedImage},
        vendored::VendoredImage,
    };

    const REFERENCE: &str = "postgres:17-trixie";

    fn resolve(
        locked: Option<Option<&[u8]>>,
        vendored: Option<Option<&[u8]>>,
        offline: bool,
    ) -> Result<String, String> {
        let lock = Lock {
            images: locked
                .map(|digest| LockedImage {
                    reference: REFERENCE.to_owned(),
                    source: LockSource::Registry,
                    digest: digest.map(Digest::of),
                })
                .into_iter()
                .collect(),
            ..Lock::default()
        };
        let vendor = Vendor {
            images: vendored
                .map(|source| VendoredImage {
                    reference: REFERENCE.to_owned(),
                    digest: Digest::of(b"layout"),
                    source_digest: source.map(Digest::of),
                    substitute: source.is_none(),
                    made_by: None,
                    layout: "/v/postgres".into(),
                    platforms: Vec::new(),
                })
                .into_iter()
                .collect(),
            ..Vendor::default()
        };
        Pin::resolve(REFERENCE, &lock, &vendor, offline)
            .map(|pin| pin.context())
            .map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_locked_image_is_asked_for_by_digest() {
        let expected = format!("docker-image://{REFERENCE}@{}", Digest::of(b"a"));
        assert_eq!(resolve(Some(Some(b"a")), None, false), Ok(expected));
    }

    #[test]
    fn a_vendored_image_is_used_when_it_is_the_locked_one() {
        let expected = format!("oci-layout:///v/postgres@{}", Digest::of(b"layout"));
        assert_eq!(resolve(Some(Some(b"a")), Some(Some(b"a")), true), Ok(expected.clone()));
        assert_eq!(resolve(Some(None), Some(None), true), Ok(expected));
        assert!(
            resolve(Some(Some(b"a")), Some(Some(b"b")), false)
                .unwrap_err()
                .contains("another version")
        );
    }

    #[test]
    fn what_is_not_pinned_is_refused_with_the_command_that_pins_it() {
        assert!(resolve(None, None, false).unwrap_err().contains("cargo xtask lock"));
        assert!(resolve(Some(None), None, true).unwrap_err().contains("has no digest"));
        assert_eq!(
            resolve(Some(None), None, false),
            Ok(format!("docker-image://{REFERENCE}"))
        );
        assert!(
            resolve(Some(Some(b"a")), None, true)
                .unwrap_err()
                .contains("cargo xtask vendor")
        );
    }
}
