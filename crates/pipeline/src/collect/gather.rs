//! Looks every declared image up in the layouts, for every platform.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use bundle::{Digest, Platform, image::images_tar::ImageInput, manifest::PlatformImage};
use oci_spec::image::Descriptor;
use serde::Serialize;

use super::{
    layers::{LayerOrigin, LayerStore},
    layout::{Layout, LayoutImage, digest, remove_stale_blobs},
    part,
    rewrite::rewritten,
};
use crate::{
    Error, Result,
    declaration::{Updater, split_tag},
    facts::{Workspace, updater_directory},
    pack::{
        annotations::{SOURCE, SUBSTITUTE},
        collected::{Collected, CollectedImage, full_name},
    },
    system::{files::expect_digest, interrupt},
};

/// A layout image and where it lies.
struct Found {
    layout: Layout,
    image: LayoutImage,
    from: LayerOrigin,
}

/// Reads what was built or imported, compresses layers, and checks that every image has every platform.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Collect {
    /// The images' references, in the declaration's order.
    pub images: Vec<String>,
    /// The platforms that each must have.
    pub platforms: Vec<Platform>,
    /// Where the build exports each image; empty where parts are merged.
    #[serde(skip)]
    pub(crate) sources: Vec<ImageSource>,
    /// Whether files are not committed.
    #[serde(skip)]
    pub(crate) dirty: bool,
    /// The images that are built on and that no registry's digest pins.
    #[serde(skip)]
    pub(crate) unpinned: BTreeSet<String>,
}

/// Where the build exports an image, and what it is made from.
#[derive(Clone, Debug)]
pub(crate) struct ImageSource {
    /// The image's reference.
    pub reference: String,
    /// The layout's directory.
    pub layout: PathBuf,
    /// The pinned reference that it comes from, for a registry image.
    pub source: Option<String>,
    /// Whether it is made from a substitute.
    pub substitute: bool,
    /// Who compressed its layers.
    pub layers: LayerOrigin,
}

impl Collect {
    /// Collects from the layouts of the build, or from `parts` if there are any.
    pub(crate) fn run(&self, workspace: &Workspace, parts: &[Layout]) -> Result<Collected> {
        if parts.is_empty() {
            self.built(workspace)
        } else {
            self.imported(workspace, parts)
        }
    }

    fn built(&self, workspace: &Workspace) -> Result<Collected> {
        let mut found = BTreeMap::new();
        for source in &self.sources {
            let layout = Layout::open(&source.layout)?;
            let mut images = layout.images()?;
            let (Some(mut image), true) = (images.pop(), images.is_empty()) else {
                return Err(Error::Image {
                    subject: source.reference.clone(),
                    message: "the build did not give exactly one image".to_owned(),
                });
            };
            if let Some(pinned) = &source.source {
                image.annotations.insert(SOURCE.to_owned(), pinned.clone());
            }
            if source.substitute {
                image.annotations.insert(SUBSTITUTE.to_owned(), "true".to_owned());
            }
            let from = source.layers;
            found.insert(source.reference.clone(), vec![Found { layout, image, from }]);
        }
        let mut collected = self.gather(workspace, &found)?;
        collected.updaters = built_updaters(workspace, &self.platforms)?;
        for image in found.values().flatten() {
            remove_stale_blobs(&image.layout)?;
        }
        Ok(collected)
    }

    fn imported(&self, workspace: &Workspace, parts: &[Layout]) -> Result<Collected> {
        let mut found: BTreeMap<String, Vec<Found>> = BTreeMap::new();
        for reference in &self.images {
            found.insert(reference.clone(), Vec::new());
        }
        let mut updaters = BTreeMap::new();
        for layout in parts {
            for image in layout.images()? {
                if let Some((platform, binary)) = part::updater(layout, &image)? {
                    updaters.insert(platform, binary);
                    continue;
                }
                let name = image.name.clone().unwrap_or_default();
                let sources = found
                    .iter_mut()
                    .find(|(reference, _)| full_name(reference) == name)
                    .map(|(_, sources)| sources);
                match sources {
                    Some(sources) => sources.push(Found {
                        layout: layout.clone(),
                        image,
                        from: LayerOrigin::Elsewhere,
                    }),
                    None => {
                        let subject = layout.directory().display().to_string();
                        let message = format!("holds {name}, which this version of the product does not have");
                        return Err(Error::Image { subject, message });
                    }
                }
            }
        }
        let mut collected = self.gather(workspace, &found)?;
        for layout in parts {
            let origin = part::origin(layout)?;
            collected.dirty |= origin.dirty;
            collected.unpinned.extend(origin.unpinned);
        }
        collected.updaters = match &workspace.declaration.updater {
            Some(Updater::Built(_)) => self.expect_updaters(updaters)?,
            _ => built_updaters(workspace, &self.platforms)?,
        };
        Ok(collected)
    }

    fn expect_updaters(&self, updaters: BTreeMap<Platform, PathBuf>) -> Result<BTreeMap<Platform, PathBuf>> {
        let missing = self.platforms.iter().find(|platform| !updaters.contains_key(platform));
        match missing {
            None => Ok(updaters),
            Some(platform) => Err(Error::Image {
                subject: "updater".to_owned(),
                message: format!("no part holds the updater for {platform}"),
            }),
        }
    }

    fn gather(&self, workspace: &Workspace, found: &BTreeMap<String, Vec<Found>>) -> Result<Collected> {
        let mut store = LayerStore::of(workspace);
        let mut collected = Collected {
            stores: vec![store.directory().to_owned()],
            dirty: self.dirty,
            unpinned: self.unpinned.clone(),
            ..Collected::default()
        };
        for reference in &self.images {
            let sources = found.get(reference).map(Vec::as_slice).unwrap_or_default();
            for source in sources {
                let directory = source.layout.directory().to_owned();
                if !collected.stores.contains(&directory) {
                    collected.stores.push(directory);
                }
            }
            collected
                .images
                .push(collect_image(reference, &self.platforms, sources, &mut store)?);
        }
        Ok(collected)
    }
}

fn collect_image(
    reference: &str,
    platforms: &[Platform],
    sources: &[Found],
    store: &mut LayerStore,
) -> Result<CollectedImage> {
    let mut collected = BTreeMap::new();
    for platform in platforms {
        interrupt::check()?;
        let manifests: Vec<_> = sources
            .iter()
            .filter_map(|found| Some((found, found.image.manifests.get(platform)?)))
            .collect();
        let Some((source, manifest)) = manifests.first() else {
            let message = format!("has no image for {platform}");
            return Err(Error::Image {
                subject: reference.to_owned(),
                message,
            });
        };
        if manifests.iter().any(|(_, other)| other.digest() != manifest.digest()) {
            let message = format!("two parts hold different images for {platform}");
            return Err(Error::Image {
                subject: reference.to_owned(),
                message,
            });
        }
        collected.insert(platform.clone(), platform_image(platform, source, manifest, store)?);
    }
    let annotation = |key: &str| {
        sources
            .iter()
            .find_map(|found| found.image.annotations.get(key).cloned())
    };
    let (name, tag) = split_tag(reference).unwrap_or((reference, ""));
    Ok(CollectedImage {
        input: ImageInput {
            name: name.to_owned(),
            tag: tag.to_owned(),
            platforms: collected,
        },
        source: annotation(SOURCE),
        substitute: annotation(SUBSTITUTE).is_some(),
    })
}

fn platform_image(
    platform: &Platform,
    source: &Found,
    descriptor: &Descriptor,
    store: &mut LayerStore,
) -> Result<PlatformImage> {
    let layout = &source.layout;
    let refused = |message: String| Error::Image {
        subject: layout.directory().display().to_string(),
        message,
    };
    let (manifest, config) = layout.manifest(descriptor)?;
    let mut layers = Vec::new();
    for (layer, diff_id) in manifest.layers().iter().zip(config.rootfs().diff_ids()) {
        let diff_id = diff_id
            .parse::<Digest>()
            .map_err(|error| refused(format!("diff ID {diff_id}: {error}")))?;
        layers.push(store.provide(layout, layer, &diff_id, source.from)?);
    }
    let unchanged = manifest
        .layers()
        .iter()
        .zip(&layers)
        .all(|(old, new)| digest(old).is_ok_and(|old| old == new.digest));
    let (manifest_digest, manifest_size) = if unchanged {
        (digest(descriptor).map_err(refused)?, descriptor.size())
    } else {
        let annotations = manifest
            .annotations()
            .iter()
            .flatten()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        let bytes = rewritten(manifest.config(), &layers, annotations).map_err(|error| refused(error.to_string()))?;
        (store.put(&bytes)?, bytes.len() as u64)
    };
    Ok(PlatformImage {
        platform: platform.clone(),
        manifest: manifest_digest,
        manifest_size,
        config: digest(manifest.config()).map_err(refused)?,
        config_size: manifest.config().size(),
        layers,
    })
}

fn built_updaters(workspace: &Workspace, platforms: &[Platform]) -> Result<BTreeMap<Platform, PathBuf>> {
    let mut binaries = BTreeMap::new();
    match &workspace.declaration.updater {
        None => {}
        Some(Updater::Prebuilt(prebuilt)) => {
            for (platform, binary) in prebuilt.iter().filter(|(platform, _)| platforms.contains(platform)) {
                let path = workspace.root.join(&binary.path);
                expect_digest(&path, &binary.sha256)?;
                binaries.insert(platform.clone(), path);
            }
        }
        Some(Updater::Built(_)) => {
            let directory = updater_directory(workspace);
            for platform in platforms {
                // BuildKit makes a directory for each platform; before 0.14 not if there is only one.
                let split = directory.join(platform.to_string().replace('/', "_")).join("updater");
                let path = if platforms.len() == 1 && !split.is_file() {
                    directory.join("updater")
                } else {
                    split
                };
                if !path.is_file() {
                    let message = format!("the build gave no binary for {platform} ({})", path.display());
                    return Err(Error::Image {
                        subject: "updater".to_owned(),
                        message,
                    });
                }
                binaries.insert(platform.clone(), path);
            }
        }
    }
    Ok(binaries)
}
