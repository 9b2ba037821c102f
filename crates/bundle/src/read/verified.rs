//! Verifies a bundle, and reads any content of it in place.

use std::collections::HashMap;
use std::io::{self, Read, Seek};
use std::ops::{ControlFlow, Deref};

use super::archive::walk;
use super::check::{Checker, Findings};
use super::error::VerifyError;
use super::expect::Place;
use super::legacy::{self, Assumed};
use super::located;
use super::trust::{Layers, Origin, Trust};
use crate::digest::{Digest, Hasher};
use crate::manifest::Manifest;
use crate::names::EntryName;
use crate::signature::PublicKey;

/// Something that [`verify`] has checked. Nothing else can make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// The value, from here on without the proof.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A bundle that was verified, with the open file that it was verified from.
#[derive(Debug)]
pub struct VerifiedBundle<S> {
    source: S,
    manifest: Verified<Manifest>,
    manifest_digest: Digest,
    origin: Origin,
    files: HashMap<EntryName, Place>,
    blobs: HashMap<Digest, Place>,
    /// Where `images.tar` lies in a bundle of the old procedure, which is loaded as it is.
    legacy_images: Option<Place>,
}

/// Verifies a bundle, `.tar.gz` or `.zip`, in one pass. `progress` gets the number of
/// uncompressed bytes of each step.
///
/// # Errors
/// [`VerifyError`]: a refusal with its reason, or [`VerifyError::Io`] where the file cannot be read.
pub fn verify<S: Read + Seek>(
    mut source: S,
    trust: &Trust<'_>,
    progress: &dyn Fn(u64),
) -> Result<VerifiedBundle<S>, VerifyError> {
    let findings = check_all(&mut source, trust, Layers::Hashed, progress)?;
    Ok(verified(source, findings, None))
}

fn check_all<S: Read + Seek>(
    source: &mut S,
    trust: &Trust<'_>,
    layers: Layers,
    progress: &dyn Fn(u64),
) -> Result<Findings, VerifyError> {
    let mut checker = Checker::new(trust, layers, progress);
    walk(source, |entry, content| {
        checker.entry(entry, content)?;
        Ok(ControlFlow::Continue(()))
    })?;
    checker.finish()
}

/// As [`verify`], with a choice of when `layers` are hashed one by one; and takes a bundle of the old release procedure, too,
/// if `trust` demands no key. What such a bundle does not say is taken from `assumed`; see [`VerifiedBundle::is_legacy`].
///
/// # Errors
/// As for [`verify`]; [`VerifyError::Unsigned`] for an old bundle where a key is demanded.
pub fn verify_with_legacy<S: Read + Seek>(
    mut source: S,
    trust: &Trust<'_>,
    assumed: &Assumed,
    layers: Layers,
    progress: &dyn Fn(u64),
) -> Result<VerifiedBundle<S>, VerifyError> {
    if matches!(trust, Trust::Unsigned) && legacy::looks_old(&mut source)? {
        let (findings, images) = legacy::check(&mut source, assumed, progress)?;
        return Ok(verified(source, findings, Some(images)));
    }
    let findings = match check_all(&mut source, trust, layers, progress) {
        // What the strict reader says of an old bundle's headers is true, and not the point.
        Err(VerifyError::Header(_) | VerifyError::Name(_) | VerifyError::ManifestNotFirst(_))
            if matches!(trust, Trust::Keys(_)) && legacy::is_unsigned(&mut source)? =>
        {
            Err(VerifyError::Unsigned)
        }
        checked => checked,
    }?;
    Ok(verified(source, findings, None))
}

fn verified<S>(source: S, findings: Findings, legacy_images: Option<Place>) -> VerifiedBundle<S> {
    let Findings {
        manifest,
        manifest_digest,
        origin,
        files,
        blobs,
    } = findings;
    VerifiedBundle {
        source,
        manifest: Verified(manifest),
        manifest_digest,
        origin,
        files,
        blobs,
        legacy_images,
    }
}

impl<S> VerifiedBundle<S> {
    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Verified<Manifest> {
        &self.manifest
    }

    /// Digest of the manifest's bytes: the identity of the bundle, the same in every archive form.
    #[must_use]
    pub fn manifest_digest(&self) -> Digest {
        self.manifest_digest
    }

    /// Who vouches for the bundle.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether the bundle was made by the old release procedure: its manifest has only what the old one said and what was
    /// assumed, and no details of images, which are all in [`VerifiedBundle::open_images`].
    #[must_use]
    pub fn is_legacy(&self) -> bool {
        self.legacy_images.is_some()
    }

    /// The trusted key that signed the bundle.
    #[must_use]
    pub fn signed_by(&self) -> Option<&PublicKey> {
        match &self.origin {
            Origin::Signed(key) => Some(key),
            Origin::Unknown { .. } => None,
        }
    }
}

impl<S: Read + Seek> VerifiedBundle<S> {
    /// Reads an image blob in place.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where the bundle has no such blob, and what seeking gives. The
    /// reader fails at the blob's end where its content is no longer what was verified.
    pub fn open_blob(&mut self, digest: &Digest) -> io::Result<impl Read + '_> {
        let place = self.blobs.get(digest).copied();
        self.open(place)
    }

    /// Reads a file in place.
    ///
    /// # Errors
    /// As for [`VerifiedBundle::open_blob`].
    pub fn open_file(&mut self, name: &EntryName) -> io::Result<impl Read + '_> {
        let place = self.files.get(name).copied();
        self.open(place)
    }

    /// Reads `images.tar` of a bundle of the old procedure, as it is.
    ///
    /// # Errors
    /// As for [`VerifiedBundle::open_blob`]; every other bundle's images are read blob by blob.
    pub fn open_images(&mut self) -> io::Result<impl Read + '_> {
        let place = self.legacy_images;
        self.open(place)
    }

    fn open(&mut self, place: Option<Place>) -> io::Result<Again<'_>> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "the bundle has no such content");
        let place = place.ok_or_else(missing)?;
        let inner = located::reopen(&mut self.source, place.location)?;
        Ok(Again {
            inner,
            left: place.size,
            hasher: Some(Hasher::new()),
            digest: place.digest,
        })
    }
}

/// Reads verified content, and fails at its end if it is not what its digest says.
struct Again<'a> {
    inner: Box<dyn Read + 'a>,
    left: u64,
    hasher: Option<Hasher>,
    digest: Digest,
}

impl Read for Again<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let changed = || {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "this content is not what the bundle's manifest says: the bundle was made wrong, or it has changed since it \
                 was verified",
            )
        };
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.inner.read(&mut buffer[..want])?;
        if count == 0 && want > 0 {
            return Err(changed());
        }
        self.left -= count as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        if self.left == 0
            && let Some(hasher) = self.hasher.take()
            && hasher.finish() != self.digest
        {
            return Err(changed());
        }
        Ok(count)
    }
}
