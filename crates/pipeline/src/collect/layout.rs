//! OCI image layouts in directories, and the images that lie in them.
//!
//! What BuildKit exported and parts that other machines built have this form. Attestation manifests
//! (`unknown/unknown`) are left out here, so that nothing later sees them.
//! Source: OCI image specification 1.1, "Image Layout", "Image Index"; BuildKit "Attestation storage".

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use bundle::{Digest, Platform};
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType};
use serde::de::DeserializeOwned;

use crate::{
    Error, Result,
    pack::annotations::IMAGE_NAME,
    system::files::{file_name, remove_if_there},
};

/// Manifests, configurations and indexes are small; larger ones are refused unread.
const MOST_JSON_BYTES: u64 = 4 << 20;

/// The annotation under which BuildKit and containerd keep an image's tag, or its full name.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A directory with an OCI image layout.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    directory: PathBuf,
}

/// An image of a layout: a name, and a manifest for each platform.
#[derive(Clone, Debug)]
pub(crate) struct LayoutImage {
    /// The full name, if the layout has one: `docker.io/library/webmacs-backend:2.1.0`.
    pub name: Option<String>,
    /// The entry of the layout's index: an image index, or a single manifest.
    pub entry: Descriptor,
    /// The annotations of that entry.
    pub annotations: BTreeMap<String, String>,
    /// The manifests, by platform.
    pub manifests: BTreeMap<Platform, Descriptor>,
}

impl Layout {
    /// The layout in `directory`.
    pub(crate) fn open(directory: impl Into<PathBuf>) -> Result<Self> {
        let layout = Self {
            directory: directory.into(),
        };
        let marker = layout.directory.join("oci-layout");
        if !marker.is_file() {
            return Err(Error::Image {
                subject: layout.directory.display().to_string(),
                message: "is not an OCI image layout: `oci-layout` is missing".to_owned(),
            });
        }
        Ok(layout)
    }

    /// The directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file of a blob.
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.directory.join("blobs/sha256").join(digest.hex())
    }

    /// The annotations of the layout's index.
    pub(crate) fn annotations(&self) -> Result<BTreeMap<String, String>> {
        let annotations = self.index()?.annotations().clone();
        Ok(annotations.into_iter().flatten().collect())
    }

    /// The layout's images, in the order of its index.
    pub(crate) fn images(&self) -> Result<Vec<LayoutImage>> {
        self.index()?
            .manifests()
            .iter()
            .map(|entry| self.image(entry))
            .collect()
    }

    fn index(&self) -> Result<ImageIndex> {
        let path = self.directory.join("index.json");
        self.parse(&path, &read_small(&path)?)
    }

    /// Reads a manifest and its configuration.
    pub(crate) fn manifest(&self, descriptor: &Descriptor) -> Result<(ImageManifest, ImageConfiguration)> {
        let manifest: ImageManifest = self.json(descriptor)?;
        let config: ImageConfiguration = self.json(manifest.config())?;
        if config.rootfs().diff_ids().len() != manifest.layers().len() {
            return Err(self.refused(format!(
                "manifest {} has {} layers, its configuration {} diff IDs",
                descriptor.digest(),
                manifest.layers().len(),
                config.rootfs().diff_ids().len()
            )));
        }
        Ok((manifest, config))
    }

    fn image(&self, entry: &Descriptor) -> Result<LayoutImage> {
        let annotations: BTreeMap<_, _> = entry
            .annotations()
            .iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let name = annotations
            .get(IMAGE_NAME)
            .or_else(|| annotations.get(REF_NAME))
            .cloned();
        let mut manifests = BTreeMap::new();
        let entries = match entry.media_type() {
            MediaType::ImageIndex => self.json::<ImageIndex>(entry)?.manifests().clone(),
            _ => vec![entry.clone()],
        };
        for manifest in entries {
            if is_attestation(&manifest) {
                continue;
            }
            let platform = self.platform(&manifest)?;
            if manifests.insert(platform.clone(), manifest).is_some() {
                return Err(self.refused(format!("has two manifests for {platform}")));
            }
        }
        Ok(LayoutImage {
            name,
            entry: entry.clone(),
            annotations,
            manifests,
        })
    }

    fn platform(&self, manifest: &Descriptor) -> Result<Platform> {
        let text = match manifest.platform() {
            Some(platform) => platform_of(platform),
            None => {
                let (_, config) = self.manifest(manifest)?;
                platform_text(
                    &config.os().to_string(),
                    &config.architecture().to_string(),
                    config.variant().as_deref(),
                )
            }
        };
        text.parse()
            .map_err(|error| self.refused(format!("platform {text}: {error}")))
    }

    /// Reads the document that `descriptor` names.
    pub(crate) fn json<T: DeserializeOwned>(&self, descriptor: &Descriptor) -> Result<T> {
        let digest = digest(descriptor).map_err(|message| self.refused(message))?;
        let path = self.blob_path(&digest);
        let bytes = read_small(&path)?;
        if Digest::of(&bytes) != digest {
            return Err(Error::Content {
                path,
                message: "does not have the digest that is its name".to_owned(),
            });
        }
        self.parse(&path, &bytes)
    }

    fn parse<T: DeserializeOwned>(&self, path: &Path, bytes: &[u8]) -> Result<T> {
        serde_json::from_slice(bytes).map_err(|error| Error::Content {
            path: path.to_owned(),
            message: error.to_string(),
        })
    }

    fn refused(&self, message: String) -> Error {
        Error::Image {
            subject: self.directory.display().to_string(),
            message,
        }
    }
}

/// The digest of a descriptor; only SHA-256 is known here.
pub(crate) fn digest(descriptor: &Descriptor) -> Result<Digest, String> {
    let text = descriptor.digest().to_string();
    Digest::from_str(&text).map_err(|error| format!("digest {text}: {error}"))
}

/// The platform of an index entry, as [`Platform`] is written.
pub(crate) fn platform_of(platform: &oci_spec::image::Platform) -> String {
    platform_text(
        &platform.os().to_string(),
        &platform.architecture().to_string(),
        platform.variant().as_deref(),
    )
}

/// `os/architecture[/variant]`; `v8` is what arm64 means anyway, so it is left out.
fn platform_text(os: &str, architecture: &str, variant: Option<&str>) -> String {
    match variant {
        None | Some("") => format!("{os}/{architecture}"),
        Some("v8") if architecture == "arm64" => format!("{os}/{architecture}"),
        Some(variant) => format!("{os}/{architecture}/{variant}"),
    }
}

fn is_attestation(manifest: &Descriptor) -> bool {
    let unknown = manifest.platform().as_ref().is_some_and(|platform| {
        platform.os().to_string() == "unknown" && platform.architecture().to_string() == "unknown"
    });
    let marked = manifest.annotations().as_ref().is_some_and(|annotations| {
        annotations
            .get("vnd.docker.reference.type")
            .is_some_and(|kind| kind == "attestation-manifest")
    });
    unknown || marked
}

fn read_small(path: &Path) -> Result<Vec<u8>> {
    let size = fs::metadata(path).map_err(Error::io("read", path))?.len();
    if size > MOST_JSON_BYTES {
        let message = format!("has {size} bytes, too many for a manifest");
        return Err(Error::Content {
            path: path.to_owned(),
            message,
        });
    }
    fs::read(path).map_err(Error::io("read", path))
}

/// Removes the blobs that earlier builds left in `layout`.
pub(crate) fn remove_stale_blobs(layout: &Layout) -> Result<()> {
    let reachable = reachable(layout)?;
    let blobs = layout.directory().join("blobs/sha256");
    for entry in fs::read_dir(&blobs).map_err(Error::io("read", &blobs))? {
        let path = entry.map_err(Error::io("read", &blobs))?.path();
        let stale = Digest::from_hex(&file_name(&path)).is_ok_and(|digest| !reachable.contains(&digest));
        if stale {
            remove_if_there(&path)?;
        }
    }
    Ok(())
}

/// The blobs that `layout` needs; everything else in it is left from earlier builds.
fn reachable(layout: &Layout) -> Result<Vec<Digest>> {
    let mut blobs = Vec::new();
    for image in layout.images()? {
        blobs.extend(digest(&image.entry));
        for descriptor in image.manifests.values() {
            let (manifest, _) = layout.manifest(descriptor)?;
            for blob in [descriptor, manifest.config()].into_iter().chain(manifest.layers()) {
                if let Ok(digest) = digest(blob) {
                    blobs.push(digest);
                }
            }
        }
    }
    Ok(blobs)
}
