//! The database's schema: numbered migrations, and what to do with a database that is ahead.
//!
//! Flow: connect → take the advisory lock (a second backend waits here) → read the table `schema_revision` →
//! apply what is missing, each migration in one transaction together with its row in that table. So a migration is there
//! wholly or not at all, and running again does nothing.
//!
//! Each row also says which is the oldest revision that can work on the data afterwards. That is how an older
//! build decides about a newer database without knowing what was done to it: it works when it is declared to,
//! and refuses to start otherwise.

pub(crate) mod list;

use tokio_postgres::{Client, Config, NoTls};
use tracing::{info, warn};

pub use list::NEWEST;

use self::list::{BROKEN, MIGRATIONS, Migration};
use super::build::{Build, Fault};

/// The advisory lock's number: "webmacs" in ASCII. Any number does, as long as all versions use the same.
const LOCK: i64 = 0x77_65_62_6d_61_63_73;

/// Why the schema cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The database cannot be reached, or went away.
    #[error("database is not reachable")]
    Unreachable(#[source] tokio_postgres::Error),
    /// The database refused something that it will refuse again.
    #[error("{action} failed")]
    Refused {
        /// What was tried.
        action: String,
        /// The database's answer.
        source: tokio_postgres::Error,
    },
    /// The database is ahead, and not in a way that this version is declared to work with.
    #[error(
        "database has schema revision {found}, which needs a version that knows revision {oldest_reader} or later; \
         this one knows {known}\nhint: start the newer version again, or restore a backup from before its update"
    )]
    TooNew {
        /// The database's revision.
        found: i32,
        /// The oldest revision whose build can work on it.
        oldest_reader: i32,
        /// This build's revision.
        known: i32,
    },
    /// The database was migrated by something else.
    #[error(
        "database's schema revision {revision} is `{found}`, this version's is `{known}`\nhint: is this the right database?"
    )]
    Foreign {
        /// The revision.
        revision: i32,
        /// Its name in the database.
        found: String,
        /// Its name in this build.
        known: &'static str,
    },
}

impl MigrationError {
    /// Whether trying again later can help.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    /// Sorts a database error: gone and overloaded servers come back (SQLSTATE classes 08, 40, 53 and 57;
    /// PostgreSQL manual, appendix A), everything else stays.
    fn from_database(action: &str, source: tokio_postgres::Error) -> Self {
        let passes = source.code().is_none_or(|code| {
            ["08", "40", "53", "57"]
                .iter()
                .any(|class| code.code().starts_with(class))
        });
        if passes {
            Self::Unreachable(source)
        } else {
            Self::Refused {
                action: action.to_owned(),
                source,
            }
        }
    }
}

/// Brings the database to the build's revision, over a connection of its own.
///
/// # Errors
/// See [`MigrationError`]; the database is then as it was, but for the migrations that succeeded before.
pub async fn run(database: &Config, build: Build, version: &str) -> Result<(), MigrationError> {
    // Everything that prevents a connection, a wrong password included, may be fixed from outside.
    let (mut client, connection) = database.connect(NoTls).await.map_err(MigrationError::Unreachable)?;
    let driver = tokio::spawn(connection);
    let outcome = migrate(&mut client, build, version).await;
    // Closing the connection also gives the advisory lock back.
    drop(client);
    match driver.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "the migration's connection broke"),
        Err(error) => warn!(%error, "the migration's connection was not closed"),
    }
    outcome
}

async fn migrate(client: &mut Client, build: Build, version: &str) -> Result<(), MigrationError> {
    client
        .batch_execute(&format!("SET statement_timeout = 0; SELECT pg_advisory_lock({LOCK})"))
        .await
        .map_err(|error| MigrationError::from_database("locking the schema", error))?;
    let applied = applied(client).await?;
    let current = applied.last().map_or(0, |row| row.revision);
    check(&applied, build.schema)?;
    if current > build.schema {
        warn!(
            database = current,
            known = build.schema,
            "database is ahead, in a way that this version can work with"
        );
    }
    for (revision, migration) in plan(build) {
        if revision > current {
            apply(client, revision, migration, version).await?;
            info!(revision, name = migration.name, "migrated");
        }
    }
    Ok(())
}

/// The build's migrations with their revisions.
fn plan(build: Build) -> impl Iterator<Item = (i32, &'static Migration)> {
    let known = MIGRATIONS
        .iter()
        .take(usize::try_from(build.schema).unwrap_or_default());
    let broken = (build.fault == Fault::BadMigration).then_some(&BROKEN);
    (1..).zip(known.chain(broken))
}

/// A row of the table `schema_revision`.
struct Applied {
    revision: i32,
    name: String,
    oldest_reader: i32,
}

async fn applied(client: &Client) -> Result<Vec<Applied>, MigrationError> {
    let failed = |error| MigrationError::from_database("reading the schema revision", error);
    client
        .batch_execute(
            "CREATE TABLE IF NOT EXISTS schema_revision (
                 revision integer PRIMARY KEY,
                 name text NOT NULL,
                 oldest_reader integer NOT NULL,
                 applied_by text NOT NULL,
                 applied_at timestamptz NOT NULL DEFAULT now()
             )",
        )
        .await
        .map_err(failed)?;
    let rows = client
        .query(
            "SELECT revision, name, oldest_reader FROM schema_revision ORDER BY revision",
            &[],
        )
        .await
        .map_err(failed)?;
    rows.iter()
        .map(|row| {
            Ok(Applied {
                revision: row.try_get(0)?,
                name: row.try_get(1)?,
                oldest_reader: row.try_get(2)?,
            })
        })
        .collect::<Result<_, _>>()
        .map_err(failed)
}

/// Whether a build that knows the revisions up to `known` can work on a database with these rows.
fn check(applied: &[Applied], known: i32) -> Result<(), MigrationError> {
    for (row, migration) in applied.iter().zip(&MIGRATIONS) {
        if row.revision <= known && row.name != migration.name {
            return Err(MigrationError::Foreign {
                revision: row.revision,
                found: row.name.clone(),
                known: migration.name,
            });
        }
    }
    let oldest_reader = applied.iter().map(|row| row.oldest_reader).max().unwrap_or_default();
    match applied.last() {
        Some(newest) if newest.revision > known && oldest_reader > known => Err(MigrationError::TooNew {
            found: newest.revision,
            oldest_reader,
            known,
        }),
        _ => Ok(()),
    }
}

async fn apply(client: &mut Client, revision: i32, migration: &Migration, version: &str) -> Result<(), MigrationError> {
    let failed = |error| MigrationError::from_database(&format!("migration {revision} `{}`", migration.name), error);
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.batch_execute(migration.sql).await.map_err(failed)?;
    transaction
        .execute(
            "INSERT INTO schema_revision (revision, name, oldest_reader, applied_by) VALUES ($1, $2, $3, $4)",
            &[&revision, &migration.name, &migration.oldest_reader, &version],
        )
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows as `revision name oldest_reader`.
    fn check_rows(rows: &[(i32, &str, i32)], known: i32) -> Result<(), String> {
        let rows: Vec<_> = rows
            .iter()
            .map(|&(revision, name, oldest_reader)| Applied {
                revision,
                name: name.to_owned(),
                oldest_reader,
            })
            .collect();
        check(&rows, known).map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
    }

    #[test]
    fn a_newer_database_is_read_only_where_it_is_declared() {
        let all = [(1, "datapoints", 1), (2, "stored_by", 1), (3, "stored_by_required", 2)];
        assert_eq!(check_rows(&[], 1), Ok(()));
        assert_eq!(check_rows(&all[..2], 1), Ok(()));
        assert_eq!(check_rows(&all, 3), Ok(()));
        assert_eq!(check_rows(&all, 2), Ok(()));
        let refused = check_rows(&all, 1).unwrap_err();
        assert!(refused.starts_with("database has schema revision 3, which needs a version that knows revision 2"));
        // A later expanding step does not undo what an earlier one needs.
        assert!(check_rows(&[all[0], all[1], all[2], (4, "x", 1)], 1).is_err());
    }

    #[test]
    fn another_products_database_is_refused() {
        let refused = check_rows(&[(1, "users", 1)], 3).unwrap_err();
        assert_eq!(
            refused,
            "database's schema revision 1 is `users`, this version's is `datapoints`"
        );
    }

    #[test]
    fn each_step_declares_a_reader_that_exists() {
        for (revision, migration) in (1..).zip(&MIGRATIONS) {
            assert!((1..=revision).contains(&migration.oldest_reader), "{}", migration.name);
        }
        let broken = Build {
            schema: 1,
            fault: Fault::BadMigration,
        };
        let names: Vec<_> = plan(broken)
            .map(|(revision, migration)| (revision, migration.name))
            .collect();
        assert_eq!(names, [(1, "datapoints"), (2, "broken")]);
    }
}
