//! `updater check`, `updater download`: arguments, and what is printed.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use bundle::Platform;
use clap::Args;
use semver::Version;
use serde::Serialize;

use super::{
    acting::apply_bundle,
    output::{Json, out, print},
    terminal::Terminal,
};
use crate::github::{Check, Found, GitHub, Then};
use device::{
    Error, Result, config::Config, engine::preflight::Permissions, state::Phase, store::Store,
    system::clock::SystemClock,
};

/// Shown below the help of `updater download`.
pub(super) const EXAMPLES: &str = "\
Examples:
  updater download
  updater download 2.1.0
  updater download --apply

A download that was ended, by Ctrl-C or a power cut, goes on where it stopped: by itself while the daemon runs, or by the
same command.";

/// The arguments of `updater download`.
#[derive(Debug, Args)]
pub(super) struct DownloadArguments {
    /// The version; the newest one of the declared channel if none
    version: Option<Version>,
    /// Apply it as soon as it is here
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    pub(super) json: Json,
}

/// What `updater check` tells. The names are those of the API.
#[derive(Debug, Serialize)]
struct CheckView {
    /// The version that runs.
    current_version: Option<Version>,
    /// Whether the newest release is newer.
    update_available: bool,
    github_latest_version: Option<Version>,
    github_download_url: Option<String>,
    github_release_url: Option<String>,
    /// The newest release.
    release: Option<Found>,
    /// When GitHub answered.
    checked_at: Option<String>,
}

/// Asks GitHub, and shows what it says.
pub(super) fn check(config: &Config, Json { json }: Json) -> Result<()> {
    let (clock, platform) = (SystemClock::start(), Platform::host());
    let github = GitHub::new(config, &clock, &platform)?;
    let mut store = Store::open(&config.database())?;
    let check = ask(&github, &mut store)?;
    let current_version = store.current()?.map(|current| current.version);
    let view = CheckView {
        update_available: check.newer_than(current_version.as_ref()).is_some(),
        github_latest_version: check.latest.as_ref().map(|found| found.version.clone()),
        github_download_url: check
            .latest
            .as_ref()
            .and_then(|found| Some(found.bundle.as_ref()?.download_url.clone())),
        github_release_url: check.latest.as_ref().map(|found| found.page.clone()),
        release: check.latest,
        checked_at: check.checked_at,
        current_version,
    };
    if json {
        print(&view)
    } else {
        out(text(config, &view, &github))
    }
}

fn text(config: &Config, view: &CheckView, github: &GitHub<'_>) -> String {
    let mut text = String::new();
    let current = view
        .current_version
        .as_ref()
        .map_or("nothing".to_owned(), ToString::to_string);
    let Some(found) = &view.release else {
        return format!(
            "{} {current}; no release is published at {}",
            config.product,
            github.releases_page()
        );
    };
    // Writing to a String cannot fail.
    if view.update_available {
        writeln!(text, "{} {current} → {} is available", config.product, found.version).ok();
    } else {
        writeln!(
            text,
            "{} {current} is up to date; the newest release is {}",
            config.product, found.version
        )
        .ok();
    }
    if let Some(published) = &found.published_at {
        writeln!(text, "  published  {published}").ok();
    }
    match &found.bundle {
        Some(bundle) => writeln!(text, "  bundle     {}, {} bytes", bundle.name, bundle.size),
        None => writeln!(text, "  bundle     none for {}", Platform::host()),
    }
    .ok();
    writeln!(text, "  page       {}", found.page).ok();
    if view.update_available && found.bundle.is_some() {
        writeln!(text, "  hint       updater download {} --apply", found.version).ok();
    }
    text.trim_end().to_owned()
}

/// Downloads a bundle, and applies it if that is wanted.
pub(super) fn download(config: &Config, arguments: &DownloadArguments) -> Result<()> {
    let (clock, platform, progress) = (SystemClock::start(), Platform::host(), Terminal::new());
    let github = GitHub::new(config, &clock, &platform)?;
    let mut store = Store::open(&config.database())?;
    let lock = github.lock("updater download")?;
    let version = match &arguments.version {
        Some(version) => version.clone(),
        None => newest(&github, &mut store)?,
    };
    let mut update = github.request(&mut store, &version, Then::Wait)?;
    if update.state.phase == Phase::Downloading {
        update = github.fetch_patiently(&mut store, update.id, &progress)?;
    }
    drop((lock, store, progress));
    let place = update.bundle.unwrap_or_default();
    if arguments.apply {
        let permissions = Permissions::default();
        return apply_bundle(config, "updater download --apply", &place, permissions, arguments.json);
    }
    if arguments.json.json {
        return print(&serde_json::json!({ "version": version, "bundle": place }));
    }
    out(format_args!(
        "{}\n  hint       updater apply {version}",
        place.display()
    ))
}

/// Asks GitHub. No answer is an error at the console.
fn ask(github: &GitHub<'_>, store: &mut Store) -> Result<Check> {
    match github.ask(store)? {
        (check, None) => Ok(check),
        (_, Some(fault)) => Err(fault.into()),
    }
}

/// The newest version, which must be newer than the one that runs.
fn newest(github: &GitHub<'_>, store: &mut Store) -> Result<Version> {
    let check = ask(github, store)?;
    let current = store.current()?.map(|current| current.version);
    match check.newer_than(current.as_ref()) {
        Some(found) => Ok(found.version.clone()),
        None => Err(Error::refused(
            "there is no newer version",
            format!("see {}", github.releases_page()),
        )),
    }
}

/// The bundle of a version that was downloaded, if `bundle` is such a version and no file.
pub(super) fn downloaded(config: &Config, bundle: &Path) -> Result<Option<PathBuf>> {
    let version = bundle.to_str().and_then(|text| Version::parse(text).ok());
    let Some(version) = version.filter(|_| !bundle.exists()) else {
        return Ok(None);
    };
    let updates = Store::open(&config.database())?.updates()?.into_iter();
    let of_version = updates.filter(|update| update.version == version && update.state.phase == Phase::Pending);
    let found = of_version.filter_map(|update| update.bundle).find(|path| path.exists());
    found.map(Some).ok_or_else(|| {
        Error::refused(
            format!("no bundle of {version} is on this device"),
            format!("updater download {version}"),
        )
    })
}
