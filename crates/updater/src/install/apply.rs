//! What the bundle becomes on this device: a first installation, an update, or what was there already, repaired.
//!
//! ```text
//! nothing is recorded, and someone installed the product with Compose    adopted, then updated
//! nothing is installed                                                  applied
//! this very bundle                                                      images, files and services put in order
//! another version                                                       started if it is down, then updated
//! ```

use std::path::Path;

use semver::Version;

use super::report::Report;
use device::{
    Error, Result,
    config::Config,
    containers::{ContainerEngine, Services},
    engine::{Means, Updater, lock::Lock, preflight::Permissions},
    stack::{
        bundle_files::Bundle,
        health::{self, Question},
        release,
    },
    store::{Release, Update},
};

/// How it went.
pub(super) struct Outcome {
    pub(super) version: Version,
    pub(super) from: Option<Version>,
    pub(super) already_installed: bool,
}

/// Makes the bundle's version the one that runs.
///
/// # Errors
/// What [`Updater::apply`] gives; what is installed cannot be repaired.
pub(super) fn apply(
    means: Means<'_>,
    lock: Lock,
    mut bundle: Bundle,
    path: &Path,
    permissions: Permissions,
    report: &mut Report<'_>,
) -> Result<(Outcome, Lock)> {
    let Means { config, engine, .. } = means;
    // After a first installation that failed, `.env` names a version that never ran: that one is not adopted.
    let mut updater = Updater::recovered(means, lock)?;
    if let Some(stuck) = updater.store.stuck()?.filter(Update::owes_data) {
        return Err(Error::Stuck(stuck.error.unwrap_or_default()));
    }
    let version = bundle.manifest().version.clone();
    let facts = engine.facts()?;
    let current = updater.store.current()?;
    let from = current.as_ref().map(|release| release.version.clone());
    if let Some(current) = &current {
        if current.manifest_digest == Some(bundle.manifest_digest()) {
            let repaired = repair(&mut updater, current, Some(&mut bundle))?;
            report.made.extend(repaired);
            let outcome = Outcome {
                version,
                from: None,
                already_installed: true,
            };
            return Ok((outcome, updater.into_lock()));
        }
        if is_down(engine, config, current)? {
            // The engine saves the database before it updates, and that must run.
            report
                .progress
                .note(&format!("starting {} to save its data", current.version));
            let mut own = current
                .bundle
                .as_ref()
                .and_then(|path| updater.open_path(path).ok())
                .filter(|bundle| current.manifest_digest == Some(bundle.manifest_digest()));
            repair(&mut updater, current, own.as_mut())?;
        }
    }
    // It was verified a moment ago, from this very file.
    let update = updater.enter_by_hand(path, bundle, facts, permissions)?;
    updater.apply(update.id)?;
    report.notes.extend(updater.store.update(update.id)?.facts.warnings);
    report
        .made
        .push(format!("{} {version}, which runs and is healthy", config.product));
    let outcome = Outcome {
        version,
        from,
        already_installed: false,
    };
    Ok((outcome, updater.into_lock()))
}

fn is_down(engine: &dyn ContainerEngine, config: &Config, current: &Release) -> Result<bool> {
    // Without its compose file Compose cannot be asked, and nothing of it runs under that name.
    if !config.compose().is_file() {
        return Ok(true);
    }
    let containers = engine.containers(&release::stack(config, current))?;
    Ok(!containers.iter().any(|container| container.running))
}

/// Puts an installed release in order: its images, its files, its services. What was not as it should be.
fn repair(updater: &mut Updater<'_>, current: &Release, bundle: Option<&mut Bundle>) -> Result<Vec<String>> {
    let mut repaired = load_missing(updater, current, bundle)?;
    let question = Question::about(updater.config, current)?;
    let healthy = repaired.is_empty()
        && updater.config.compose().is_file()
        && updater.config.env().is_file()
        && health::is_healthy(updater.engine, &question);
    release::activate(updater.config, updater.engine, current, Services::All)?;
    updater.expect_images(current, None)?;
    let progress = updater.progress;
    health::wait(updater.engine, updater.clock, &question, &mut |text| {
        progress.note(&text);
    })?;
    if !healthy {
        repaired.push(format!("{} {} runs again", updater.config.product, current.version));
    }
    Ok(repaired)
}

/// Loads the images of a release that were removed.
fn load_missing(updater: &mut Updater<'_>, current: &Release, bundle: Option<&mut Bundle>) -> Result<Vec<String>> {
    let missing = updater.missing_images(current)?;
    if missing.is_empty() {
        return Ok(missing);
    }
    let bundle = bundle.ok_or_else(|| {
        Error::refused(
            format!(
                "{} {} is installed, its image {} is not on this device, and neither is its bundle",
                updater.config.product, current.version, missing[0]
            ),
            format!("install the bundle of {} first", current.version),
        )
    })?;
    updater.load_again(current, &missing, bundle)?;
    Ok(missing
        .into_iter()
        .map(|reference| format!("{reference} was loaded again"))
        .collect())
}
