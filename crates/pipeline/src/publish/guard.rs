//! Which bundles may be published, judged by what their manifests say. No I/O.
//!
//! `release --publish` refuses the same before it builds ([`crate::preflight`]). Here it is refused for bundles that are there
//! already, from any machine.

use std::path::PathBuf;

use bundle::{
    Platform,
    manifest::{ImageRecord, Manifest},
};

use super::error::PublishError;
use crate::{declaration::Declaration, system::files::file_name};

/// The fix for an image that is not pinned.
const PIN: &str = "cargo xtask lock, commit the lock file, and release again";

/// The commit of bundles that are all of one release, and may be published.
pub(super) fn expect_one_release(
    declaration: &Declaration,
    manifests: &[(PathBuf, Manifest)],
) -> Result<String, PublishError> {
    let mut commit = None;
    for (path, manifest) in manifests {
        let bundle = file_name(path);
        let refuse = |message: String, hint| PublishError::NotForPublishing {
            bundle: bundle.clone(),
            message,
            hint,
        };
        if manifest.product != declaration.product {
            let declared = &declaration.product;
            return Err(PublishError::Mixed(format!(
                "{bundle} is of {}, but {declared} is declared",
                manifest.product
            )));
        }
        if let Some((message, hint)) = private(manifest) {
            return Err(refuse(message, hint));
        }
        let Some(made_from) = &manifest.commit else {
            return Err(refuse(
                "it names no commit".to_owned(),
                "release it again from a commit",
            ));
        };
        let this = (&manifest.version, made_from);
        match commit {
            None => commit = Some(this),
            Some(first) if first == this => {}
            Some((version, commit)) => {
                let (other, short) = (&manifest.version, |commit: &str| {
                    commit.get(..10).unwrap_or(commit).to_owned()
                });
                return Err(PublishError::Mixed(format!(
                    "{bundle} is {other} from commit {}, but others are {version} from commit {}",
                    short(made_from),
                    short(commit)
                )));
            }
        }
    }
    let is_covered = |platform: &&Platform| {
        let mut manifests = manifests.iter();
        manifests.any(|(_, manifest)| manifest.platforms.contains(platform))
    };
    if let Some(missing) = declaration.platforms.iter().find(|platform| !is_covered(platform)) {
        return Err(PublishError::Incomplete(missing.to_string()));
    }
    Ok(commit.map(|(_, commit)| commit.clone()).unwrap_or_default())
}

/// Why a bundle must not be published, and the fix; none if it may.
fn private(manifest: &Manifest) -> Option<(String, &'static str)> {
    if manifest.dirty {
        let hint = "commit them, tag the commit, and release again";
        return Some(("it was made from files that were not committed".to_owned(), hint));
    }
    if let Some(found) = manifest.image_details.iter().find_map(private_image) {
        return Some(found);
    }
    let built_on = manifest.unpinned.first()?;
    Some((
        format!("it was built on {built_on}, which no registry's digest pinned"),
        PIN,
    ))
}

/// Why an image must not be published, and the fix; none if it may.
fn private_image(image: &ImageRecord) -> Option<(String, &'static str)> {
    let reference = &image.reference;
    if image.substitute {
        return Some((
            format!("{reference} was made from a substitute"),
            "cargo xtask lock and cargo xtask vendor, on a machine that reaches the registry; then release again",
        ));
    }
    let source = image.source.as_deref()?;
    (!source.contains("@sha256:")).then(|| (format!("{reference} was not pinned by digest"), PIN))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::tests::fixture;

    fn manifest(change: Value) -> (PathBuf, Manifest) {
        let mut value = json!({
            "version": "1.0.0", "images_sha256": "0".repeat(64), "created_at": "2026-01-01T00:00:00Z",
            "changelog": "", "images": [], "format_version": "1.0", "product": "acme", "commit": "c0ffee0",
            "platforms": ["linux/amd64", "linux/arm64"], "images_size": 0, "files": [], "image_details": [],
            "data": { "revision": 1 }, "minimum_updater_version": "0.1.0",
        });
        for (key, changed) in change.as_object().unwrap() {
            value[key] = changed.clone();
        }
        ("dist/a.tar.gz".into(), serde_json::from_value(value).unwrap())
    }

    fn check(changes: &[Value], expected: &str) {
        let manifests: Vec<_> = changes.iter().cloned().map(manifest).collect();
        let declaration = fixture::workspace(&fixture::declaration()).declaration;
        let found = expect_one_release(&declaration, &manifests).unwrap_or_else(|error| error.to_string());
        assert_eq!(found, expected, "{changes:?}");
    }

    #[test]
    fn what_release_would_not_publish_publish_does_not_either() {
        check(&[json!({})], "c0ffee0");
        check(
            &[json!({ "dirty": true })],
            "a.tar.gz cannot be published: it was made from files that were not committed",
        );
        check(
            &[json!({ "unpinned": ["rust:1"] })],
            "a.tar.gz cannot be published: it was built on rust:1, which no registry's digest pinned",
        );
        check(
            &[json!({ "commit": null })],
            "a.tar.gz cannot be published: it names no commit",
        );
        check(
            &[json!({}), json!({ "commit": "c0ffee1" })],
            "a.tar.gz is 1.0.0 from commit c0ffee1, but others are 1.0.0 from commit c0ffee0",
        );
    }

    #[test]
    fn bundles_of_some_platforms_are_no_release() {
        let [amd64, arm64] = ["linux/amd64", "linux/arm64"].map(|platform| json!({ "platforms": [platform] }));
        check(&[amd64.clone(), arm64.clone()], "c0ffee0");
        check(&[amd64], "no bundle is for linux/arm64, which is declared");
        check(&[arm64], "no bundle is for linux/amd64, which is declared");
    }

    #[test]
    fn substitutes_and_images_that_are_not_pinned_are_not_published() {
        let found = |source: Option<&str>, substitute| {
            let image = ImageRecord {
                name: "postgres".to_owned(),
                reference: "postgres:17".to_owned(),
                source: source.map(str::to_owned),
                substitute,
                platforms: Vec::new(),
            };
            private_image(&image).map(|(message, _)| message)
        };
        assert_eq!(found(None, false), None);
        assert_eq!(found(Some("postgres:17@sha256:00"), false), None);
        assert_eq!(
            found(Some("postgres:17"), false).unwrap(),
            "postgres:17 was not pinned by digest"
        );
        assert_eq!(found(None, true).unwrap(), "postgres:17 was made from a substitute");
    }
}
