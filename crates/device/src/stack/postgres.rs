//! PostgreSQL: dumped before an update, and restored beside the live database when data must be undone.
//!
//! A dump is plain SQL (`pg_dump --clean --if-exists`), and complete only if its last line
//! says so. It is never restored over a live schema: it goes into a new database, which is then renamed in, in one
//! transaction with the one that it replaces. Source: PostgreSQL documentation, `pg_dump`, `ALTER DATABASE`.

use std::{
    fs::File,
    io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write},
    path::Path,
    time::Duration,
};

use bundle::manifest::Backup;

use crate::{
    Error, Result,
    containers::{ContainerEngine, Stack},
    system::{clock::Clock, crash, files, timing::timed},
};

/// The last words of a complete dump.
const COMPLETE: &str = "-- PostgreSQL database dump complete";

/// How many bytes of a dump's end are searched for them; newer versions write one more line.
const END: u64 = 512;

/// How long a started server may take: after a crash it recovers first.
const START_PATIENCE: Duration = Duration::from_secs(10 * 60);

/// How often it is asked.
const START_PAUSE: Duration = Duration::from_secs(1);

/// What a database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DatabaseFacts {
    /// The server's major version.
    pub(crate) major: u32,
    /// The size on the disk in bytes: a dump is hardly ever larger.
    pub(crate) size: u64,
}

/// A database in a running stack.
pub(crate) struct Postgres<'a> {
    /// The engine.
    pub(crate) engine: &'a dyn ContainerEngine,
    /// The stack that runs.
    pub(crate) stack: Stack,
    /// Which database.
    pub(crate) backup: &'a Backup,
}

impl Postgres<'_> {
    /// What the server and the database are.
    pub(crate) fn facts(&self) -> Result<DatabaseFacts> {
        let question = "SELECT current_setting('server_version_num'), pg_database_size(current_database())";
        let answer = self.ask(&self.backup.database, question)?;
        let answer = answer.trim();
        let facts = answer.split_once('|').and_then(|(version, size)| {
            Some(DatabaseFacts {
                major: version.parse::<u32>().ok()? / 10_000,
                size: size.parse().ok()?,
            })
        });
        facts.ok_or_else(|| {
            Error::engine(
                "ask the database for its version and size",
                format!("it answered `{answer}`"),
            )
        })
    }

    /// Waits until a started server accepts queries, which its container's state does not show.
    pub(crate) fn wait(&self, clock: &dyn Clock) -> Result<()> {
        let began = clock.elapsed();
        loop {
            match self.ask("postgres", "SELECT 1") {
                Err(_) if clock.elapsed().saturating_sub(began) < START_PATIENCE => clock.sleep(START_PAUSE),
                answer => return answer.map(drop),
            }
        }
    }

    /// `name`, or `name_2` and so on: the first that no database has.
    pub(crate) fn free_name(&self, name: &str) -> Result<String> {
        let mut free = name.to_owned();
        let mut number = 1;
        while self.exists(&free)? {
            number += 1;
            free = format!("{name}_{number}");
        }
        Ok(free)
    }

    /// Dumps the database into the file `path`, which is there only when the dump is complete and on the disk.
    pub(crate) fn dump(&self, path: &Path) -> Result<()> {
        let command = [
            "pg_dump",
            "--clean",
            "--if-exists",
            "--no-password",
            "--username",
            &self.backup.user,
            "--dbname",
            &self.backup.database,
        ];
        // A failure of the program wins over the failure of the file that follows from it.
        let mut failed = None;
        let written = files::write_with(path, 0o600, |file| {
            let mut out = io::BufWriter::with_capacity(1 << 16, &mut *file);
            let span = tracing::debug_span!("dump", database = self.backup.database);
            let dumped = timed(span, ToString::to_string, || {
                self.engine
                    .exec(&self.stack, &self.backup.service, &command, None, &mut out)
            });
            out.flush()?;
            drop(out);
            if let Err(error) = dumped.and_then(|()| expect_complete(file, path)) {
                failed = Some(error);
                return Err(io::ErrorKind::InvalidData.into());
            }
            crash::point("database dumped");
            Ok(())
        });
        match failed {
            Some(error) => Err(error),
            None => written,
        }
    }

    /// Puts the dump in `path` in the place of the database, which is kept under the name `replaced`. Done at most once:
    /// where `replaced` is there, nothing happens. No other client may be connected.
    pub(crate) fn replace(&self, path: &Path, replaced: &str) -> Result<()> {
        if self.exists(replaced)? {
            return Ok(());
        }
        let mut dump = File::open(path).map_err(Error::io("read", path))?;
        expect_complete(&mut dump, path)?;
        let restoring = restoring(replaced);
        let database = &self.backup.database;
        // An interrupted attempt may have left it, and may still be at work.
        self.end_sessions(&[&restoring])?;
        self.ask("postgres", &format!("DROP DATABASE IF EXISTS {}", quoted(&restoring)))?;
        self.ask(
            "postgres",
            &format!("CREATE DATABASE {} TEMPLATE template0", quoted(&restoring)),
        )?;
        crash::point("database made");
        let mut dump = BufReader::new(dump);
        let command = [
            "psql",
            "--quiet",
            "--no-psqlrc",
            "--no-password",
            "--single-transaction",
            "--set",
            "ON_ERROR_STOP=1",
            "--username",
            &self.backup.user,
            "--dbname",
            &restoring,
        ];
        let span = tracing::debug_span!("restore", database);
        timed(span, ToString::to_string, || {
            self.engine.exec(
                &self.stack,
                &self.backup.service,
                &command,
                Some(&mut dump),
                &mut io::sink(),
            )
        })?;
        crash::point("database restored");
        self.swap(database, replaced, &restoring)
    }

    /// Takes a replacement back: the database that [`Postgres::replace`] kept as `replaced` is the database again, and the
    /// one that took its place is kept beside. Nothing if there is no `replaced`.
    pub(crate) fn take_back(&self, replaced: &str) -> Result<()> {
        if !self.exists(replaced)? {
            return Ok(());
        }
        let aside = self.free_name(&format!("{replaced}_2"))?;
        self.swap(&self.backup.database, &aside, replaced)
    }

    /// Renames `database` to `aside` and `coming` to `database`, both or none.
    fn swap(&self, database: &str, aside: &str, coming: &str) -> Result<()> {
        self.end_sessions(&[database, coming])?;
        self.ask(
            "postgres",
            &format!(
                "BEGIN; ALTER DATABASE {database} RENAME TO {aside}; ALTER DATABASE {coming} RENAME TO {database}; COMMIT",
                database = quoted(database),
                aside = quoted(aside),
                coming = quoted(coming)
            ),
        )?;
        crash::point("database replaced");
        Ok(())
    }

    fn end_sessions(&self, databases: &[&str]) -> Result<()> {
        let names: Vec<_> = databases.iter().map(|name| literal(name)).collect();
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ({}) AND pid <> pg_backend_pid()",
            names.join(", ")
        );
        self.ask("postgres", &end).map(drop)
    }

    fn exists(&self, database: &str) -> Result<bool> {
        let question = format!("SELECT 1 FROM pg_database WHERE datname = {}", literal(database));
        Ok(self.ask("postgres", &question)?.trim() == "1")
    }

    /// Runs SQL, through standard input, and gives the plain answer.
    fn ask(&self, database: &str, sql: &str) -> Result<String> {
        let command = [
            "psql",
            "--quiet",
            "--no-psqlrc",
            "--no-password",
            "--tuples-only",
            "--no-align",
            "--set",
            "ON_ERROR_STOP=1",
            "--username",
            &self.backup.user,
            "--dbname",
            database,
        ];
        let mut input = sql.as_bytes().chain(&b";\n"[..]);
        let mut answer = Vec::new();
        self.engine.exec(
            &self.stack,
            &self.backup.service,
            &command,
            Some(&mut input),
            &mut answer,
        )?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

/// The name of the database into which the one that `replaced` names is being restored.
fn restoring(replaced: &str) -> String {
    format!("{replaced}_restoring")
}

/// A dump that was cut off has no last line.
fn expect_complete(file: &mut File, path: &Path) -> Result<()> {
    let mut check = || -> io::Result<bool> {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(END)))?;
        let mut end = Vec::new();
        file.take(END).read_to_end(&mut end)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(String::from_utf8_lossy(&end).lines().any(|line| line == COMPLETE))
    };
    match check() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Content {
            path: path.to_owned(),
            message: "the database dump is not complete: it does not end with `PostgreSQL database dump complete`"
                .to_owned(),
        }),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// An identifier (PostgreSQL documentation, "Identifiers and Key Words").
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string constant.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(text: &str) -> bool {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump.sql");
        std::fs::write(&path, text).unwrap();
        expect_complete(&mut File::open(&path).unwrap(), &path).is_ok()
    }

    #[test]
    fn only_a_dump_with_its_last_line_is_complete() {
        let filler = "INSERT;\n".repeat(1000);
        assert!(complete(&format!("{filler}\n--\n{COMPLETE}\n--\n\n")));
        assert!(complete(&format!(
            "{filler}--\n{COMPLETE}\n--\n\n\\unrestrict {}\n\n",
            "x".repeat(64)
        )));
        assert!(!complete(&filler));
        assert!(!complete(""));
        // In the middle, as a row of a table.
        assert!(!complete(&format!("{COMPLETE}\n{filler}")));
    }

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(quoted("a\"; DROP DATABASE b; --"), "\"a\"\"; DROP DATABASE b; --\"");
        assert_eq!(literal("o'clock"), "'o''clock'");
    }
}
