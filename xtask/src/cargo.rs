//! Cargo, run by a program that Cargo runs.

use std::env;

use xshell::Cmd;

/// A Cargo command as a person would run it by hand: without what the Cargo that started us says of our own package.
/// Build scripts that look at it (ring's does) would otherwise run again, and all that is built on them be compiled anew,
/// whenever a command by hand and one of ours take turns.
pub fn by_hand(command: Cmd<'_>) -> Cmd<'_> {
    let ours = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| ours(name))
        .fold(command, |command, name| command.env_remove(name))
}
