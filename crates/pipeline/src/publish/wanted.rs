//! What should be there: every asset with its size and digest, the release's text and flags.
//!
//! Everything that is wrong with the files is found here, before anything is sent: a substitute, a damaged bundle, bundles of
//! two versions, a name or a size that GitHub refuses. A bundle of 2 GiB or more becomes parts, which are sent from the
//! bundle itself: nothing is written to the disk.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
};

use bundle::{
    manifest::{AnyManifest, Manifest},
    names::tag,
    parts::{DEFAULT_PART_SIZE, list_name, list_parts},
    read::read_manifest,
};
use semver::Version;

use super::{
    asset::{Asset, CHECKSUMS, Content},
    error::PublishError,
    guard, notes,
    request::Request,
    target::Target,
};
use crate::{
    Error, Result,
    facts::Workspace,
    inspect::{
        self,
        sbom::{self, Sbom},
    },
    system::interrupt,
};

/// The most assets of a release.
const MOST_ASSETS: usize = 1000;

/// What should be there.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The version.
    pub version: Version,
    /// The commit that it was made from.
    pub commit: String,
    /// The tag.
    pub tag: String,
    /// The release's title.
    pub title: String,
    /// Its text.
    pub notes: String,
    /// Whether it is a prerelease.
    pub prerelease: bool,
    /// Whether it becomes the latest; none to compare versions.
    pub latest: Option<bool>,
    /// Its files, in the order in which they are uploaded: what lists others comes last.
    pub assets: Vec<Asset>,
}

impl Wanted {
    /// The asset called `name`; the names of [`super::reconcile::Action`] come from here.
    pub(super) fn asset(&self, name: &str) -> Option<&Asset> {
        self.assets.iter().find(|asset| asset.name == name)
    }
}

/// What the bundles and the declaration want published, checked.
pub(crate) fn wanted(workspace: &Workspace, target: &Target, request: &Request) -> Result<Wanted> {
    let manifests = manifests(&request.bundles)?;
    let Some((_, first)) = manifests.first() else {
        return Err(PublishError::Mixed("no bundle was given".to_owned()).into());
    };
    let commit = guard::expect_one_release(&workspace.declaration, &manifests)?;
    let mut assets = Vec::new();
    let mut sums = Vec::new();
    let mut sbom = Sbom::default();
    for (path, _) in &manifests {
        let mut verified = inspect::open_verified(path, &workspace.declaration.signing.public_keys)?;
        sbom.add(&mut verified)?;
        interrupt::check()?;
        let bundle = Asset::of_file(path)?;
        sums.push((bundle.name.clone(), bundle.digest.clone()));
        if bundle.size > DEFAULT_PART_SIZE {
            assets.extend(parts(path, &bundle.name, DEFAULT_PART_SIZE)?);
        } else {
            assets.push(bundle);
        }
    }
    let directory = manifests.first().and_then(|(path, _)| path.parent());
    let installer = directory
        .map(|directory| directory.join("install.sh"))
        .filter(|path| path.is_file());
    let mut others = vec![Asset::of_bytes(
        &sbom::file_name(first.product.as_str()),
        sbom.write(workspace)?,
    )];
    for path in installer.iter().chain(&request.assets) {
        others.push(Asset::of_file(path)?);
    }
    for asset in others {
        sums.push((asset.name.clone(), asset.digest.clone()));
        assets.push(asset);
    }
    assets.push(checksums(sums));
    expect_assets(&assets)?;
    let changelog = match &request.notes {
        Some(path) => fs::read_to_string(path).map_err(Error::io("read", path))?,
        None => first.changelog.clone(),
    };
    let release = notes::Release {
        product: first.product.as_str(),
        version: &first.version,
        repository: &target.repository,
        server: &target.server,
        changelog: &changelog,
        assets: &assets,
    };
    Ok(Wanted {
        version: first.version.clone(),
        commit,
        tag: tag::of(&first.version),
        title: format!("{} {}", first.product, first.version),
        notes: notes::write(&release),
        prerelease: !first.version.pre.is_empty(),
        latest: request.latest,
        assets,
    })
}

/// Reads the manifests of `bundles`.
pub(crate) fn manifests(bundles: &[PathBuf]) -> Result<Vec<(PathBuf, Manifest)>> {
    let read = |path: &PathBuf| {
        let file = File::open(path).map_err(Error::io("read", path))?;
        let damaged = |source| Error::Verify {
            path: path.clone(),
            source,
        };
        match read_manifest(file).map_err(damaged)?.manifest {
            AnyManifest::V1(manifest) => Ok((path.clone(), *manifest)),
            AnyManifest::Legacy(_) => Err(damaged(bundle::manifest::ManifestError::Legacy.into())),
        }
    };
    bundles.iter().map(read).collect()
}

/// The parts of a bundle that is too large, and their list.
fn parts(path: &Path, bundle: &str, size: u64) -> Result<Vec<Asset>> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let content = |message: String| Error::Content {
        path: path.to_owned(),
        message,
    };
    let list = list_parts(file, bundle, size).map_err(|error| content(error.to_string()))?;
    let mut offset = 0;
    let mut assets = Vec::new();
    for part in &list.parts {
        assets.push(Asset {
            name: part.name.clone(),
            size: part.size,
            digest: part.sha256.0.to_string(),
            content_type: "application/octet-stream",
            content: Content::File {
                path: path.to_owned(),
                offset,
            },
        });
        offset += part.size;
    }
    let json = list.to_json().map_err(|error| content(error.to_string()))?;
    assets.push(Asset::of_bytes(&list_name(bundle), json));
    Ok(assets)
}

/// `SHA256SUMS`, as `sha256sum -c` reads it; a bundle in parts is in it as a whole.
fn checksums(mut sums: Vec<(String, String)>) -> Asset {
    sums.sort();
    let line = |(name, digest): &(String, String)| format!("{}  {name}\n", digest.trim_start_matches("sha256:"));
    let text: String = sums.iter().map(line).collect();
    Asset::of_bytes(CHECKSUMS, text.into_bytes())
}

fn expect_assets(assets: &[Asset]) -> Result<(), PublishError> {
    let mut names = BTreeSet::new();
    for asset in assets {
        let twice = (!names.insert(&asset.name)).then(|| "it is there twice".to_owned());
        if let Some(message) = twice.or_else(|| asset.problem()) {
            let name = asset.name.clone();
            return Err(PublishError::Asset { name, message });
        }
    }
    if assets.len() > MOST_ASSETS {
        return Err(PublishError::Mixed(format!(
            "{} assets; GitHub takes {MOST_ASSETS} for a release",
            assets.len()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bundle::Digest;

    use super::*;

    fn problem(name: &str, size: u64) -> String {
        let asset = Asset {
            size,
            ..Asset::of_bytes(name, Vec::new())
        };
        expect_assets(&[asset]).map_or_else(|error| error.to_string(), |()| "good".to_owned())
    }

    #[test]
    fn what_github_would_refuse_is_found_before_anything_is_sent() {
        assert_eq!(problem("acme-update-1.0.0+b.2-amd64.tar.gz", 1), "good");
        assert_eq!(problem("a", DEFAULT_PART_SIZE), "good");
        for (name, size, message) in [
            ("a b", 1, "has a ' '"),
            ("ä", 1, "has a 'ä'"),
            ("a/b", 1, "has a '/'"),
            (".a", 1, "begins or ends with a dot"),
            ("a.", 1, "begins or ends with a dot"),
            ("a", 0, "it is empty"),
            ("a", 1 << 31, "less than 2 GiB"),
        ] {
            assert!(
                problem(name, size).contains(message),
                "{name:?}: {}",
                problem(name, size)
            );
        }
        let twice = [Asset::of_bytes("a", vec![1]), Asset::of_bytes("a", vec![2])];
        assert_eq!(
            expect_assets(&twice).unwrap_err().to_string(),
            "a cannot be an asset: it is there twice"
        );
    }

    #[test]
    fn parts_are_those_that_split_writes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a-update-1.0.0.tar.gz");
        let content: Vec<u8> = (0..=255).cycle().take(2500).collect();
        fs::write(&path, &content).unwrap();
        let assets = parts(&path, "a-update-1.0.0.tar.gz", 1000).unwrap();
        bundle::parts::split(content.as_slice(), "a-update-1.0.0.tar.gz", 1000, directory.path()).unwrap();
        assert_eq!(assets.len(), 4);
        for asset in &assets {
            let written = fs::read(directory.path().join(&asset.name)).unwrap();
            let sent = match &asset.content {
                Content::Bytes(bytes) => bytes.clone(),
                Content::File { offset, .. } => {
                    let first = usize::try_from(*offset).unwrap();
                    content[first..first + usize::try_from(asset.size).unwrap()].to_vec()
                }
            };
            assert_eq!(sent, written, "{}", asset.name);
            assert_eq!(asset.digest, Digest::of(&written).to_string());
        }
    }

    #[test]
    fn checksums_are_those_that_sha256sum_reads() {
        let sums = checksums(vec![
            ("b".to_owned(), "sha256:02".to_owned()),
            ("a".to_owned(), "sha256:01".to_owned()),
        ]);
        let Content::Bytes(text) = sums.content else {
            panic!("no bytes")
        };
        assert_eq!(String::from_utf8(text).unwrap(), "01  a\n02  b\n");
    }
}
