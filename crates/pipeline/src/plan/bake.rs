//! The bake file: the input of `docker buildx bake`, for everything in one call.
//!
//! Stages that images share are built once, because they are in one call. Layers are exported, compressed a little,
//! into layout directories that stay: BuildKit then sends only blobs that are not there yet.
//! Source: buildx documentation, "Bake file reference"; BuildKit, "OCI exporter".

use std::{collections::BTreeMap, path::Path};

use bundle::Platform;
use semver::Version;

use super::{pins::Pin, stages::StagePin};
use crate::{
    build::{BakeFile, Target},
    declaration::{BuildSource, BuiltImage, Image, Updater},
    facts::{Facts, Workspace, empty_directory, layout_directory, target_name, updater_directory, vendored},
};

/// The target that builds the updater's binaries.
pub(crate) const UPDATER: &str = "updater-binaries";

/// What a build is asked for, beside the declaration.
#[derive(Clone, Debug)]
pub(crate) struct BuildRequest<'a> {
    /// The version.
    pub version: &'a Version,
    /// The platforms.
    pub platforms: &'a [Platform],
    /// Where the registry images are.
    pub pins: &'a [Pin],
    /// The stages that are not built, but taken from where they were saved.
    pub stages: &'a [StagePin],
    /// Whether there is no network.
    pub offline: bool,
    /// The network of `RUN`, if it is not the builder's default.
    pub network: Option<&'a str>,
}

/// The bake file for `request`.
pub(crate) fn bake_file(workspace: &Workspace, facts: &Facts, request: &BuildRequest<'_>) -> BakeFile {
    let declaration = &workspace.declaration;
    let mut target = BTreeMap::new();
    for image in &declaration.images {
        match image {
            Image::Built(built) => {
                target.insert(target_name(&built.name), built_target(workspace, facts, request, built));
            }
            Image::Registry(registry) => {
                let reference = registry.reference();
                let layout = layout_directory(workspace, &reference);
                let contexts = contexts(request.pins, |name| name == reference);
                target.insert(
                    target_name(&reference),
                    Target {
                        context: empty_directory(workspace),
                        dockerfile: None,
                        dockerfile_inline: Some(format!("FROM {reference}\n")),
                        target: None,
                        platforms: request.platforms.to_vec(),
                        args: BTreeMap::new(),
                        contexts,
                        tags: vec![reference],
                        output: vec![oci_output(&layout, Timestamps::Kept)],
                        attest: no_attestations(),
                        network: None,
                    },
                );
            }
        }
    }
    if let Some(Updater::Built(build)) = &declaration.updater {
        let output = format!(
            "type=local,dest={},platform-split=true",
            updater_directory(workspace).display()
        );
        let target_of_updater = dockerfile_target(workspace, facts, request, build, BTreeMap::new(), output);
        target.insert(UPDATER.to_owned(), target_of_updater);
    }
    BakeFile { target }
}

fn built_target(workspace: &Workspace, facts: &Facts, request: &BuildRequest<'_>, image: &BuiltImage) -> Target {
    let version = request.version.to_string();
    let args = image
        .args
        .iter()
        .map(|(name, value)| (name.clone(), value.replace("{version}", &version)))
        .collect();
    let timestamps = if image.reproducible {
        Timestamps::Rewritten
    } else {
        Timestamps::Kept
    };
    let output = oci_output(&layout_directory(workspace, &image.name), timestamps);
    Target {
        tags: vec![format!("{}:{version}", image.name)],
        ..dockerfile_target(workspace, facts, request, &image.build, args, output)
    }
}

fn dockerfile_target(
    workspace: &Workspace,
    facts: &Facts,
    request: &BuildRequest<'_>,
    build: &BuildSource,
    mut args: BTreeMap<String, String>,
    output: String,
) -> Target {
    args.insert(
        "SOURCE_DATE_EPOCH".to_owned(),
        workspace.declaration.source_date_epoch.to_string(),
    );
    let bases = facts
        .dockerfiles
        .get(&build.dockerfile)
        .map(|file| file.base_images.as_slice())
        .unwrap_or_default();
    let mut contexts = contexts(request.pins, |name| bases.iter().any(|base| base == name));
    // A named context takes the place of a stage that has its name.
    let stages = request.stages.iter().filter(|pin| pin.dockerfile == build.dockerfile);
    contexts.extend(stages.map(|pin| (pin.stage.clone(), pin.context())));
    if facts.vendored_crates && request.offline {
        let crates = workspace.vendor_directory().join(vendored::CRATES);
        contexts.insert(vendored::CRATES_CONTEXT.to_owned(), crates.display().to_string());
    }
    Target {
        context: workspace.root.join(&build.context),
        dockerfile: Some(workspace.root.join(&build.dockerfile)),
        dockerfile_inline: None,
        target: build.target.clone(),
        platforms: request.platforms.to_vec(),
        args,
        contexts,
        tags: Vec::new(),
        output: vec![output],
        attest: no_attestations(),
        network: if request.offline {
            Some("none".to_owned())
        } else {
            request.network.map(str::to_owned)
        },
    }
}

/// The named contexts that make the base images `wanted` be the pinned ones.
pub(crate) fn contexts(pins: &[Pin], wanted: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
    pins.iter()
        .filter(|pin| wanted(&pin.reference))
        .map(|pin| (pin.reference.clone(), pin.context()))
        .collect()
}

/// The times of files in layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timestamps {
    /// As the build made them.
    Kept,
    /// Those after `SOURCE_DATE_EPOCH` are set to it.
    Rewritten,
}

/// How an image is exported into a layout directory: layers that come compressed stay as they are, others get zstd's lowest
/// level. That costs the engine less than moving them plain; they get their own level afterwards ([`crate::collect::layers`]).
pub(crate) fn oci_output(layout: &Path, timestamps: Timestamps) -> String {
    let rewrite = match timestamps {
        Timestamps::Rewritten => ",rewrite-timestamp=true",
        Timestamps::Kept => "",
    };
    format!(
        "type=oci,dest={},tar=false,compression=zstd,compression-level=1,oci-mediatypes=true{rewrite}",
        layout.display()
    )
}

/// Attestations hold times, so there are none.
pub(crate) fn no_attestations() -> Vec<String> {
    vec![
        "type=provenance,disabled=true".to_owned(),
        "type=sbom,disabled=true".to_owned(),
    ]
}
