//! The diagnosis of a failed update, without secrets.

use std::fmt::Write as _;

use super::updater::{Means, Updater};
use crate::{
    config::Config,
    containers::env_file::EnvFile,
    stack::release,
    store::{Store, Update},
    system::files,
};

/// The file in the work directory with what was known when an update failed.
pub(super) const DIAGNOSIS: &str = "diagnosis.txt";

/// Lines of the services' logs that a diagnosis shows.
const LOG_LINES: u32 = 200;

impl Updater<'_> {
    /// Writes the diagnosis at the moment of a failure, if that is possible.
    pub(super) fn keep_diagnosis(&self, update: &Update, why: &str) {
        let directory = self.work_directory(update);
        let text = diagnosis(self.means(), &self.store, update, why);
        let kept = files::make_directory(&directory)
            .and_then(|()| files::write(&directory.join(DIAGNOSIS), text.as_bytes(), 0o600));
        if let Err(error) = kept {
            self.progress
                .note(&format!("warning: the diagnosis is not kept: {error}"));
        }
    }
}

/// Everything about an update: record, journal, health answers, containers, last logs. Never fails: what it cannot
/// read, it reports as missing.
pub fn diagnosis(means: Means<'_>, store: &Store, update: &Update, why: &str) -> String {
    let Means {
        config, engine, clock, ..
    } = means;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let out = &mut text;
    writeln!(out, "{} {} ({})", config.product, update.version, update.public_id).ok();
    writeln!(out, "written on {}", clock.stamp()).ok();
    writeln!(out, "phase: {}", update.state.phase).ok();
    writeln!(out, "why: {why}").ok();
    match engine.facts() {
        Ok(facts) => writeln!(
            out,
            "engine: {} ({} store) on {}",
            facts.version, facts.store, facts.platform
        ),
        Err(error) => writeln!(out, "engine: {error}"),
    }
    .ok();
    match engine.compose() {
        Ok(compose) => writeln!(out, "compose: {}", compose.as_deref().unwrap_or("none")),
        Err(error) => writeln!(out, "compose: {error}"),
    }
    .ok();
    writeln!(out, "\nJournal").ok();
    for entry in store.journal(update.id).unwrap_or_default() {
        let detail = entry.detail.unwrap_or_default();
        writeln!(out, "{} {:<15} {:<12} {detail}", entry.at, entry.event, entry.phase).ok();
    }
    writeln!(out, "\nHealth").ok();
    for line in &update.facts.health {
        writeln!(out, "{line}").ok();
    }
    for warning in &update.facts.warnings {
        writeln!(out, "warning: {warning}").ok();
    }
    let releases = [update.to, store.current().ok().flatten().map(|release| release.id)];
    if let Some(release) = releases.into_iter().flatten().find_map(|id| store.release(id).ok()) {
        let stack = release::stack(config, &release);
        writeln!(out, "\nContainers").ok();
        for container in engine.containers(&stack).unwrap_or_default() {
            writeln!(
                out,
                "{:<20} {:<12} {:?} restarts {} exit code {} image {}",
                container.service,
                container.state,
                container.health,
                container.restarts,
                container.exit_code,
                container.image
            )
            .ok();
        }
        writeln!(out, "\nLogs").ok();
        match engine.logs(&stack, LOG_LINES) {
            Ok(logs) => writeln!(out, "{logs}"),
            Err(error) => writeln!(out, "{error}"),
        }
        .ok();
    }
    without_secrets(config, text)
}

/// Replaces every value of `.env` that may be a secret.
fn without_secrets(config: &Config, text: String) -> String {
    match files::read_if_there(&config.env()) {
        Ok(Some(bytes)) => EnvFile::parse(&String::from_utf8_lossy(&bytes)).hide_secrets(text),
        // What cannot be read cannot have got into it.
        _ => text,
    }
}
