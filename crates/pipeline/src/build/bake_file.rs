//! The bake file as data: the input of `docker buildx bake`.

use std::{collections::BTreeMap, path::PathBuf};

use bundle::Platform;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// A bake file, in its JSON form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct BakeFile {
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
pub(crate) struct Target {
    /// The build context's directory.
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
