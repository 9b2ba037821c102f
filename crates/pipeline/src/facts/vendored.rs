//! Vendored images: base images, registry images and stages as OCI layouts, for builds without a network.
//!
//! `dist/vendor/vendor.json` lists what is there. `cargo xtask vendor` fills it from registries;
//! `cargo xtask setup` registers substitutes on machines that can reach none, and those are marked.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use bundle::{Digest, Platform};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, system::files};

/// The list's file name.
pub const FILE: &str = "vendor.json";

/// The directory inside of the vendor directory that holds crates, where they are vendored.
pub const CRATES: &str = "crates";

/// The named context, and with it the stage, that Dockerfiles take vendored crates from.
pub const CRATES_CONTEXT: &str = "vendored-crates";

/// What is vendored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vendor {
    /// The file format's version; 1.
    pub format: u32,
    /// The images.
    #[serde(default)]
    pub images: Vec<VendoredImage>,
    /// The stages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<VendoredStage>,
    /// The digest of the Cargo.lock whose crates are vendored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cargo_lock: Option<Digest>,
}

/// An image that lies in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VendoredImage {
    /// The reference exactly as the compose file or the Dockerfile writes it.
    pub reference: String,
    /// The digest of the layout's index or manifest.
    pub digest: Digest,
    /// The digest in the registry that it was fetched by; none for substitutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_digest: Option<Digest>,
    /// Whether it only stands in for the image that the reference names.
    #[serde(default)]
    pub substitute: bool,
    /// What made a substitute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<String>,
    /// The OCI layout's directory, relative to the vendor directory or absolute.
    pub layout: PathBuf,
    /// The platforms that it has.
    #[serde(default)]
    pub platforms: Vec<Platform>,
}

/// A stage of a Dockerfile that was built beforehand and lies in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VendoredStage {
    /// The Dockerfile, relative to the workspace.
    pub dockerfile: PathBuf,
    /// The stage's name.
    pub stage: String,
    /// What it was built from; with anything else it is stale.
    pub made_from: StageInputs,
    /// Whether one of these images only stood in for another.
    #[serde(default)]
    pub substitute: bool,
    /// The digest of the layout's index or manifest.
    pub digest: Digest,
    /// The OCI layout's directory, relative to the vendor directory or absolute.
    pub layout: PathBuf,
    /// The platform that it runs on: the one that built it.
    pub platform: Platform,
}

/// What a stage is built from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageInputs {
    /// The digest of the Dockerfile's text, from its start to the stage's last instruction.
    pub dockerfile: Digest,
    /// The digests of the images that the stage is built on, by reference.
    #[serde(default)]
    pub images: BTreeMap<String, Digest>,
    /// The constant time that it was given.
    pub source_date_epoch: u64,
}

impl Default for Vendor {
    fn default() -> Self {
        Self {
            format: 1,
            images: Vec::new(),
            stages: Vec::new(),
            cargo_lock: None,
        }
    }
}

impl Vendor {
    /// Reads the list in `directory`; without one, nothing is vendored. Layout paths are made absolute. Stages whose
    /// layout is not there, or not whole, are left out.
    ///
    /// # Errors
    /// The list cannot be read.
    pub fn read(directory: &Path) -> Result<Self> {
        let path = directory.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        let mut vendor: Self = serde_json::from_slice(&text).map_err(|error| Error::Content {
            path: path.clone(),
            message: error.to_string(),
        })?;
        for image in &mut vendor.images {
            image.layout = directory.join(&image.layout);
        }
        for stage in &mut vendor.stages {
            stage.layout = directory.join(&stage.layout);
        }
        // BuildKit writes the index last.
        vendor.stages.retain(|stage| stage.layout.join("index.json").is_file());
        Ok(vendor)
    }

    /// Writes the list into `directory`, all or nothing; layouts inside of it are written relative to it.
    ///
    /// # Errors
    /// The list cannot be written.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let mut relative = self.clone();
        let images = relative.images.iter_mut().map(|image| &mut image.layout);
        for layout in images.chain(relative.stages.iter_mut().map(|stage| &mut stage.layout)) {
            if let Ok(inside) = layout.strip_prefix(directory) {
                *layout = inside.to_owned();
            }
        }
        relative.images.sort_by(|a, b| a.reference.cmp(&b.reference));
        relative
            .stages
            .sort_by(|a, b| (&a.dockerfile, &a.stage).cmp(&(&b.dockerfile, &b.stage)));
        let path = directory.join(FILE);
        let text = serde_json::to_vec_pretty(&relative).map_err(|error| Error::Content {
            path: path.clone(),
            message: error.to_string(),
        })?;
        files::write_atomically(&path, &text)
    }

    /// The vendored image of `reference`.
    pub fn get(&self, reference: &str) -> Option<&VendoredImage> {
        self.images.iter().find(|image| image.reference == reference)
    }

    /// The vendored stage called `stage` of `dockerfile`.
    pub fn stage(&self, dockerfile: &Path, stage: &str) -> Option<&VendoredStage> {
        self.stages
            .iter()
            .find(|vendored| vendored.dockerfile == dockerfile && vendored.stage == stage)
    }

    /// Puts `image` in the place of the one with the same reference, if there is one.
    pub fn insert(&mut self, image: VendoredImage) {
        self.images.retain(|other| other.reference != image.reference);
        self.images.push(image);
    }
}
