//! The bake file: what `docker buildx bake` is told to build, all in one call.
//!
//! Stages that images share are built once, because they are in one call. Layers are exported, compressed a little,
//! into layout folders that stay: BuildKit then sends only blobs that are not there yet.
//! Source: buildx documentation, "Bake file reference"; BuildKit, "OCI exporter".

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use bundle::Platform;
use semver::Version;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    declaration::{BuildSource, BuiltImage, Image, Updater},
    facts::{Facts, Workspace, vendored},
    plan::{pins::Pin, stages::StagePin},
};

/// The target that builds the updater's binaries.
pub(crate) const UPDATER: &str = "updater-binaries";

/// A bake file, in its JSON form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BakeFile {
    /// The targets by name.
    pub target: BTreeMap<String, Target>,
}

impl BakeFile {
    /// What `RUN` can reach in each target, as a compose file; nothing where that is the builder's default everywhere.
    ///
    /// Before 0.17, buildx ignores a network in every other kind of file (docker/buildx#880, #2671), without a word.
    pub(crate) fn networks(&self) -> Option<Value> {
        let networks = self.target.iter().filter_map(|(name, target)| {
            let network = target.network.as_ref()?;
            Some((name.clone(), json!({ "build": { "network": network } })))
        });
        let services: Map<_, _> = networks.collect();
        (!services.is_empty()).then(|| json!({ "services": services }))
    }
}

/// A target of a bake file; names are the file's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Target {
    /// The build context's folder.
    pub context: PathBuf,
    /// The Dockerfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<PathBuf>,
    /// The Dockerfile's text, for images that are taken as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile_inline: Option<String>,
    /// The stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The platforms; the builder's own if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<Platform>,
    /// Build arguments.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, String>,
    /// Named contexts: what base images, and stages that were built beforehand, mean.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub contexts: BTreeMap<String, String>,
    /// The image's name and tag.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Where the result goes.
    pub output: Vec<String>,
    /// Provenance and SBOM attestations hold times, so there are none in images.
    pub attest: Vec<String>,
    /// What `RUN` can reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

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

/// The folder that an image's layout is exported to.
pub(crate) fn layout_folder(workspace: &Workspace, image: &str) -> PathBuf {
    workspace.state.join("images").join(target_name(image))
}

/// The folder that the updater's binaries are exported to.
pub(crate) fn updater_folder(workspace: &Workspace) -> PathBuf {
    workspace.state.join("updater")
}

/// An empty folder, the context of images that are taken as they are.
pub(crate) fn empty_folder(workspace: &Workspace) -> PathBuf {
    workspace.state.join("empty")
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
                let layout = layout_folder(workspace, &reference);
                let contexts = contexts(request.pins, |name| name == reference);
                target.insert(
                    target_name(&reference),
                    Target {
                        context: empty_folder(workspace),
                        dockerfile: None,
                        dockerfile_inline: Some(format!("FROM {reference}\n")),
                        target: None,
                        platforms: request.platforms.to_vec(),
                        args: BTreeMap::new(),
                        contexts,
                        tags: vec![reference],
                        output: vec![oci_output(&layout, false)],
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
            updater_folder(workspace).display()
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
    let output = oci_output(&layout_folder(workspace, &image.name), image.reproducible);
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
        let crates = workspace.vendor_folder().join(vendored::CRATES);
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

/// How an image is exported into a layout folder: layers that come compressed stay as they are, others get zstd's lowest
/// level. That costs the engine less than moving them plain; they get their own level afterwards ([`crate::collect::layers`]).
pub(crate) fn oci_output(layout: &Path, rewrite_timestamps: bool) -> String {
    let rewrite = if rewrite_timestamps {
        ",rewrite-timestamp=true"
    } else {
        ""
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

/// A name that bake accepts as a target's and that can be a folder's, different for different images.
pub(crate) fn target_name(image: &str) -> String {
    image
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' => c.to_string(),
            '_' => "__".to_owned(),
            other => format!("_{:x}_", u32::from(other)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_names_stay_different() {
        let names = ["a.b", "a/b", "a:b", "a_b", "a-b", "ab"].map(target_name);
        let mut unique = names.to_vec();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), names.len(), "{names:?}");
    }
}
