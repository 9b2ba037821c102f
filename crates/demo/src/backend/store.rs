//! Datapoints in PostgreSQL.
//!
//! A small pool of connections; one that broke (the database was restarted) is replaced at its next use.
//! Every question is bounded in time here and on the server, so that a request is answered even when the
//! database is not.

use std::{
    future::Future,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio_postgres::{Config, IsolationLevel, NoTls, Row};
use tracing::{info, warn};

use crate::{
    program::chain,
    reading::{Page, Reading, Stored},
};

/// Connections at most; each costs the database some MiB.
const CONNECTIONS: usize = 4;

/// Getting a connection may take this long, and so may using it, beyond the server's own limit.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away, being prepared, or too slow. Whether a write was done is not known.
    #[error("database is not available: {0}")]
    Unavailable(String),
    /// Another reading has the same id.
    #[error("another reading is stored with the id {0}")]
    Conflict(uuid::Uuid),
    /// The database cannot hold such a value.
    #[error("database cannot hold this: {0}")]
    Unstorable(String),
}

/// Whether a reading was new.
#[derive(Clone, Debug, PartialEq)]
pub enum Insertion {
    /// It is stored now.
    New(Stored),
    /// It was stored before; nothing changed.
    Known(Stored),
}

/// The datapoints.
pub struct Store {
    pool: Pool,
    version: String,
    /// Whether this build's schema has the column `stored_by`.
    stored_by: bool,
    open: AtomicBool,
    outage: Mutex<Option<String>>,
}

impl Store {
    /// A store that is closed until [`Store::open`]. Connects when it is first used.
    ///
    /// `schema` is the revision that the build knows, `version` what it writes into `stored_by`.
    pub fn new(database: &Config, schema: i32, version: &str) -> Self {
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(database.clone(), NoTls, recycling);
        let mut pool = deadpool_postgres::PoolConfig::new(CONNECTIONS);
        pool.timeouts.wait = Some(PATIENCE);
        pool.timeouts.create = Some(PATIENCE);
        pool.timeouts.recycle = Some(PATIENCE);
        let pool = Pool::builder(manager).config(pool).runtime(Runtime::Tokio1);
        Self {
            #[expect(
                clippy::expect_used,
                reason = "building fails only when timeouts come without a runtime"
            )]
            pool: pool.build().expect("a pool with a runtime"),
            version: version.to_owned(),
            stored_by: schema >= 2,
            open: AtomicBool::new(false),
            outage: Mutex::new(None),
        }
    }

    /// Lets datapoints in and out: the schema is as it should be.
    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
        self.note_recovery();
    }

    /// Whether the schema is as it should be.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// The database's schema revision, which also shows that it answers.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn schema_revision(&self) -> Result<Option<i32>, StoreError> {
        if !self.is_open() {
            let outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner).clone();
            return Err(StoreError::Unavailable(
                outage.unwrap_or_else(|| "it is being prepared".to_owned()),
            ));
        }
        self.ask(async |client| {
            let row = client
                .query_one("SELECT max(revision) FROM schema_revision", &[])
                .await?;
            row.try_get(0)
        })
        .await
    }

    /// Stores a reading; returns after the commit. The same reading again changes nothing.
    ///
    /// # Errors
    /// Another reading has the id, or the database is away.
    pub async fn insert(&self, reading: &Reading) -> Result<Insertion, StoreError> {
        self.check_open()?;
        let Reading {
            id,
            source,
            name,
            value,
            unit,
            measured_at,
        } = reading;
        let insert = format!(
            "INSERT INTO datapoints (id, source, name, value, unit, measured_at{})
             VALUES ($1, $2, $3, $4, $5, $6{})
             ON CONFLICT (id) DO NOTHING RETURNING {}",
            if self.stored_by { ", stored_by" } else { "" },
            if self.stored_by { ", $7" } else { "" },
            self.columns(),
        );
        let select = format!("SELECT {} FROM datapoints WHERE id = $1", self.columns());
        let (is_new, stored) = self
            .ask(async |client| {
                let mut values: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> =
                    vec![id, source, name, value, unit, measured_at];
                if self.stored_by {
                    values.push(&self.version);
                }
                let statement = client.prepare_cached(&insert).await?;
                match client.query_opt(&statement, &values).await? {
                    Some(row) => Ok((true, stored(&row)?)),
                    // Another commit was first, and it is on disk: it would not be visible otherwise.
                    None => Ok((false, stored(&client.query_one(&select, &[id]).await?)?)),
                }
            })
            .await?;
        if is_new {
            Ok(Insertion::New(stored))
        } else if stored.reading == *reading {
            Ok(Insertion::Known(stored))
        } else {
            Err(StoreError::Conflict(*id))
        }
    }

    /// At most `limit` readings, newest first, older than the one with the number `after`.
    ///
    /// # Errors
    /// The database is away.
    pub async fn page(&self, limit: i64, after: Option<i64>) -> Result<Page, StoreError> {
        self.check_open()?;
        let select = format!(
            "SELECT {} FROM datapoints WHERE seq < $1 ORDER BY seq DESC LIMIT $2",
            self.columns()
        );
        self.ask(async |client| {
            // One snapshot, so that the total fits the page.
            let snapshot = client
                .build_transaction()
                .isolation_level(IsolationLevel::RepeatableRead)
                .read_only(true)
                .start()
                .await?;
            let total = snapshot
                .query_one("SELECT count(*) FROM datapoints", &[])
                .await?
                .try_get(0)?;
            let rows = snapshot
                .query(&select, &[&after.unwrap_or(i64::MAX), &(limit + 1)])
                .await?;
            snapshot.commit().await?;
            let mut data = rows.iter().map(stored).collect::<Result<Vec<_>, _>>()?;
            // The one beyond the limit only shows that there is a next page.
            let kept = usize::try_from(limit).unwrap_or(usize::MAX);
            let more = data.len() > kept;
            data.truncate(kept);
            let next = data.last().filter(|_| more).map(|last| last.seq);
            Ok(Page { data, total, next })
        })
        .await
    }

    fn columns(&self) -> &'static str {
        if self.stored_by {
            "seq, id, source, name, value, unit, measured_at, stored_at, stored_by"
        } else {
            "seq, id, source, name, value, unit, measured_at, stored_at"
        }
    }

    fn check_open(&self) -> Result<(), StoreError> {
        if self.is_open() {
            Ok(())
        } else {
            Err(StoreError::Unavailable("it is being prepared".to_owned()))
        }
    }

    /// Asks the database one question, within bounds, and notes when it goes away and comes back.
    async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&mut Object) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, StoreError> {
        let outcome = self.ask_now(question).await;
        match &outcome {
            Err(StoreError::Unavailable(error)) => self.note_outage(error),
            _ => self.note_recovery(),
        }
        outcome
    }

    async fn ask_now<T>(
        &self,
        question: impl AsyncFnOnce(&mut Object) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, StoreError> {
        let mut client = self
            .pool
            .get()
            .await
            .map_err(|error| StoreError::Unavailable(chain(&error)))?;
        let answer = within(PATIENCE * 4, question(&mut client)).await?;
        answer.map_err(|error| {
            // SQLSTATE class 22, "data exception"; PostgreSQL manual, appendix A.
            if error.code().is_some_and(|code| code.code().starts_with("22")) {
                StoreError::Unstorable(chain(&error))
            } else {
                StoreError::Unavailable(chain(&error))
            }
        })
    }

    /// Remembers why the database is away; logs it when it was not before.
    pub(super) fn note_outage(&self, error: &str) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if outage.is_none() {
            warn!(error, "database is away");
        }
        *outage = Some(error.to_owned());
    }

    fn note_recovery(&self) {
        if self
            .outage
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .is_some()
        {
            info!("database is back");
        }
    }
}

async fn within<T>(limit: Duration, question: impl Future<Output = T>) -> Result<T, StoreError> {
    tokio::time::timeout(limit, question)
        .await
        .map_err(|_| StoreError::Unavailable(format!("no answer within {} s", limit.as_secs())))
}

/// A row in the order of [`Store::columns`].
fn stored(row: &Row) -> Result<Stored, tokio_postgres::Error> {
    Ok(Stored {
        seq: row.try_get(0)?,
        reading: Reading {
            id: row.try_get(1)?,
            source: row.try_get(2)?,
            name: row.try_get(3)?,
            value: row.try_get(4)?,
            unit: row.try_get(5)?,
            measured_at: row.try_get(6)?,
        },
        stored_at: row.try_get(7)?,
        stored_by: if row.len() > 8 { row.try_get(8)? } else { None },
    })
}
