//! The loop: does what the record says, phase by phase, until the update rests.

use super::updater::{Updater, milliseconds};
use crate::{
    Error, Result,
    state::{Event, Phase, State},
    store::{Change, Fact, Update},
    system::files,
};

/// How a phase ended: the event, with the facts.
pub(super) type Ended = (Event, Change);

impl Updater<'_> {
    /// Finishes or undoes what was under way when the previous updater ended, if anything was.
    ///
    /// # Errors
    /// The record cannot be read or written. A device that is stuck stays so until a person retries.
    pub fn recover(&mut self) -> Result<Option<State>> {
        let Some(update) = self.store.active()? else {
            self.tidy()?;
            return Ok(None);
        };
        self.progress.note(&format!(
            "{} was interrupted while {}; going on",
            update.version, update.state.phase
        ));
        let next = update.state.next(Event::Interrupted)?;
        let mut change = Change {
            detail: Some("the updater was ended in the middle".to_owned()),
            ..Change::default()
        };
        if next.phase != update.state.phase {
            let message = format!("interrupted {} times while {}", next.interruptions, update.state.phase);
            if next.phase == Phase::Failed {
                self.reject(update.id, &message)?;
            }
            change.error = Some(message);
        }
        self.record(update.id, Event::Interrupted, change)?;
        self.run(update.id).map(Some)
    }

    /// Does what the record says, until the update rests.
    ///
    /// # Errors
    /// The record cannot be read or written. Everything else becomes an event.
    pub(super) fn run(&mut self, id: i64) -> Result<State> {
        loop {
            let update = self.store.update(id)?;
            let phase = update.state.phase;
            if !phase.is_active() {
                self.opened = None;
                return Ok(update.state);
            }
            self.progress.phase(&update.version.to_string(), phase);
            let span = tracing::info_span!("phase", version = %update.version, %phase).entered();
            let began = self.clock.elapsed();
            let (event, mut change) = match self.step(&update) {
                Ok(ended) => ended,
                // Without a writable record the next phase is unknown: the next start finds it.
                Err(error @ Error::Store(_)) => return Err(error),
                Err(error) => self.failed(&update, error)?,
            };
            let took = milliseconds(self.clock.elapsed().saturating_sub(began));
            tracing::debug!(event = event.name(), milliseconds = took, "ended");
            drop(span);
            change.facts.push(Fact::Took(phase, took));
            self.record(id, event, change)?;
        }
    }

    fn step(&mut self, update: &Update) -> Result<Ended> {
        match update.state.phase {
            Phase::Verifying => self.verify(update),
            Phase::BackingUp => self.back_up(update),
            Phase::Loading => self.load(update),
            Phase::Quiescing => self.quiesce(update),
            Phase::Switching => self.switch(update),
            Phase::Checking => self.check(update),
            Phase::Soaking => self.soak(update),
            Phase::Committing => self.commit(update),
            Phase::Undoing => self.undo(update),
            Phase::RollingBack => self.bring_back(update),
            Phase::Returning => self.return_to(update),
            phase @ (Phase::Pending
            | Phase::Downloading
            | Phase::Completed
            | Phase::Failed
            | Phase::Stuck
            | Phase::RolledBack) => Err(Error::engine(
                "go on",
                format!("an update that is {phase} does nothing"),
            )),
        }
    }

    /// The event of a failed phase.
    fn failed(&mut self, update: &Update, error: Error) -> Result<Ended> {
        let message = error.with_hint();
        // A refusal is reported by the caller; nothing has happened.
        if update.state.phase != Phase::Verifying {
            self.progress.note(&format!(
                "{} failed while {}: {error}",
                update.version, update.state.phase
            ));
        }
        let event = match update.state.phase {
            Phase::Undoing | Phase::Returning => Event::RestoreFailed,
            // The target version stays, even if something could not be started or tidied up: that becomes a warning.
            Phase::Committing => {
                self.warn(update.id, message)?;
                self.failure = Some(error);
                return Ok((Event::Committed, Change::default()));
            }
            _ => Event::Failed,
        };
        if event == Event::Failed && update.state.phase != Phase::RollingBack {
            // Now, while the containers that failed are still there.
            self.keep_diagnosis(update, &message);
        }
        if update.state.phase == Phase::Verifying {
            // Before it is recorded: a crash in between does it again.
            if error.is_the_bundles_fault()
                && let Some(digest) = update.manifest_digest
            {
                self.store.refuse(&digest, &message, &self.clock.stamp())?;
            }
            self.reject(update.id, &message)?;
            files::remove(&self.work_directory(update))?;
        }
        let text = match event {
            // The first failure must not be lost.
            Event::RestoreFailed => match &update.error {
                Some(first) => format!("{first}; then bringing the other version back failed: {message}"),
                None => message,
            },
            _ => message,
        };
        self.failure = Some(error);
        let change = Change {
            error: Some(text),
            ..Change::default()
        };
        Ok((event, change))
    }
    /// The result for the caller of an update that rests.
    pub(super) fn outcome(&mut self, id: i64, state: State) -> Result<State> {
        let update = self.store.update(id)?;
        let message = update
            .error
            .clone()
            .unwrap_or_else(|| "no reason was recorded".to_owned());
        let failure = self.failure.take();
        match state.phase {
            Phase::Stuck => Err(Error::Stuck(message)),
            Phase::Failed if self.store.has_been(id, Phase::Undoing)? => Err(Error::Undone {
                version: update.version.to_string(),
                message,
            }),
            Phase::Failed => Err(failure.unwrap_or(Error::Refused { message, hint: None })),
            // A failed rollback: the target version runs.
            Phase::Completed if failure.is_some() && update.error.is_some() => Err(Error::Undone {
                version: self
                    .release_before(&update)?
                    .map_or_else(String::new, |release| release.version.to_string()),
                message,
            }),
            _ => failure.map_or(Ok(state), Err),
        }
    }
}
