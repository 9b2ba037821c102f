//! The plan as data: what a release does, step by step.

use std::{fmt, path::PathBuf};

use bundle::Platform;
use semver::Version;
use serde::Serialize;

use super::{bake::UPDATER, pins::Pin, stages::StagePin};
use crate::{
    Problem,
    build::BuildImages,
    collect::{Collect, Import},
    pack::{Checksums, PackBundle, WritePart},
    publish::PublishRelease,
};

/// Everything a release will do.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Plan {
    /// The product.
    pub product: String,
    /// The version.
    pub version: Version,
    /// The platforms.
    pub platforms: Vec<Platform>,
    /// Where registry images come from.
    pub pins: Vec<Pin>,
    /// Stages that are not built, but taken from where they were saved.
    pub stages: Vec<StagePin>,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// What could not be resolved, so that the steps lack it; [`crate::preflight`] refuses such a plan.
    #[serde(skip)]
    pub(crate) unresolved: Vec<Problem>,
}

/// One thing that a release does, with everything that it needs beside the results of earlier steps.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub(crate) enum Step {
    /// Builds all images and the updater's binaries.
    Build(BuildImages),
    /// Unpacks a part that was built elsewhere.
    Import(Import),
    /// Reads what was built or imported, compresses layers, and checks that every image has every platform.
    Collect(Collect),
    /// Writes manifest, signature and one bundle.
    Pack(PackBundle),
    /// Writes the checksums of all bundles, and the installer beside them.
    Checksums(Checksums),
    /// Writes a part for another machine to merge.
    Part(WritePart),
    /// Makes a GitHub Release of the bundles.
    Publish(PublishRelease),
}

impl Plan {
    /// The step that builds, if anything is built.
    pub(crate) fn build(&self) -> Option<&BuildImages> {
        self.steps.iter().find_map(|step| match step {
            Step::Build(build) => Some(build),
            _ => None,
        })
    }

    /// The step that collects.
    pub(crate) fn collect(&self) -> Option<&Collect> {
        self.steps.iter().find_map(|step| match step {
            Step::Collect(collect) => Some(collect),
            _ => None,
        })
    }

    /// The bundles that it writes.
    pub(crate) fn bundles(&self) -> Vec<PathBuf> {
        let bundles = self.steps.iter().filter_map(|step| match step {
            Step::Pack(pack) => Some(pack.path.clone()),
            _ => None,
        });
        bundles.collect()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} for {}", self.product, self.version, join(&self.platforms))?;
        for pin in &self.pins {
            writeln!(f, "  {} is {}", pin.reference, pin.context())?;
        }
        for pin in &self.stages {
            writeln!(
                f,
                "  stage {} of {} is {}",
                pin.stage,
                pin.dockerfile.display(),
                pin.context()
            )?;
        }
        for (index, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:>3}. {step}", index + 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build(BuildImages {
                builder,
                no_cache,
                bake,
                ..
            }) => {
                let cache = if *no_cache { ", without cache" } else { "" };
                write!(
                    f,
                    "build with docker buildx bake on {}{cache}",
                    builder.as_deref().unwrap_or("the current builder")
                )?;
                for (name, target) in &bake.target {
                    let what = if name == UPDATER {
                        "updater binaries"
                    } else {
                        target.tags.first().map_or("", String::as_str)
                    };
                    write!(f, "\n       {what} for {}", join(&target.platforms))?;
                }
                Ok(())
            }
            Self::Import(Import { part, .. }) => write!(f, "import {}", part.display()),
            Self::Collect(Collect { images, platforms, .. }) => {
                write!(
                    f,
                    "collect {} images for {}, compress their layers",
                    images.len(),
                    join(platforms)
                )
            }
            Self::Pack(PackBundle { path, platforms, .. }) => {
                write!(f, "sign and pack {} for {}", path.display(), join(platforms))
            }
            Self::Checksums(Checksums { path, installer, .. }) => {
                let installer = if *installer { " and install.sh" } else { "" };
                write!(f, "write {}{installer}", path.display())
            }
            Self::Part(WritePart { path, .. }) => write!(f, "write the part {}", path.display()),
            Self::Publish(PublishRelease { repository, tag, .. }) => write!(f, "publish {tag} in {repository}"),
        }
    }
}

fn join(platforms: &[Platform]) -> String {
    platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
