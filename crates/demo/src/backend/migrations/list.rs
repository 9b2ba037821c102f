//! The migrations, in order.

/// The newest revision in this source tree.
pub const NEWEST: i32 = MIGRATIONS.len() as i32;

/// One step of the schema; its revision is its place in the list, from 1.
pub(super) struct Migration {
    pub(super) name: &'static str,
    /// The oldest revision whose build can work on the data after this step.
    pub(super) oldest_reader: i32,
    pub(super) sql: &'static str,
}

/// All steps, the first revision's first.
pub(super) const MIGRATIONS: [Migration; 3] = [
    Migration {
        name: "datapoints",
        oldest_reader: 1,
        sql: include_str!("0001_datapoints.sql"),
    },
    Migration {
        name: "stored_by",
        oldest_reader: 1,
        sql: include_str!("0002_stored_by.sql"),
    },
    Migration {
        name: "stored_by_required",
        oldest_reader: 2,
        sql: include_str!("0003_stored_by_required.sql"),
    },
];

/// The step of a build that is made to fail.
pub(super) const BROKEN: Migration = Migration {
    name: "broken",
    oldest_reader: NEWEST,
    sql: include_str!("broken.sql"),
};
