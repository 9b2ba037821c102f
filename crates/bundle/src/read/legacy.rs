//! Bundles of the old release procedure: `tar -czf` of a five-key manifest, `images.tar` as `docker save` wrote it,
//! the compose file and perhaps the installer, in any order.
//!
//! What such a bundle cannot say is [`Assumed`], and a manifest is made of both. It is not signed, and nothing but
//! `images.tar` has a digest: so one is accepted only where no signature is demanded, and verified means whole. What
//! holds for every bundle holds here: each entry once, safe names, regular files only, an end and nothing after it.
//! Headers may be any tar program's, because nothing of them is used but name and size.

use std::collections::HashMap;
use std::io::{Read, Seek};
use std::ops::ControlFlow;

use semver::Version;

use super::archive::form;
use super::check::Findings;
use super::error::VerifyError;
use super::expect::{Place, expect_digest, hash, name_of, small};
use super::located::{Located as _, MemberReader, Portion};
use super::tar::{Visit, nothing_follows, walk_as};
use super::trust::Origin;
use crate::digest::Digest;
use crate::manifest::{
    AnyManifest, Backup, DataRule, EnvironmentKey, FileRecord, FileRole, FormatVersion, Health, LegacyManifest,
    MAX_MANIFEST_SIZE, MAX_SIZE, Manifest, ManifestError,
};
use crate::names::file_name::Archive;
use crate::names::{EntryName, IMAGES, MANIFEST, ProductName};
use crate::platform::Platform;
use crate::stream::drain;
use crate::tar_entry::{Entry, HeaderError, LooseKind, parse_loosely};

/// The compose file of every old bundle.
const COMPOSE: &str = "docker-compose.prod.yml";
/// The installer, which may be missing.
const INSTALLER: &str = "install.sh";
/// Neither of them is larger, in bytes.
const MAX_FILE: u64 = 16 * 1024 * 1024;
/// What a pax header says is small: times and owners.
const MAX_PAX: u64 = 64 * 1024;
/// What pax headers may say: times and owners,
const PAX_KEYS: [&str; 7] = ["mtime", "atime", "ctime", "uid", "gid", "uname", "gname"];
/// and what macOS notes about files.
const PAX_PREFIXES: [&str; 2] = ["LIBARCHIVE.", "SCHILY.xattr."];
/// How many entries there may be that are no files: `./`, and pax headers.
const MAX_OTHERS: usize = 32;

/// What a bundle of the old procedure does not say, and accepting one takes for granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assumed {
    /// The product.
    pub product: ProductName,
    /// The platform of its images. Nothing proves it: look at the architecture of what was loaded.
    pub platform: Platform,
    /// The keys that `.env` must have, the version's among them.
    pub environment: Vec<EnvironmentKey>,
    /// How the product is asked whether it works.
    pub health: Option<Health>,
    /// What is saved before an update.
    pub backup: Option<Backup>,
    /// Which versions can work on the data.
    pub data: DataRule,
}

/// Whether this can only be a bundle of the old procedure: its first file is an old manifest, or no manifest. Everything
/// else, what is damaged too, is for the strict reader to judge.
pub(super) fn looks_old<S: Read + Seek>(source: &mut S) -> Result<bool, VerifyError> {
    let mut old = false;
    let walked = walk_files(source, |name, size, content| {
        old = match name.as_str() {
            MANIFEST => {
                let bytes = small(name, size, MAX_MANIFEST_SIZE as u64, content)?;
                matches!(AnyManifest::from_json(&bytes)?, AnyManifest::Legacy(_))
            }
            IMAGES | COMPOSE | INSTALLER => true,
            _ => false,
        };
        Ok(ControlFlow::Break(()))
    });
    unless_truncated(walked, old)
}

/// Whether a bundle that the strict reader refused has no signature, which then is what is to be said of it. Nothing of its
/// contents is looked at.
pub(super) fn is_unsigned<S: Read + Seek>(source: &mut S) -> Result<bool, VerifyError> {
    let mut names = Vec::new();
    let walked = walk_files(source, |name, _, content| {
        if names.contains(name) || ![MANIFEST, IMAGES, COMPOSE, INSTALLER].contains(&name.as_str()) {
            return Err(VerifyError::Unexpected(name.to_string()));
        }
        names.push(name.clone());
        drain(content)?;
        Ok(ControlFlow::Continue(()))
    });
    let has = |wanted: &str| names.iter().any(|name| name.as_str() == wanted);
    unless_truncated(walked, has(MANIFEST) && has(IMAGES))
}

fn unless_truncated(walked: Result<(), VerifyError>, answer: bool) -> Result<bool, VerifyError> {
    match walked {
        Ok(()) => Ok(answer),
        Err(VerifyError::Truncated) => Err(VerifyError::Truncated),
        Err(_) => Ok(false),
    }
}

/// The bytes of an old bundle's manifest, wherever it stands.
pub(super) fn read_manifest<S: Read + Seek>(source: &mut S) -> Result<Vec<u8>, VerifyError> {
    let mut bytes = None;
    walk_files(source, |name, size, content| {
        if name.as_str() == MANIFEST {
            bytes = Some(small(name, size, MAX_MANIFEST_SIZE as u64, content)?);
            return Ok(ControlFlow::Break(()));
        }
        drain(content)?;
        Ok(ControlFlow::Continue(()))
    })?;
    bytes.ok_or_else(|| VerifyError::Missing(MANIFEST.to_owned()))
}

/// Verifies an old bundle in one pass: what it is, and where its `images.tar` lies.
pub(super) fn check<S: Read + Seek>(
    source: &mut S,
    assumed: &Assumed,
    progress: &dyn Fn(u64),
) -> Result<(Findings, Place), VerifyError> {
    let mut checker = Checker {
        progress,
        first: None,
        manifest: None,
        files: HashMap::new(),
    };
    walk_files(source, |name, size, content| {
        checker.file(name, size, content)?;
        Ok(ControlFlow::Continue(()))
    })?;
    checker.finish(assumed)
}

/// Gives every file to `visit` with its name and size, until it breaks or the archive ends, after which nothing may follow.
fn walk_files<S: Read + Seek>(
    source: &mut S,
    mut visit: impl FnMut(&EntryName, u64, &mut Portion<'_>) -> Visit,
) -> Result<(), VerifyError> {
    let Archive::TarGz = form(source)? else {
        return Err(VerifyError::NotABundle);
    };
    let mut members = MemberReader::new(source, 0);
    let mut others = 0;
    let walked = walk_as(&mut members, parse_loosely, |entry, kind, content| {
        if kind == LooseKind::File {
            return visit(&plain_name(&entry.name)?, entry.size, content);
        }
        others += 1;
        pass_over(entry, kind, others, content)?;
        Ok(ControlFlow::Continue(()))
    })?;
    if walked.is_continue() {
        nothing_follows(&mut members)?;
    }
    Ok(())
}

/// What was seen so far.
struct Checker<'a> {
    progress: &'a dyn Fn(u64),
    /// The first file.
    first: Option<EntryName>,
    manifest: Option<Vec<u8>>,
    files: HashMap<EntryName, Place>,
}

impl Checker<'_> {
    fn file(&mut self, name: &EntryName, size: u64, content: &mut Portion<'_>) -> Result<(), VerifyError> {
        self.first.get_or_insert_with(|| name.clone());
        let folded = name.folded();
        let twice =
            self.files.keys().any(|seen| seen.folded() == folded) || self.manifest.is_some() && folded == MANIFEST;
        if twice {
            return Err(VerifyError::Duplicate(name.to_string()));
        }
        let limit = match name.as_str() {
            MANIFEST => {
                self.manifest = Some(small(name, size, MAX_MANIFEST_SIZE as u64, content)?);
                return Ok(());
            }
            IMAGES => MAX_SIZE,
            COMPOSE | INSTALLER => MAX_FILE,
            _ => return Err(VerifyError::Unexpected(name.to_string())),
        };
        if size > limit {
            let name = name.to_string();
            return Err(VerifyError::EntryTooLarge { name, size, limit });
        }
        let location = content.location()?;
        let digest = hash(content, self.progress)?;
        self.files.insert(name.clone(), Place { location, size, digest });
        Ok(())
    }

    /// The archive has ended: gives what was found, if it was everything.
    fn finish(mut self, assumed: &Assumed) -> Result<(Findings, Place), VerifyError> {
        let missing = |name: &str| VerifyError::Missing(name.to_owned());
        let bytes = self.manifest.take().ok_or_else(|| missing(MANIFEST))?;
        let old = match AnyManifest::from_json(&bytes)? {
            AnyManifest::Legacy(old) => old,
            // One of a later format, which must come first.
            AnyManifest::V1(_) => {
                let first = self.first.map_or_else(String::new, |name| name.to_string());
                return Err(VerifyError::ManifestNotFirst(first));
            }
        };
        let (name, images) = self.files.remove_entry(IMAGES).ok_or_else(|| missing(IMAGES))?;
        expect_digest(name.as_str(), images.digest, old.images_sha256.0)?;
        if !self.files.contains_key(COMPOSE) {
            return Err(missing(COMPOSE));
        }
        let manifest = manifest(old, assumed, &self.files, images.size).map_err(ManifestError::from)?;
        let findings = Findings {
            manifest,
            manifest_digest: Digest::of(&bytes),
            origin: Origin::Unknown { claimed: None },
            files: self.files,
            blobs: HashMap::new(),
        };
        Ok((findings, images))
    }
}

/// The manifest that such a bundle would have.
fn manifest(
    old: LegacyManifest,
    assumed: &Assumed,
    files: &HashMap<EntryName, Place>,
    images_size: u64,
) -> Result<Manifest, crate::manifest::Inconsistency> {
    let record = |(name, place): (&EntryName, &Place)| FileRecord {
        role: match name.as_str() {
            COMPOSE => FileRole::Compose,
            _ => FileRole::Installer,
        },
        sha256: place.digest.into(),
        size: place.size,
        executable: name.as_str() == INSTALLER,
        name: name.clone(),
    };
    let mut files: Vec<_> = files.iter().map(record).collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Manifest {
        images: old.references()?,
        version: old.version,
        images_sha256: old.images_sha256,
        created_at: crate::text::shorten(&old.created_at),
        changelog: old.changelog,
        format_version: FormatVersion::LEGACY,
        requires: Vec::new(),
        product: assumed.product.clone(),
        commit: None,
        dirty: false,
        unpinned: Vec::new(),
        platforms: vec![assumed.platform.clone()],
        images_size,
        files,
        image_details: Vec::new(),
        health: assumed.health.clone(),
        backup: assumed.backup.clone(),
        data: assumed.data.clone(),
        environment: assumed.environment.clone(),
        minimum_updater_version: Version::new(0, 0, 0),
        minimum_upgradable_version: None,
        security_epoch: 0,
        github: None,
    })
}

/// Passes over what is no file, where that means nothing: the directory itself, and pax headers with times and owners.
fn pass_over(entry: &Entry, kind: LooseKind, count: usize, content: &mut Portion<'_>) -> Result<(), VerifyError> {
    let harmless = match kind {
        LooseKind::Directory => entry.size == 0 && matches!(&entry.name[..], b"." | b"./"),
        LooseKind::Pax => {
            let name = crate::text::shorten_bytes(&entry.name);
            let records = small(&name, entry.size, MAX_PAX, content)?;
            // One that gave another name or size would make the next entry another one.
            tar::PaxExtensions::new(&records).all(|record| {
                let key = record.as_ref().ok().and_then(|record| record.key().ok());
                key.is_some_and(|key| {
                    PAX_KEYS.contains(&key) || PAX_PREFIXES.iter().any(|begin| key.starts_with(begin))
                })
            })
        }
        LooseKind::File => true,
    };
    if harmless && count <= MAX_OTHERS {
        return Ok(());
    }
    let name = crate::text::shorten_bytes(&entry.name);
    let kind = match kind {
        LooseKind::Pax => "a pax header",
        LooseKind::Directory | LooseKind::File => "a directory",
    };
    Err(HeaderError::Kind { name, kind }.into())
}

/// The name of an entry, without the `./` that `tar -czf x .` puts in front.
fn plain_name(raw: &[u8]) -> Result<EntryName, VerifyError> {
    name_of(raw.strip_prefix(b"./").unwrap_or(raw))
}
