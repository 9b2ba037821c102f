//! `release` and `build`.

use std::{env, path::PathBuf};

use bundle::Platform;
use clap::Args;
use semver::Version;

use super::{
    arguments::{version, workspace},
    output::{json, out},
    publish::{self, PublishOptions},
};
use crate::{
    Error, Result,
    facts::{self, Workspace},
    preflight,
    publish::Publication,
    release,
    request::{Output, Request},
    system::report::{bytes, note},
};

/// The variable with the network that `RUN` uses.
pub(super) const BUILD_NETWORK: &str = "RELEASE_BUILD_NETWORK";

/// How to build; what `release` and `build` have in common.
#[derive(Debug, Args)]
pub struct BuildOptions {
    /// The version: MAJOR.MINOR.PATCH, with a prerelease if need be; by default the one that this commit is tagged with
    #[arg(value_parser = version)]
    version: Option<Version>,
    /// Limit to a platform (repeat for several)
    #[arg(long, value_name = "OS/ARCH")]
    platform: Vec<Platform>,
    /// Use this buildx builder
    #[arg(long, value_name = "NAME", env = "BUILDX_BUILDER")]
    builder: Option<String>,
    /// Build with no network at all, from what `cargo xtask vendor` saved
    #[arg(long)]
    offline: bool,
    /// Build without the build cache
    #[arg(long)]
    no_cache: bool,
    /// The network that `RUN` uses (host, none) [env: RELEASE_BUILD_NETWORK, but for --offline]
    #[arg(long, value_name = "MODE", conflicts_with = "offline")]
    build_network: Option<String>,
    /// Accept changes that are not committed
    #[arg(long)]
    allow_dirty: bool,
}

/// Arguments of `release`.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    #[command(flatten)]
    build: BuildOptions,
    /// Merge this part instead of building: an OCI layout in a directory, tar or zip (repeat for several)
    #[arg(long, value_name = "PATH")]
    part: Vec<PathBuf>,
    /// Write each bundle as .zip, too
    #[arg(long)]
    zip: bool,
    /// Make a GitHub Release of it; see `publish`
    #[arg(long, conflicts_with = "allow_dirty")]
    publish: bool,
    #[command(flatten, next_help_heading = "With --publish")]
    published: PublishOptions,
    /// Print every step and change nothing
    #[arg(long)]
    plan: bool,
    /// Print JSON on standard output
    #[arg(long)]
    json: bool,
}

/// Arguments of `build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    #[command(flatten)]
    build: BuildOptions,
    /// The directory for the part
    #[arg(long, short, value_name = "DIRECTORY")]
    output: PathBuf,
    /// Print JSON on standard output
    #[arg(long)]
    json: bool,
}

pub(super) fn release_command(args: ReleaseArgs) -> Result<()> {
    let workspace = workspace()?;
    let mut request = request(&workspace, args.build, args.part, args.zip, Output::Bundles)?;
    if args.publish {
        let target = publish::target(&workspace.declaration)?;
        request.publish = Some(Publication {
            target,
            request: args.published.request(Vec::new()),
        });
    }
    if args.plan {
        let prepared = preflight::prepare(&workspace, &request)?;
        return if args.json {
            json(&prepared)
        } else {
            out(prepared.to_string().trim_end())
        };
    }
    let released = release::release(&workspace, &request)?;
    if args.json {
        return json(&released);
    }
    for bundle in &released.bundles {
        let path = bundle.path.strip_prefix(&workspace.root).unwrap_or(&bundle.path);
        out(format_args!(
            "{}  {}  {}",
            bundle.sha256,
            path.display(),
            bytes(bundle.size)
        ))?;
    }
    if released.bundles.iter().all(|bundle| bundle.unchanged) {
        note("nothing changed: all bundles were up to date");
    }
    if let Some(published) = &released.published {
        return publish::show(published);
    }
    let installer = released
        .bundles
        .first()
        .map(|bundle| bundle.path.with_file_name("install.sh"));
    if installer.is_some_and(|installer| installer.is_file()) {
        note(
            "next: copy install.sh and the bundle for its platform to a device, there: sudo sh install.sh BUNDLE; what is in \
             it: cargo xtask bundle inspect BUNDLE",
        );
    }
    Ok(())
}

fn request(
    workspace: &Workspace,
    build: BuildOptions,
    parts: Vec<PathBuf>,
    zip: bool,
    output: Output,
) -> Result<Request> {
    let version = match build.version {
        Some(version) => version,
        None => facts::tagged_version(&workspace.root).ok_or_else(|| Error::Usage {
            message: "no version was given, and this commit has no version's tag, or several".to_owned(),
            hint: "name the version, or `git tag` this commit with it: v2.1.0".to_owned(),
        })?,
    };
    // Read here and not by clap, for which the variable of a machine would contradict `--offline`.
    let network = build.build_network.or_else(|| env::var(BUILD_NETWORK).ok());
    Ok(Request {
        version,
        platforms: build.platform,
        builder: build.builder,
        offline: build.offline,
        no_cache: build.no_cache,
        network: network.filter(|_| !build.offline),
        parts,
        zip,
        allow_dirty: build.allow_dirty,
        output,
        publish: None,
    })
}

pub(super) fn build_command(args: BuildArgs) -> Result<()> {
    let workspace = workspace()?;
    let output = Output::Part(args.output.clone());
    let request = request(&workspace, args.build, Vec::new(), false, output)?;
    let released = release::release(&workspace, &request)?;
    if args.json { json(&released) } else { Ok(()) }
}
