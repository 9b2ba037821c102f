//! The phase after the commit: starts what had to wait, and removes what is no longer needed.
//!
//! The target version is the current one already. Nothing here undoes that: a failure becomes a warning.

use super::{run::Ended, self_update, updater::Updater};
use crate::{
    Error, Result,
    containers::Services,
    stack::{
        health::{self, Question},
        release,
    },
    state::Event,
    store::{Change, Fact, Release, Update},
    system::{crash, files},
};

/// Attempts to start the services that had to wait for a gated update.
const START_TRIES: u32 = 3;

impl Updater<'_> {
    /// The phase "committing".
    pub(super) fn commit(&mut self, update: &Update) -> Result<Ended> {
        let to = self.release_after(update)?;
        let started = match update.state.gated {
            true => self.start_the_rest(update, &to),
            false => Ok(()),
        };
        match self.tidy_up(update) {
            Err(error @ Error::Store(_)) => return Err(error),
            Err(error) => self.warn(update.id, error.with_hint())?,
            Ok(()) => {}
        }
        started.map(|()| (Event::Committed, Change::default()))
    }

    fn tidy_up(&mut self, update: &Update) -> Result<()> {
        self_update::after_commit(self, update)?;
        self.move_to_applied(update)?;
        crash::point("bundle applied");
        self.prune()?;
        files::remove(&self.work_directory(update))
    }

    /// Starts the services of a gated update that had to wait.
    fn start_the_rest(&mut self, update: &Update, to: &Release) -> Result<()> {
        let stack = release::stack(self.config, to);
        // Nothing else starts them, so a restart of the engine or a service that was slow once is no reason to stop.
        for tries_left in (0..START_TRIES).rev() {
            self.wait_for_engine()?;
            match self.engine.up(&stack, Services::All) {
                Ok(()) => break,
                Err(error) if tries_left == 0 => return Err(error),
                Err(error) => self
                    .progress
                    .note(&format!("not all services start: {error}; once more")),
            }
        }
        crash::point("rest started");
        let stopped = update.facts.stopped_at.as_ref();
        let downtime = stopped.and_then(|stopped| milliseconds_between(stopped, &self.clock.stamp()));
        self.store
            .add_facts(update.id, &Vec::from_iter(downtime.map(Fact::Downtime)))?;
        let question = Question::about(self.config, to)?;
        if let Err(error) = health::wait(self.engine, self.clock, &question, &mut |_| {}) {
            self.warn(
                update.id,
                format!("{error}; the update stays, because the version before cannot read the data any more"),
            )?;
        }
        Ok(())
    }
}

/// Milliseconds between two recorded times; none if the clock went back.
fn milliseconds_between(from: &str, until: &str) -> Option<u64> {
    let [from, until] = [from, until].map(|stamp| stamp.parse::<jiff::Timestamp>());
    let passed = until.ok()?.as_millisecond().checked_sub(from.ok()?.as_millisecond())?;
    u64::try_from(passed).ok()
}
