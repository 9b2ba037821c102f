//! `publish`, and what `release --publish` shares with it.

use std::{env, path::PathBuf};

use clap::Args;

use super::{
    arguments::workspace,
    output::{json, out},
};
use crate::{
    Result,
    publish::{self, Patience, PublishError, Published, Session, Target},
    system::report::note,
};

/// What can be said about a publication.
#[derive(Debug, Args)]
pub struct PublishOptions {
    /// Publish this file, too: an SBOM, for example (repeat for several)
    #[arg(long = "asset", value_name = "FILE")]
    assets: Vec<PathBuf>,
    /// Take the release's notes from this file, not from the changelog
    #[arg(long, value_name = "FILE")]
    notes: Option<PathBuf>,
    /// Whether this becomes the latest release; by default it does if its version is the highest
    #[arg(long, value_name = "BOOL")]
    latest: Option<bool>,
}

/// Arguments of `publish`.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// The bundles of one version, as `release` left them
    #[arg(required = true, value_name = "BUNDLE")]
    bundles: Vec<PathBuf>,
    #[command(flatten)]
    options: PublishOptions,
    /// Print what would be done, and change nothing
    #[arg(long)]
    plan: bool,
    /// Print JSON on standard output
    #[arg(long)]
    json: bool,
}

impl PublishOptions {
    /// The request for `bundles`.
    pub(super) fn request(self, bundles: Vec<PathBuf>) -> publish::Request {
        publish::Request {
            bundles,
            assets: self.assets,
            latest: self.latest,
            notes: self.notes,
        }
    }
}

/// The declared repository, with the environment's token and address.
pub(super) fn target(declaration: &crate::declaration::Declaration) -> Result<Target, PublishError> {
    Target::find(declaration, &|name| env::var(name).ok())
}

pub(super) fn run(args: PublishArgs) -> Result<()> {
    let workspace = workspace()?;
    let target = target(&workspace.declaration)?;
    let request = args.options.request(args.bundles);
    let wanted = publish::wanted(&workspace, &target, &request)?;
    let session = Session::open(target, &wanted.version, &wanted.commit, Patience::default())?;
    if args.plan {
        let plan = session.plan(&wanted)?;
        return if args.json { json(&plan) } else { out(plan) };
    }
    let published = session.publish(&wanted)?;
    if args.json { json(&published) } else { show(&published) }
}

/// Says where the release is.
pub(super) fn show(published: &Published) -> Result<()> {
    if published.uploaded == 0 {
        note("nothing changed: the release was complete");
    }
    out(&published.url)
}
