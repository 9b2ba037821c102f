//! Stages that need a network, for releases without one: built beforehand by [`build`], then used in their place.
//!
//! BuildKit lets a named context take the place of a stage that has its name. Such a stage was built once, for the
//! machine that builds, without arguments and without a build context; [`check`] refuses stages for which that would
//! give another result. [`resolve`] finds what was saved, and refuses what was made from something else than is here
//! now. Neither does any input or output.
//! Source: Dockerfile frontend of BuildKit, `dockerfile2llb`, "namedContext"; buildx, "Additional build contexts".

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::PathBuf};

use bundle::{Digest, Platform};
use serde::Serialize;

use crate::{
    Problem,
    declaration::{Declaration, ROOT, VendorStage},
    facts::{
        Facts,
        dockerfile::{Dockerfile, Stage},
        vendored::StageInputs,
    },
    plan::pins::Pin,
    preflight::no_stage,
};

/// Arguments that BuildKit sets differently for each platform.
const PLATFORM_ARGS: [&str; 4] = ["TARGETPLATFORM", "TARGETOS", "TARGETARCH", "TARGETVARIANT"];

/// A stage that is not built, but taken from where it was saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StagePin {
    /// The Dockerfile, relative to the workspace.
    pub dockerfile: PathBuf,
    /// The stage's name.
    pub stage: String,
    /// The OCI layout's folder.
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
    pub fn context(&self) -> String {
        format!("oci-layout://{}@{}", self.layout.display(), self.digest)
    }

    /// What the person should know about it.
    pub fn warning(&self) -> Option<Problem> {
        // A warning only: the builder may be another machine.
        let host = Platform::host();
        (self.platform != host).then(|| {
            let message = format!("was vendored on {}, and this machine is {host}", self.platform);
            let hint = "cargo xtask vendor on a machine of this platform, unless the builder has that one";
            Problem::warning(subject(&self.dockerfile, &self.stage), message).hint(hint)
        })
    }
}

/// Finds what was saved of the declared stages, and what stands against using it.
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

/// Refuses stages that would be something else when they are built beforehand.
pub(crate) fn check(declaration: &Declaration, facts: &Facts) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, declared) in declaration.vendor_stages.iter().enumerate() {
        let key = format!("vendor-stages[{index}].stage");
        // A Dockerfile that is not there is a problem already.
        let Some(file) = facts.dockerfiles.get(&declared.dockerfile) else {
            continue;
        };
        if !file.has_target(&declared.stage) {
            problems.push(no_stage(&key, &declared.dockerfile, file, &declared.stage));
            continue;
        }
        let refused = |(message, hint): (String, &str)| Problem::error(format!("{ROOT}.{key}"), message).hint(hint);
        problems.extend(obstacles(declaration, file, declared).into_iter().map(refused));
    }
    problems
}

/// What makes a stage depend on more than its Dockerfile and its images, each with what mends it.
fn obstacles(declaration: &Declaration, file: &Dockerfile, declared: &VendorStage) -> Vec<(String, &'static str)> {
    let mut obstacles = Vec::new();
    let stages = file.with_sources(&declared.stage);
    let name = &declared.stage;
    let called = |stage: &Stage| stage.name.clone().unwrap_or_else(|| stage.from.clone());
    for stage in &stages {
        let is_itself = stage.name.as_ref() == Some(name);
        let from_image = file.base_images.contains(&stage.from);
        if (is_itself || from_image) && !is_pinned_to_the_builder(stage) {
            let message = format!(
                "\"{}\" is built for every platform, and a vendored stage for the machine that builds only",
                called(stage)
            );
            obstacles.push((message, "start it with `FROM --platform=$BUILDPLATFORM`"));
        }
        if stage.reads_context {
            let message = format!(
                "\"{}\" reads the build context, and a vendored stage has none",
                called(stage)
            );
            obstacles.push((
                message,
                "move what copies or mounts files into a stage that starts from this one",
            ));
        }
        if let Some(arg) = stage.args.iter().find(|arg| PLATFORM_ARGS.contains(&arg.as_str())) {
            let message = format!(
                "\"{}\" uses {arg}, and a vendored stage is the same for all platforms",
                called(stage)
            );
            obstacles.push((message, "move what needs it into a stage that starts from this one"));
        }
    }
    let args = stages.iter().flat_map(|stage| &stage.args).chain(&file.args);
    let args: Vec<_> = args.collect();
    let same_file = declaration
        .built_images()
        .filter(|image| image.build.dockerfile == declared.dockerfile);
    for image in same_file {
        if let Some(arg) = image.args.keys().find(|arg| args.contains(arg)) {
            let message = format!(
                "\"{name}\" takes the argument {arg} of {}, and a vendored stage is built without arguments",
                image.name
            );
            obstacles.push((
                message,
                "declare the argument in a later stage, or give it its value in the Dockerfile",
            ));
        }
    }
    obstacles
}

fn is_pinned_to_the_builder(stage: &Stage) -> bool {
    matches!(stage.platform.as_deref(), Some("$BUILDPLATFORM" | "${BUILDPLATFORM}"))
}

/// How messages call a stage.
pub(crate) fn subject(dockerfile: &std::path::Path, stage: &str) -> String {
    format!("stage {stage} of {}", dockerfile.display())
}
