//! The life of an update, as a pure function.
//!
//! ```text
//! pending ─► verifying ─► backing up ─► loading ─► (quiescing) ─► switching ─► checking ─► soaking ─► committing ─► completed
//!                │             └────────────┴───────────┴─────────────┴───────────┴──────────┘              │       ▲
//!                ▼                                      ▼                                         rolling back ─► returning
//!              failed ◄───────────────────────────── undoing ─► stuck                                       ▼
//!                                                                                                      rolled back
//! ```
//!
//! Before all that, an update may be fetched: pending ─► downloading, and from there back to pending, on to verifying, or
//! to failed.
//!
//! A [`Phase`] is an intent: it is durable before its effects begin, and each effect may be repeated. What comes out of
//! a phase is an [`Event`], and [`State::next`] alone says where it leads. Nothing here does anything.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How often a phase may be interrupted, by a crash or a power cut, before the update is given up and undone.
pub const MAX_INTERRUPTIONS: u32 = 3;

/// What is being done, or was done last, for an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing yet: it waits to be applied.
    Pending,
    /// Its bundle is being fetched.
    Downloading,
    /// Its bundle is read, and whether this device can take it is found out. Changes nothing.
    Verifying,
    /// The database is dumped.
    BackingUp,
    /// Missing images are loaded, while the previous version runs.
    Loading,
    /// A gated update only: every service but the database is stopped, and the database is dumped again.
    Quiescing,
    /// Files of record are replaced and services recreated.
    Switching,
    /// The product is asked whether it is healthy.
    Checking,
    /// Containers must stay up for a while.
    Soaking,
    /// The target version is the current one; what remains is tidying up, and for a gated update starting the rest.
    Committing,
    /// The target version runs.
    Completed,
    /// The previous version is brought back after a failure.
    Undoing,
    /// The previous version runs, and a person decides what comes next.
    Failed,
    /// Bringing a version back failed; a person must look.
    Stuck,
    /// A person wants the previous version back.
    RollingBack,
    /// Rolling back failed: the target version is brought back.
    Returning,
    /// The previous version runs again.
    RolledBack,
}

/// What users and the API see of an update; finer than that is [`Phase`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits to be applied.
    Pending,
    /// Is being fetched.
    Downloading,
    /// Is being checked.
    Verifying,
    /// Is being applied, or undone.
    Applying,
    /// Runs.
    Completed,
    /// Ran, and the previous version was brought back.
    RolledBack,
    /// Failed; the previous version runs, unless the phase is [`Phase::Stuck`].
    Failed,
}

/// What happened to an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It is to be applied, and its bundle must be fetched first.
    Download,
    /// Its bundle is here, and it waits for a person.
    Downloaded,
    /// It is to be applied, and its bundle is here.
    Start,
    /// The bundle is what it should be and this device can take it.
    Verified,
    /// The same, for an update whose data the previous version cannot read.
    VerifiedGated,
    /// The database is saved.
    BackedUp,
    /// All images can be run.
    Loaded,
    /// Nothing writes any more, and the database is saved once more.
    Quiesced,
    /// The services are the target version's.
    Switched,
    /// The product says that it is healthy.
    Healthy,
    /// It stayed up.
    Stayed,
    /// The commit is done.
    Committed,
    /// The phase failed.
    Failed,
    /// The updater was ended in the middle of the phase, and has started again.
    Interrupted,
    /// The version that ran before the phase runs again.
    Restored,
    /// Bringing it back failed.
    RestoreFailed,
    /// A person wants the previous version back.
    RollBack,
    /// A person wants it tried again.
    Retry,
}

/// The state of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What is being done.
    pub phase: Phase,
    /// Whether the previous version cannot work on the target version's data.
    pub gated: bool,
    /// How often the phases so far were interrupted.
    pub interruptions: u32,
    /// The phase that failed, of a stuck update.
    pub stuck_in: Option<Phase>,
}

/// An event that cannot happen in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an update that is {from} cannot become what `{event:?}` would make of it")]
pub struct IllegalTransition {
    /// The phase.
    pub from: Phase,
    /// The event.
    pub event: Event,
}

impl State {
    /// A new update's.
    pub const NEW: Self = Self {
        phase: Phase::Pending,
        gated: false,
        interruptions: 0,
        stuck_in: None,
    };

    /// Where `event` leads.
    ///
    /// # Errors
    /// The event cannot happen in this phase.
    pub fn next(self, event: Event) -> Result<Self, IllegalTransition> {
        use Event as E;
        use Phase as P;
        let to = |phase| Ok(Self { phase, ..self });
        match (self.phase, event) {
            (P::Pending, E::Download) => Ok(Self {
                phase: P::Downloading,
                ..Self::NEW
            }),
            (P::Pending, E::Start) => Ok(Self {
                phase: P::Verifying,
                ..Self::NEW
            }),
            (P::Downloading, E::Downloaded) => Ok(Self::NEW),
            (P::Downloading, E::Start) => to(P::Verifying),
            (P::Verifying, E::Verified) => Ok(Self {
                phase: P::BackingUp,
                gated: false,
                ..self
            }),
            (P::Verifying, E::VerifiedGated) => Ok(Self {
                phase: P::BackingUp,
                gated: true,
                ..self
            }),
            (P::BackingUp, E::BackedUp) => to(P::Loading),
            (P::Loading, E::Loaded) => to(if self.gated { P::Quiescing } else { P::Switching }),
            (P::Quiescing, E::Quiesced) => to(P::Switching),
            (P::Switching, E::Switched) => to(P::Checking),
            (P::Checking, E::Healthy) => to(P::Soaking),
            (P::Soaking, E::Stayed) => to(P::Committing),
            (P::Committing, E::Committed) => to(P::Completed),

            // Nothing was changed yet, so there is nothing to undo.
            (P::Downloading | P::Verifying, E::Failed) => to(P::Failed),
            (phase, E::Failed) if phase.can_be_undone() => to(P::Undoing),
            (P::Undoing, E::Restored) => to(P::Failed),

            (P::Completed, E::RollBack) => Ok(Self {
                phase: P::RollingBack,
                interruptions: 0,
                ..self
            }),
            (P::RollingBack, E::Restored) => to(P::RolledBack),
            (P::RollingBack, E::Failed) => to(P::Returning),
            (P::Returning, E::Restored) => to(P::Completed),

            (P::Undoing | P::Returning, E::RestoreFailed) => Ok(Self {
                phase: P::Stuck,
                stuck_in: Some(self.phase),
                ..self
            }),
            (P::Stuck, E::Retry) => Ok(Self {
                phase: self.stuck_in.unwrap_or(P::Undoing),
                stuck_in: None,
                interruptions: 0,
                ..self
            }),
            (P::Failed | P::RolledBack, E::Retry) => Ok(Self::NEW),

            (phase, E::Interrupted) if phase.is_active() => Ok(self.interrupted()),
            (from, event) => Err(IllegalTransition { from, event }),
        }
    }

    /// The phase again, or its failure once it was interrupted too often. What brings a version back, and what
    /// follows the commit, is repeated as often as it takes: there is nothing else to do.
    fn interrupted(self) -> Self {
        let interruptions = self.interruptions + 1;
        let phase = match self.phase {
            phase if interruptions <= MAX_INTERRUPTIONS => phase,
            Phase::Verifying => Phase::Failed,
            Phase::RollingBack => Phase::Returning,
            phase if phase.can_be_undone() => Phase::Undoing,
            phase => phase,
        };
        Self {
            phase,
            interruptions,
            ..self
        }
    }
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Pending,
        Self::Downloading,
        Self::Verifying,
        Self::BackingUp,
        Self::Loading,
        Self::Quiescing,
        Self::Switching,
        Self::Checking,
        Self::Soaking,
        Self::Committing,
        Self::Completed,
        Self::Undoing,
        Self::Failed,
        Self::Stuck,
        Self::RollingBack,
        Self::Returning,
        Self::RolledBack,
    ];

    /// Whether the updater must act on the device without a request. A download changes nothing there: it goes on
    /// beside everything else (module `github` of the crate `updater`).
    pub fn is_active(self) -> bool {
        !(self == Self::Pending || self == Self::Downloading || self.is_over())
    }

    /// Whether nothing more comes of it unless a person wants it.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Stuck | Self::RolledBack)
    }

    /// Whether its failure means that the previous version must be brought back.
    fn can_be_undone(self) -> bool {
        matches!(
            self,
            Self::BackingUp | Self::Loading | Self::Quiescing | Self::Switching | Self::Checking | Self::Soaking
        )
    }

    /// What users and the API see of it.
    pub fn status(self) -> Status {
        match self {
            Self::Pending => Status::Pending,
            Self::Downloading => Status::Downloading,
            Self::Verifying => Status::Verifying,
            Self::BackingUp
            | Self::Loading
            | Self::Quiescing
            | Self::Switching
            | Self::Checking
            | Self::Soaking
            | Self::Committing
            | Self::Undoing => Status::Applying,
            Self::Completed | Self::RollingBack | Self::Returning => Status::Completed,
            Self::Failed | Self::Stuck => Status::Failed,
            Self::RolledBack => Status::RolledBack,
        }
    }

    /// Its name as it is stored and shown in JSON: `backing_up`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Downloading => "downloading",
            Self::Verifying => "verifying",
            Self::BackingUp => "backing_up",
            Self::Loading => "loading",
            Self::Quiescing => "quiescing",
            Self::Switching => "switching",
            Self::Checking => "checking",
            Self::Soaking => "soaking",
            Self::Committing => "committing",
            Self::Completed => "completed",
            Self::Undoing => "undoing",
            Self::Failed => "failed",
            Self::Stuck => "stuck",
            Self::RollingBack => "rolling_back",
            Self::Returning => "returning",
            Self::RolledBack => "rolled_back",
        }
    }

    /// The phase of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name().replace('_', " "))
    }
}

impl Event {
    /// Its name as it is stored: `backed_up`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Downloaded => "downloaded",
            Self::Start => "start",
            Self::Verified => "verified",
            Self::VerifiedGated => "verified_gated",
            Self::BackedUp => "backed_up",
            Self::Loaded => "loaded",
            Self::Quiesced => "quiesced",
            Self::Switched => "switched",
            Self::Healthy => "healthy",
            Self::Stayed => "stayed",
            Self::Committed => "committed",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Restored => "restored",
            Self::RestoreFailed => "restore_failed",
            Self::RollBack => "roll_back",
            Self::Retry => "retry",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [Event; 18] = [
        Event::Download,
        Event::Downloaded,
        Event::Start,
        Event::Verified,
        Event::VerifiedGated,
        Event::BackedUp,
        Event::Loaded,
        Event::Quiesced,
        Event::Switched,
        Event::Healthy,
        Event::Stayed,
        Event::Committed,
        Event::Failed,
        Event::Interrupted,
        Event::Restored,
        Event::RestoreFailed,
        Event::RollBack,
        Event::Retry,
    ];

    /// Every legal pair, for an update that is not gated and was never interrupted. All others are illegal.
    const TABLE: &str = "\
        pending       download       downloading
        pending       start          verifying
        downloading   downloaded     pending
        downloading   start          verifying
        downloading   failed         failed
        verifying     verified       backing_up
        verifying     verified_gated backing_up
        verifying     failed         failed
        verifying     interrupted    verifying
        backing_up    backed_up      loading
        backing_up    failed         undoing
        backing_up    interrupted    backing_up
        loading       loaded         switching
        loading       failed         undoing
        loading       interrupted    loading
        quiescing     quiesced       switching
        quiescing     failed         undoing
        quiescing     interrupted    quiescing
        switching     switched       checking
        switching     failed         undoing
        switching     interrupted    switching
        checking      healthy        soaking
        checking      failed         undoing
        checking      interrupted    checking
        soaking       stayed         committing
        soaking       failed         undoing
        soaking       interrupted    soaking
        committing    committed      completed
        committing    interrupted    committing
        completed     roll_back      rolling_back
        undoing       restored       failed
        undoing       restore_failed stuck
        undoing       interrupted    undoing
        failed        retry          pending
        stuck         retry          undoing
        rolling_back  restored       rolled_back
        rolling_back  failed         returning
        rolling_back  interrupted    rolling_back
        returning     restored       completed
        returning     restore_failed stuck
        returning     interrupted    returning
        rolled_back   retry          pending";

    fn expected(phase: Phase, event: Event) -> Option<&'static str> {
        TABLE.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some(phase.name()) && words.next() == Some(event.name()))
                .then(|| words.next())
                .flatten()
        })
    }

    #[test]
    fn every_pair_is_as_the_table_says() {
        for phase in Phase::ALL {
            for event in EVENTS {
                let state = State { phase, ..State::NEW };
                let found = state.next(event).ok().map(|next| next.phase.name());
                assert_eq!(found, expected(phase, event), "{phase:?} {event:?}");
            }
        }
        assert_eq!(TABLE.lines().count(), 42);
    }

    #[test]
    fn a_gated_update_is_quiesced_before_it_switches() {
        let verified = State {
            phase: Phase::Verifying,
            ..State::NEW
        };
        let gated = verified.next(Event::VerifiedGated).unwrap();
        let loaded = gated.next(Event::BackedUp).unwrap().next(Event::Loaded).unwrap();
        assert_eq!((loaded.phase, loaded.gated), (Phase::Quiescing, true));
    }

    #[test]
    fn what_is_interrupted_too_often_is_given_up() {
        for phase in Phase::ALL.into_iter().filter(|phase| phase.is_active()) {
            let mut state = State { phase, ..State::NEW };
            for _ in 0..=MAX_INTERRUPTIONS {
                state = state.next(Event::Interrupted).unwrap();
            }
            let expected = match phase {
                Phase::Verifying => Phase::Failed,
                Phase::RollingBack => Phase::Returning,
                // The only way is to go on.
                Phase::Committing | Phase::Undoing | Phase::Returning => phase,
                _ => Phase::Undoing,
            };
            assert_eq!(state.phase, expected, "{phase:?}");
        }
    }

    #[test]
    fn a_stuck_update_goes_on_where_it_stuck() {
        for phase in [Phase::Undoing, Phase::Returning] {
            let stuck = State { phase, ..State::NEW }.next(Event::RestoreFailed).unwrap();
            assert_eq!((stuck.phase, stuck.stuck_in), (Phase::Stuck, Some(phase)));
            assert_eq!(stuck.next(Event::Retry).unwrap().phase, phase);
        }
    }

    #[test]
    fn names_come_back() {
        for phase in Phase::ALL {
            assert_eq!(Phase::from_name(phase.name()), Some(phase));
        }
    }

    /// The diagram of features.md: which status may follow which.
    #[test]
    fn statuses_follow_each_other_as_promised() {
        use Status as S;
        let allowed = [
            (S::Pending, S::Downloading),
            (S::Pending, S::Verifying),
            (S::Downloading, S::Verifying),
            // It was only to be downloaded.
            (S::Downloading, S::Pending),
            (S::Downloading, S::Failed),
            (S::Verifying, S::Applying),
            (S::Verifying, S::Failed),
            (S::Applying, S::Completed),
            (S::Applying, S::Failed),
            (S::Completed, S::RolledBack),
            (S::Failed, S::Pending),
            (S::RolledBack, S::Pending),
            // Stuck, which is shown as failed: on retry it goes on, and a stuck return has never ceased to be complete.
            (S::Failed, S::Applying),
            (S::Completed, S::Failed),
        ];
        for phase in Phase::ALL {
            for event in EVENTS {
                let Ok(next) = (State { phase, ..State::NEW }).next(event) else {
                    continue;
                };
                let pair = (phase.status(), next.phase.status());
                assert!(
                    pair.0 == pair.1 || allowed.contains(&pair),
                    "{phase:?} {event:?} {pair:?}"
                );
            }
        }
    }
}
