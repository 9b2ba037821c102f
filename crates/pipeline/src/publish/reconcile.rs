//! From what should be there and what is there to what is to be done. No I/O.
//!
//! | there is | done |
//! |---|---|
//! | a published release, complete | nothing; drafts of ours beside it are deleted |
//! | a published release that lacks or has something else | refused: what is published is never changed |
//! | no draft of ours | one is made, everything is uploaded |
//! | a draft of ours | what matches is kept, the rest deleted, what is missing uploaded |
//! | several drafts of ours | the one with the most that matches is kept, the others deleted |
//!
//! A draft is ours if its notes carry [`notes::mark`](super::notes::mark). What other people drafted is left alone.

use std::fmt;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::{asset::Asset, error::PublishError, notes::mark, wanted::Wanted};

/// What is there of a version: all releases with its tag, published or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) releases: Vec<FoundRelease>,
    /// The highest version that is published, of all but prereleases.
    pub(super) highest: Option<Version>,
}

/// A release that is there, by the names that GitHub has for it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct FoundRelease {
    pub(super) id: u64,
    pub(super) html_url: String,
    pub(super) upload_url: String,
    pub(super) draft: bool,
    pub(super) body: Option<String>,
    pub(super) assets: Vec<FoundAsset>,
}

/// An asset that is there.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct FoundAsset {
    pub(super) id: u64,
    pub(super) name: String,
    /// `uploaded`, or `starter` for what never arrived whole.
    pub(super) state: String,
    pub(super) size: u64,
    /// `sha256:…`; GitHub Enterprise servers of 2024 and before have none.
    pub(super) digest: Option<String>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub(crate) enum Action {
    /// Make a draft.
    CreateDraft,
    /// Delete a draft of ours that is one too many.
    DeleteDraft {
        /// The draft.
        id: u64,
    },
    /// Delete an asset of a draft.
    DeleteAsset {
        /// The asset.
        id: u64,
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// Upload an asset.
    Upload {
        /// The draft; none if it is yet to be made.
        release: Option<u64>,
        /// The asset's name.
        asset: String,
        /// Its size in bytes.
        size: u64,
    },
    /// Publish the draft.
    Publish {
        /// The draft; none if it is yet to be made.
        release: Option<u64>,
        /// Whether it becomes the latest release.
        latest: bool,
    },
}

impl Found {
    /// The release that is published; GitHub has at most one for a tag.
    pub(super) fn published(&self) -> Option<&FoundRelease> {
        self.releases.iter().find(|release| !release.draft)
    }
}

/// Everything that is left to do, in order; publishing is last.
pub(super) fn reconcile(wanted: &Wanted, found: &Found) -> Result<Vec<Action>, PublishError> {
    let mut drafts: Vec<_> = found
        .releases
        .iter()
        .filter(|release| release.draft && is_ours(wanted, release))
        .collect();
    if let Some(published) = found.published() {
        let differences = differences(wanted, published);
        if !differences.is_empty() {
            return Err(PublishError::Published {
                tag: wanted.tag.clone(),
                differences,
            });
        }
        return Ok(drafts
            .iter()
            .map(|draft| Action::DeleteDraft { id: draft.id })
            .collect());
    }
    // The oldest of the best.
    drafts.sort_by_key(|draft| (std::cmp::Reverse(matching(wanted, draft)), draft.id));
    let mut drafts = drafts.into_iter();
    let draft = drafts.next();
    let mut actions: Vec<_> = drafts.map(|draft| Action::DeleteDraft { id: draft.id }).collect();
    let assets = draft.map_or(&[] as &[FoundAsset], |draft| &draft.assets);
    if draft.is_none() {
        actions.push(Action::CreateDraft);
    }
    for asset in assets {
        if let Some(why) = unwanted(wanted, asset) {
            let (id, name) = (asset.id, asset.name.clone());
            actions.push(Action::DeleteAsset { id, name, why });
        }
    }
    let missing = wanted.assets.iter().filter(|wanted| {
        !assets
            .iter()
            .any(|found| wanted.name == found.name && differs(wanted, found).is_none())
    });
    actions.extend(missing.map(|asset| Action::Upload {
        release: draft.map(|draft| draft.id),
        asset: asset.name.clone(),
        size: asset.size,
    }));
    actions.push(Action::Publish {
        release: draft.map(|draft| draft.id),
        latest: becomes_latest(wanted, found),
    });
    Ok(actions)
}

fn is_ours(wanted: &Wanted, release: &FoundRelease) -> bool {
    let notes = release.body.as_deref().unwrap_or_default();
    notes.contains(&mark(&wanted.version))
}

/// A prerelease never is the latest; a backport is only if that is asked for.
fn becomes_latest(wanted: &Wanted, found: &Found) -> bool {
    let newest = found.highest.as_ref().is_none_or(|highest| wanted.version >= *highest);
    !wanted.prerelease && wanted.latest.unwrap_or(newest)
}

/// How many assets of `release` are as they should be.
fn matching(wanted: &Wanted, release: &FoundRelease) -> usize {
    let assets = release.assets.iter();
    assets.filter(|asset| unwanted(wanted, asset).is_none()).count()
}

/// Why an asset cannot stay in a draft; none if it can.
fn unwanted(wanted: &Wanted, found: &FoundAsset) -> Option<String> {
    match wanted.assets.iter().find(|asset| asset.name == found.name) {
        Some(asset) => differs(asset, found),
        None => Some("it does not belong to this release".to_owned()),
    }
}

/// In what an asset is not what it should be; none if it is.
fn differs(wanted: &Asset, found: &FoundAsset) -> Option<String> {
    if found.state != "uploaded" {
        return Some(format!("its upload did not end (state `{}`)", found.state));
    }
    if found.size != wanted.size {
        return Some(format!("it has {} bytes instead of {}", found.size, wanted.size));
    }
    match &found.digest {
        Some(digest) if *digest != wanted.digest => Some("its content is another".to_owned()),
        _ => None,
    }
}

/// In what a published release is not what it should be. More than is wanted does no harm.
fn differences(wanted: &Wanted, release: &FoundRelease) -> Vec<String> {
    let mut differences = Vec::new();
    for asset in &wanted.assets {
        match release.assets.iter().find(|found| found.name == asset.name) {
            None => differences.push(format!("{} is missing", asset.name)),
            Some(found) => {
                differences.extend(differs(asset, found).map(|why| format!("{}: {why}", asset.name)));
            }
        }
    }
    differences
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateDraft => f.write_str("make a draft"),
            Self::DeleteDraft { id } => write!(f, "delete the second draft {id}"),
            Self::DeleteAsset { name, why, .. } => write!(f, "delete {name}: {why}"),
            Self::Upload { asset, size, .. } => write!(f, "upload {asset}, {}", crate::system::report::bytes(*size)),
            Self::Publish { latest, .. } => {
                let latest = if *latest { "as the latest" } else { "not as the latest" };
                write!(f, "look again, and publish {latest} if nothing else is left to do")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        let asset = |name: &str, size: u64| Asset {
            digest: format!("sha256:{name}"),
            ..Asset::of_bytes(name, vec![0; usize::try_from(size).unwrap()])
        };
        Wanted {
            version: Version::new(1, 0, 0),
            commit: "c".to_owned(),
            tag: "v1.0.0".to_owned(),
            title: "1.0.0".to_owned(),
            notes: String::new(),
            prerelease: false,
            latest: None,
            assets: vec![asset("a", 1), asset("b", 2)],
        }
    }

    fn uploaded(id: u64, name: &str, size: u64) -> FoundAsset {
        FoundAsset {
            id,
            name: name.to_owned(),
            state: "uploaded".to_owned(),
            size,
            digest: Some(format!("sha256:{name}")),
        }
    }

    fn release(id: u64, draft: bool, assets: Vec<FoundAsset>) -> FoundRelease {
        FoundRelease {
            id,
            html_url: "url".to_owned(),
            upload_url: "upload".to_owned(),
            draft,
            body: Some(format!("notes\n{}", mark(&Version::new(1, 0, 0)))),
            assets,
        }
    }

    fn check(releases: Vec<FoundRelease>, expected: &[&str]) {
        let found = Found {
            releases,
            highest: None,
        };
        let done = reconcile(&wanted(), &found);
        let shown: Vec<_> = match done {
            Ok(actions) => actions.iter().map(ToString::to_string).collect(),
            Err(error) => vec![error.to_string()],
        };
        assert_eq!(shown, expected);
    }

    const PUBLISH: &str = "look again, and publish as the latest if nothing else is left to do";
    const UPLOAD_A: &str = "upload a, 1 B";
    const UPLOAD_B: &str = "upload b, 2 B";

    #[test]
    fn from_nothing() {
        check(Vec::new(), &["make a draft", UPLOAD_A, UPLOAD_B, PUBLISH]);
    }

    #[test]
    fn what_matches_is_kept() {
        check(vec![release(1, true, vec![uploaded(7, "b", 2)])], &[UPLOAD_A, PUBLISH]);
        check(
            vec![release(1, true, vec![uploaded(7, "b", 2), uploaded(8, "a", 1)])],
            &[PUBLISH],
        );
    }

    #[test]
    fn wreckage_is_deleted_first() {
        let starter = FoundAsset {
            state: "starter".to_owned(),
            digest: None,
            ..uploaded(7, "a", 1)
        };
        let other = FoundAsset {
            digest: Some("sha256:other".to_owned()),
            ..uploaded(8, "b", 2)
        };
        check(
            vec![release(1, true, vec![starter, other, uploaded(9, "c", 3)])],
            &[
                "delete a: its upload did not end (state `starter`)",
                "delete b: its content is another",
                "delete c: it does not belong to this release",
                UPLOAD_A,
                UPLOAD_B,
                PUBLISH,
            ],
        );
        let short = vec![release(1, true, vec![uploaded(7, "a", 1), uploaded(8, "b", 1)])];
        check(short, &["delete b: it has 1 bytes instead of 2", UPLOAD_B, PUBLISH]);
    }

    #[test]
    fn of_several_drafts_the_best_is_kept() {
        let full = vec![uploaded(7, "a", 1), uploaded(8, "b", 2)];
        check(
            vec![
                release(1, true, Vec::new()),
                release(2, true, full),
                release(3, true, Vec::new()),
            ],
            &["delete the second draft 1", "delete the second draft 3", PUBLISH],
        );
        let empty = vec![release(2, true, Vec::new()), release(1, true, Vec::new())];
        check(empty, &["delete the second draft 2", UPLOAD_A, UPLOAD_B, PUBLISH]);
    }

    #[test]
    fn what_others_drafted_is_left_alone() {
        let mut theirs = release(1, true, vec![uploaded(7, "a", 1)]);
        theirs.body = Some("by hand".to_owned());
        check(vec![theirs], &["make a draft", UPLOAD_A, UPLOAD_B, PUBLISH]);
    }

    #[test]
    fn what_is_published_is_complete_or_refused() {
        let full = vec![uploaded(7, "a", 1), uploaded(8, "b", 2), uploaded(9, "more", 3)];
        check(vec![release(1, false, full.clone())], &[]);
        check(
            vec![release(2, true, Vec::new()), release(1, false, full)],
            &["delete the second draft 2"],
        );
        let half = FoundAsset {
            digest: Some("sha256:x".to_owned()),
            ..uploaded(7, "a", 1)
        };
        check(
            vec![release(1, false, vec![half])],
            &["v1.0.0 is published already, and differs: a: its content is another, b is missing"],
        );
    }

    #[test]
    fn a_server_without_digests_is_taken_by_size() {
        let mut assets = vec![uploaded(7, "a", 1), uploaded(8, "b", 2)];
        for asset in &mut assets {
            asset.digest = None;
        }
        check(vec![release(1, true, assets)], &[PUBLISH]);
    }

    #[test]
    fn which_release_becomes_the_latest() {
        let latest = |highest: Option<&str>, version: &str, asked| {
            let version: Version = version.parse().unwrap();
            let wanted = Wanted {
                prerelease: !version.pre.is_empty(),
                version,
                latest: asked,
                ..wanted()
            };
            let found = Found {
                releases: Vec::new(),
                highest: highest.map(|highest| highest.parse().unwrap()),
            };
            becomes_latest(&wanted, &found)
        };
        assert!(latest(None, "1.0.0", None));
        assert!(latest(Some("0.9.0"), "1.0.0", None));
        assert!(!latest(Some("2.0.0"), "1.9.5", None));
        assert!(latest(Some("2.0.0"), "1.9.5", Some(true)));
        assert!(!latest(Some("0.9.0"), "1.0.0", Some(false)));
        assert!(!latest(Some("0.9.0"), "1.0.0-rc.1", Some(true)));
    }
}
