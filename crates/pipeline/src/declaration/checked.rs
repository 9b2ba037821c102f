//! The checked declaration, in which nothing contradicts anything.

use std::{collections::BTreeMap, path::PathBuf};

use bundle::{
    Platform,
    names::{EntryName, ProductName, RepositoryName},
    signature::PublicKey,
};
use semver::Version;

use super::raw::{ArchiveKind, Backup, BundleKind, Changelog, Data, Health, Layers};

/// A checked declaration.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// The product.
    pub product: ProductName,
    /// The platforms to build for, sorted, each once.
    pub platforms: Vec<Platform>,
    /// The images, in the order of the declaration.
    pub images: Vec<Image>,
    /// The compose file, relative to the workspace.
    pub compose_file: PathBuf,
    /// The variable that carries the version.
    pub version_variable: String,
    /// Which bundles to write.
    pub bundles: Vec<BundleKind>,
    /// In which formats.
    pub archives: Vec<ArchiveKind>,
    /// How layers are compressed.
    pub layers: Layers,
    /// The constant time in images.
    pub source_date_epoch: u64,
    /// Where the changelog comes from.
    pub changelog: Changelog,
    /// The health check.
    pub health: Option<Health>,
    /// The database.
    pub backup: Option<Backup>,
    /// The data rule.
    pub data: Data,
    /// Keys for `.env`.
    pub environment: BTreeMap<String, EnvironmentValue>,
    /// Further files.
    pub files: Vec<ExtraFile>,
    /// The updater's binaries.
    pub updater: Option<Updater>,
    /// Who signs.
    pub signing: Signing,
    /// The GitHub repository.
    pub repository: Option<RepositoryName>,
    /// The oldest updater that can apply the bundle.
    pub minimum_updater_version: Version,
    /// The oldest version that can be updated directly.
    pub minimum_upgradable_version: Option<Version>,
    /// Forbids versions of lower epochs.
    pub security_epoch: u64,
    /// The lock file, relative to the workspace.
    pub lock_file: PathBuf,
    /// The stages that are built beforehand.
    pub vendor_stages: Vec<VendorStage>,
}

/// An image of the product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    /// Built here.
    Built(BuiltImage),
    /// Taken from a registry as it is.
    Registry(RegistryImage),
}

/// An image that is built from a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltImage {
    /// The name without a tag.
    pub name: String,
    /// How it is built.
    pub build: BuildSource,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// Whether times inside of layers are rewritten.
    pub reproducible: bool,
}

/// A Dockerfile, a target in it and its context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildSource {
    /// The Dockerfile, relative to the workspace.
    pub dockerfile: PathBuf,
    /// The target stage; the last one if none.
    pub target: Option<String>,
    /// The context, relative to the workspace.
    pub context: PathBuf,
}

/// An image that is taken from a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryImage {
    /// The reference as the compose file writes it, up to the tag.
    pub name: String,
    /// The tag.
    pub tag: String,
}

impl RegistryImage {
    /// The reference, `name:tag`.
    pub fn reference(&self) -> String {
        format!("{}:{}", self.name, self.tag)
    }
}

/// What a missing key of `.env` gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvironmentValue {
    /// This value.
    Default(String),
    /// A random secret of so many characters.
    Generated(u16),
}

/// A further file of the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraFile {
    /// Where it lies, relative to the workspace.
    pub path: PathBuf,
    /// Its name in the bundle.
    pub name: EntryName,
    /// Whether it is a program.
    pub executable: bool,
    /// The platform that it is a Compose plugin for.
    pub compose_plugin: Option<Platform>,
    /// The SHA-256 that it must have, in hex.
    pub sha256: Option<String>,
}

/// Where the updater's binaries come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Updater {
    /// Built with the images; the target holds only `/updater`.
    Built(BuildSource),
    /// Prebuilt, one for each platform.
    Prebuilt(BTreeMap<Platform, PrebuiltBinary>),
}

/// A binary that was built elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrebuiltBinary {
    /// Where it lies, relative to the workspace.
    pub path: PathBuf,
    /// The SHA-256 that it must have, in hex.
    pub sha256: String,
}

/// A stage that is built beforehand for releases without a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VendorStage {
    /// The Dockerfile, relative to the workspace.
    pub dockerfile: PathBuf,
    /// The stage's name, in lower case as BuildKit compares it.
    pub stage: String,
}

/// Who signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signing {
    /// The secret key's file as it was declared.
    pub key_file: Option<String>,
    /// The variable with the secret key's text.
    pub key_variable: String,
    /// The variable with the secret key's password.
    pub password_variable: String,
    /// The product's public keys; any key may sign if there are none.
    pub public_keys: Vec<PublicKey>,
}

impl Declaration {
    /// The images that are built here.
    pub fn built_images(&self) -> impl Iterator<Item = &BuiltImage> {
        self.images.iter().filter_map(|image| match image {
            Image::Built(built) => Some(built),
            Image::Registry(_) => None,
        })
    }

    /// Everything that is built from a Dockerfile: images, and the updater.
    pub fn build_sources(&self) -> impl Iterator<Item = &BuildSource> {
        let updater = match &self.updater {
            Some(Updater::Built(build)) => Some(build),
            _ => None,
        };
        self.built_images().map(|image| &image.build).chain(updater)
    }

    /// The images that are taken from a registry.
    pub fn registry_images(&self) -> impl Iterator<Item = &RegistryImage> {
        self.images.iter().filter_map(|image| match image {
            Image::Registry(registry) => Some(registry),
            Image::Built(_) => None,
        })
    }
}

/// Splits `name:tag`; a colon before the last slash is a registry's port.
pub(crate) fn split_tag(reference: &str) -> Option<(&str, &str)> {
    let (name, tag) = reference.rsplit_once(':')?;
    (!tag.contains('/') && !tag.is_empty() && !name.is_empty()).then_some((name, tag))
}
