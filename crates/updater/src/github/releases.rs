//! What GitHub says about releases, and which of them a device wants.
//!
//! The newest is the one with the highest version, never the latest by date: a backport may come after it. Drafts do not
//! count, nor what has no version for a tag, nor files that are not wholly uploaded. A release that has a bundle for this
//! device goes before newer ones that have none.

use bundle::{
    Archive, BundleName, Digest, Platform,
    names::{ProductName, tag::version_with_or_without_v},
    parts::{self, bundle_of_part},
};
use device::store::{RemoteBundle, RemoteFile};
use semver::Version;
use serde::{Deserialize, Serialize};

pub(crate) use device::config::github::Channel;

/// What checksums of a release's files are called.
const SUMS: &str = "SHA256SUMS";

/// A release in GitHub's words (REST API, "List releases").
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Release {
    tag_name: String,
    html_url: String,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    prerelease: bool,
    body: Option<String>,
    published_at: Option<String>,
    #[serde(default)]
    assets: Vec<Asset>,
}

/// A file of a release in GitHub's words.
#[derive(Clone, Debug, Deserialize)]
struct Asset {
    id: u64,
    name: String,
    url: String,
    browser_download_url: String,
    size: u64,
    state: String,
    digest: Option<String>,
}

/// What a device looks for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) product: &'a ProductName,
    pub(crate) platform: &'a Platform,
    pub(crate) channel: Channel,
}

/// A release, as far as a device cares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its version.
    pub version: Version,
    /// Its page, for people.
    pub page: String,
    /// Its notes, in Markdown.
    pub notes: String,
    /// Whether it is not for everyone yet.
    pub prerelease: bool,
    /// When it was published, RFC 3339.
    pub published_at: Option<String>,
    /// The bundle for this device; none if there is none.
    pub bundle: Option<RemoteBundle>,
}

/// The newest release that is wanted.
pub(crate) fn newest(releases: &[Release], wanted: &Wanted<'_>) -> Option<Found> {
    let found = releases.iter().filter_map(|release| release.found(wanted));
    let found = found.filter(|found| wanted.channel == Channel::Prerelease || !found.prerelease);
    found.max_by(|a, b| {
        let of = |found: &Found| (found.bundle.is_some(), found.version.clone());
        of(a).cmp(&of(b))
    })
}

/// The release of a version, on any channel.
pub(crate) fn of_version(releases: &[Release], wanted: &Wanted<'_>, version: &Version) -> Option<Found> {
    let found = releases.iter().filter_map(|release| release.found(wanted));
    found.into_iter().find(|found| found.version == *version)
}

impl Release {
    fn found(&self, wanted: &Wanted<'_>) -> Option<Found> {
        let version = version_with_or_without_v(&self.tag_name).filter(|_| !self.draft)?;
        Some(Found {
            page: self.html_url.clone(),
            notes: self.body.clone().unwrap_or_default(),
            prerelease: self.prerelease || !version.pre.is_empty(),
            published_at: self.published_at.clone(),
            bundle: self.bundle(wanted, &version),
            version,
        })
    }

    /// This platform's own bundle, or else the one for all; in one file, or else in parts.
    fn bundle(&self, wanted: &Wanted<'_>, version: &Version) -> Option<RemoteBundle> {
        let own = std::slice::from_ref(wanted.platform);
        let names = [own, &[]].into_iter().flat_map(|platforms| {
            Archive::ALL.map(|archive| BundleName::of_some(wanted.product, version, platforms, archive))
        });
        names.into_iter().find_map(|name| {
            let files = match self.file(name.as_str()) {
                Some(file) => vec![file],
                None => self.parts(name.as_str())?,
            };
            let first = files.first()?;
            Some(RemoteBundle {
                name: first.name.clone(),
                download_url: first.download_url.clone(),
                size: files.iter().fold(0, |sum, file| sum.saturating_add(file.size)),
                sums: self.file(SUMS),
                files,
            })
        })
    }

    /// The list of a bundle's parts, and the parts.
    fn parts(&self, bundle: &str) -> Option<Vec<RemoteFile>> {
        let list = self.file(&parts::list_name(bundle))?;
        let is_part = |asset: &&Asset| bundle_of_part(&asset.name) == Some(bundle);
        let mut parts: Vec<_> = self.assets.iter().filter(is_part).filter_map(Asset::file).collect();
        parts.sort_by(|a, b| a.name.cmp(&b.name));
        Some([vec![list], parts].concat())
    }

    fn file(&self, name: &str) -> Option<RemoteFile> {
        self.assets.iter().find(|asset| asset.name == name)?.file()
    }
}

impl Asset {
    /// The file; none if it is not wholly there.
    fn file(&self) -> Option<RemoteFile> {
        (self.state == "uploaded").then(|| RemoteFile {
            id: self.id,
            name: self.name.clone(),
            url: self.url.clone(),
            download_url: self.browser_download_url.clone(),
            size: self.size,
            digest: self.digest.as_ref().and_then(|digest| digest.parse().ok()),
        })
    }
}

/// The digest of the file `name` in the text of a file of checksums, as `sha256sum` writes it.
pub(crate) fn digest_in_sums(text: &str, name: &str) -> Option<Digest> {
    text.lines().find_map(|line| {
        let (hex, file) = line.split_once(' ')?;
        // A space or a star says how it was read.
        let file = file.strip_prefix([' ', '*'])?;
        (file == name).then(|| Digest::from_hex(hex).ok())?
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn asset(name: &str) -> Value {
        let state = if name.starts_with("starter:") {
            "starter"
        } else {
            "uploaded"
        };
        let name = name.trim_start_matches("starter:");
        json!({
            "id": 7, "name": name, "url": format!("https://api.example/assets/{name}"), "size": 10, "state": state,
            "browser_download_url": format!("https://example/{name}"),
            "digest": Digest::of(name.as_bytes()).to_string(),
        })
    }

    /// `v2.1.0: a.tar.gz b.tar.gz`; a mark before the tag: `~` a draft, `?` a prerelease.
    fn release(line: &str) -> Value {
        let (tag, files) = line.split_once(':').unwrap();
        let assets: Vec<_> = files.split_whitespace().map(asset).collect();
        json!({
            "tag_name": tag.trim_start_matches(['~', '?']), "html_url": format!("https://example/releases/{tag}"),
            "draft": tag.starts_with('~'), "prerelease": tag.starts_with('?'),
            "body": null, "published_at": "2026-01-31T12:00:00Z", "assets": assets,
        })
    }

    fn releases(lines: &[&str]) -> Vec<Release> {
        let lines: Vec<_> = lines.iter().map(|line| release(line)).collect();
        serde_json::from_value(Value::Array(lines)).unwrap()
    }

    fn chosen(lines: &[&str], channel: Channel) -> String {
        let (product, platform) = ("app".parse().unwrap(), "linux/arm64".parse().unwrap());
        let wanted = Wanted {
            product: &product,
            platform: &platform,
            channel,
        };
        let Some(found) = newest(&releases(lines), &wanted) else {
            return "none".to_owned();
        };
        let bundle = found.bundle.map(|bundle| {
            let names: Vec<_> = bundle.files.into_iter().map(|file| file.name).collect();
            names.join(" ")
        });
        format!("{}: {}", found.version, bundle.as_deref().unwrap_or("no bundle"))
    }

    #[test]
    fn the_newest_by_version_and_channel() {
        const A: &str = "v2.1.0: app-update-2.1.0.tar.gz";
        for (lines, stable, prerelease) in [
            (&[][..], "none", "none"),
            (&[A], "2.1.0: app-update-2.1.0.tar.gz", "2.1.0: app-update-2.1.0.tar.gz"),
            // A backport comes first in the list, and without the letter.
            (
                &["2.0.9: app-update-2.0.9.tar.gz", A],
                "2.1.0: app-update-2.1.0.tar.gz",
                "2.1.0: app-update-2.1.0.tar.gz",
            ),
            // 10 is more than 9.
            (
                &["v2.9.0: app-update-2.9.0.zip", "v2.10.0: app-update-2.10.0.zip"],
                "2.10.0: app-update-2.10.0.zip",
                "2.10.0: app-update-2.10.0.zip",
            ),
            (&["~v3.0.0: app-update-3.0.0.tar.gz"], "none", "none"),
            // A prerelease by its mark, and one by its version.
            (
                &["?v3.0.0: app-update-3.0.0.tar.gz", A],
                "2.1.0: app-update-2.1.0.tar.gz",
                "3.0.0: app-update-3.0.0.tar.gz",
            ),
            (
                &["v3.0.0-rc.1: app-update-3.0.0-rc.1.tar.gz", A],
                "2.1.0: app-update-2.1.0.tar.gz",
                "3.0.0-rc.1: app-update-3.0.0-rc.1.tar.gz",
            ),
            (
                &["nightly: app-update-9.0.0.tar.gz", "docs-4.0.0:", A],
                "2.1.0: app-update-2.1.0.tar.gz",
                "2.1.0: app-update-2.1.0.tar.gz",
            ),
            // Nothing for this device in the newer one.
            (
                &["v2.2.0: app-update-2.2.0-amd64.tar.gz", A],
                "2.1.0: app-update-2.1.0.tar.gz",
                "2.1.0: app-update-2.1.0.tar.gz",
            ),
            (&["v2.2.0: notes.txt"], "2.2.0: no bundle", "2.2.0: no bundle"),
        ] {
            assert_eq!(chosen(lines, Channel::Stable), stable, "{lines:?}");
            assert_eq!(chosen(lines, Channel::Prerelease), prerelease, "{lines:?}");
        }
    }

    #[test]
    fn the_bundle_of_this_device() {
        for (files, expected) in [
            (
                "app-update-1.0.0.tar.gz app-update-1.0.0-arm64.tar.gz",
                "app-update-1.0.0-arm64.tar.gz",
            ),
            (
                "app-update-1.0.0.tar.gz app-update-1.0.0-amd64.tar.gz",
                "app-update-1.0.0.tar.gz",
            ),
            ("app-update-1.0.0-amd64.tar.gz", "no bundle"),
            (
                "app-update-1.0.0-arm64.zip app-update-1.0.0.tar.gz",
                "app-update-1.0.0-arm64.zip",
            ),
            ("other-update-1.0.0-arm64.tar.gz app-update-1.0.1.tar.gz", "no bundle"),
            (
                "starter:app-update-1.0.0-arm64.tar.gz app-update-1.0.0.tar.gz",
                "app-update-1.0.0.tar.gz",
            ),
            ("starter:app-update-1.0.0.tar.gz", "no bundle"),
            (
                "app-update-1.0.0.tar.gz.part-002 app-update-1.0.0.tar.gz.part-001 app-update-1.0.0.tar.gz.parts.json \
                 app-update-1.0.0.zip.part-001",
                "app-update-1.0.0.tar.gz.parts.json app-update-1.0.0.tar.gz.part-001 app-update-1.0.0.tar.gz.part-002",
            ),
            // Parts without their list are nothing.
            ("app-update-1.0.0.tar.gz.part-001", "no bundle"),
        ] {
            let line = format!("v1.0.0: {files}");
            assert_eq!(
                chosen(&[&line], Channel::Stable),
                format!("1.0.0: {expected}"),
                "{files}"
            );
        }
    }

    #[test]
    fn checksums() {
        let [a, b] = ["a", "b"].map(|text| Digest::of(text.as_bytes()));
        let text = format!("{}  a.zip\n{} *b.zip\nnonsense\n", a.hex(), b.hex());
        assert_eq!(digest_in_sums(&text, "a.zip"), Some(a));
        assert_eq!(digest_in_sums(&text, "b.zip"), Some(b));
        assert_eq!(digest_in_sums(&text, "zip"), None);
    }
}
