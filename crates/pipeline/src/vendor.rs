//! Vendored images: base and registry images as OCI layouts, for builds without a network.
//!
//! `dist/vendor/vendor.json` lists what is there. `cargo xtask vendor` fills it from registries;
//! `cargo xtask setup` registers stand-ins on machines that can reach none, and those are marked.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bundle::{Digest, Platform};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, fsx};

/// The list's file name.
pub const FILE: &str = "vendor.json";

/// The folder inside of the vendor folder that holds crates, where they are vendored.
pub const CRATES: &str = "crates";

/// What is vendored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vendor {
    /// The file format's version; 1.
    pub format: u32,
    /// The images.
    #[serde(default)]
    pub images: Vec<VendoredImage>,
}

/// An image that lies in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VendoredImage {
    /// The reference exactly as the compose file or the Dockerfile writes it.
    pub reference: String,
    /// The digest of the layout's index or manifest.
    pub digest: Digest,
    /// The digest in the registry that it was fetched by; none for stand-ins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_digest: Option<Digest>,
    /// Whether it only stands in for the image that the reference names.
    #[serde(default)]
    pub substitute: bool,
    /// What made a stand-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<String>,
    /// The OCI layout's folder, relative to the vendor folder or absolute.
    pub layout: PathBuf,
    /// The platforms that it has.
    #[serde(default)]
    pub platforms: Vec<Platform>,
}

impl Default for Vendor {
    fn default() -> Self {
        Self {
            format: 1,
            images: Vec::new(),
        }
    }
}

impl Vendor {
    /// Reads the list in `folder`; without one, nothing is vendored. Layout paths are made absolute.
    ///
    /// # Errors
    /// The list cannot be read.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
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
            image.layout = folder.join(&image.layout);
        }
        Ok(vendor)
    }

    /// Writes the list into `folder`, all or nothing; layouts inside of it are written relative to it.
    ///
    /// # Errors
    /// The list cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let mut relative = self.clone();
        for image in &mut relative.images {
            if let Ok(inside) = image.layout.strip_prefix(folder) {
                image.layout = inside.to_owned();
            }
        }
        relative.images.sort_by(|a, b| a.reference.cmp(&b.reference));
        let path = folder.join(FILE);
        let text = serde_json::to_vec_pretty(&relative).map_err(|error| Error::Content {
            path: path.clone(),
            message: error.to_string(),
        })?;
        fsx::write_atomically(&path, &text)
    }

    /// The vendored image of `reference`.
    pub fn get(&self, reference: &str) -> Option<&VendoredImage> {
        self.images.iter().find(|image| image.reference == reference)
    }

    /// Puts `image` in the place of the one with the same reference, if there is one.
    pub fn insert(&mut self, image: VendoredImage) {
        self.images.retain(|other| other.reference != image.reference);
        self.images.push(image);
    }
}
