//! `lock` and `vendor`: registry images beforehand.

use clap::Args;

use super::{arguments::workspace, release::BUILD_NETWORK};
use crate::{Result, fetch, system::report::note};

/// Arguments of `lock`.
#[derive(Debug, Args)]
pub struct LockArgs {
    /// Only compare the lock file with what is declared; ask no registry
    #[arg(long)]
    check: bool,
    /// Ask through this buildx builder
    #[arg(long, value_name = "NAME", env = "BUILDX_BUILDER")]
    builder: Option<String>,
}

/// Arguments of `vendor`.
#[derive(Debug, Args)]
pub struct VendorArgs {
    /// Fetch and build through this buildx builder
    #[arg(long, value_name = "NAME", env = "BUILDX_BUILDER")]
    builder: Option<String>,
    /// The network that `RUN` uses in stages that are built (host, none)
    #[arg(long, value_name = "MODE", env = BUILD_NETWORK)]
    build_network: Option<String>,
}

pub(super) fn lock(args: LockArgs) -> Result<()> {
    if args.check {
        return fetch::check_lock(&workspace()?);
    }
    for image in fetch::lock(&workspace()?, args.builder.as_deref())? {
        match image.now {
            Some(now) if image.before == Some(now) => note(format_args!("{} is still {now}", image.reference)),
            Some(now) => note(format_args!("{} is {now}", image.reference)),
            None => note(format_args!("{} has a substitute only", image.reference)),
        }
    }
    Ok(())
}

pub(super) fn vendor(args: VendorArgs) -> Result<()> {
    let workspace = workspace()?;
    let vendor = fetch::vendor(&workspace, args.builder.as_deref(), args.build_network.as_deref())?;
    let stages = match vendor.stages.len() {
        0 => String::new(),
        1 => " and 1 stage".to_owned(),
        many => format!(" and {many} stages"),
    };
    note(format_args!(
        "{} images{stages} are in {}",
        vendor.images.len(),
        workspace.vendor_directory().display()
    ));
    Ok(())
}
