//! A bundle on disk: what is in it, whether it is whole, what differs from another.

use std::{
    fmt::{self, Write},
    path::Path,
};

use bundle::{
    diff::{BundleDiff, diff},
    manifest::{AnyManifest, Manifest},
    parts::{PartsError, Source, find_damage},
    read::{Trust, VerifiedBundle, read_manifest, verify},
    signature::{PublicKey, TrustedKeys},
};
use serde::Serialize;

use crate::{Error, Result, system::report};

/// What a bundle says of itself; nothing of it is verified.
pub(crate) fn inspect(path: &Path) -> Result<Inspected> {
    let found = read_manifest(open(path)?).map_err(|source| Error::Verify {
        path: path.to_owned(),
        source,
    })?;
    match found.manifest {
        AnyManifest::V1(manifest) => Ok(Inspected { manifest: *manifest }),
        AnyManifest::Legacy(_) => Err(Error::Verify {
            path: path.to_owned(),
            source: bundle::manifest::ManifestError::Legacy.into(),
        }),
    }
}

/// Checks a whole bundle, against `keys` if there are any.
pub(crate) fn verify_bundle(path: &Path, keys: &[PublicKey]) -> Result<VerifiedReport> {
    let verified = open_verified(path, keys)?;
    let manifest = verified.manifest();
    Ok(VerifiedReport {
        product: manifest.product.to_string(),
        version: manifest.version.clone(),
        images: manifest.images.len(),
        signed_by: verified.signed_by().map(|key| key.to_string()),
    })
}

/// Checks a whole bundle, against `keys` if there are any, and keeps it open.
pub(crate) fn open_verified(path: &Path, keys: &[PublicKey]) -> Result<VerifiedBundle<Source>> {
    let source = open(path)?;
    let trusted = TrustedKeys::new(keys.iter().cloned());
    let trust = if keys.is_empty() {
        Trust::Unsigned
    } else {
        Trust::Keys(&trusted)
    };
    let progress = report::Progress::start();
    let size = source.size().map_err(Error::io("read", path))?;
    let bar = progress.bytes("verifying", size);
    let verified = verify(source, &trust, &|bytes| bar.inc(bytes));
    bar.finish();
    if verified.as_ref().is_err_and(|error| !error.is_unreadable()) {
        // Which part is damaged says more than what that did to the whole.
        find_damage(path).map_err(in_parts(path))?;
    }
    verified.map_err(|source| Error::Verify {
        path: path.to_owned(),
        source,
    })
}

/// Opens a bundle, or the parts of one.
fn open(path: &Path) -> Result<Source> {
    Source::open(path).map_err(|error| match error {
        PartsError::Io { source, .. } => Error::io("read", path)(source),
        error => in_parts(path)(error),
    })
}

fn in_parts(path: &Path) -> impl FnOnce(PartsError) -> Error {
    let path = path.to_owned();
    move |source| Error::Parts { path, source }
}

/// Compares two bundles by their manifests; nothing of them is verified.
pub(crate) fn compare(from: &Path, to: &Path) -> Result<Compared> {
    Ok(Compared(diff(&inspect(from)?.manifest, &inspect(to)?.manifest)))
}

/// A bundle's manifest, shown to a person.
#[derive(Debug)]
pub(crate) struct Inspected {
    /// The manifest, not verified.
    pub manifest: Manifest,
}

/// What was verified.
#[derive(Debug, Serialize)]
pub(crate) struct VerifiedReport {
    product: String,
    version: semver::Version,
    images: usize,
    /// The key that signed; none if no key was given to check against.
    signed_by: Option<String>,
}

/// A difference, shown to a person.
#[derive(Debug)]
pub(crate) struct Compared(pub BundleDiff);

impl fmt::Display for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manifest = &self.manifest;
        let list =
            |platforms: &[bundle::Platform]| platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        writeln!(
            f,
            "{} {} for {}",
            manifest.product,
            manifest.version,
            list(&manifest.platforms)
        )?;
        writeln!(
            f,
            "format {}, made from commit {} of {}",
            manifest.format_version,
            manifest.commit.as_deref().unwrap_or("unknown"),
            manifest.created_at
        )?;
        writeln!(f, "\nimages ({} in images.tar)", report::bytes(manifest.images_size))?;
        for image in &manifest.image_details {
            let substitute = if image.substitute { "  (a substitute)" } else { "" };
            writeln!(f, "  {}{substitute}", image.reference)?;
            for on in &image.platforms {
                let stored = on.layers.iter().map(|layer| layer.size).sum();
                let unpacked = on.layers.iter().map(|layer| layer.uncompressed_size).sum();
                let layers = on.layers.len();
                writeln!(
                    f,
                    "    {:<14} {layers:>2} layers  {:>10}  {:>10} unpacked",
                    on.platform.to_string(),
                    report::bytes(stored).to_string(),
                    report::bytes(unpacked).to_string()
                )?;
            }
        }
        writeln!(f, "\nfiles")?;
        for file in &manifest.files {
            writeln!(
                f,
                "  {:<32} {:>10}",
                file.name.to_string(),
                report::bytes(file.size).to_string()
            )?;
        }
        let mut changelog = String::new();
        for line in manifest.changelog.lines() {
            writeln!(changelog, "  {}", report::plain(line))?;
        }
        write!(
            f,
            "\nchangelog\n{changelog}\nnothing of this is verified; `cargo xtask bundle verify` does that"
        )
    }
}

impl fmt::Display for VerifiedReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} is whole: {} images", self.product, self.version, self.images)?;
        match &self.signed_by {
            Some(key) => write!(f, ", signed by {key}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let diff = &self.0;
        writeln!(f, "{} to {}", diff.from, diff.to)?;
        for (name, change) in &diff.images {
            writeln!(f, "  {name:<32} {}", format!("{change:?}").to_lowercase())?;
        }
        let mut lines = Vec::new();
        for (platform, needs) in &diff.platforms {
            lines.push(format!(
                "{platform}: a device needs {} ({} unpacked): {} new layers, {} that it has",
                report::bytes(needs.bytes_needed),
                report::bytes(needs.uncompressed_bytes),
                needs.layers_new,
                needs.layers_kept
            ));
        }
        write!(f, "{}", lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changelog_does_not_steer_the_terminal() {
        let manifest = serde_json::json!({
            "version": "1.0.0", "images_sha256": "0".repeat(64), "created_at": "2026-01-01T00:00:00Z",
            "changelog": "- good\n- \u{1b}[2Jbad\n", "images": [], "format_version": "1.0", "product": "hello",
            "platforms": [], "images_size": 0, "files": [], "image_details": [], "data": { "revision": 0 },
            "minimum_updater_version": "0.1.0",
        });
        let manifest = serde_json::from_value(manifest).unwrap();
        let shown = Inspected { manifest }.to_string();
        assert!(shown.contains("  - good\n  - \\u{1b}[2Jbad\n"), "{shown}");
    }
}
