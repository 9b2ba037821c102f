//! `updater install`, `updater uninstall`, `updater reset-password`: arguments, and what is printed.

use std::{
    io::{self, BufRead as _, IsTerminal as _},
    path::{Path, PathBuf},
};

use clap::Args;

use super::{
    output::{out, print},
    terminal::{Terminal, note},
};
use crate::{
    install::{self, Installed, uninstall},
    web::access::password,
};
use device::{Error, Result, config::Config, stack::trust, system::clock::SystemClock};

/// Shown below the help of `updater install`.
pub(super) const EXAMPLES: &str = "\
Examples:
  sudo sh install.sh webmacs-update-2.1.0.tar.gz
  sudo updater install webmacs-update-2.1.0.tar.gz --trust webmacs.pub

`install.sh` checks the updater in the bundle, then calls this with the keys that it carries. Running it again keeps
credentials and data, and repairs what was damaged.";

/// The arguments of `updater install`.
#[derive(Debug, Args)]
pub(super) struct InstallArguments {
    /// The bundle, .tar.gz or .zip
    bundle: PathBuf,
    /// A minisign public key, or its file: one of them must have signed the bundle, and they are trusted from then on. Can
    /// be given several times. Where keys are trusted already, those decide
    #[arg(long, value_name = "KEY")]
    trust: Vec<String>,
    /// Where no key is known: trust the one that the bundle itself brings. It is shown; compare it
    #[arg(long)]
    trust_on_first_use: bool,
    /// Where no key is known: accept this bundle unsigned, and later ones
    #[arg(long)]
    allow_unsigned: bool,
    /// Accept a version older than the one that is installed
    #[arg(long)]
    allow_downgrade: bool,
    /// The product's directory [default: /opt/PRODUCT]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// The configuration's directory [default: /etc/PRODUCT]
    #[arg(long, value_name = "DIR")]
    etc: Option<PathBuf>,
    /// The updater's state directory [default: /var/lib/PRODUCT-updater]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The Docker engine, unix://…; one that is named is not installed [default: $DOCKER_HOST, else the usual socket]
    #[arg(long, value_name = "HOST")]
    docker_host: Option<String>,
    /// Write no units for systemd and no link in /usr/local/bin
    #[arg(long)]
    no_units: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// The arguments of `updater uninstall`.
#[derive(Debug, Args)]
pub(super) struct UninstallArguments {
    /// Delete the product's data too: volumes, .env, backups, bundles, records
    #[arg(long)]
    purge_data: bool,
    /// Do not ask, even at a terminal
    #[arg(long)]
    yes: bool,
    /// Leave units and /usr/local/bin alone
    #[arg(long)]
    no_units: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// `config` is where the configuration is, or is to be.
pub(super) fn install(arguments: InstallArguments, config: Option<&Path>) -> Result<()> {
    let json = arguments.json;
    let keys = arguments.trust.iter().map(|key| trust::parse(key));
    let options = install::Options {
        trust: keys.collect::<Result<_>>()?,
        bundle: arguments.bundle,
        trust_on_first_use: arguments.trust_on_first_use,
        allow_unsigned: arguments.allow_unsigned,
        allow_downgrade: arguments.allow_downgrade,
        folder: arguments.folder,
        etc: arguments
            .etc
            .or_else(|| config.and_then(Path::parent).map(Path::to_owned)),
        state: arguments.state,
        docker_host: arguments.docker_host,
        units: !arguments.no_units,
    };
    let installed = install::run(&options, &Terminal::new(), &SystemClock::start())?;
    if json { print(&installed) } else { show(&installed) }
}

fn show(installed: &Installed) -> Result<()> {
    let Installed { product, version, .. } = installed;
    match (&installed.from, installed.already_installed) {
        (_, true) => out(format_args!(
            "{product} {version} was installed already, and is in order"
        ))?,
        (Some(from), _) => out(format_args!("{product} {from} → {version}"))?,
        (None, _) => out(format_args!("{product} {version} is installed"))?,
    }
    out(format_args!("  folder         {}", installed.folder.display()))?;
    out(format_args!("  configuration  {}", installed.configuration.display()))?;
    if let Some(page) = &installed.updates_page {
        out(format_args!("  updates page   {page}"))?;
    }
    for key in &installed.trusted_keys {
        out(format_args!("  trusts         {key}"))?;
    }
    if let Some(password) = &installed.admin_password {
        out(format_args!(
            "\n  user admin, password: {password}\n  It is shown only now. `updater reset-password` makes another."
        ))?;
    }
    for text in &installed.notes {
        note(&format!("note: {text}"));
    }
    Ok(())
}

pub(super) fn uninstall(config: &Config, arguments: &UninstallArguments) -> Result<()> {
    if arguments.purge_data && !arguments.yes && io::stdin().is_terminal() {
        note(&format!(
            "all data of {0} will be deleted: volumes, backups, records. Type {0} to go on:",
            config.product
        ));
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        read.map_err(Error::io("read", "standard input"))?;
        if line.trim() != config.product.as_str() {
            return Err(Error::refused(
                "nothing was deleted",
                "without --purge-data the data stays",
            ));
        }
    }
    let options = uninstall::Options {
        purge_data: arguments.purge_data,
        units: !arguments.no_units,
    };
    let done = uninstall::uninstall(config, options, &Terminal::new())?;
    if arguments.json {
        return print(&done);
    }
    done.removed
        .iter()
        .try_for_each(|text| out(format_args!("removed  {text}")))?;
    done.kept
        .iter()
        .try_for_each(|text| out(format_args!("kept     {text}")))
}

pub(super) fn reset_password(config: &Config) -> Result<()> {
    let password = password::reset(config)?;
    out(format_args!("user admin, password: {password}"))
}
