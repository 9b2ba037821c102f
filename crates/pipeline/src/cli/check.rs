//! `check`: reports blocking problems.

use clap::Args;
use semver::Version;

use super::{
    arguments::{version, workspace},
    output::json,
};
use crate::{
    Error, Problem, Result, facts, preflight,
    request::{Output, Request},
    system::report::note,
};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The version that is to be released; by default the one that this commit is tagged with
    #[arg(value_parser = version)]
    version: Option<Version>,
    /// Check this buildx builder
    #[arg(long, value_name = "NAME", env = "BUILDX_BUILDER")]
    builder: Option<String>,
    /// Check for a build without a network
    #[arg(long)]
    offline: bool,
    /// Accept changes that are not committed
    #[arg(long)]
    allow_dirty: bool,
    /// Print JSON on standard output
    #[arg(long)]
    json: bool,
}

pub(super) fn check(args: CheckArgs) -> Result<()> {
    let workspace = workspace()?;
    let version = args.version.or_else(|| facts::tagged_version(&workspace.root));
    if version.is_none() {
        note("warning: this commit has no version's tag and no version was given, so nothing was checked about it");
    }
    let request = Request {
        version: version.unwrap_or(Version::new(0, 0, 0)),
        platforms: Vec::new(),
        builder: args.builder,
        offline: args.offline,
        no_cache: false,
        network: None,
        parts: Vec::new(),
        zip: false,
        allow_dirty: args.allow_dirty,
        output: Output::Bundles,
        publish: None,
    };
    let problems = preflight::check(&workspace, &request)?;
    if args.json {
        json(&problems)?;
    }
    if problems.iter().any(Problem::is_error) {
        return Err(Error::Problems(problems));
    }
    for problem in &problems {
        note(problem);
    }
    note("ready to release");
    Ok(())
}
