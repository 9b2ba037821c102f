//! `updater verify`: checks a bundle and reports what it is.
//!
//! Opens the file once → `bundle::read::verify` → a [`Report`], as text or JSON. Changes nothing.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use bundle::Platform;
use bundle::manifest::DataRule;
use bundle::names::ProductName;
use bundle::parts::{PartsError, Source, find_damage};
use bundle::read::{Assumed, Layers, Origin, Trust, VerifyError, verify_with_legacy};
use bundle::signature::{PublicKey, SignatureError, TrustedKeys};
use clap::Args;
use serde::Serialize;

use device::{Exit, stack::bundle_files::Bundle};

/// A minisign public key file has two short lines.
const MAX_KEY_FILE: u64 = 4096;

/// Shown below the help of `updater verify`.
pub(super) const EXAMPLES: &str = "\
Examples:
  Check a bundle against the publisher's key:
    updater verify webmacs-update-2.1.0.tar.gz --trust webmacs.pub

  The same with the key itself:
    updater verify webmacs-update-2.1.0.tar.gz --trust RWQ...

  Check only that nothing is damaged or missing:
    updater verify webmacs-update-2.1.0.tar.gz";

/// The arguments of `updater verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// The bundle, .tar.gz or .zip
    bundle: PathBuf,

    /// A minisign public key that is trusted: a key file, or the base64 key itself. Can be given
    /// several times; one of the keys must have signed the bundle
    ///
    /// Without any, only the integrity is checked: nothing vouches for where the bundle comes from.
    #[arg(long, value_name = "KEY")]
    trust: Vec<String>,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command. Results go to `out`, errors and warnings to `err`.
///
/// # Errors
/// Only where `out` or `err` cannot be written.
pub(super) fn run(arguments: &VerifyArguments, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
    let checked = check(arguments);
    match &checked {
        Ok(report) if report.signed_by.is_none() => writeln!(
            err,
            "warning: only the integrity was checked: nothing vouches for the origin of this bundle\n\
             hint: give the publisher's key with --trust"
        )?,
        Ok(_) => {}
        Err(error) => {
            writeln!(err, "error: {error}")?;
            if let Some(hint) = error.hint() {
                writeln!(err, "hint: {hint}")?;
            }
        }
    }
    if arguments.json {
        let report = match &checked {
            Ok(report) => serde_json::to_string_pretty(report),
            Err(error) => serde_json::to_string_pretty(&Failure {
                verified: false,
                error: error.to_string(),
                hint: error.hint(),
            }),
        };
        writeln!(out, "{}", report?)?;
    } else if let Ok(report) = &checked {
        report.write(out)?;
    }
    Ok(checked.map_or_else(|error| error.exit(), |_| Exit::Done))
}

/// Why there is no verified bundle.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{} cannot be opened: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("trusted key {key} cannot be read: {source}")]
    ReadKey { key: String, source: io::Error },
    #[error("trusted key {key}: {source}")]
    Key { key: String, source: SignatureError },
    #[error(transparent)]
    Parts(PartsError),
    #[error(transparent)]
    Bundle(#[from] VerifyError),
}

impl Problem {
    fn exit(&self) -> Exit {
        match self {
            Self::Open { .. } | Self::ReadKey { .. } => Exit::Failed,
            Self::Key { .. } => Exit::Usage,
            Self::Bundle(error) if error.is_unreadable() => Exit::Failed,
            Self::Parts(error) if error.is_unreadable() => Exit::Failed,
            Self::Bundle(_) | Self::Parts(_) => Exit::Refused,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Open { .. } => None,
            Self::ReadKey { .. } | Self::Key { .. } => Some("a key is a minisign public key file, or its second line"),
            Self::Parts(error) => error.hint(),
            Self::Bundle(error) => error.hint(),
        }
    }
}

fn check(arguments: &VerifyArguments) -> Result<Report, Problem> {
    let keys = arguments
        .trust
        .iter()
        .map(|key| read_key(key))
        .collect::<Result<Vec<_>, _>>()?;
    let keys = TrustedKeys::new(keys);
    let trust = match keys.keys() {
        [] => Trust::Unsigned,
        _ => Trust::Keys(&keys),
    };
    let path = &arguments.bundle;
    let source = Source::open(path).map_err(|error| match error {
        PartsError::Io { source, .. } => Problem::Open {
            path: path.clone(),
            source,
        },
        error => Problem::Parts(error),
    })?;
    let verified = verify_with_legacy(source, &trust, &nothing()?, Layers::Hashed, &|_| {});
    if verified.as_ref().is_err_and(|error| !error.is_unreadable()) {
        // Which part is damaged says more than what that did to the whole.
        find_damage(path).map_err(Problem::Parts)?;
    }
    Ok(Report::of(&verified?))
}

/// What is assumed of an old bundle here, of which nothing is shown.
fn nothing() -> Result<Assumed, VerifyError> {
    Ok(Assumed {
        product: "unknown".parse::<ProductName>()?,
        platform: Platform::host(),
        environment: Vec::new(),
        health: None,
        backup: None,
        data: DataRule::default(),
    })
}

/// `key` is the key itself, or else the path of its file.
fn read_key(key: &str) -> Result<PublicKey, Problem> {
    if let Ok(key) = key.parse() {
        return Ok(key);
    }
    let named = || format!("`{key}`");
    let mut text = String::new();
    File::open(key)
        .and_then(|file| io::Read::read_to_string(&mut io::Read::take(file, MAX_KEY_FILE), &mut text))
        .map_err(|source| Problem::ReadKey { key: named(), source })?;
    text.parse().map_err(|source| Problem::Key { key: named(), source })
}

/// What `--json` gives for a bundle that was not verified.
#[derive(Debug, Serialize)]
struct Failure {
    verified: bool,
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
}

/// What a verified bundle is.
#[derive(Debug, Serialize)]
struct Report {
    verified: bool,
    /// The ID of the trusted key that signed the bundle; none where only the integrity was checked.
    signed_by: Option<String>,
    /// The ID that a signature names which was not verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    unverified_signature_of: Option<String>,
    /// Whether the old release procedure made it, so that only `images.tar` is protected against damage.
    legacy: bool,
    /// None in an old bundle, which does not say it.
    product: Option<String>,
    version: String,
    created_at: String,
    commit: Option<String>,
    platforms: Vec<String>,
    images: Vec<String>,
    files: usize,
    /// Size of `images.tar` in bytes.
    images_size: u64,
    /// The bundle's identity.
    manifest_digest: String,
}

impl Report {
    fn of(bundle: &Bundle) -> Self {
        let manifest = bundle.manifest();
        let claimed = match bundle.origin() {
            Origin::Unknown { claimed } => claimed.map(|id| id.to_string()),
            Origin::Signed(_) => None,
        };
        Self {
            verified: true,
            signed_by: bundle.signed_by().map(|key| key.id().to_string()),
            unverified_signature_of: claimed,
            legacy: bundle.is_legacy(),
            product: (!bundle.is_legacy()).then(|| manifest.product.to_string()),
            version: manifest.version.to_string(),
            created_at: manifest.created_at.clone(),
            commit: manifest.commit.clone(),
            // An old bundle does not say it.
            platforms: manifest
                .platforms
                .iter()
                .filter(|_| !bundle.is_legacy())
                .map(ToString::to_string)
                .collect(),
            images: manifest.images.clone(),
            files: manifest.files.len(),
            images_size: manifest.images_size,
            manifest_digest: bundle.manifest_digest().to_string(),
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        match &self.product {
            Some(product) => writeln!(out, "{product} {} is whole", self.version)?,
            None => writeln!(
                out,
                "version {} is whole, a bundle of the old release procedure: only its images have a checksum",
                self.version
            )?,
        }
        match (&self.signed_by, &self.unverified_signature_of) {
            (Some(id), _) => writeln!(out, "  signed by  {id} (trusted)")?,
            (None, Some(id)) => writeln!(out, "  signed by  {id} (NOT VERIFIED)")?,
            (None, None) => writeln!(out, "  signed by  no key")?,
        }
        writeln!(out, "  made       {}", self.created_at)?;
        if let Some(commit) = &self.commit {
            writeln!(out, "  commit     {commit}")?;
        }
        if !self.legacy {
            writeln!(out, "  platforms  {}", self.platforms.join(", "))?;
        }
        writeln!(out, "  images     {}", self.images.join(", "))?;
        writeln!(out, "  files      {}", self.files)?;
        writeln!(out, "  manifest   {}", self.manifest_digest)
    }
}
