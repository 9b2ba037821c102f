//! `SHA256SUMS` beside the bundles, and the installer.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bundle::BundleName;
use semver::Version;
use serde::Serialize;

use super::{bundle_file::Packed, manifest::BundleFile};
use crate::{
    Result,
    facts::Workspace,
    system::files::{self, file_name, hash_file},
};

/// Writes the checksums of all bundles, and the installer beside them.
#[derive(Clone, Debug, Serialize)]
pub struct Checksums {
    /// The file.
    pub path: PathBuf,
    /// Whether there is an installer, which there is with an updater only.
    pub installer: bool,
    /// The version of the bundles.
    #[serde(skip)]
    pub version: Version,
}

impl Checksums {
    /// Writes the checksums of `bundles` and of the installer among `release_files`. Lines of bundles that are there of
    /// other platforms stay.
    pub(crate) fn run(&self, workspace: &Workspace, bundles: &[Packed], release_files: &[BundleFile]) -> Result<()> {
        let mut lines: Vec<_> = bundles
            .iter()
            .map(|bundle| (file_name(&bundle.path), bundle.sha256.clone()))
            .collect();
        let installer = release_files
            .iter()
            .find(|file| file.record.name.as_str() == "install.sh");
        if let Some(installer) = installer
            && let bundle::pack::Content::Bytes(script) = &installer.file.content
        {
            files::write_atomically(&workspace.dist.join("install.sh"), script)?;
            lines.push(("install.sh".to_owned(), installer.record.sha256.0.hex()));
        }
        lines.extend(self.other_bundles(workspace, &lines)?);
        lines.sort();
        let text: String = lines
            .iter()
            .map(|(name, sha256)| format!("{sha256}  {name}\n"))
            .collect();
        if fs::read_to_string(&self.path).ok().as_deref() == Some(&text) {
            return Ok(());
        }
        files::write_atomically(&self.path, text.as_bytes())
    }

    /// The lines for bundles of this version that a release of other platforms left, where they still hold.
    fn other_bundles(&self, workspace: &Workspace, ours: &[(String, String)]) -> Result<Vec<(String, String)>> {
        let declaration = &workspace.declaration;
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let mut others = Vec::new();
        for (sha256, name) in text.lines().filter_map(|line| line.split_once("  ")) {
            let bundle = workspace.dist.join(name);
            let is_of_this_version =
                BundleName::is_of_version(name, &declaration.product, &self.version, &declaration.platforms);
            let is_ours = ours.iter().any(|(ours, _)| ours == name);
            if is_of_this_version && !is_ours && bundle.is_file() && has_digest(&bundle, sha256)? {
                others.push((name.to_owned(), sha256.to_owned()));
            }
        }
        Ok(others)
    }
}

fn has_digest(bundle: &Path, sha256: &str) -> Result<bool> {
    Ok(hash_file(bundle)?.0.hex() == sha256)
}
