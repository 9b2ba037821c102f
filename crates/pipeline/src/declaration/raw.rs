//! The declaration as it is written: the shape of `[workspace.metadata.release]`.
//!
//! These types are what the JSON Schema and the reference page are made from. They say what may be
//! written; [`super::Declaration`] says what it means.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use semver::Version;
use serde::Deserialize;

/// What this repository releases: `[workspace.metadata.release]` in Cargo.toml.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Release {
    /// The product's name: lower-case letters, digits and dashes. Gives every other name its start.
    pub product: String,
    /// The platforms to build for.
    #[serde(default = "default_platforms")]
    pub platforms: Vec<String>,
    /// The images of the product. Every image that the compose file names must be here.
    pub images: Vec<Image>,
    /// The compose file that runs the product on the device, relative to the workspace.
    #[serde(default = "default_compose_file")]
    pub compose_file: String,
    /// The variable that carries the version in the compose file and in `.env`. Default: the product's
    /// name in upper case, followed by `_VERSION`.
    #[serde(default)]
    pub version_variable: Option<String>,
    /// Which bundles to write.
    #[serde(default = "default_bundles")]
    pub bundles: Vec<BundleKind>,
    /// In which archive formats.
    #[serde(default = "default_archives")]
    pub archives: Vec<ArchiveKind>,
    /// How image layers are compressed.
    #[serde(default)]
    pub layers: Layers,
    /// The constant time, in seconds since 1970, that built images carry (`SOURCE_DATE_EPOCH`). It must
    /// not change from release to release, or every service restarts on every update.
    #[serde(default = "default_epoch")]
    pub source_date_epoch: u64,
    /// Where the changelog comes from.
    #[serde(default)]
    pub changelog: Changelog,
    /// How the device finds out that the product works.
    #[serde(default)]
    pub health: Option<Health>,
    /// The database that is backed up before every update.
    #[serde(default)]
    pub backup: Option<Backup>,
    /// What an older version can do with this version's data.
    #[serde(default)]
    pub data: Data,
    /// Keys that the device's `.env` must have. Missing ones are added, existing ones never changed.
    #[serde(default)]
    pub environment: BTreeMap<String, EnvironmentValue>,
    /// Further files for the bundle.
    #[serde(default)]
    pub files: Vec<ExtraFile>,
    /// The updater's binaries. Without them the bundle carries none, and devices keep theirs.
    #[serde(default)]
    pub updater: Option<Updater>,
    /// Who signs.
    #[serde(default)]
    pub signing: Signing,
    /// The GitHub repository that releases are published in, as `owner/name`.
    #[serde(default)]
    pub repository: Option<String>,
    /// The oldest updater that can apply the bundle.
    #[serde(default = "default_minimum_updater")]
    pub minimum_updater_version: Version,
    /// The oldest version that can be updated directly to this one.
    #[serde(default)]
    pub minimum_upgradable_version: Option<Version>,
    /// Raised only to forbid every older version: a device never goes back below an epoch it has seen.
    #[serde(default)]
    pub security_epoch: u64,
    /// The file that pins registry images, relative to the workspace.
    #[serde(default = "default_lock_file")]
    pub lock_file: String,
    /// Stages that need a network, such as one that installs packages. `vendor` builds them, and a release
    /// without a network uses what it saved.
    #[serde(default)]
    pub vendor_stages: Vec<VendorStage>,
}

/// A stage that is built beforehand for releases without a network.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct VendorStage {
    /// The Dockerfile, relative to the workspace; an image or the updater is built from it.
    #[serde(default)]
    pub dockerfile: Option<String>,
    /// The stage's name. It starts with `FROM --platform=$BUILDPLATFORM` and reads nothing of the build context.
    pub stage: String,
}

/// One image: built from a Dockerfile, or taken from a registry.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Image {
    /// Built images: the name without a tag, as the compose file writes it. The tag is the version.
    #[serde(default)]
    pub name: Option<String>,
    /// Registry images: the reference with its tag, as the compose file writes it.
    #[serde(default)]
    pub reference: Option<String>,
    /// Built images: the Dockerfile, relative to the workspace.
    #[serde(default)]
    pub dockerfile: Option<String>,
    /// Built images: the target stage. Default: the last stage.
    #[serde(default)]
    pub target: Option<String>,
    /// Built images: the build context, relative to the workspace.
    #[serde(default)]
    pub context: Option<String>,
    /// Built images: build arguments. `{version}` stands for the version that is released.
    #[serde(default)]
    pub args: BTreeMap<String, String>,
    /// Built images: times inside of layers are set to `source-date-epoch`, so that a rebuild without cache
    /// gives the same bytes. Cheap for images `FROM scratch`; costs time where a base image is large.
    #[serde(default)]
    pub reproducible: bool,
}

/// Which bundles a release writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BundleKind {
    /// One bundle for all platforms: `<product>-update-<version>.tar.gz`.
    All,
    /// One bundle for each platform: `<product>-update-<version>-<arch>.tar.gz`.
    PerPlatform,
}

/// The archive format of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ArchiveKind {
    /// A tar archive, compressed as several gzip members.
    #[serde(rename = "tar.gz")]
    TarGz,
    /// A zip archive with the same content.
    #[serde(rename = "zip")]
    Zip,
}

/// How image layers are compressed.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Layers {
    /// `zstd` needs engine 23 or later for `docker load` by hand; `gzip` is read by every engine.
    #[serde(default)]
    pub compression: Compression,
    /// The level: 1 to 22 for zstd (default 5), 1 to 9 for gzip (default 6).
    #[serde(default)]
    pub level: Option<u8>,
}

impl Layers {
    /// The level that is declared, or the compression's default.
    pub fn level(&self) -> u8 {
        self.level.unwrap_or(match self.compression {
            Compression::Zstd => 5,
            Compression::Gzip => 6,
        })
    }
}

/// A layer's compression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Zstandard, RFC 8878.
    #[default]
    Zstd,
    /// Gzip, RFC 1952.
    Gzip,
}

/// Where the changelog comes from.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Changelog {
    /// A file in Keep-a-Changelog form: the section of the version is taken, or `Unreleased`. Default:
    /// the commits since the last version tag.
    #[serde(default)]
    pub file: Option<String>,
}

/// How the device finds out that the product works after an update.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Health {
    /// The compose service that answers.
    pub service: String,
    /// A path, asked on the service's published port, or a whole URL.
    #[serde(default = "default_health_url")]
    pub url: String,
    /// How often it is asked before the update counts as failed.
    #[serde(default = "default_attempts")]
    pub attempts: u32,
    /// Seconds between two attempts.
    #[serde(default = "default_interval")]
    pub interval_seconds: u32,
    /// Seconds that the containers must then stay up without a restart.
    #[serde(default = "default_soak")]
    pub soak_seconds: u32,
}

/// The database that is backed up before every update.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Backup {
    /// The kind of database.
    pub kind: BackupKind,
    /// The compose service that runs it.
    pub service: String,
    /// The user that may read everything.
    pub user: String,
    /// The database's name.
    pub database: String,
}

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BackupKind {
    /// PostgreSQL, by `pg_dump`.
    Postgres,
}

/// What an older version can do with this version's data.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Data {
    /// The revision of the data's shape; raised with every schema migration.
    #[serde(default)]
    pub revision: u64,
    /// The oldest version of the product that can work on data of this revision.
    #[serde(default)]
    pub readable_by: Option<Version>,
    /// The compose service that migrates the data when it starts. Default: the health check's service. It needs a container
    /// health check, or to end when it has done, because that it runs does not tell that the data is migrated.
    #[serde(default)]
    pub migrated_by: Option<String>,
}

/// What a key in `.env` gets when it is missing.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EnvironmentValue {
    /// This value.
    #[serde(default)]
    pub default: Option<String>,
    /// A random secret of so many characters.
    #[serde(default)]
    pub generate: Option<u16>,
}

/// A further file of the bundle.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExtraFile {
    /// Where it lies in the workspace.
    pub path: String,
    /// What it is called in the bundle. Default: its file name.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether it is a program.
    #[serde(default)]
    pub executable: bool,
    /// The platform that it is a Compose plugin for, where it is one.
    #[serde(default)]
    pub compose_plugin: Option<String>,
    /// The SHA-256 that it must have, in hex, where it is not tracked by git.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// The updater's binaries: built with the images, or prebuilt.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Updater {
    /// The Dockerfile whose target holds nothing but `/updater`.
    #[serde(default)]
    pub dockerfile: Option<String>,
    /// The target stage in it.
    #[serde(default)]
    pub target: Option<String>,
    /// The build context, relative to the workspace.
    #[serde(default)]
    pub context: Option<String>,
    /// Prebuilt binaries instead, by platform.
    #[serde(default)]
    pub prebuilt: BTreeMap<String, Prebuilt>,
}

/// A prebuilt updater binary.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Prebuilt {
    /// Where it lies, relative to the workspace.
    pub path: String,
    /// The SHA-256 that it must have, in hex.
    pub sha256: String,
}

/// Who signs.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Signing {
    /// The secret key's file. Default: `<product>.key` in the directory `release-keys` of the user's
    /// configuration directory. `~/` at its start stands for the home directory.
    #[serde(default)]
    pub key_file: Option<String>,
    /// The variable that holds the secret key's text instead, for CI. Default:
    /// `<PRODUCT>_SIGNING_KEY`.
    #[serde(default)]
    pub key_variable: Option<String>,
    /// The variable that holds the secret key's password. Default: `<PRODUCT>_SIGNING_PASSWORD`.
    #[serde(default)]
    pub password_variable: Option<String>,
    /// The public keys of the product, as minisign writes them (`RW…`). The signing key must be one of
    /// them, and the installer carries them all. Default: the signing key's own.
    #[serde(default)]
    pub public_keys: Vec<String>,
}

fn default_platforms() -> Vec<String> {
    vec!["linux/amd64".to_owned(), "linux/arm64".to_owned()]
}

fn default_compose_file() -> String {
    "docker-compose.prod.yml".to_owned()
}

fn default_bundles() -> Vec<BundleKind> {
    vec![BundleKind::All]
}

impl From<ArchiveKind> for bundle::Archive {
    fn from(kind: ArchiveKind) -> Self {
        match kind {
            ArchiveKind::TarGz => Self::TarGz,
            ArchiveKind::Zip => Self::Zip,
        }
    }
}

fn default_archives() -> Vec<ArchiveKind> {
    vec![ArchiveKind::TarGz]
}

fn default_epoch() -> u64 {
    1
}

fn default_health_url() -> String {
    "/health".to_owned()
}

fn default_attempts() -> u32 {
    10
}

fn default_interval() -> u32 {
    5
}

fn default_soak() -> u32 {
    30
}

fn default_minimum_updater() -> Version {
    Version::new(0, 1, 0)
}

fn default_lock_file() -> String {
    "release.lock".to_owned()
}

/// Where the declaration stands; every key's path starts with it.
pub const ROOT: &str = "workspace.metadata.release";
