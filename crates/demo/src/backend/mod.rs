//! The backend: owns the database, takes datapoints, tells how it is.
//!
//! Flow: read settings → listen, so that `/health` answers from the first moment → in the background wait for
//! the database and migrate it → serve datapoints. A database that is away, at the start or later, is waited
//! for; a schema that this version cannot work on ends the program with a message, because waiting would not
//! help.
//!
//! A reading is acknowledged (201, or 200 when it was there already) only after its commit is on disk; the
//! connections ask for `synchronous_commit` themselves, independent of the server's configuration.

pub mod api;
pub mod build;
pub mod migrations;
pub mod settings;
pub mod store;

use std::{convert::Infallible, future, sync::Arc, time::Duration};

use tracing::{info, warn};

use self::{
    build::{Build, Fault},
    migrations::MigrationError,
    settings::Settings,
    store::Store,
};
use crate::{
    environment::Environment,
    program::{Error, Program, Shutdown, chain},
};

/// The program.
pub const PROGRAM: Program = Program {
    name: "backend",
    default_port: 8000,
    health_path: "/health",
};

/// How long a build with [`Fault::CrashLoop`] seems to be well.
const CRASH_AFTER: Duration = Duration::from_secs(5);

/// Pauses between attempts to reach the database: the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Serves until the shutdown.
///
/// # Errors
/// A setting is wrong, the port is taken, or the database's schema cannot be worked on.
pub async fn run(environment: Environment, shutdown: Shutdown, build: Build) -> Result<(), Error> {
    let settings = Settings::read(&environment)?;
    let port = PROGRAM.port(&environment)?;
    info!(version = settings.version, schema = build.schema, "backend");
    if build.fault != Fault::None {
        warn!(fault = ?build.fault, "this build has a fault, for tests only");
    }
    if settings.secret_key.is_none() {
        warn!("SECRET_KEY is not set: everybody may write");
    }
    let store = Arc::new(Store::new(&settings.database, build.schema, &settings.version));
    let router = api::router(Arc::clone(&store), &settings, build.fault);
    tokio::select! {
        served = PROGRAM.serve(port, router, shutdown) => served,
        failed = prepare(&settings, build, &store) => failed.map(|never| match never {}).map_err(Error::from),
        () = crash(build.fault) => Err(Error::MadeToCrash),
    }
}

/// Waits for the database, migrates it and opens the store; then there is nothing left to do, ever.
async fn prepare(settings: &Settings, build: Build, store: &Store) -> Result<Infallible, MigrationError> {
    let (mut pause, longest) = PAUSES;
    loop {
        match migrations::run(&settings.database, build, &settings.version).await {
            Ok(()) => break,
            Err(error) if error.may_pass() => {
                let error = chain(&error);
                warn!(error, retry_in_ms = pause.as_millis(), "waiting for the database");
                store.note_outage(&error);
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
    store.open();
    future::pending().await
}

async fn crash(fault: Fault) {
    match fault {
        Fault::CrashLoop => tokio::time::sleep(CRASH_AFTER).await,
        Fault::None | Fault::Unhealthy | Fault::BadMigration => future::pending().await,
    }
}
