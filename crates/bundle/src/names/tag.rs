//! Tags of versions: `v2.1.0` is the tag of version 2.1.0.

use semver::Version;

/// The tag of `version`.
#[must_use]
pub fn of(version: &Version) -> String {
    format!("v{version}")
}

/// The version that `tag` names; none if it is not `v` and a semantic version.
#[must_use]
pub fn version(tag: &str) -> Option<Version> {
    Version::parse(tag.strip_prefix('v')?).ok()
}

/// The version that `tag` names, also without the `v`: for tags that others made.
#[must_use]
pub fn version_with_or_without_v(tag: &str) -> Option<Version> {
    version(tag).or_else(|| Version::parse(tag).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_their_versions() {
        let release = Version::new(2, 1, 0);
        assert_eq!(of(&release), "v2.1.0");
        assert_eq!(version("v2.1.0"), Some(release.clone()));
        for other in ["2.1.0", "vv2.1.0", "v2.1", "v", "", "nightly", "V2.1.0"] {
            assert_eq!(version(other), None, "{other}");
        }
        assert_eq!(version_with_or_without_v("2.1.0"), Some(release.clone()));
        assert_eq!(version_with_or_without_v("v2.1.0"), Some(release));
        assert_eq!(version_with_or_without_v("vv2.1.0"), None);
    }
}
