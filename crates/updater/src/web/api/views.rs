//! What the record looks like outside. Names and fields are those that WebMACS's own front end reads.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::web::app::App;
use device::{
    Result,
    state::{Phase, Status},
    store::{Audit, Store, Update},
};

/// An update. Times are RFC 3339 in UTC.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UpdateView {
    /// Its identifier in this API.
    public_id: String,
    /// The version that it brings.
    #[schema(example = "2.1.0")]
    pub(crate) version: String,
    /// Release notes in Markdown.
    changelog: String,
    /// SHA-256 of the bundle's file in hexadecimal, where it was received over the network.
    file_hash_sha256: Option<String>,
    /// The size of the bundle's file.
    file_size_bytes: Option<u64>,
    /// How far it is. A rollback in progress is still `completed`, a stuck update `failed`.
    pub(crate) status: Status,
    /// The same, finer.
    pub(crate) phase: Phase,
    /// What went wrong.
    error_message: Option<String>,
    /// When it was recorded.
    created_on: String,
    /// When it was begun.
    started_on: Option<String>,
    /// When it came to rest.
    completed_on: Option<String>,
    /// Who requested it: `admin`, or `token NAME`; none if its bundle was dropped, or applied at the console.
    user_public_id: Option<String>,
    /// Whether its bundle is on this device.
    has_firmware_file: bool,
}

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UpdateList {
    /// The updates, the newest first.
    pub(crate) data: Vec<UpdateView>,
    /// How many there are.
    pub(crate) total: u64,
    /// Which part this is, from 1.
    pub(crate) page: u64,
    /// How many are in a part.
    pub(crate) page_size: u64,
}

/// A part of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditList {
    /// The lines, the newest first.
    pub(crate) data: Vec<Audit>,
    /// How many there are.
    pub(crate) total: u64,
    /// Which part this is, from 1.
    pub(crate) page: u64,
    /// How many are in a part.
    pub(crate) page_size: u64,
}

/// What runs, and what could. Without credentials everything but the running version is null.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Check {
    /// The version that runs; null if nothing is installed.
    pub(crate) current_version: Option<String>,
    /// The newest version that is known, here or on GitHub.
    pub(crate) latest_version: Option<String>,
    /// Whether that is newer than the one that runs.
    pub(crate) update_available: Option<bool>,
    /// The newest release on GitHub.
    pub(crate) github_latest_version: Option<String>,
    /// Where its bundle can be had, to be handed to `apply`.
    pub(crate) github_download_url: Option<String>,
    /// Its page.
    pub(crate) github_release_url: Option<String>,
    /// Why GitHub could not be reached.
    pub(crate) github_error: Option<String>,
}

/// An update that is registered by hand.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct NewVersion {
    /// A semantic version.
    #[schema(
        example = "2.1.0",
        max_length = 100,
        pattern = r"^(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})(-[a-z][0-9a-z]{0,9})?$"
    )]
    pub(crate) version: String,
    /// Release notes in Markdown.
    #[serde(default)]
    #[schema(max_length = 100000)]
    pub(crate) changelog: Option<String>,
}

/// How an update is applied.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct ApplyOptions {
    /// Where its bundle is downloaded from: an asset of a release of the declared repository, as `check` names it.
    #[serde(default)]
    pub(crate) download_url: Option<String>,
    /// SHA-256 of the bundle's file in hexadecimal: another file is refused.
    #[serde(default)]
    pub(crate) file_hash_sha256: Option<String>,
}

/// How an update is rolled back.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct RollbackOptions {
    /// Agrees that what was written since this time is lost: the very time that was shown.
    #[serde(default)]
    pub(crate) discard_data_since: Option<String>,
}

impl UpdateView {
    /// An update as it is recorded.
    pub(crate) fn of(app: &App, store: &Store, update: Update) -> Result<Self> {
        let origin = store.origin(update.id)?;
        Ok(Self {
            has_firmware_file: update.bundle.as_ref().is_some_and(|bundle| bundle.exists()),
            public_id: update.public_id,
            version: update.version.to_string(),
            changelog: update.changelog,
            file_hash_sha256: origin.file_sha256.map(|digest| digest.hex()),
            file_size_bytes: update.file_size,
            status: update.state.phase.status(),
            phase: update.state.phase,
            error_message: update.error.map(|text| app.without_paths(&text)),
            created_on: update.created_on,
            started_on: update.started_on,
            completed_on: update.completed_on,
            user_public_id: origin.requested_by,
        })
    }
}
