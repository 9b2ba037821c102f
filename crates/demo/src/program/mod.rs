//! What the three programs have in common: command line, logs, signals, serving, exit codes.
//!
//! `PROGRAM` serves; `PROGRAM healthcheck` asks the running one and exits with 0 or 1, because an image made
//! `FROM scratch` has neither a shell nor curl; `PROGRAM --version` prints its version.
//!
//! Exit codes: 0 ended as asked, 1 failed (or unhealthy), 2 wrong command line.

mod command_line;
mod healthcheck;
mod shutdown;

use std::{future::Future, io, io::Write as _, net::Ipv6Addr, process::ExitCode, time::Duration};

use axum::Router;
use tokio::net::TcpListener;
use tracing::{info, level_filters::LevelFilter, warn};

use self::command_line::Command;
pub use self::shutdown::Shutdown;
use crate::{
    backend::migrations::MigrationError,
    environment::{Environment, EnvironmentError},
};

/// How long open requests may take to end after a stop signal. Below Docker's 10 s until it kills.
const GRACE: Duration = Duration::from_secs(8);

/// Why a program ended without a request to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is missing or wrong.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The port cannot be listened on.
    #[error("cannot listen on port {port}")]
    Listen {
        /// The port.
        port: u16,
        /// The reason.
        source: io::Error,
    },
    /// The database's schema is not one that this version can work on.
    #[error(transparent)]
    Migration(#[from] MigrationError),
    /// The runtime, a signal handler or the server failed.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The reason.
        source: io::Error,
    },
    /// This build is made to crash (see [`crate::backend::build::Fault::CrashLoop`]).
    #[error("this build is made to crash (DEMO_FAULT=crash-loop)")]
    MadeToCrash,
}

/// What distinguishes one program from the others.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// The port it listens on unless the environment's `PORT` says another.
    pub default_port: u16,
    /// The path that `healthcheck` asks.
    pub health_path: &'static str,
}

impl Program {
    /// The port to listen on.
    ///
    /// # Errors
    /// `PORT` is not a port.
    pub fn port(&self, environment: &Environment) -> Result<u16, EnvironmentError> {
        environment.parsed("PORT", self.default_port, "a port number from 1 to 65535")
    }

    /// The whole of `main`: does what the command line says and gives the exit code. `run` serves until the
    /// shutdown that it is handed.
    pub fn main<F>(self, run: impl FnOnce(Environment, Shutdown) -> F) -> ExitCode
    where
        F: Future<Output = Result<(), Error>>,
    {
        let environment = Environment::of_process();
        match Command::parse(std::env::args().skip(1)) {
            Ok(Command::Serve) => self.serve_until_stopped(environment, run),
            Ok(Command::Healthcheck) => self.healthcheck(&environment),
            Ok(Command::Version) => print(&format!("{} {}\n", self.name, env!("CARGO_PKG_VERSION"))),
            Ok(Command::Help) => print(&command_line::help(self.name)),
            Err(unknown) => {
                report(&format!(
                    "unknown argument `{unknown}`\nhint: `{} --help` shows all",
                    self.name
                ));
                ExitCode::from(2)
            }
        }
    }

    fn serve_until_stopped<F>(self, environment: Environment, run: impl FnOnce(Environment, Shutdown) -> F) -> ExitCode
    where
        F: Future<Output = Result<(), Error>>,
    {
        let outcome = start_logs(&environment).map_err(Error::from).and_then(|()| {
            // One thread is enough for all three, and small boards have little memory for stacks.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|source| Error::Io {
                    action: "start the runtime",
                    source,
                })?;
            runtime.block_on(async {
                let shutdown = Shutdown::on_signals().map_err(|source| Error::Io {
                    action: "listen for signals",
                    source,
                })?;
                info!(program = self.name, "starting");
                run(environment, shutdown).await
            })
        });
        match outcome {
            Ok(()) => {
                info!(program = self.name, "stopped");
                ExitCode::SUCCESS
            }
            Err(error) => {
                report(&chain(&error));
                ExitCode::FAILURE
            }
        }
    }

    fn healthcheck(self, environment: &Environment) -> ExitCode {
        let outcome = self
            .port(environment)
            .map_err(|error| error.to_string())
            .and_then(|port| healthcheck::ask(port, self.health_path).map_err(|error| error.to_string()));
        match outcome {
            Ok(answer) => print(&answer),
            Err(message) => {
                report(&message);
                ExitCode::FAILURE
            }
        }
    }

    /// Serves `router` on `port` until the shutdown, then lets open requests end for a while.
    ///
    /// # Errors
    /// The port cannot be listened on, or accepting connections failed.
    pub async fn serve(self, port: u16, router: Router, shutdown: Shutdown) -> Result<(), Error> {
        let listener = listen(port).await.map_err(|source| Error::Listen { port, source })?;
        info!(program = self.name, port, "listening");
        let service = router.into_make_service_with_connect_info::<std::net::SocketAddr>();
        let serving = axum::serve(listener, service).with_graceful_shutdown(shutdown.clone().requested());
        let overdue = async {
            shutdown.requested().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            served = serving => served.map_err(|source| Error::Io { action: "serve", source }),
            () = overdue => {
                warn!(seconds = GRACE.as_secs(), "connections were still open when time was up");
                Ok(())
            }
        }
    }
}

/// Both address families where the kernel has both, else the old one.
async fn listen(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        Err(_) => TcpListener::bind(("0.0.0.0", port)).await,
    }
}

fn start_logs(environment: &Environment) -> Result<(), EnvironmentError> {
    let level = environment.parsed("LOG_LEVEL", LevelFilter::INFO, "error, warn, info, debug or trace")?;
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        .with_writer(io::stderr)
        .init();
    Ok(())
}

/// The error and its causes on one line. Some libraries include the cause in their message; it is then not repeated.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

fn print(text: &str) -> ExitCode {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn report(message: &str) {
    // A closed standard error cannot be reported anywhere.
    let _ = writeln!(io::stderr().lock(), "error: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    #[test]
    fn causes_are_reported_once() {
        let cause = |text, source| Some(Box::new(Layer { text, source }));
        let error = Layer {
            text: "no answer",
            source: cause("cannot connect: refused", cause("refused", None)),
        };
        assert_eq!(chain(&error), "no answer: cannot connect: refused");
    }
}
