//! Releases and assets as data, and the names that GitHub gives files.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::hex;

/// What a release is made from.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// The tag's name; the tag need not be there.
    pub tag: String,
    /// Where the tag is made when the release is published; empty for the default branch.
    pub target: String,
    /// The title.
    pub name: String,
    /// The notes.
    pub body: String,
    /// Whether it is a prerelease.
    pub prerelease: bool,
}

/// A release, published or not.
#[derive(Debug, Clone)]
pub struct Release {
    /// Its number.
    pub id: u64,
    /// What it was made from, as last changed.
    pub draft: Draft,
    /// When it was published; `None` for a draft.
    pub published_at: Option<Timestamp>,
    /// The tag's commit's date; for a draft, when it was made.
    pub created_at: Timestamp,
    /// Neither its assets nor its tag can be changed.
    pub immutable: bool,
    /// Whether it may become the latest of its own accord.
    pub(crate) may_be_latest: bool,
    /// In the order of their making.
    pub assets: Vec<Asset>,
}

/// How far an asset's upload came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It began and has not ended; the name is taken. GitHub's description does not list this state.
    Starter,
    /// All bytes are here.
    Uploaded,
}

/// A file of a release.
#[derive(Debug, Clone)]
pub struct Asset {
    /// Its number.
    pub id: u64,
    /// Its name, as GitHub writes it.
    pub name: String,
    /// A second name to show.
    pub label: Option<String>,
    /// How far it came.
    pub state: State,
    /// The media type that the uploader gave.
    pub content_type: String,
    /// Its size in bytes, as announced.
    pub size: u64,
    /// `sha256:…`, once it is uploaded; none for files from before GitHub kept it (June 2025).
    pub digest: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// How often it was downloaded from its beginning.
    pub downloads: u64,
}

/// `make_latest` of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MakeLatest {
    /// It becomes the latest
    #[default]
    True,
    /// It does not
    False,
    /// Dates and versions decide
    Legacy,
}

/// What a request changes of a release.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) tag: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) body: Option<String>,
    pub(crate) prerelease: Option<bool>,
    pub(crate) draft: Option<bool>,
    pub(crate) make_latest: MakeLatest,
}

/// What an upload announces.
#[derive(Debug)]
pub(crate) struct NewAsset {
    pub(crate) name: String,
    pub(crate) label: Option<String>,
    pub(crate) content_type: String,
    pub(crate) size: u64,
}

impl Asset {
    pub(super) fn uploaded(id: u64, name: &str, content: &[u8]) -> Self {
        Self {
            id,
            name: name.to_owned(),
            label: None,
            state: State::Uploaded,
            content_type: "application/octet-stream".to_owned(),
            size: content.len() as u64,
            digest: Some(format!("sha256:{}", hex(&Sha256::digest(content)))),
            created_at: Timestamp::now(),
            downloads: 0,
        }
    }
}

/// The name under which GitHub stores a file: what it does not like becomes a dot.
pub(super) fn stored_name(name: &str) -> String {
    let kept = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '@');
    let name: String = name.chars().map(|c| if kept(c) { c } else { '.' }).collect();
    let inner = name.trim_matches('.');
    if name.starts_with('.') && !inner.is_empty() {
        format!("default.{inner}")
    } else {
        inner.to_owned()
    }
}
