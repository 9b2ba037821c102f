//! The records, as data.

use std::{collections::BTreeMap, path::PathBuf};

use bundle::{
    Digest,
    manifest::{Backup, DataRule},
};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::state::{Phase, State};

/// An update, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Update {
    /// Its number in this database.
    #[serde(skip)]
    pub id: i64,
    /// Its name outside.
    pub public_id: String,
    /// The version that it brings.
    pub version: Version,
    /// What changed, in Markdown.
    pub changelog: String,
    /// Where its bundle is now.
    #[serde(skip)]
    pub bundle: Option<PathBuf>,
    /// The bundle's identity, once it was verified.
    pub manifest_digest: Option<Digest>,
    /// The bundle file's size in bytes.
    pub file_size: Option<u64>,
    /// Its state.
    pub state: State,
    /// What went wrong.
    pub error: Option<String>,
    /// The release that ran before.
    #[serde(skip)]
    pub from: Option<i64>,
    /// The release that it brings, once its files are here.
    #[serde(skip)]
    pub to: Option<i64>,
    /// What was found out on the way.
    pub facts: Facts,
    /// When it was recorded, RFC 3339 in UTC, as all times here.
    pub created_on: String,
    /// When it was begun.
    pub started_on: Option<String>,
    /// When it came to rest.
    pub completed_on: Option<String>,
}

impl Update {
    /// Whether it is stuck and its data is still to be restored: until then nothing may write.
    pub fn owes_data(&self) -> bool {
        match self.state.stuck_in {
            Some(Phase::Undoing) => self.state.gated,
            Some(Phase::Returning) => self.facts.discard_data_since.is_some(),
            _ => false,
        }
    }
}

/// What is found out while an update is applied, for its later phases and for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The database that is saved: what the running version declares, or else what the target version does.
    pub database: Option<Backup>,
    /// The database backup, a path on this device.
    pub backup: Option<PathBuf>,
    /// The backup that was made when nothing wrote any more, of a gated update.
    pub gated_backup: Option<PathBuf>,
    /// The name that the database gets if its data must be undone, free when it was chosen.
    pub replaced_database: Option<String>,
    /// What the data was when nothing wrote any more, of a gated update.
    pub data_before: Option<DataRule>,
    /// The health answers, oldest first, each with its time.
    pub health: Vec<String>,
    /// What did not stop the update and should be known.
    pub warnings: Vec<String>,
    /// How long each phase took, in milliseconds; what happened before an interruption is not in it.
    pub durations_ms: BTreeMap<String, u64>,
    /// How long reading and verifying the bundle took, in milliseconds; it may have been done before the phases began.
    pub verify_ms: u64,
    /// Of the phases, how long Compose took to start services, in milliseconds.
    pub compose_ms: u64,
    /// Bytes that the engine was sent.
    pub sent_bytes: u64,
    /// When services were stopped on purpose.
    pub stopped_at: Option<String>,
    /// How long services were stopped on purpose, in milliseconds.
    pub downtime_ms: Option<u64>,
    /// Since when writes are discarded, if a person said so for a rollback.
    pub discard_data_since: Option<String>,
    /// Whether a version older than the running one is accepted.
    pub allow_downgrade: bool,
    /// Whether it is to be applied as soon as it is downloaded.
    pub apply_when_downloaded: bool,
    /// Whether the bundle was made by the legacy release procedure.
    pub legacy: bool,
    /// Whether the previous version was healthy when the update began; none if nothing ran.
    pub was_healthy: Option<bool>,
}

/// How many health answers a record keeps: the first and the last ones.
const HEALTH_ANSWERS: usize = 100;

/// One thing that is found out while an update is applied. Each becomes a part of its [`Facts`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The database that is saved.
    Database(Backup),
    /// Whether the previous version was healthy when the update began.
    WasHealthy(bool),
    /// How long reading and verifying the bundle took, in milliseconds.
    Verified(u64),
    /// The bundle was made by the legacy release procedure.
    Legacy,
    /// Something that does not stop the update and should be known.
    Warning(String),
    /// The database backup.
    Backup(PathBuf),
    /// When services were stopped on purpose. The first time counts.
    Stopped(String),
    /// What the data was when services were stopped, and the name that the database gets if its data must be undone.
    DataBefore(Option<DataRule>, Option<String>),
    /// The backup that was made when nothing wrote any more.
    GatedBackup(PathBuf),
    /// How long services were stopped on purpose, in milliseconds. The first time counts.
    Downtime(u64),
    /// How long Compose took to start services, in milliseconds.
    Started(u64),
    /// Bytes that the engine was sent.
    Sent(u64),
    /// A health answer, with its time.
    Health(String),
    /// How long a phase took, in milliseconds.
    Took(Phase, u64),
    /// A person rolls back, and agreed to discard what was written since then, if anything.
    RollsBack(Option<String>),
    /// The name that the database gets which a rollback replaces.
    Replaced(Option<String>),
    /// Whether a person accepts a version older than the running one.
    AllowDowngrade(bool),
    /// A person wants it applied as soon as it is downloaded.
    ApplyWhenDownloaded,
}

impl Facts {
    /// Adds what was found out.
    pub(super) fn add(&mut self, fact: Fact) {
        match fact {
            Fact::Database(database) => self.database = Some(database),
            Fact::WasHealthy(healthy) => self.was_healthy = Some(healthy),
            Fact::Verified(milliseconds) => self.verify_ms = milliseconds,
            Fact::Legacy => self.legacy = true,
            Fact::Warning(text) => self.warnings.push(text),
            Fact::Backup(path) => self.backup = Some(path),
            Fact::Stopped(at) => {
                self.stopped_at.get_or_insert(at);
            }
            Fact::DataBefore(data, name) => (self.data_before, self.replaced_database) = (data, name),
            Fact::GatedBackup(path) => self.gated_backup = Some(path),
            Fact::Downtime(milliseconds) => {
                self.downtime_ms.get_or_insert(milliseconds);
            }
            Fact::Started(milliseconds) => self.compose_ms = milliseconds,
            Fact::Sent(bytes) => self.sent_bytes = bytes,
            Fact::Health(answer) => {
                if self.health.len() >= HEALTH_ANSWERS {
                    self.health.remove(HEALTH_ANSWERS / 2);
                }
                self.health.push(answer);
            }
            Fact::Took(phase, milliseconds) => {
                *self.durations_ms.entry(phase.name().to_owned()).or_default() += milliseconds;
            }
            // The database name of an earlier rollback would mean that the data was restored.
            Fact::RollsBack(since) => (self.discard_data_since, self.replaced_database) = (since, None),
            Fact::Replaced(name) => self.replaced_database = name,
            Fact::AllowDowngrade(allowed) => self.allow_downgrade = allowed,
            Fact::ApplyWhenDownloaded => self.apply_when_downloaded = true,
        }
    }

    /// What a person wants of an update; nothing of what was found out when it was tried before.
    pub(super) fn of_a_new_try(&self) -> Self {
        Self {
            allow_downgrade: self.allow_downgrade,
            apply_when_downloaded: self.apply_when_downloaded,
            ..Self::default()
        }
    }
}

/// A version that was or is installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Release {
    /// Its number in this database.
    #[serde(skip)]
    pub id: i64,
    /// The version.
    pub version: Version,
    /// The bundle that it came from; none if a person installed it by hand.
    pub manifest_digest: Option<Digest>,
    /// The directory of its files of record; none if a person installed it by hand.
    #[serde(skip)]
    pub directory: Option<PathBuf>,
    /// Where its bundle is kept.
    #[serde(skip)]
    pub bundle: Option<PathBuf>,
    /// Which image each service runs.
    pub pins: BTreeMap<String, Pin>,
    /// Which versions can work on its data.
    pub data: DataRule,
    /// When it was recorded.
    pub made_on: String,
}

impl Change {
    /// A change that records only what was found out.
    pub fn found(facts: impl Into<Vec<Fact>>) -> Self {
        Self {
            facts: facts.into(),
            ..Self::default()
        }
    }
}

/// The image of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// What the compose file calls it.
    pub reference: String,
    /// The engine's ID of it.
    pub id: Digest,
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JournalEntry {
    /// When.
    pub at: String,
    /// What happened.
    pub event: String,
    /// The phase that followed.
    pub phase: String,
    /// More about it.
    pub detail: Option<String>,
}

/// An update that is not recorded yet.
#[derive(Clone, Debug)]
pub struct NewUpdate {
    /// The version that it brings.
    pub version: Version,
    /// What changed.
    pub changelog: String,
    /// Where its bundle is.
    pub bundle: Option<PathBuf>,
    /// The bundle's identity, where it is known.
    pub manifest_digest: Option<Digest>,
    /// The bundle file's size in bytes.
    pub file_size: Option<u64>,
}

/// Changes that belong to an event and are made together with it.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// What went wrong.
    pub error: Option<String>,
    /// What was found out.
    pub facts: Vec<Fact>,
    /// Where the bundle is from now on.
    pub bundle: Option<PathBuf>,
    /// The releases that are current and previous from now on.
    pub current: Option<(i64, Option<i64>)>,
    /// The smallest security epoch that is accepted from now on.
    pub security_epoch: Option<u64>,
    /// More for the journal.
    pub detail: Option<String>,
}
