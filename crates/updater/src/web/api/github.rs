//! GitHub for the API: the newest release, and requests for its bundle. The client is [`crate::github`]; the daemon
//! downloads.

use std::sync::Arc;

use bundle::{Digest, Platform};
use semver::Version;

use crate::{
    github::{GitHub, Patience, Then},
    web::{answer::Done, app::App, refusal::Refusal, worker::blocking},
};
use device::{control::requests::Command, state::Phase, store::Update, system::clock::SystemClock};

/// The newest release, or why it is not known.
#[derive(Debug, Default)]
pub(crate) struct Newest {
    pub(crate) version: Option<Version>,
    pub(crate) download_url: Option<String>,
    pub(crate) release_url: Option<String>,
    pub(crate) error: Option<String>,
}

/// Asks GitHub for the newest release, with the short timeouts of a page.
pub(crate) async fn newest(app: &Arc<App>) -> Newest {
    if app.config.github.is_none() {
        return Newest {
            error: Some("this device knows no repository on GitHub".to_owned()),
            ..Newest::default()
        };
    }
    // One request at a time, also when many pages open.
    let _turn = app.asking.lock().await;
    let shared = app.clone();
    let checked = blocking(move || {
        let (clock, platform) = (SystemClock::start(), Platform::host());
        let github = GitHub::new(&shared.config, &clock, &platform)?.with(Patience::SHORT);
        // A connection of its own: the others shall not wait for GitHub.
        let mut store = device::store::Store::open(&shared.config.database())?;
        Ok(github.check(&mut store)?)
    });
    match checked.await {
        Ok(check) => {
            let latest = check.latest.as_ref();
            let bundle = latest.and_then(|found| found.bundle.as_ref());
            Newest {
                version: latest.map(|found| found.version.clone()),
                download_url: bundle.map(|bundle| bundle.download_url.clone()),
                release_url: latest.map(|found| found.page.clone()),
                error: check.error.map(|text| app.without_paths(&text)),
            }
        }
        Err(refusal) => Newest {
            error: Some(refusal.detail().to_owned()),
            ..Newest::default()
        },
    }
}

/// Begins to download the bundle of an update, which is applied when it is here.
pub(crate) async fn begin_download(
    app: &Arc<App>,
    update: &Update,
    url: &str,
    expected: Option<Digest>,
) -> Result<Done, Refusal> {
    if let Some(busy) = app.requests.busy() {
        return Err(Refusal::conflict(format!("{busy} is at work")));
    }
    let (shared, update, url) = (app.clone(), update.clone(), url.to_owned());
    let here = blocking(move || {
        let (clock, platform) = (SystemClock::start(), Platform::host());
        let foreign = || {
            Refusal::unprocessable(
                "download_url is not an asset of a release of the declared repository; `check` names the right one",
            )
        };
        let github = GitHub::new(&shared.config, &clock, &platform).map_err(|_| foreign())?;
        let known = shared.store(|store| github.last_check(store))?.latest;
        let known = known.and_then(|found| Some((found.version, found.bundle?)));
        // The address that GitHub named, on any host; or else one of its usual form.
        let named = known.as_ref().filter(|(_, bundle)| bundle.download_url == url);
        let version = named.map(|(version, _)| version.clone());
        let version = version.or_else(|| github.version_of_url(&url)).ok_or_else(foreign)?;
        if version != update.version {
            return Err(Refusal::unprocessable(format!(
                "download_url is of {version}, and the update is to {}",
                update.version
            )));
        }
        if !matches!(
            update.state.phase,
            Phase::Pending | Phase::Downloading | Phase::Failed | Phase::RolledBack
        ) {
            return Err(Refusal::conflict(format!(
                "the update to {version} is {}",
                update.state.phase
            )));
        }
        let digest = known
            .filter(|(newest, bundle)| *newest == version && bundle.files.len() == 1)
            .and_then(|(_, bundle)| bundle.files[0].digest);
        if expected.is_some_and(|expected| digest != Some(expected)) {
            return Err(Refusal::unprocessable(
                "file_hash_sha256 is not what GitHub says of this file, or GitHub says nothing of it",
            ));
        }
        if update.bundle.as_ref().is_some_and(|bundle| bundle.exists()) {
            return Ok(Some(update.id));
        }
        Ok(shared.store(|store| {
            if update.bundle.is_some() {
                // The bundle was here and is removed.
                store.forget_download(update.id, update.error.as_deref().unwrap_or_default())?;
            }
            github.request(store, &version, Then::Apply).map(|_| None)
        })?)
    })
    .await?;
    match here {
        Some(id) => {
            app.ask(Command::Apply { id }).await?;
            Ok(Done::new("its bundle is here already and is being applied"))
        }
        None => {
            if let Some(waker) = &app.waker {
                waker.wake();
            }
            Ok(Done::new(
                "its bundle is being downloaded, and is applied when it is here",
            ))
        }
    }
}
