//! Stages that need a network, for releases without one: built beforehand by [`crate::fetch`], then used in their place.
//!
//! BuildKit lets a named context take the place of a stage that has its name. Such a stage was built once, for the
//! machine that builds, without arguments and without a build context; [`crate::preflight`] refuses stages for which that
//! would give another result. [`resolve`] finds what was saved, and refuses what was made from something else than is
//! here now. Does no input or output.
//! Source: Dockerfile frontend of BuildKit, `dockerfile2llb`, "namedContext"; buildx, "Additional build contexts".

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::PathBuf};

use bundle::{Digest, Platform};
use serde::Serialize;

use super::pins::Pin;
use crate::{
    Problem,
    declaration::{Declaration, VendorStage},
    facts::{Facts, vendored::StageInputs},
};

/// A stage that is not built, but taken from where it was saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct StagePin {
    /// The Dockerfile, relative to the workspace.
    pub dockerfile: PathBuf,
    /// The stage's name.
    pub stage: String,
    /// The OCI layout's directory.
    pub layout: PathBuf,
    /// The digest in the layout.
    pub digest: Digest,
    /// The platform that it runs on.
    pub platform: Platform,
    /// Whether it was built on an image that only stands in for another.
    pub substitute: bool,
}

impl StagePin {
    /// The named context that takes the stage's place.
    pub(crate) fn context(&self) -> String {
        format!("oci-layout://{}@{}", self.layout.display(), self.digest)
    }

    /// What the person should know about it.
    pub(crate) fn warning(&self) -> Option<Problem> {
        // A warning only: the builder may be another machine.
        let host = Platform::host();
        (self.platform != host).then(|| {
            let message = format!("was vendored on {}, and this machine is {host}", self.platform);
            let hint = "cargo xtask vendor on a machine of this platform, unless the builder has that one";
            Problem::warning(subject(&self.dockerfile, &self.stage), message).hint(hint)
        })
    }
}

/// Finds what was saved of the declared stages, and the problems with using it.
pub(crate) fn resolve(declaration: &Declaration, facts: &Facts, pins: &[Pin]) -> (Vec<StagePin>, Vec<Problem>) {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for declared in &declaration.vendor_stages {
        let subject = subject(&declared.dockerfile, &declared.stage);
        let Some(vendored) = facts.vendor.stage(&declared.dockerfile, &declared.stage) else {
            problems.push(
                Problem::error(subject, "is not vendored, so it cannot be used without a network")
                    .hint("cargo xtask vendor, on a machine with a network"),
            );
            continue;
        };
        // Where a stage or an image is not known, that is a problem already.
        let Some(now) = inputs(declaration, facts, pins, declared) else {
            continue;
        };
        match difference(&vendored.made_from, &now) {
            Some(message) => problems.push(Problem::error(subject, message).hint("cargo xtask vendor")),
            None => found.push(StagePin {
                dockerfile: vendored.dockerfile.clone(),
                stage: vendored.stage.clone(),
                layout: vendored.layout.clone(),
                digest: vendored.digest,
                platform: vendored.platform.clone(),
                substitute: vendored.substitute,
            }),
        }
    }
    (found, problems)
}

/// What a stage is built from now; nothing if a stage or an image's digest is not known.
pub(crate) fn inputs(
    declaration: &Declaration,
    facts: &Facts,
    pins: &[Pin],
    declared: &VendorStage,
) -> Option<StageInputs> {
    let file = facts.dockerfiles.get(&declared.dockerfile)?;
    let stages = file.with_sources(&declared.stage);
    let images = file.images_of(&stages).into_iter().map(|reference| {
        let pin = pins.iter().find(|pin| pin.reference == reference)?;
        Some((reference.to_owned(), pin.digest()?))
    });
    Some(StageInputs {
        // The stage itself comes last.
        dockerfile: stages.last()?.text,
        images: images.collect::<Option<BTreeMap<_, _>>>()?,
        source_date_epoch: declaration.source_date_epoch,
    })
}

/// In what `now` is something else than `then`.
fn difference(then: &StageInputs, now: &StageInputs) -> Option<String> {
    if then.dockerfile != now.dockerfile {
        return Some(
            "is stale: the Dockerfile has changed, up to and including this stage, since it was vendored".into(),
        );
    }
    if then.source_date_epoch != now.source_date_epoch {
        return Some("is stale: `source-date-epoch` has changed since it was vendored".into());
    }
    let mut references = now.images.keys().chain(then.images.keys());
    references
        .find(|reference| then.images.get(*reference) != now.images.get(*reference))
        .map(|reference| format!("is stale: it was vendored on another {reference} than is used now"))
}

/// How messages call a stage.
pub(crate) fn subject(dockerfile: &std::path::Path, stage: &str) -> String {
    format!("stage {stage} of {}", dockerfile.display())
}
