//! What is known of an update, for whoever must find out why it failed. Secrets are taken out.

use std::fmt::Write as _;

use crate::{containers::env_file::EnvFile, engine::Updater, stack::release, store::Update, system::files};

/// Lines of the services' logs that a diagnosis shows.
const LOG_LINES: u32 = 200;

impl Updater<'_> {
    /// Everything about an update: record, journal, health answers, containers, last logs. Never fails: what cannot be
    /// had is said to be missing.
    pub fn diagnosis(&self, update: &Update, why: &str) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let out = &mut text;
        writeln!(out, "{} {} ({})", self.config.product, update.version, update.public_id).ok();
        writeln!(out, "written on {}", self.clock.stamp()).ok();
        writeln!(out, "phase: {}", update.state.phase).ok();
        writeln!(out, "why: {why}").ok();
        match self.engine.facts() {
            Ok(engine) => writeln!(
                out,
                "engine: {} ({} store) on {}",
                engine.version, engine.store, engine.platform
            ),
            Err(error) => writeln!(out, "engine: {error}"),
        }
        .ok();
        match self.engine.compose() {
            Ok(compose) => writeln!(out, "compose: {}", compose.as_deref().unwrap_or("none")),
            Err(error) => writeln!(out, "compose: {error}"),
        }
        .ok();
        writeln!(out, "\nJournal").ok();
        for entry in self.store.journal(update.id).unwrap_or_default() {
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
        let releases = [update.to, self.store.current().ok().flatten().map(|release| release.id)];
        if let Some(release) = releases
            .into_iter()
            .flatten()
            .find_map(|id| self.store.release(id).ok())
        {
            let stack = release::stack(self.config, &release);
            writeln!(out, "\nContainers").ok();
            for container in self.engine.containers(&stack).unwrap_or_default() {
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
            match self.engine.logs(&stack, LOG_LINES) {
                Ok(logs) => writeln!(out, "{logs}"),
                Err(error) => writeln!(out, "{error}"),
            }
            .ok();
        }
        self.without_secrets(text)
    }

    /// Replaces every value of `.env` that may be a secret.
    fn without_secrets(&self, text: String) -> String {
        match files::read_if_there(&self.config.env()) {
            Ok(Some(bytes)) => EnvFile::parse(&String::from_utf8_lossy(&bytes)).hide_secrets(text),
            // What cannot be read cannot have got into it.
            _ => text,
        }
    }
}
