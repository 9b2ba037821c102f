//! Looks every declared image up in the layouts, for every platform.

use std::{collections::BTreeMap, path::PathBuf};

use bundle::{Digest, Platform, images_tar::ImageInput, manifest::PlatformImage};
use oci_spec::image::Descriptor;

use super::{
    layers::{LayerOrigin, LayerStore},
    layout::{Layout, LayoutImage, digest},
    part,
    rewrite::rewritten,
};
use crate::{
    Error, Result,
    declaration::{Image, Updater, split_tag},
    facts::{Facts, Workspace, layout_folder, updater_folder},
    pack::{
        annotations::{SOURCE, SUBSTITUTE},
        collected::{Collected, CollectedImage, full_name},
    },
    plan::{pins::Pin, stages::StagePin},
    system::{files::expect_digest, interrupt},
};

/// A layout image and where it lies.
struct Found {
    layout: Layout,
    image: LayoutImage,
    from: LayerOrigin,
}

/// Collects the images of a release that was built here.
///
/// # Errors
/// A layout is missing or damaged, an image lacks a platform, the store cannot be written.
pub(crate) fn built(
    workspace: &Workspace,
    facts: &Facts,
    version: &semver::Version,
    platforms: &[Platform],
    pins: &[Pin],
    stages: &[StagePin],
) -> Result<Collected> {
    let mut found = BTreeMap::new();
    for declared in &workspace.declaration.images {
        let (key, reference) = names(declared, version);
        let layout = Layout::open(layout_folder(workspace, &key))?;
        let mut images = layout.images()?;
        let (Some(mut image), true) = (images.pop(), images.is_empty()) else {
            return Err(Error::Image {
                subject: reference,
                message: "the build did not give exactly one image".to_owned(),
            });
        };
        if let Some(pin) = pins.iter().find(|pin| pin.reference == reference) {
            image.annotations.insert(SOURCE.to_owned(), pin.source());
        }
        if is_made_from_a_stand_in(workspace, facts, pins, stages, &key) {
            image.annotations.insert(SUBSTITUTE.to_owned(), "true".to_owned());
        }
        let from = match declared {
            Image::Built(_) => LayerOrigin::Builder,
            Image::Registry(_) => LayerOrigin::Elsewhere,
        };
        found.insert(reference, vec![Found { layout, image, from }]);
    }
    let mut collected = images(workspace, version, platforms, &found)?;
    collected.updaters = built_updaters(workspace, platforms)?;
    collected.dirty = facts.is_dirty();
    let unpinned = pins.iter().filter(|pin| !pin.is_pinned());
    collected.unpinned = unpinned.map(|pin| pin.reference.clone()).collect();
    Ok(collected)
}

/// Collects the images of a release whose parts were built elsewhere.
///
/// # Errors
/// As for [`built`]; also if two parts hold different images for one platform.
pub(crate) fn imported(
    workspace: &Workspace,
    facts: &Facts,
    version: &semver::Version,
    platforms: &[Platform],
    parts: &[Layout],
) -> Result<Collected> {
    let mut found: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    for image in &workspace.declaration.images {
        found.insert(names(image, version).1, Vec::new());
    }
    let mut updaters = BTreeMap::new();
    for layout in parts {
        for image in layout.images()? {
            if let Some((platform, binary)) = part::updater(layout, &image)? {
                updaters.insert(platform, binary);
                continue;
            }
            let name = image.name.clone().unwrap_or_default();
            let reference = found.keys().find(|reference| full_name(reference) == name).cloned();
            match reference.and_then(|reference| found.get_mut(&reference)) {
                Some(list) => list.push(Found {
                    layout: layout.clone(),
                    image,
                    from: LayerOrigin::Elsewhere,
                }),
                None => {
                    let subject = layout.folder().display().to_string();
                    let message = format!("holds {name}, which this version of the product does not have");
                    return Err(Error::Image { subject, message });
                }
            }
        }
    }
    let mut collected = images(workspace, version, platforms, &found)?;
    collected.dirty = facts.is_dirty();
    for layout in parts {
        let origin = part::origin(layout)?;
        collected.dirty |= origin.dirty;
        collected.unpinned.extend(origin.unpinned);
    }
    collected.updaters = match &workspace.declaration.updater {
        Some(Updater::Built(_)) => updaters,
        _ => built_updaters(workspace, platforms)?,
    };
    if matches!(workspace.declaration.updater, Some(Updater::Built(_))) {
        let missing = platforms
            .iter()
            .find(|platform| !collected.updaters.contains_key(platform));
        if let Some(platform) = missing {
            let message = format!("no part holds the updater for {platform}");
            return Err(Error::Image {
                subject: "updater".to_owned(),
                message,
            });
        }
    }
    Ok(collected)
}

/// Whether a stand-in is what the image called `key` is, or what it is built on, itself or by a stage that was built
/// beforehand.
fn is_made_from_a_stand_in(workspace: &Workspace, facts: &Facts, pins: &[Pin], stages: &[StagePin], key: &str) -> bool {
    let built = workspace.declaration.built_images().find(|image| image.name == key);
    let dockerfile = built.map(|image| &image.build.dockerfile);
    let bases = dockerfile
        .and_then(|dockerfile| facts.dockerfiles.get(dockerfile))
        .map(|file| &file.base_images);
    let by_image = pins
        .iter()
        .filter(|pin| pin.is_substitute())
        .any(|pin| pin.reference == key || bases.is_some_and(|bases| bases.contains(&pin.reference)));
    let by_stage = stages
        .iter()
        .any(|pin| pin.substitute && Some(&pin.dockerfile) == dockerfile);
    by_image || by_stage
}

/// The key of an image's layout folder, and its reference.
fn names(image: &Image, version: &semver::Version) -> (String, String) {
    match image {
        Image::Built(built) => (built.name.clone(), format!("{}:{version}", built.name)),
        Image::Registry(registry) => (registry.reference(), registry.reference()),
    }
}

fn images(
    workspace: &Workspace,
    version: &semver::Version,
    platforms: &[Platform],
    found: &BTreeMap<String, Vec<Found>>,
) -> Result<Collected> {
    let mut store = LayerStore::open(workspace.state.join("layers"), workspace.declaration.layers);
    let mut collected = Collected {
        stores: vec![store.folder().to_owned()],
        ..Collected::default()
    };
    for image in &workspace.declaration.images {
        let (_, reference) = names(image, version);
        let sources = found.get(&reference).map(Vec::as_slice).unwrap_or_default();
        for source in sources {
            let folder = source.layout.folder().to_owned();
            if !collected.stores.contains(&folder) {
                collected.stores.push(folder);
            }
        }
        collected
            .images
            .push(collect_image(&reference, platforms, sources, &mut store)?);
    }
    Ok(collected)
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
        subject: layout.folder().display().to_string(),
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
            let folder = updater_folder(workspace);
            for platform in platforms {
                // BuildKit makes a folder for each platform; before 0.14 not if there is only one.
                let split = folder.join(platform.to_string().replace('/', "_")).join("updater");
                let path = if platforms.len() == 1 && !split.is_file() {
                    folder.join("updater")
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
