//! A received bundle becomes an update that waits, unless a problem blocks it.
//!
//! The manifest is judged before and after the bundle is complete. It is not trusted yet: the daemon verifies every
//! bundle. Here it is only decided whether the update is new, was registered by hand and waits for its bundle, or is
//! recorded and its bundle is no longer here.

use std::{fs, path::Path, sync::Arc};

use axum::http::StatusCode;
use bundle::{Archive, BundleName, Digest, manifest::AnyManifest};
use semver::Version;

use crate::web::{
    access::Caller,
    app::{
        App,
        receive::{Judge, Received},
    },
    refusal::Refusal,
};
use device::{
    state::{Event, Phase},
    store::{Change, NewUpdate, Origin, Update},
    system::{clock::stamp, files},
};

/// The update that an uploaded bundle belongs to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// A new one.
    New,
    /// The bundle of an update that is recorded without one.
    For(i64),
}

/// Whether a bundle with this manifest can be accepted.
pub(crate) fn judge(app: &App, manifest: &bundle::read::UnverifiedManifest) -> Result<Claim, Refusal> {
    if let AnyManifest::V1(own) = &manifest.manifest
        && own.product != app.config.product
    {
        return Err(Refusal::bad_request(format!(
            "this is a bundle of {}, and this device runs {}",
            own.product, app.config.product
        )));
    }
    let version = manifest.manifest.version();
    let digest = Digest::of(&manifest.bytes);
    let (updates, current) = app.store(|store| Ok((store.updates()?, store.current()?)))?;
    let there = |update: &Update| update.bundle.as_ref().is_some_and(|bundle| bundle.exists());
    if let Some(update) = updates.iter().find(|update| update.manifest_digest == Some(digest)) {
        let runs = current.is_some_and(|current| Some(current.id) == update.to);
        return match update.state.phase {
            Phase::Completed if runs => Err(exists(version, "is installed already")),
            Phase::Completed if !there(update) => Ok(Claim::New),
            Phase::Pending | Phase::Failed | Phase::RolledBack if !there(update) => Ok(Claim::For(update.id)),
            Phase::Pending => Err(exists(version, "was uploaded already, and waits")),
            Phase::Failed | Phase::RolledBack => {
                Err(exists(version, "is on this device already; apply it in the list"))
            }
            phase => Err(exists(version, &format!("is on this device already: {phase}"))),
        };
    }
    if current.is_some_and(|current| current.version == *version) {
        return Err(exists(version, "is installed already, from another bundle"));
    }
    match updates.iter().find(|update| update.version == *version) {
        Some(update) if update.state.phase == Phase::Pending && !there(update) => Ok(Claim::For(update.id)),
        Some(update) if update.state.phase == Phase::Pending || update.state.phase.is_active() => {
            Err(exists(version, "waits or is applied already, from another bundle"))
        }
        _ => Ok(Claim::New),
    }
}

/// As [`judge`], for a bundle of which only the beginning is here.
pub(crate) fn early(app: &Arc<App>) -> Judge {
    let app = app.clone();
    Box::new(move |manifest| judge(&app, manifest).map(drop))
}

fn exists(version: &Version, how: &str) -> Refusal {
    Refusal::conflict(format!("{version} {how}"))
}

/// Records an update for a complete bundle, and moves the bundle to where the daemon finds it. If that
/// fails, the file is removed.
pub(crate) fn claim(app: &Arc<App>, received: Received, caller: &Caller) -> Result<Update, Refusal> {
    let path = received.path.clone();
    let claimed = claim_file(app, received, caller);
    match &claimed {
        Ok(_) => app.requests.ring(),
        Err(_) => {
            fs::remove_file(path).ok();
        }
    }
    claimed
}

fn claim_file(app: &Arc<App>, received: Received, caller: &Caller) -> Result<Update, Refusal> {
    // One at a time: two uploads of the same bundle end at the same moment.
    let _claiming = app.claiming.lock();
    let claim = judge(app, &received.manifest)?;
    let manifest = &received.manifest.manifest;
    let place = app.config.updates().join(name_of(app, manifest, &received.path));
    if place.exists() {
        return Err(exists(manifest.version(), "is in updates/ already"));
    }
    let new = NewUpdate {
        version: manifest.version().clone(),
        changelog: manifest.changelog().to_owned(),
        bundle: Some(place.clone()),
        manifest_digest: Some(Digest::of(&received.manifest.bytes)),
        file_size: Some(received.size),
    };
    let origin = Origin {
        requested_by: Some(caller.who.to_string()),
        file_sha256: Some(received.sha256),
    };
    let now = stamp(jiff::Timestamp::now());
    // The record first: without one, the file would be an anonymous dropped one, refused for what it did before.
    let update = app.store(|store| match claim {
        Claim::New => store.add_requested(&new, &origin, &now),
        Claim::For(id) => {
            if store.update(id)?.state.phase != Phase::Pending {
                store.record(id, Event::Retry, &Change::default(), &now)?;
            }
            store.hand_in(id, &new, &origin)?;
            store.update(id)
        }
    })?;
    if let Err(error) = files::rename(&received.path, &place) {
        if claim == Claim::New {
            app.store(|store| store.remove_update(update.id))?;
        }
        return Err(Refusal::internal(&error));
    }
    Ok(update)
}

/// The name of a bundle on this device; the sender's name is not used.
fn name_of(app: &App, manifest: &AnyManifest, file: &Path) -> String {
    let platforms = match manifest {
        AnyManifest::V1(manifest) => manifest.platforms.as_slice(),
        AnyManifest::Legacy(_) => &[],
    };
    let only = match platforms {
        [_] => platforms,
        _ => &[],
    };
    let mut magic = [0; 4];
    let read = fs::File::open(file).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut magic));
    let archive = read.ok().and_then(|()| Archive::of_content(&magic));
    // A semantic version has no character that means anything in a path.
    BundleName::of_some(
        &app.config.product,
        manifest.version(),
        only,
        archive.unwrap_or(Archive::TarGz),
    )
    .to_string()
}

/// Refuses an invalid file name: browsers and honest scripts send the last part of a path only. The name is not used.
pub(crate) fn expect_plain_name(name: &str) -> Result<(), Refusal> {
    let plain = !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && !name.chars().any(|c| c.is_control() || "/\\".contains(c));
    match plain {
        true => Ok(()),
        false => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "the file's name is not a plain name",
        )),
    }
}
