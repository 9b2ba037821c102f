//! The plan as data: what a release does, step by step.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use bundle::Platform;
use semver::Version;
use serde::Serialize;

use super::{bake::UPDATER, pins::Pin, stages::StagePin};
use crate::{Problem, Result, build::BakeFile, declaration::ArchiveKind};

/// Everything a release will do.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
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
    /// What the person should know.
    pub warnings: Vec<Problem>,
}

/// One thing that a release does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// Builds all images and the updater's binaries.
    Build {
        /// The builder; the current one if none.
        builder: Option<String>,
        /// Whether the build cache is left aside.
        no_cache: bool,
        /// What `docker buildx bake` is given.
        bake: BakeFile,
    },
    /// Unpacks a part that was built elsewhere.
    Import {
        /// The folder, tar or zip file.
        part: PathBuf,
    },
    /// Reads what was built or imported, compresses layers, and checks that every image has every platform.
    Collect {
        /// The images' references.
        images: Vec<String>,
        /// The platforms that each must have.
        platforms: Vec<Platform>,
    },
    /// Writes manifest, signature and one bundle.
    Pack {
        /// The bundle's file.
        path: PathBuf,
        /// The archive's format.
        #[serde(serialize_with = "archive_name")]
        archive: ArchiveKind,
        /// The platforms in it.
        platforms: Vec<Platform>,
        /// Whether it holds all platforms of the release in one image index.
        multi_platform: bool,
    },
    /// Writes the checksums of all bundles, and the installer beside them.
    Checksums {
        /// The file.
        path: PathBuf,
        /// Whether there is an installer, which there is with an updater only.
        installer: bool,
    },
    /// Writes a part for another machine to merge.
    Part {
        /// The folder.
        path: PathBuf,
    },
    /// Makes a GitHub Release of the bundles.
    Publish {
        /// The repository, `owner/name`.
        repository: String,
        /// The tag, which is there.
        tag: String,
    },
}

impl Step {
    /// The bundle that the step writes, if it writes one.
    pub fn bundle(&self) -> Option<&Path> {
        match self {
            Self::Pack { path, .. } => Some(path),
            _ => None,
        }
    }
}

fn archive_name<S: serde::Serializer>(archive: &ArchiveKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(extension(*archive))
}

pub(super) fn extension(archive: ArchiveKind) -> &'static str {
    match archive {
        ArchiveKind::TarGz => "tar.gz",
        ArchiveKind::Zip => "zip",
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
        for warning in &self.warnings {
            writeln!(f, "{warning}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build {
                builder,
                no_cache,
                bake,
            } => {
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
            Self::Import { part } => write!(f, "import {}", part.display()),
            Self::Collect { images, platforms } => {
                write!(
                    f,
                    "collect {} images for {}, compress their layers",
                    images.len(),
                    join(platforms)
                )
            }
            Self::Pack { path, platforms, .. } => write!(f, "sign and pack {} for {}", path.display(), join(platforms)),
            Self::Checksums { path, installer } => {
                let installer = if *installer { " and install.sh" } else { "" };
                write!(f, "write {}{installer}", path.display())
            }
            Self::Part { path } => write!(f, "write the part {}", path.display()),
            Self::Publish { repository, tag } => write!(f, "publish {tag} in {repository}"),
        }
    }
}

fn join(platforms: &[Platform]) -> String {
    platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
