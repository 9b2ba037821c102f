//! The plan of an update: what applying a bundle would do, found without changing anything.

use std::path::Path;

use bundle::manifest::Manifest;
use semver::Version;
use serde::{Serialize, Serializer};

use super::{
    examine::Findings,
    preflight::{Gate, Permissions},
    updater::Updater,
};
use crate::{
    Problem, Result,
    containers::Stack,
    stack::{load, release},
    state::Phase,
    system::files,
};

/// What an update would do, and the problems that block it.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The version that runs; none if nothing is installed.
    pub current: Option<Version>,
    /// The version that the bundle brings.
    pub version: Version,
    /// The trusted key that signed it.
    pub signed_by: Option<String>,
    /// What changed.
    pub changelog: String,
    /// Bytes of layers that the engine lacks and is sent.
    pub bytes_to_send: u64,
    /// The services whose containers are recreated; all others keep running.
    pub restarts: Vec<String>,
    /// About how long they will not answer, in seconds: by the last update of the kind, or else at least that long; none if
    /// nothing tells.
    pub expected_downtime_seconds: Option<u64>,
    /// Whether services stop for the migration.
    pub gated: bool,
    /// What rolling back will mean afterwards.
    pub rollback: String,
    /// Free and needed disk.
    pub disk: Vec<String>,
    /// The problems that block it.
    #[serde(serialize_with = "without_severity")]
    pub problems: Vec<Problem>,
}

impl Updater<'_> {
    /// The plan of applying a bundle. Changes nothing that matters, and leaves nothing behind.
    ///
    /// # Errors
    /// The bundle is refused, or the device cannot be asked.
    pub fn plan(&mut self, path: &Path, permissions: Permissions) -> Result<Plan> {
        let mut bundle = self.open_path(path)?;
        let manifest = bundle.manifest().clone().into_inner();
        let engine = self.engine.facts()?;
        let work = self.config.work().join(format!("plan-{}", std::process::id()));
        let found = self.examine(&mut bundle, &manifest, &work, permissions, &engine);
        let found = found.and_then(|findings| Ok((self.restarts(&findings, &manifest, &work)?, findings)));
        files::remove(&work)?;
        let (restarts, findings) = found?;
        let gated = findings.gate == Gate::Gated;
        let rollback = match &findings.current {
            None => "nothing was installed before, so there is nothing to go back to".to_owned(),
            Some(current) if gated => format!(
                "{} cannot read the data afterwards: once the update is complete, going back discards what was written since",
                current.version
            ),
            Some(current) => format!(
                "{} can be brought back at any time, no data is touched",
                current.version
            ),
        };
        Ok(Plan {
            current: findings.current.as_ref().map(|release| release.version.clone()),
            version: manifest.version.clone(),
            signed_by: bundle.signed_by().map(|key| key.id().to_string()),
            changelog: manifest.changelog.clone(),
            bytes_to_send: load::missing_bytes(self.engine, &self.store, &findings.engine, &manifest)?,
            expected_downtime_seconds: self.expected_downtime(&manifest, &restarts, gated)?,
            restarts,
            gated,
            rollback,
            disk: findings
                .disk
                .iter()
                .map(|disk| {
                    format!(
                        "{}: {} of {} free bytes in {}",
                        disk.what, disk.needed, disk.free, disk.directory
                    )
                })
                .collect(),
            problems: findings.problems,
        })
    }

    /// The services that are recreated, by the target version's files in `work`.
    fn restarts(&self, findings: &Findings, manifest: &Manifest, work: &Path) -> Result<Vec<String>> {
        // The problem is reported already.
        let Ok(project) = &findings.project else {
            return Ok(Vec::new());
        };
        if findings.current.is_none() || manifest.is_legacy() {
            // Nothing was installed, or the images are unknown.
            return Ok(project.services.iter().map(|service| service.name.clone()).collect());
        }
        let Ok(pins) = release::pins(&project.services, manifest, &findings.engine) else {
            return Ok(Vec::new());
        };
        self.engine.changed(&Stack {
            pins: Some(release::write_pins(work, &project.name, &pins)?),
            ..self.new_stack(work)
        })
    }

    /// See [`Plan::expected_downtime_seconds`].
    fn expected_downtime(&self, manifest: &Manifest, restarts: &[String], gated: bool) -> Result<Option<u64>> {
        if restarts.is_empty() {
            return Ok(Some(0));
        }
        let updates = self.store.updates()?;
        let mut before = updates
            .iter()
            .filter(|update| {
                update.from.is_some() && update.state.phase == Phase::Completed && update.state.gated == gated
            })
            .map(|update| match gated {
                true => update.facts.downtime_ms,
                false => Some(update.facts.compose_ms),
            });
        Ok(match before.next().flatten() {
            Some(milliseconds) => Some(milliseconds.div_ceil(1000)),
            // Writing starts only when the target version has stayed healthy.
            None if gated => manifest.health.as_ref().map(|health| health.soak_seconds.into()),
            None => None,
        })
    }
}

/// All problems of a plan block.
fn without_severity<S: Serializer>(problems: &[Problem], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(problems.iter().map(Problem::without_severity))
}
