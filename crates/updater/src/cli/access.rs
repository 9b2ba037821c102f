//! `updater token …` and `updater history --audit`; and what is done at the console, noted in the audit log.

use std::fmt::Display;

use bundle::Digest;
use clap::Subcommand;

use super::{
    output::{Json, out, print},
    terminal::note,
};
use device::{
    Error, Result,
    config::Config,
    store::{Audit, Store, Token},
    system::{clock::stamp, random::random},
};

/// Letters and digits of a token: 256 bits.
const SECRET: usize = 43;

/// The longest name of a token.
const MAX_NAME: usize = 64;

/// How many lines of the audit log are printed.
const LINES: u64 = 1000;

/// Tokens for scripts that use the API.
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Create a token, and show it once
    Add {
        /// What it is for: letters, digits and ._-
        name: String,
        /// Allow reading only
        #[arg(long)]
        read_only: bool,
        #[command(flatten)]
        json: Json,
    },
    /// List tokens
    List(Json),
    /// Revoke a token
    Remove {
        /// Its name
        name: String,
    },
}

impl TokenCommand {
    pub(super) fn wants_json(&self) -> bool {
        match self {
            Self::Add { json, .. } | Self::List(json) => json.json,
            Self::Remove { .. } => false,
        }
    }
}

pub(super) fn tokens(config: &Config, command: TokenCommand) -> Result<()> {
    match command {
        TokenCommand::Add { name, read_only, json } => {
            let secret = noted(config, "add token", &name, || add(config, &name, read_only))?;
            match json.json {
                true => print(&serde_json::json!({ "name": name, "token": secret, "read_only": read_only })),
                false => out(secret),
            }
        }
        TokenCommand::List(Json { json }) => {
            let tokens = Store::open(&config.database())?.tokens()?;
            if json {
                return print(&tokens);
            }
            tokens.iter().try_for_each(|token| {
                let what = if token.read_only { "reads" } else { "reads and changes" };
                out(format_args!("{}  {:<17}  {}", token.created_on, what, token.name))
            })
        }
        TokenCommand::Remove { name } => noted(config, "remove token", &name, || {
            Store::open(&config.database())?.remove_token(&name)
        }),
    }
}

fn add(config: &Config, name: &str, read_only: bool) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
        return Err(Error::refused(
            format!("`{name}` is no name for a token"),
            "letters, digits and ._-, 64 at most",
        ));
    }
    let secret = format!("ota_{}", random(SECRET)?);
    Store::open(&config.database())?.add_token(&Token {
        name: name.to_owned(),
        secret: Digest::of(secret.as_bytes()),
        read_only,
        created_on: stamp(jiff::Timestamp::now()),
    })?;
    Ok(secret)
}

/// Prints the audit log, the newest line first.
pub(super) fn audit(config: &Config, json: bool) -> Result<()> {
    let (lines, _) = Store::open(&config.database())?.audit(0, LINES)?;
    if json {
        return print(&lines);
    }
    for line in lines {
        let from = line
            .address
            .map_or_else(String::new, |address| format!(" from {address}"));
        out(format_args!(
            "{}  {}{from}: {} {}: {}",
            line.at, line.who, line.action, line.subject, line.outcome
        ))?;
    }
    Ok(())
}

/// Does something, and notes in the audit log that it was asked for at the console, and what came of it.
pub(super) fn noted<T>(
    config: &Config,
    action: &str,
    subject: impl Display,
    act: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let done = act();
    let line = Audit {
        at: stamp(jiff::Timestamp::now()),
        who: who(),
        address: None,
        action: action.to_owned(),
        subject: subject.to_string(),
        outcome: match &done {
            Ok(_) => "done".to_owned(),
            Err(error) => error.to_string(),
        },
    };
    // What was done stays done if its note cannot be written.
    let written = Store::open(&config.database()).and_then(|mut store| store.add_audit(&line));
    if let Err(error) = written {
        note(&format!("warning: this is not in the audit log: {error}"));
    }
    done
}

/// The user at the console, as far as `sudo` says it.
fn who() -> String {
    match std::env::var("SUDO_USER") {
        Ok(user) if !user.is_empty() => format!("console ({user})"),
        _ => "console".to_owned(),
    }
}
