//! Reading a bundle: one verification pass, then any content in place.
//!
//! [`verify`] opens nothing and extracts nothing: it is handed the open file, reads it once from
//! front to back, and gives back a [`VerifiedBundle`] that owns the file. What is used later is thus
//! what was verified, and each content is hashed again while it is read; layers, on a device, only then ([`Layers`]).
//!
//! The pass: manifest → signature (before anything of the manifest is read) → each file's size and
//! digest → `images.tar` as a whole and blob by blob → end of the archive, nothing after it. A file
//! that was cut anywhere, between two gzip members too, lacks that end and is refused.
//!
//! Memory stays at a few buffers, whatever the size of the bundle.
//!
//! [`verify_with_legacy`] also takes bundles of the old release procedure, where nobody need vouch for a bundle.

mod check;
mod error;
mod images;
mod legacy;
mod located;
mod tar;
mod zip;

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::{ControlFlow, Deref};

pub use error::VerifyError;
pub use legacy::Assumed;

use self::check::{Checker, Findings, Place};
use self::located::MemberReader;
use self::tar::Visit;
use crate::digest::{Digest, Hasher};
use crate::manifest::{AnyManifest, MAX_MANIFEST_SIZE, Manifest};
use crate::names::{EntryName, MANIFEST, SIGNATURE};
use crate::signature::{KeyId, MAX_SIGNATURE_SIZE, PublicKey, SignatureError, TrustedKeys};
use crate::stream::read_full;
use crate::tar_entry::Entry;

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

/// Verifies a bundle, `.tar.gz` or `.zip`, in one pass. `progress` is told the number of
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

/// Gives every entry to `visit`, and checks that the archive ends and nothing follows; stops early
/// where `visit` breaks.
fn walk<S: Read + Seek>(
    source: &mut S,
    mut visit: impl FnMut(&Entry, &mut located::Portion<'_>) -> Visit,
) -> Result<(), VerifyError> {
    match form(source)? {
        Form::TarGz => {
            let mut members = MemberReader::new(source, 0);
            if tar::walk(&mut members, &mut visit)?.is_continue() {
                tar::nothing_follows(&mut members)?;
            }
        }
        Form::Zip => {
            // What follows a zip archive was looked for first.
            let (ControlFlow::Continue(()) | ControlFlow::Break(())) = zip::walk(source, &mut visit)?;
        }
    }
    Ok(())
}

/// The two forms of a bundle, told by their first bytes and never by the file's name.
enum Form {
    TarGz,
    Zip,
}

fn form<S: Read + Seek>(source: &mut S) -> Result<Form, VerifyError> {
    let mut magic = [0; 4];
    source.seek(SeekFrom::Start(0))?;
    let count = read_full(source, &mut magic)?;
    source.seek(SeekFrom::Start(0))?;
    match &magic[..count] {
        [0x1f, 0x8b, ..] => Ok(Form::TarGz),
        b"PK\x03\x04" => Ok(Form::Zip),
        _ => Err(VerifyError::NotABundle),
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

/// The manifest of a bundle as it stands there, for looking at. Nothing vouches for it.
#[derive(Debug, Clone)]
pub struct UnverifiedManifest {
    /// The exact bytes.
    pub bytes: Vec<u8>,
    /// The bytes read, in whichever form they have.
    pub manifest: AnyManifest,
    /// The text of the signature, where there is one right after the manifest. Not verified.
    pub signature: Option<String>,
}

/// Reads the manifest and its signature, and nothing more. In a bundle of the old procedure, what comes before the manifest
/// is read as well.
///
/// # Errors
/// [`VerifyError`], where they cannot be read.
pub fn read_manifest<S: Read + Seek>(mut source: S) -> Result<UnverifiedManifest, VerifyError> {
    if legacy::looks_old(&mut source)? {
        let bytes = legacy::read_manifest(&mut source)?;
        let manifest = AnyManifest::from_json(&bytes)?;
        return Ok(UnverifiedManifest {
            bytes,
            manifest,
            signature: None,
        });
    }
    let mut bytes = None;
    let mut signature = None;
    walk(&mut source, |entry, content| {
        let name = check::name_of(&entry.name)?;
        match (&bytes, name.as_str()) {
            (None, MANIFEST) => {
                let limit = MAX_MANIFEST_SIZE as u64;
                bytes = Some(check::small(&name, entry.size, limit, content)?);
                return Ok(ControlFlow::Continue(()));
            }
            (None, _) => return Err(VerifyError::ManifestNotFirst(name.to_string())),
            (Some(_), SIGNATURE) => {
                let text = check::small(&name, entry.size, MAX_SIGNATURE_SIZE, content)?;
                let text = String::from_utf8(text).map_err(|_| SignatureError::Malformed)?;
                signature = Some(text);
            }
            (Some(_), _) => {}
        }
        Ok(ControlFlow::Break(()))
    })?;
    let bytes = bytes.ok_or_else(|| VerifyError::Missing(MANIFEST.to_owned()))?;
    let manifest = AnyManifest::from_json(&bytes)?;
    Ok(UnverifiedManifest {
        bytes,
        manifest,
        signature,
    })
}
