//! The checks that every entry of a bundle goes through, in archive order, in every form of archive.
//!
//! Manifest → signature → files → images → end. Nothing of the manifest is read before its signature
//! has been verified, and no entry is read that the manifest does not announce with its size.

use std::collections::HashMap;

use super::error::VerifyError;
use super::expect::{Place, expect_digest, expect_size, hash, name_of, small};
use super::images::check_images;
use super::located::{Located, Portion};
use super::trust::{Layers, Origin, Trust};
use crate::digest::Digest;
use crate::manifest::{FileRecord, MAX_MANIFEST_SIZE, Manifest};
use crate::names::{EntryName, IMAGES, MANIFEST, SIGNATURE};
use crate::signature::MAX_SIGNATURE_SIZE;
use crate::tar_entry::Entry;

/// All that a verification found out.
pub(super) struct Findings {
    pub(super) manifest: Manifest,
    pub(super) manifest_digest: Digest,
    pub(super) origin: Origin,
    pub(super) files: HashMap<EntryName, Place>,
    pub(super) blobs: HashMap<Digest, Place>,
}

/// A verification in progress.
pub(super) struct Checker<'a> {
    trust: &'a Trust<'a>,
    layers: Layers,
    progress: &'a dyn Fn(u64),
    stage: Stage,
}

/// What was seen so far.
enum Stage {
    Start,
    HaveManifest(Vec<u8>),
    /// This many files were seen.
    Files(Box<Findings>, usize),
    HaveImages(Box<Findings>),
}

impl<'a> Checker<'a> {
    pub(super) fn new(trust: &'a Trust<'a>, layers: Layers, progress: &'a dyn Fn(u64)) -> Self {
        Self {
            trust,
            layers,
            progress,
            stage: Stage::Start,
        }
    }

    /// Takes the next entry.
    pub(super) fn entry(&mut self, entry: &Entry, content: &mut Portion<'_>) -> Result<(), VerifyError> {
        let name = name_of(&entry.name)?;
        self.stage = match std::mem::replace(&mut self.stage, Stage::Start) {
            Stage::Start if name.as_str() == MANIFEST => {
                Stage::HaveManifest(small(&name, entry.size, MAX_MANIFEST_SIZE as u64, content)?)
            }
            Stage::Start => return Err(VerifyError::ManifestNotFirst(name.to_string())),
            Stage::HaveManifest(manifest) if name.as_str() == SIGNATURE => {
                let signature = small(&name, entry.size, MAX_SIGNATURE_SIZE, content)?;
                Stage::Files(Box::new(believe(manifest, Some(&signature), self.trust)?), 0)
            }
            Stage::HaveManifest(manifest) => {
                let findings = believe(manifest, None, self.trust)?;
                self.announced(Box::new(findings), 0, &name, entry.size, content)?
            }
            Stage::Files(findings, seen) => self.announced(findings, seen, &name, entry.size, content)?,
            Stage::HaveImages(findings) => {
                return Err(misplaced(&findings.manifest, usize::MAX, &name));
            }
        };
        Ok(())
    }

    /// Takes an entry that the manifest must have announced: its next file, or the images.
    fn announced(
        &self,
        mut findings: Box<Findings>,
        seen: usize,
        name: &EntryName,
        size: u64,
        content: &mut Portion<'_>,
    ) -> Result<Stage, VerifyError> {
        let manifest = &findings.manifest;
        match manifest.files.get(seen) {
            Some(record) if record.name == *name => {
                let place = self.file(record, size, content)?;
                findings.files.insert(name.clone(), place);
                Ok(Stage::Files(findings, seen + 1))
            }
            None if name.as_str() == IMAGES => {
                expect_size(IMAGES, size, manifest.images_size)?;
                findings.blobs = check_images(manifest, content, self.layers, self.progress)?;
                Ok(Stage::HaveImages(findings))
            }
            _ => Err(misplaced(manifest, seen, name)),
        }
    }

    fn file(&self, record: &FileRecord, size: u64, content: &mut Portion<'_>) -> Result<Place, VerifyError> {
        let name = record.name.as_str();
        expect_size(name, size, record.size)?;
        let location = content.location()?;
        let digest = record.sha256.0;
        expect_digest(name, hash(content, self.progress)?, digest)?;
        Ok(Place { location, size, digest })
    }

    /// The archive has ended: gives what was found, if it was everything.
    pub(super) fn finish(self) -> Result<Findings, VerifyError> {
        let missing = match self.stage {
            Stage::HaveImages(findings) => return Ok(*findings),
            Stage::Start => MANIFEST.to_owned(),
            Stage::HaveManifest(manifest) => {
                // An error in the manifest or about its signature says more than the missing files.
                next_name(&believe(manifest, None, self.trust)?.manifest, 0)
            }
            Stage::Files(findings, seen) => next_name(&findings.manifest, seen),
        };
        Err(VerifyError::Missing(missing))
    }
}

/// Verifies the signature, as far as `trust` demands, and only then reads the manifest.
fn believe(bytes: Vec<u8>, signature: Option<&[u8]>, trust: &Trust<'_>) -> Result<Findings, VerifyError> {
    let signature = match signature.map(std::str::from_utf8) {
        Some(Err(_)) => return Err(crate::signature::SignatureError::Malformed.into()),
        Some(Ok(text)) => Some(text),
        None => None,
    };
    let (manifest, origin) = match (trust, signature) {
        (Trust::Keys(_), None) => return Err(VerifyError::Unsigned),
        (Trust::Keys(keys), Some(signature)) => {
            let signed = keys.verify(&bytes, signature)?;
            let manifest = Manifest::from_json(&bytes)?;
            signed.check_comment(&bytes, &manifest.product, &manifest.version)?;
            (manifest, Origin::Signed(signed.key().clone()))
        }
        (Trust::Unsigned, signature) => {
            let claimed = signature.map(crate::signature::key_id).transpose()?;
            (Manifest::from_json(&bytes)?, Origin::Unknown { claimed })
        }
    };
    let manifest_digest = Digest::of(&bytes);
    let (files, blobs) = (HashMap::new(), HashMap::new());
    Ok(Findings {
        manifest,
        manifest_digest,
        origin,
        files,
        blobs,
    })
}

/// Why `name` is wrong where it stands, after `seen` files of the manifest.
fn misplaced(manifest: &Manifest, seen: usize, name: &EntryName) -> VerifyError {
    let folded = name.folded();
    let before = manifest
        .files
        .iter()
        .take(seen)
        .any(|file| file.name.folded() == folded);
    let reserved_before = match folded.as_str() {
        MANIFEST | SIGNATURE => true,
        IMAGES => seen == usize::MAX,
        _ => false,
    };
    if before || reserved_before {
        return VerifyError::Duplicate(name.to_string());
    }
    let later = manifest.files.iter().skip(seen).any(|file| file.name == *name);
    if later || name.as_str() == IMAGES {
        let expected = next_name(manifest, seen);
        return VerifyError::OutOfOrder {
            found: name.to_string(),
            expected,
        };
    }
    VerifyError::Unexpected(name.to_string())
}

/// The entry whose turn it is after `seen` files.
fn next_name(manifest: &Manifest, seen: usize) -> String {
    manifest
        .files
        .get(seen)
        .map_or(IMAGES.to_owned(), |file| file.name.to_string())
}
