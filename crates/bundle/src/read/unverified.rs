//! A manifest for looking at.

use std::io::{Read, Seek};
use std::ops::ControlFlow;

use super::archive::walk;
use super::error::VerifyError;
use super::expect::{name_of, small};
use super::legacy;
use crate::manifest::{AnyManifest, MAX_MANIFEST_SIZE};
use crate::names::{MANIFEST, SIGNATURE};
use crate::signature::{MAX_SIGNATURE_SIZE, SignatureError};

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
        let name = name_of(&entry.name)?;
        match (&bytes, name.as_str()) {
            (None, MANIFEST) => {
                let limit = MAX_MANIFEST_SIZE as u64;
                bytes = Some(small(&name, entry.size, limit, content)?);
                return Ok(ControlFlow::Continue(()));
            }
            (None, _) => return Err(VerifyError::ManifestNotFirst(name.to_string())),
            (Some(_), SIGNATURE) => {
                let text = small(&name, entry.size, MAX_SIGNATURE_SIZE, content)?;
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
