//! What the manifest records of files, and what it tells a device to do.

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::digest::HexDigest;
use crate::names::{EntryName, RepositoryName};
use crate::platform::Platform;

/// One file of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its path in the bundle.
    pub name: EntryName,
    /// What it is for.
    #[serde(flatten)]
    pub role: FileRole,
    /// SHA-256 of its content.
    pub sha256: HexDigest,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it is a program.
    #[serde(default)]
    pub executable: bool,
}

/// What a file of the bundle is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum FileRole {
    /// The compose file. Every bundle has exactly one.
    Compose,
    /// The installer script.
    Installer,
    /// The updater's binary for a platform.
    Updater {
        /// The platform that it runs on.
        platform: Platform,
    },
    /// Docker's Compose plugin for a platform, for devices that package none.
    ComposePlugin {
        /// The platform that it runs on.
        platform: Platform,
    },
    /// Anything else that the product declares.
    Extra,
}

/// How a device finds out whether the product works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The compose service that answers.
    pub service: String,
    /// A path (`/health`) or a whole URL.
    pub url: String,
    /// How often it is asked before the answer is "no".
    pub attempts: u32,
    /// The time between two attempts, in seconds.
    pub interval_seconds: u32,
    /// How long the containers must then stay up, in seconds.
    pub soak_seconds: u32,
}

/// What a device saves before it updates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The kind of database.
    pub kind: BackupKind,
    /// The compose service that runs it.
    pub service: String,
    /// The database user.
    pub user: String,
    /// The database.
    pub database: String,
}

/// A kind of database that can be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupKind {
    /// PostgreSQL, by `pg_dump`.
    Postgres,
}

/// Which versions can work on this version's data: whether undoing the code may leave it in place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataRule {
    /// Raised when the form of the data changes.
    pub revision: u64,
    /// The oldest version that can work on data of this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readable_by: Option<Version>,
    /// The compose service that brings the data into this revision when it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrated_by: Option<String>,
}

/// Where devices find newer versions: the releases of a repository on GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitHub {
    /// The repository.
    pub repository: RepositoryName,
    /// The address of the API, where it is not GitHub's own: `https://github.example.com/api/v3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
}

/// A key that the device's `.env` must have. A value that is already there is never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentKey {
    /// The key: letters, digits and `_`, not beginning with a digit.
    pub name: String,
    /// What to write where it is missing.
    pub value: EnvironmentValue,
}

/// Where the value of a missing `.env` key comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvironmentValue {
    /// This text.
    Default(String),
    /// A random secret made on the device.
    Generated {
        /// Its length in characters.
        length: u16,
    },
    /// The version that runs, written at every update.
    Version,
}
