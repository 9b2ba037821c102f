//! A private PostgreSQL cluster per test, in a temporary directory, on a port of its own.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{eventually, process::free_port};

const USER: &str = "webmacs";
const PASSWORD: &str = "pass word'\"";

/// A cluster with the user and the database `webmacs`; ends when it is dropped.
pub(crate) struct Postgres {
    bin: PathBuf,
    directory: TempDir,
    port: u16,
    server: Option<Child>,
}

impl Postgres {
    /// Makes and starts one.
    pub(crate) fn start() -> Self {
        let mut postgres = Self {
            bin: programs(),
            directory: directory(),
            port: free_port(),
            server: None,
        };
        let password = postgres.directory.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).unwrap();
        let made = postgres
            .unprivileged("initdb")
            .args([
                "--username",
                USER,
                "--auth",
                "scram-sha-256",
                "--encoding",
                "UTF8",
                "--no-sync",
            ])
            .arg("--pwfile")
            .arg(&password)
            .arg(postgres.data())
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        postgres.restart();
        postgres.query_in("postgres", "CREATE DATABASE webmacs");
        postgres
    }

    /// Starts the server that was stopped, and waits until it answers.
    pub(crate) fn restart(&mut self) {
        assert!(self.server.is_none(), "the server runs");
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("log"))
            .unwrap();
        let server = self
            .unprivileged("postgres")
            .arg("-D")
            .arg(self.data())
            .args([
                "-p",
                &self.port.to_string(),
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "shared_buffers=16MB",
            ])
            // The backend must ask for durable commits itself.
            .args(["-c", "synchronous_commit=off"])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", self.directory.path().display()))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.server = Some(server);
        eventually("PostgreSQL answers", || self.psql("postgres", "SELECT 1").ok());
    }

    /// Ends the server at once, without a checkpoint: the next start recovers from the log.
    pub(crate) fn crash(&mut self) {
        if let Some(mut server) = self.server.take() {
            let killed = Command::new("kill")
                .args(["-QUIT", &server.id().to_string()])
                .status()
                .unwrap();
            assert!(killed.success());
            server.wait().unwrap();
        }
    }

    /// Asks the database by psql; rows as lines, columns divided by `|`.
    pub(crate) fn query(&self, sql: &str) -> String {
        self.query_in("webmacs", sql)
    }

    /// The address that the backend is given.
    pub(crate) fn url(&self) -> String {
        format!(
            "host=127.0.0.1 port={} user={USER} password='{}' dbname=webmacs",
            self.port,
            PASSWORD.replace('\'', "\\'")
        )
    }

    fn query_in(&self, database: &str, sql: &str) -> String {
        self.psql(database, sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    fn psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let output = Command::new(self.bin.join("psql"))
            .args([
                "-X",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                "127.0.0.1",
                "-U",
                USER,
                "-d",
                database,
            ])
            .args(["-p", &self.port.to_string(), "-c", sql])
            .env("PGPASSWORD", PASSWORD)
            .output()
            .unwrap();
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// PostgreSQL refuses to run as root, so root becomes another user for it.
    fn unprivileged(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        match other_user() {
            None => Command::new(program),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command
                    .args(["--reuid", user, "--regid", user, "--clear-groups"])
                    .arg(program);
                command
            }
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.crash();
    }
}

/// The user that PostgreSQL's package makes, when this is root.
fn other_user() -> Option<&'static str> {
    let id = Command::new("id").arg("-u").output().unwrap().stdout;
    (id == b"0\n").then_some("postgres")
}

fn directory() -> TempDir {
    let directory = tempfile::Builder::new().prefix("webmacs-test-").tempdir().unwrap();
    if let Some(user) = other_user() {
        assert!(
            Command::new("chown")
                .arg(user)
                .arg(directory.path())
                .status()
                .unwrap()
                .success()
        );
    }
    directory
}

/// The directory of the newest PostgreSQL's programs, where Debian puts them.
fn programs() -> PathBuf {
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    fs::read_dir("/usr/lib/postgresql")
        .ok()
        .and_then(|versions| {
            versions
                .filter_map(|entry| Some(entry.ok()?.path()))
                .max_by_key(|path| version(path))
        })
        .map(|path| path.join("bin"))
        .expect("PostgreSQL is needed\nhint: cargo xtask setup, or apt-get install postgresql")
}
