//! The rollback plan: what a rollback would mean for the data, found before anything changes.

use bundle::manifest::DataRule;
use semver::Version;
use serde::Serialize;

use crate::{
    Error, Result,
    engine::preflight::{can_read, data_there},
    state::Phase,
    store::{Release, Store, Update},
};

/// What rolling back an update would mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RollbackPlan {
    /// The version that would run afterwards.
    #[schema(value_type = String)]
    pub version: Version,
    /// The time since when all writes would be lost, RFC 3339 in UTC; null if all data stays. Sent back to agree.
    pub discards_data_since: Option<String>,
}

/// The plan of rolling back `update`, by the data rule.
///
/// # Errors
/// It is not possible, and why.
pub fn rollback_plan(store: &Store, update: &Update) -> Result<RollbackPlan> {
    let refuse = |message: String, hint: &str| Err(Error::refused(message, hint));
    if update.state.phase != Phase::Completed {
        return refuse(
            format!(
                "the update to {} is {}, and only a completed one can be rolled back",
                update.version, update.state.phase
            ),
            "updater history",
        );
    }
    let current = store.current()?;
    if update.from == update.to {
        return refuse(
            format!("{} was there already when this update was applied", update.version),
            "roll back the update that brought it; `updater history` shows it",
        );
    }
    if current.as_ref().map(|release| release.id) != update.to {
        return refuse(
            format!("{} is not the version that runs", update.version),
            "only the newest update can be rolled back; `updater status` shows it",
        );
    }
    let before = update.from.map(|id| store.release(id)).transpose()?;
    let (Some(before), Some(current)) = (before, current) else {
        return refuse(
            format!("nothing was installed before {}", update.version),
            "updater uninstall",
        );
    };
    if !before.directory.as_ref().is_some_and(|directory| directory.is_dir()) {
        return refuse(
            format!("the files of {} are no longer on this device", before.version),
            "apply its bundle with --allow-downgrade",
        );
    }
    let recorded = store.data()?;
    let discards_data_since = match data_stays(&before, data_there(&current, recorded.as_ref())) {
        true => None,
        false if update.facts.gated_backup.is_none() => {
            return refuse(
                format!(
                    "{} cannot read the data of {}, and there is no backup from before",
                    before.version, current.version
                ),
                "stay, or install a newer version",
            );
        }
        // Nothing was written between the dump that is restored and the commit.
        false => Some(update.facts.stopped_at.clone().unwrap_or_default()),
    };
    Ok(RollbackPlan {
        version: before.version,
        discards_data_since,
    })
}

/// Whether `before` can work on the data that is `there`.
fn data_stays(before: &Release, there: &DataRule) -> bool {
    before.data.revision == there.revision || can_read(&before.version, there)
}
