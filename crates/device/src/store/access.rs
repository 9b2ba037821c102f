//! Who may use the page and the API: sessions of people, tokens of scripts, and what each of them did.
//!
//! Secrets are kept as SHA-256 only: they are 256 random bits, so nothing slower is needed.

use bundle::Digest;
use rusqlite::{OptionalExtension as _, Row, params};
use serde::Serialize;

use super::{database::Store, row::parsed};
use crate::{Error, Result};

/// How many lines of the audit log are kept.
const AUDIT_LINES: u32 = 10_000;

/// How many of refused logins: password guessing must not push out what counts.
const REFUSED_LINES: u32 = 1_000;

/// What a refused login is called in the audit log.
pub const REFUSED_LOGIN: &str = "login refused";

/// A person's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of its secret.
    pub secret: Digest,
    /// SHA-256 of the password hash that it was begun with: another password ends it.
    pub password: Digest,
    /// When it was begun, in seconds since 1970.
    pub created: i64,
}

/// A script's token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Token {
    /// What a person calls it.
    pub name: String,
    /// SHA-256 of it.
    #[serde(skip)]
    pub secret: Digest,
    /// Whether it may change nothing.
    pub read_only: bool,
    /// When it was made.
    pub created_on: String,
}

/// A line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = AuditView)]
pub struct Audit {
    /// When.
    pub at: String,
    /// Who: `admin`, `token NAME`, `console`, `anonymous`.
    pub who: String,
    /// From which address; none at the console.
    pub address: Option<String>,
    /// What was asked for.
    pub action: String,
    /// Of what: a version, a name.
    pub subject: String,
    /// What came of it.
    pub outcome: String,
}

impl Store {
    /// Records a session, and forgets those that began before `oldest` or with another password.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn add_session(&mut self, session: &Session, oldest: i64) -> Result<()> {
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "DELETE FROM session WHERE created < ?1 OR password <> ?2",
            params![oldest, session.password.to_string()],
        )?;
        transaction.execute(
            "INSERT INTO session (secret, password, created) VALUES (?1, ?2, ?3)",
            params![
                session.secret.to_string(),
                session.password.to_string(),
                session.created
            ],
        )?;
        Ok(transaction.commit()?)
    }

    /// The session whose secret has this digest.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn session(&self, secret: &Digest) -> Result<Option<Session>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT secret, password, created FROM session WHERE secret = ?1")?;
        let session = statement.query_row([secret.to_string()], |row| {
            Ok(Session {
                secret: parsed(row, 0)?,
                password: parsed(row, 1)?,
                created: row.get(2)?,
            })
        });
        Ok(session.optional()?)
    }

    /// Ends a session.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn end_session(&mut self, secret: &Digest) -> Result<()> {
        self.connection
            .execute("DELETE FROM session WHERE secret = ?1", [secret.to_string()])?;
        Ok(())
    }

    /// Records a token.
    ///
    /// # Errors
    /// There is one of that name, or the database cannot be written.
    pub fn add_token(&mut self, token: &Token) -> Result<()> {
        let added = self.connection.execute(
            "INSERT OR IGNORE INTO token (name, secret, read_only, created_on) VALUES (?1, ?2, ?3, ?4)",
            params![token.name, token.secret.to_string(), token.read_only, token.created_on],
        )?;
        match added {
            0 => Err(Error::refused(
                format!("there is a token `{}` already", token.name),
                format!("updater token remove {}, or take another name", token.name),
            )),
            _ => Ok(()),
        }
    }

    /// All tokens, by name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn tokens(&self) -> Result<Vec<Token>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT name, secret, read_only, created_on FROM token ORDER BY name")?;
        let tokens = statement.query_map([], |row| {
            Ok(Token {
                name: row.get(0)?,
                secret: parsed(row, 1)?,
                read_only: row.get(2)?,
                created_on: row.get(3)?,
            })
        })?;
        Ok(tokens.collect::<rusqlite::Result<_>>()?)
    }

    /// Removes a token: it is worth nothing from then on.
    ///
    /// # Errors
    /// There is none of that name, or the database cannot be written.
    pub fn remove_token(&mut self, name: &str) -> Result<()> {
        match self.connection.execute("DELETE FROM token WHERE name = ?1", [name])? {
            0 => Err(Error::refused(
                format!("there is no token `{name}`"),
                "updater token list",
            )),
            _ => Ok(()),
        }
    }

    /// Adds a line to the audit log, which forgets the oldest ones.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn add_audit(&mut self, line: &Audit) -> Result<()> {
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "INSERT INTO audit (at, who, address, action, subject, outcome) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![line.at, line.who, line.address, line.action, line.subject, line.outcome],
        )?;
        for (condition, limit) in [("=", REFUSED_LINES), ("<>", AUDIT_LINES)] {
            transaction.execute(
                &format!(
                    "DELETE FROM audit WHERE action {condition} ?1 AND seq <= (SELECT seq FROM audit
                     WHERE action {condition} ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)"
                ),
                params![REFUSED_LOGIN, limit],
            )?;
        }
        Ok(transaction.commit()?)
    }

    /// Lines of the audit log, the newest first: `limit` of them after `offset`, and how many there are.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn audit(&self, offset: u64, limit: u64) -> Result<(Vec<Audit>, u64)> {
        let total = self
            .connection
            .query_row("SELECT count(*) FROM audit", [], |row| row.get(0))?;
        let mut statement = self.connection.prepare_cached(
            "SELECT at, who, address, action, subject, outcome FROM audit ORDER BY seq DESC LIMIT ?1 OFFSET ?2",
        )?;
        let lines = statement.query_map([limit, offset], audit_of_row)?;
        Ok((lines.collect::<rusqlite::Result<_>>()?, total))
    }
}

fn audit_of_row(row: &Row<'_>) -> rusqlite::Result<Audit> {
    Ok(Audit {
        at: row.get(0)?,
        who: row.get(1)?,
        address: row.get(2)?,
        action: row.get(3)?,
        subject: row.get(4)?,
        outcome: row.get(5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("updates.sqlite")).unwrap();
        (directory, store)
    }

    #[test]
    fn a_new_password_forgets_the_sessions_of_the_old_one() {
        let (_directory, mut store) = store();
        let session = |secret: &[u8], password: &[u8], created| Session {
            secret: Digest::of(secret),
            password: Digest::of(password),
            created,
        };
        let [old, same, new] = [session(b"1", b"a", 5), session(b"2", b"a", 10), session(b"3", b"b", 11)];
        store.add_session(&old, 0).unwrap();
        store.add_session(&same, 6).unwrap();
        assert_eq!(store.session(&old.secret).unwrap(), None);
        assert_eq!(store.session(&same.secret).unwrap(), Some(same));
        store.add_session(&new, 0).unwrap();
        assert_eq!(store.session(&same.secret).unwrap(), None);
        store.end_session(&new.secret).unwrap();
        assert_eq!(store.session(&new.secret).unwrap(), None);
    }

    #[test]
    fn refused_logins_push_out_only_each_other() {
        let (_directory, mut store) = store();
        let line = |action: &str, subject: u32| Audit {
            at: String::new(),
            who: "anonymous".to_owned(),
            address: None,
            action: action.to_owned(),
            subject: subject.to_string(),
            outcome: String::new(),
        };
        store.add_audit(&line("apply", 0)).unwrap();
        for number in 0..=REFUSED_LINES + 5 {
            store.add_audit(&line(REFUSED_LOGIN, number)).unwrap();
        }
        let (newest, total) = store.audit(0, 1).unwrap();
        assert_eq!(total, u64::from(REFUSED_LINES) + 1);
        assert_eq!(newest[0].subject, (REFUSED_LINES + 5).to_string());
        let (oldest, _) = store.audit(total - 1, 1).unwrap();
        assert_eq!(oldest[0].action, "apply");
    }

    #[test]
    fn a_tokens_name_is_taken_once() {
        let (_directory, mut store) = store();
        let token = Token {
            name: "ci".to_owned(),
            secret: Digest::of(b"1"),
            read_only: true,
            created_on: "2026-01-31T12:00:00Z".to_owned(),
        };
        store.add_token(&token).unwrap();
        assert!(store.add_token(&token).is_err());
        assert_eq!(store.tokens().unwrap(), [token]);
        store.remove_token("ci").unwrap();
        assert!(store.remove_token("ci").is_err());
    }
}
