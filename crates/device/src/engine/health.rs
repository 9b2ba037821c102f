//! The phases "checking" and "soaking": asks whether a version is healthy, and records the answers.

use super::{run::Ended, switch::migrated_by, updater::Updater};
use crate::{
    Error, Result,
    containers::ContainerEngine,
    stack::{
        health::{self, Question},
        release,
    },
    state::Event,
    store::{Change, Fact, Release, Update},
    system::clock::Clock,
};

/// [`health::wait`] or [`health::soak`].
type Watch = fn(&dyn ContainerEngine, &dyn Clock, &Question, &mut dyn FnMut(String)) -> Result<()>;

impl Updater<'_> {
    /// The phase "checking".
    pub(super) fn check(&mut self, update: &Update) -> Result<Ended> {
        self.watch_target(update, health::wait)?;
        Ok((Event::Healthy, Change::default()))
    }

    /// The phase "soaking". Its end is the commit: from then on the target version is the current one.
    pub(super) fn soak(&mut self, update: &Update) -> Result<Ended> {
        self.watch_target(update, health::soak)?;
        let to = self.release_after(update)?;
        self.expect_images(&to, self.first_services(update, &to)?.as_deref())?;
        // Applied again: the previous version is still the one that can be brought back.
        let previous = match update.from == update.to {
            true => self.store.previous()?.map(|release| release.id),
            false => update.from,
        };
        let epoch = release::manifest(&to)?.map_or(0, |manifest| manifest.security_epoch);
        let change = Change {
            current: Some((to.id, previous)),
            security_epoch: Some(epoch.max(self.store.security_epoch()?)),
            ..Change::default()
        };
        Ok((Event::Stayed, change))
    }

    fn watch_target(&mut self, update: &Update, watch: Watch) -> Result<()> {
        let to = self.release_after(update)?;
        let first = self.first_services(update, &to)?;
        self.keep_quiet(update, first.as_deref())?;
        let question = Question {
            migrates: match first {
                Some(_) => release::manifest(&to)?.as_ref().and_then(migrated_by),
                None => None,
            },
            only: first,
            ..Question::about(self.config, &to)?
        };
        self.watch(update, &question, watch)
    }

    /// Watches health. The answers are recorded, however it ends.
    fn watch(&mut self, update: &Update, question: &Question, watch: Watch) -> Result<()> {
        let (clock, progress) = (self.clock, self.progress);
        let mut answers = Vec::new();
        let outcome = watch(self.engine, clock, question, &mut |text| {
            progress.note(&text);
            answers.push(Fact::Health(format!("{} {text}", clock.stamp())));
        });
        self.store.add_facts(update.id, &answers)?;
        outcome
    }

    /// Checks that the version that was brought back is healthy, or as unhealthy as it was.
    pub(super) fn expect_health(&mut self, update: &Update, release: &Release) -> Result<()> {
        let question = Question::about(self.config, release)?;
        match self.watch(update, &question, health::wait) {
            Err(Error::Unhealthy(message)) if update.facts.was_healthy == Some(false) => self.warn(
                update.id,
                format!("{} is as it was before the update: {message}", release.version),
            ),
            outcome => outcome,
        }
    }

    pub(super) fn is_healthy(&self, current: &Release) -> Result<bool> {
        Ok(health::is_healthy(self.engine, &Question::about(self.config, current)?))
    }
}
