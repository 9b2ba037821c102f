//! A repository's tags, releases and assets.

use std::collections::BTreeMap;

use jiff::Timestamp;
use semver::Version;
use sha2::{Digest as _, Sha256};

use super::{
    Refusal, hex,
    release::{Asset, Changes, Draft, MakeLatest, NewAsset, Release, State, stored_name},
};

/// The longest notes, in characters.
const NOTES: usize = 125_000;
/// An asset is smaller than this.
const ASSET: u64 = 2_147_483_648;
/// The most assets of one release.
const ASSETS: usize = 1000;

/// A repository.
#[derive(Debug, Clone)]
pub struct Repository {
    pub(crate) id: u64,
    pub(crate) full_name: String,
    /// Seen only with a token.
    pub private: bool,
    /// Releases that are published from now on cannot be changed.
    pub immutable_releases: bool,
    /// Newest last.
    pub releases: Vec<Release>,
    branches: BTreeMap<String, String>,
    tags: BTreeMap<String, Tag>,
    commits: BTreeMap<String, Commit>,
    burnt_tags: Vec<String>,
    latest: Option<u64>,
}

/// A commit.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Its message.
    pub message: String,
    /// When it was made.
    pub date: Timestamp,
}

/// What a tag points at.
#[derive(Debug, Clone)]
struct Tag {
    commit: String,
    /// The tag's own object, if it is annotated.
    object: Option<String>,
}

impl Repository {
    pub(super) fn new(id: u64, full_name: &str) -> Self {
        let mut repository = Self {
            id,
            full_name: full_name.to_owned(),
            private: false,
            immutable_releases: false,
            releases: Vec::new(),
            branches: BTreeMap::new(),
            tags: BTreeMap::new(),
            commits: BTreeMap::new(),
            burnt_tags: Vec::new(),
            latest: None,
        };
        repository.commit("main", "first");
        repository
    }

    /// Commits to a branch, and gives the commit's SHA.
    pub fn commit(&mut self, branch: &str, message: &str) -> String {
        let sha = sha1_like(&format!("{}{branch}{message}{}", self.id, self.commits.len()));
        self.push(branch, &sha, message, Timestamp::now());
        sha
    }

    /// Makes a commit of a real repository known, and the branch point at it.
    pub fn push(&mut self, branch: &str, sha: &str, message: &str, date: Timestamp) {
        let message = message.to_owned();
        self.commits.insert(sha.to_owned(), Commit { message, date });
        self.branches.insert(branch.to_owned(), sha.to_owned());
    }

    /// Sets a lightweight tag.
    pub fn tag(&mut self, name: &str, commit: &str) {
        let commit = commit.to_owned();
        self.tags.insert(name.to_owned(), Tag { commit, object: None });
    }

    /// Sets an annotated tag.
    pub fn annotated_tag(&mut self, name: &str, commit: &str) {
        let object = Some(sha1_like(&format!("tag {name} {commit}")));
        let commit = commit.to_owned();
        self.tags.insert(name.to_owned(), Tag { commit, object });
    }

    /// Removes a tag.
    pub fn remove_tag(&mut self, name: &str) {
        self.tags.remove(name);
    }

    /// A tag's commit.
    pub fn tagged_commit(&self, name: &str) -> Option<&str> {
        self.tags.get(name).map(|tag| tag.commit.as_str())
    }

    /// Releases with this tag name, drafts among them.
    pub fn releases_of(&self, tag: &str) -> Vec<&Release> {
        self.releases
            .iter()
            .filter(|release| release.draft.tag == tag)
            .collect()
    }

    /// Publishes a draft, as a person does on the web page.
    ///
    /// # Panics
    ///
    /// If there is none with this number.
    pub fn publish_by_hand(&mut self, id: u64, make_latest: MakeLatest) {
        let changes = Changes {
            draft: Some(false),
            make_latest,
            ..Changes::default()
        };
        if let Err(refusal) = self.update(id, changes) {
            panic!("release {id} cannot be published: {refusal:?}");
        }
    }

    /// A release by its number.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn release_mut(&mut self, id: u64) -> &mut Release {
        match self.releases.iter_mut().find(|release| release.id == id) {
            Some(release) => release,
            None => panic!("the double has no release {id}"),
        }
    }

    /// The number of the latest release, by GitHub's rules.
    pub fn latest(&self) -> Option<&Release> {
        let eligible = |release: &&Release| release.published_at.is_some() && !release.draft.prerelease;
        let marked = self.latest.and_then(|id| self.release(id).ok()).filter(eligible);
        marked.or_else(|| {
            let candidates = self.releases.iter().filter(eligible);
            candidates
                .filter(|release| release.may_be_latest)
                .max_by_key(|release| (release.created_at, version(&release.draft.tag)))
        })
    }

    pub(super) fn add_draft(&mut self, id: u64, draft: Draft) {
        self.releases.push(Release {
            id,
            draft,
            published_at: None,
            created_at: Timestamp::now(),
            immutable: false,
            may_be_latest: true,
            assets: Vec::new(),
        });
    }

    pub(crate) fn create(&mut self, id: u64, changes: Changes) -> Result<(), Refusal> {
        let draft = changes.draft.unwrap_or(false);
        self.add_draft(id, Draft::default());
        let created = self.update(
            id,
            Changes {
                draft: Some(draft),
                ..changes
            },
        );
        if created.is_err() {
            self.releases.retain(|release| release.id != id);
        }
        created
    }

    pub(crate) fn update(&mut self, id: u64, changes: Changes) -> Result<(), Refusal> {
        let old = self.release(id)?.clone();
        let draft = Draft {
            tag: changes.tag.unwrap_or_else(|| old.draft.tag.clone()),
            target: changes.target.unwrap_or_else(|| old.draft.target.clone()),
            name: changes.name.unwrap_or_else(|| old.draft.name.clone()),
            body: changes.body.unwrap_or_else(|| old.draft.body.clone()),
            prerelease: changes.prerelease.unwrap_or(old.draft.prerelease),
        };
        if old.immutable && draft.tag != old.draft.tag {
            return Err(Refusal::new(422, "tag_name cannot be changed on an immutable release"));
        }
        if draft.body.chars().count() > NOTES {
            let mut refusal = Refusal::invalid("Release", "body", "custom");
            refusal.message = format!("Validation Failed: body is too long (maximum is {NOTES} characters)");
            return Err(refusal);
        }
        let is_draft = changes.draft.unwrap_or(old.published_at.is_none());
        if is_draft && old.immutable {
            return Err(Refusal::new(422, "an immutable release cannot become a draft"));
        }
        let mut release = Release {
            draft,
            published_at: if is_draft { None } else { old.published_at },
            ..old
        };
        if is_draft {
            self.known_target(&release.draft)?;
        } else if release.published_at.is_none() {
            self.publish(&mut release, changes.make_latest)?;
        } else if changes.make_latest == MakeLatest::True && !release.draft.prerelease {
            self.latest = Some(id);
        }
        *self.release_mut(id) = release;
        Ok(())
    }

    fn publish(&mut self, release: &mut Release, make_latest: MakeLatest) -> Result<(), Refusal> {
        let tag = &release.draft.tag;
        if tag.is_empty() || tag.contains([' ', '~', '^', ':', '?', '*', '[', '\\']) || tag.contains("..") {
            return Err(Refusal::invalid("Release", "tag_name", "invalid"));
        }
        let taken = self
            .releases
            .iter()
            .any(|other| other.id != release.id && other.published_at.is_some() && other.draft.tag == *tag);
        if taken || self.burnt_tags.contains(tag) {
            return Err(Refusal::invalid("Release", "tag_name", "already_exists"));
        }
        if !self.tags.contains_key(tag) {
            let commit = self.known_target(&release.draft)?;
            self.tag(tag, &commit);
        }
        if let Some(commit) = self.tags.get(tag).and_then(|tag| self.commits.get(&tag.commit)) {
            release.created_at = commit.date;
        }
        release.published_at = Some(Timestamp::now());
        release.immutable = self.immutable_releases;
        if release.immutable {
            self.burnt_tags.push(tag.clone());
        }
        release.may_be_latest = make_latest != MakeLatest::False;
        if make_latest == MakeLatest::True && !release.draft.prerelease {
            self.latest = Some(release.id);
        }
        Ok(())
    }

    /// The commit that a release's tag would be made at.
    fn known_target(&self, draft: &Draft) -> Result<String, Refusal> {
        let target = if draft.target.is_empty() { "main" } else { &draft.target };
        self.resolve(target)
            .map(|(sha, _)| sha.to_owned())
            .ok_or_else(|| Refusal::invalid("Release", "target_commitish", "invalid"))
    }

    /// A commit by branch, tag, or SHA.
    pub(crate) fn resolve(&self, reference: &str) -> Option<(&str, &Commit)> {
        let tag = |name: &str| self.tags.get(name).map(|tag| &tag.commit);
        let branch = |name: &str| self.branches.get(name);
        let sha = if let Some(name) = reference.strip_prefix("tags/") {
            tag(name)
        } else if let Some(name) = reference.strip_prefix("heads/") {
            branch(name)
        } else {
            branch(reference).or_else(|| tag(reference))
        };
        let sha = sha.map_or(reference, String::as_str);
        self.commits
            .get_key_value(sha)
            .map(|(sha, commit)| (sha.as_str(), commit))
    }

    /// The object that `refs/tags/…` or `refs/heads/…` names: its type and SHA.
    pub(crate) fn reference(&self, reference: &str) -> Option<(&'static str, &str)> {
        if let Some(name) = reference.strip_prefix("tags/") {
            let tag = self.tags.get(name)?;
            return Some(match &tag.object {
                Some(object) => ("tag", object),
                None => ("commit", &tag.commit),
            });
        }
        let branch = self.branches.get(reference.strip_prefix("heads/")?)?;
        Some(("commit", branch))
    }

    /// An annotated tag by its own SHA: name and commit.
    pub(crate) fn tag_object(&self, sha: &str) -> Option<(&str, &str)> {
        let mut tags = self.tags.iter();
        let (name, tag) = tags.find(|(_, tag)| tag.object.as_deref() == Some(sha))?;
        Some((name, &tag.commit))
    }

    pub(crate) fn release(&self, id: u64) -> Result<&Release, Refusal> {
        let mut releases = self.releases.iter();
        releases.find(|release| release.id == id).ok_or_else(Refusal::not_found)
    }

    pub(crate) fn delete(&mut self, id: u64) -> Result<(), Refusal> {
        self.release(id)?;
        self.releases.retain(|release| release.id != id);
        if self.latest == Some(id) {
            self.latest = None;
        }
        Ok(())
    }

    /// The beginning of an upload: the name is taken from here on.
    pub(crate) fn begin_asset(&mut self, release: u64, id: u64, new: NewAsset) -> Result<(), Refusal> {
        let found = self.release(release)?;
        if found.immutable {
            return Err(Refusal::new(422, "Cannot upload assets to an immutable release."));
        }
        if new.size >= ASSET {
            return Err(Refusal::invalid("ReleaseAsset", "size", "custom"));
        }
        if found.assets.len() >= ASSETS {
            return Err(Refusal::new(422, format!("a release has at most {ASSETS} assets")));
        }
        let name = stored_name(&new.name);
        if name.is_empty() {
            return Err(Refusal::invalid("ReleaseAsset", "name", "missing_field"));
        }
        if found.assets.iter().any(|asset| asset.name == name) {
            return Err(Refusal::invalid("ReleaseAsset", "name", "already_exists"));
        }
        self.release_mut(release).assets.push(Asset {
            id,
            name,
            label: new.label,
            state: State::Starter,
            content_type: new.content_type,
            size: new.size,
            digest: None,
            created_at: Timestamp::now(),
            downloads: 0,
        });
        Ok(())
    }

    pub(crate) fn asset(&self, id: u64) -> Result<(&Release, &Asset), Refusal> {
        let mut assets = self
            .releases
            .iter()
            .flat_map(|release| release.assets.iter().map(move |asset| (release, asset)));
        assets.find(|(_, asset)| asset.id == id).ok_or_else(Refusal::not_found)
    }

    pub(crate) fn asset_mut(&mut self, id: u64) -> Option<&mut Asset> {
        let mut assets = self.releases.iter_mut().flat_map(|release| &mut release.assets);
        assets.find(|asset| asset.id == id)
    }

    pub(crate) fn delete_asset(&mut self, id: u64) -> Result<(), Refusal> {
        if self.asset(id)?.0.immutable {
            return Err(Refusal::new(422, "Cannot delete assets of an immutable release."));
        }
        for release in &mut self.releases {
            release.assets.retain(|asset| asset.id != id);
        }
        Ok(())
    }
}

fn version(tag: &str) -> Option<Version> {
    Version::parse(tag.trim_start_matches('v')).ok()
}

/// Forty hex digits that depend on `text` alone.
fn sha1_like(text: &str) -> String {
    hex(&Sha256::digest(text)[..20])
}
