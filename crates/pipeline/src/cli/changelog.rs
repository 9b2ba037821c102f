//! `changelog`: what changed, as a release would say it, and the changelog's file made ready for a version.

use std::{fs, io, path::PathBuf};

use clap::Args;
use semver::Version;
use xshell::Shell;

use super::{
    arguments::{version, workspace},
    output::out,
};
use crate::{
    Error, Result,
    facts::{Facts, changelog, git::Git},
    system::{files, report::note},
};

/// The file, where none is declared.
const FILE: &str = "CHANGELOG.md";

/// Arguments of `changelog`.
#[derive(Debug, Args)]
pub struct ChangelogArgs {
    /// The version that is to be released
    #[arg(value_parser = version)]
    version: Version,
    /// Make it the version's section of the changelog's file, in Keep-a-Changelog form
    #[arg(long)]
    write: bool,
}

pub(super) fn run(args: &ChangelogArgs) -> Result<()> {
    let workspace = workspace()?;
    let wrong = |path: PathBuf| move |message: String| Error::Content { path, message };
    if !args.write {
        let changelog = Facts::read(&workspace, &args.version)?.changelog;
        return out(changelog.map_err(wrong(workspace.root))?);
    }
    let file = workspace.declaration.changelog.file.as_deref().unwrap_or(FILE);
    let path = workspace.root.join(file);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => changelog::EMPTY.to_owned(),
        text => text.map_err(Error::io("read", &path))?,
    };
    let sh = Shell::new().map_err(|error| wrong(workspace.root.clone())(error.to_string()))?;
    // The commit's, so that no clock is asked.
    let time = Git::read(&sh, &workspace.root)?.time;
    let date = jiff::Timestamp::from_second(time)
        .map(|time| time.strftime("%Y-%m-%d").to_string())
        .map_err(|error| wrong(path.clone())(error.to_string()))?;
    let commits = changelog::from_commits(&sh, &workspace.root, &args.version)?;
    let written = changelog::with_version(&text, &args.version, &date, &commits).map_err(wrong(path.clone()))?;
    files::write_atomically(&path, written.as_bytes())?;
    note(format_args!(
        "{file} has a section for {}; read it, and commit it",
        args.version
    ));
    Ok(())
}
