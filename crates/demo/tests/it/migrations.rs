//! Schema revisions: forward, twice, at once, half, and back to an older program.

use demo::backend::{
    build::{Build, Fault},
    migrations,
    migrations::MigrationError,
    store::{Insertion, Store},
};
use tokio_postgres::Config;

use crate::{
    backend::{reading, stored},
    http,
    postgres::Postgres,
    process::{Running, free_port},
};

/// Migrates as the build with this schema and fault would.
fn migrate(postgres: &Postgres, schema: i32, fault: Fault) -> Result<(), MigrationError> {
    block_on(migrations::run(&config(postgres), Build { schema, fault }, "2.0.0"))
}

fn config(postgres: &Postgres) -> Config {
    postgres.url().parse().unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Stores one reading as the build with this schema would.
fn insert(postgres: &Postgres, schema: i32) -> Result<Insertion, demo::backend::store::StoreError> {
    let reading = serde_json::from_value(reading(f64::from(schema))).unwrap();
    let store = Store::new(&config(postgres), schema, "2.0.0");
    store.open();
    block_on(async { store.insert(&reading).await })
}

fn revisions(postgres: &Postgres) -> String {
    postgres.query("SELECT string_agg(revision || ' ' || name, ', ' ORDER BY revision) FROM schema_revision")
}

#[test]
fn data_of_the_first_revision_is_there_in_the_newest() {
    let postgres = Postgres::start();
    migrate(&postgres, 1, Fault::None).unwrap();
    assert_eq!(revisions(&postgres), "1 datapoints");
    insert(&postgres, 1).unwrap();

    let backend = Running::backend(free_port(), &postgres.url());
    assert_eq!(revisions(&postgres), "1 datapoints, 2 stored_by, 3 stored_by_required");
    let kept = stored(backend.port).into_values().next().unwrap();
    assert_eq!(
        (kept["value"].as_f64(), kept["stored_by"].as_str()),
        (Some(1.0), Some("unknown"))
    );

    let applied = postgres.query("SELECT revision, applied_at FROM schema_revision ORDER BY 1");
    backend.kill();
    let _again = Running::backend(free_port(), &postgres.url());
    assert_eq!(
        postgres.query("SELECT revision, applied_at FROM schema_revision ORDER BY 1"),
        applied
    );
}

#[test]
fn an_older_program_works_where_it_is_declared_and_nowhere_else() {
    let postgres = Postgres::start();
    migrate(&postgres, 2, Fault::None).unwrap();
    migrate(&postgres, 1, Fault::None).unwrap();
    insert(&postgres, 1).expect("revision 2 was made so that revision 1 can write");

    migrate(&postgres, 3, Fault::None).unwrap();
    migrate(&postgres, 2, Fault::None).unwrap();
    insert(&postgres, 2).expect("revision 3 was made so that revision 2 can write");
    insert(&postgres, 1).expect_err("the declaration that revision 1 cannot write is true");
    let refused = migrate(&postgres, 1, Fault::None).unwrap_err();
    assert!(
        matches!(
            refused,
            MigrationError::TooNew {
                found: 3,
                oldest_reader: 2,
                known: 1
            }
        ),
        "{refused}"
    );
    assert_eq!(postgres.query("SELECT count(*) FROM datapoints"), "2");
}

#[test]
fn a_schema_from_the_future_ends_the_program_unless_declared_readable() {
    let postgres = Postgres::start();
    migrate(&postgres, 3, Fault::None).unwrap();
    postgres.query("INSERT INTO schema_revision VALUES (4, 'future', 2, '9.0.0')");
    Running::backend(free_port(), &postgres.url()).kill();

    postgres.query("INSERT INTO schema_revision VALUES (5, 'farther', 5, '9.1.0')");
    let (status, log) = Running::start("backend", free_port(), &[("DATABASE_URL", &postgres.url())]).ended();
    assert_eq!(status.code(), Some(1));
    assert!(
        log.contains("error: database has schema revision 5, which needs a version that knows revision 5 or later; this one knows 3\nhint: "),
        "{log}"
    );
}

#[test]
fn a_migration_that_fails_halfway_leaves_nothing_behind() {
    let postgres = Postgres::start();
    migrate(&postgres, 1, Fault::None).unwrap();
    insert(&postgres, 1).unwrap();
    let columns = "SELECT string_agg(column_name, ' ' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_name = 'datapoints'";
    let before = postgres.query(columns);

    let failed = migrate(&postgres, 1, Fault::BadMigration).unwrap_err();
    assert!(!failed.may_pass());
    assert_eq!(failed.to_string(), "migration 2 `broken` failed");
    assert_eq!(
        (revisions(&postgres).as_str(), postgres.query(columns)),
        ("1 datapoints", before)
    );
    insert(&postgres, 1).unwrap();
}

#[test]
fn two_that_start_at_once_migrate_once() {
    let postgres = Postgres::start();
    let start = || Running::start("backend", free_port(), &[("DATABASE_URL", &postgres.url())]);
    let (one, other) = (start(), start());
    one.healthy();
    other.healthy();
    let migrated = (one.log() + &other.log()).matches("migrated").count();
    assert_eq!(
        (
            migrated,
            postgres.query("SELECT count(*) FROM schema_revision").as_str()
        ),
        (3, "3")
    );
    assert_eq!(
        http::post(other.port, "/api/v1/datapoints", &reading(1.0))
            .unwrap()
            .status,
        201
    );
    assert_eq!(stored(one.port).len(), 1);
}
