//! The command line that every repository's xtask gets.

mod changelog;
mod publish;

use std::{env, io, path::PathBuf, process::ExitCode};

use bundle::{Platform, signature::PublicKey};
use clap::{Args, Subcommand};
use semver::Version;
use serde::Serialize;

use crate::{
    Error, Problem, Result,
    declaration::schema,
    facts::{self, Workspace},
    fetch,
    inspect::{self, sbom, split},
    pack::keys,
    plan::{Output, Publication, Request},
    release,
    system::report::{bytes, note, print},
};

pub use changelog::ChangelogArgs;
pub use publish::{PublishArgs, PublishOptions};

/// The variable with the network that `RUN` uses.
const BUILD_NETWORK: &str = "RELEASE_BUILD_NETWORK";

/// The pipeline's commands; flatten them into your own.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build, sign and pack a release into dist/
    #[command(after_help = "Examples:
  cargo xtask release 2.1.0                           all platforms, into dist/
  cargo xtask release 2.1.0 --plan                    show every step, change nothing
  cargo xtask release 2.1.0 --platform linux/arm64    one platform only; the bundle's name says so
  cargo xtask release 2.1.0 --offline                 with what `cargo xtask vendor` saved, no network
  cargo xtask release 2.1.0 --part a.zip --part b.zip merge what native runners built
  cargo xtask release 2.1.0 --publish                 make a GitHub Release of it")]
    Release(ReleaseArgs),
    /// Make a GitHub Release of bundles that are there, or finish one
    #[command(after_help = "Examples:
  cargo xtask publish dist/webmacs-update-2.1.0*.tar.gz         publish, or go on where it stopped
  cargo xtask publish dist/webmacs-update-2.1.0*.tar.gz --plan  show what is left to do, change nothing

GITHUB_TOKEN (or GH_TOKEN) is a token that may write the repository's contents. GITHUB_REPOSITORY names the
repository where none is declared; GITHUB_API_URL is the API of a GitHub Enterprise server.")]
    Publish(PublishArgs),
    /// Build the images of some platforms as a part for another machine to merge
    #[command(after_help = "Example:
  cargo xtask build 2.1.0 --platform linux/arm64 --output dist/part-arm64")]
    Build(BuildArgs),
    /// Report everything that stands against a release, with what mends it
    Check(CheckArgs),
    /// Pin every registry image by digest in the lock file
    Lock(LockArgs),
    /// Save base images, registry images, declared stages and crates for builds without a network
    Vendor(VendorArgs),
    /// Make the key that signs bundles
    Keygen(KeygenArgs),
    /// Show what changed since the last version, or write it into the changelog's file
    Changelog(ChangelogArgs),
    /// Look into bundles, and split them
    #[command(subcommand)]
    Bundle(BundleCommand),
    /// Print the JSON Schema of the declaration
    Schema(SchemaArgs),
}

/// How to build; what `release` and `build` have in common.
#[derive(Debug, Args)]
pub struct BuildOptions {
    /// The version: MAJOR.MINOR.PATCH, with a prerelease if need be; by default the one that this commit is tagged with
    #[arg(value_parser = version)]
    version: Option<Version>,
    /// Limit to a platform (repeat for several)
    #[arg(long, value_name = "OS/ARCH")]
    platform: Vec<Platform>,
    /// Use this buildx builder
    #[arg(long, value_name = "NAME", env = "BUILDX_BUILDER")]
    builder: Option<String>,
    /// Build with no network at all, from what `cargo xtask vendor` saved
    #[arg(long)]
    offline: bool,
    /// Build without the build cache
    #[arg(long)]
    no_cache: bool,
    /// The network that `RUN` uses (host, none) [env: RELEASE_BUILD_NETWORK, but for --offline]
    #[arg(long, value_name = "MODE", conflicts_with = "offline")]
    build_network: Option<String>,
    /// Accept changes that are not committed
    #[arg(long)]
    allow_dirty: bool,
}

/// Arguments of `release`.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    #[command(flatten)]
    build: BuildOptions,
    /// Merge this part instead of building: an OCI layout in a folder, tar or zip (repeat for several)
    #[arg(long, value_name = "PATH")]
    part: Vec<PathBuf>,
    /// Write each bundle as .zip, too
    #[arg(long)]
    zip: bool,
    /// Make a GitHub Release of it; see `publish`
    #[arg(long, conflicts_with = "allow_dirty")]
    publish: bool,
    #[command(flatten, next_help_heading = "With --publish")]
    published: PublishOptions,
    /// Print every step and change nothing
    #[arg(long)]
    plan: bool,
    /// Print JSON on standard output
    #[arg(long)]
    json: bool,
}

/// Arguments of `build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    #[command(flatten)]
    build: BuildOptions,
    /// The folder for the part
    #[arg(long, short, value_name = "FOLDER")]
    output: PathBuf,
    /// Print JSON on standard output
    #[arg(long)]
    json: bool,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The version that is to be released; by default the one that this commit is tagged with
    #[arg(value_parser = version)]
    version: Option<Version>,
    /// Check this buildx builder
    #[arg(long, value_name = "NAME", env = "BUILDX_BUILDER")]
    builder: Option<String>,
    /// Check for a build without a network
    #[arg(long)]
    offline: bool,
    /// Accept changes that are not committed
    #[arg(long)]
    allow_dirty: bool,
    /// Print JSON on standard output
    #[arg(long)]
    json: bool,
}

/// Arguments of `lock`.
#[derive(Debug, Args)]
pub struct LockArgs {
    /// Only compare the lock file with what is declared; ask no registry
    #[arg(long)]
    check: bool,
    /// Ask through this buildx builder
    #[arg(long, value_name = "NAME", env = "BUILDX_BUILDER")]
    builder: Option<String>,
}

/// Arguments of `vendor`.
#[derive(Debug, Args)]
pub struct VendorArgs {
    /// Fetch and build through this buildx builder
    #[arg(long, value_name = "NAME", env = "BUILDX_BUILDER")]
    builder: Option<String>,
    /// The network that `RUN` uses in stages that are built (host, none)
    #[arg(long, value_name = "MODE", env = BUILD_NETWORK)]
    build_network: Option<String>,
}

/// Arguments of `keygen`.
#[derive(Debug, Args)]
pub struct KeygenArgs {
    /// Make a key without a password, for a machine that signs alone
    #[arg(long)]
    no_password: bool,
}

/// Looks into bundles, and splits them.
#[derive(Debug, Subcommand)]
pub enum BundleCommand {
    /// Show what a bundle says of itself
    Inspect {
        /// The bundle, or the list of its parts
        bundle: PathBuf,
        /// Print the manifest as JSON
        #[arg(long)]
        json: bool,
    },
    /// Check a bundle: every checksum, and the signature if a key is given
    Verify {
        /// The bundle, or the list of its parts
        bundle: PathBuf,
        /// A public key to trust, or its file (repeat for several)
        #[arg(long, value_name = "KEY", value_parser = public_key)]
        trust: Vec<PublicKey>,
        /// Print JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Write what the bundles of a release consist of beside them, as CycloneDX: PRODUCT-sbom.cdx.json
    Sbom {
        /// The bundles of one version
        #[arg(required = true, value_name = "BUNDLE")]
        bundles: Vec<PathBuf>,
    },
    /// Cut a bundle into parts beside it, for places that take no file of 2 GiB, and list them in BUNDLE.parts.json
    Split {
        /// The bundle
        bundle: PathBuf,
        /// The largest part in bytes; by default just below GitHub's limit
        #[arg(long, value_name = "BYTES", default_value_t = bundle::parts::DEFAULT_PART_SIZE,
              value_parser = clap::value_parser!(u64).range(1..))]
        size: u64,
        /// Print JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Show what a device on A needs for B
    Diff {
        /// The bundle that the device is on
        a: PathBuf,
        /// The bundle that it is to get
        b: PathBuf,
        /// Print JSON on standard output
        #[arg(long)]
        json: bool,
    },
}

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Compare with this file instead, and fail if it differs
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

/// Runs a command, shows what went wrong, and gives the exit code.
pub fn run(command: Command) -> ExitCode {
    match execute(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            show(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn execute(command: Command) -> Result<()> {
    match command {
        Command::Release(args) => release_command(args),
        Command::Publish(args) => publish::run(args),
        Command::Build(args) => {
            let workspace = workspace()?;
            let output = Output::Part(args.output.clone());
            let request = request(&workspace, args.build, Vec::new(), false, output)?;
            let released = release::release(&workspace, &request)?;
            if args.json { json(&released) } else { Ok(()) }
        }
        Command::Check(args) => check(args),
        Command::Lock(LockArgs { check: true, .. }) => fetch::check_lock(&workspace()?),
        Command::Lock(args) => lock(args),
        Command::Vendor(args) => {
            let workspace = workspace()?;
            let vendor = fetch::vendor(&workspace, args.builder.as_deref(), args.build_network.as_deref())?;
            let stages = match vendor.stages.len() {
                0 => String::new(),
                1 => " and 1 stage".to_owned(),
                many => format!(" and {many} stages"),
            };
            note(format_args!(
                "{} images{stages} are in {}",
                vendor.images.len(),
                workspace.vendor_folder().display()
            ));
            Ok(())
        }
        Command::Keygen(args) => {
            let (public, path) = keys::make(&workspace()?, args.no_password)?;
            note(format_args!(
                "secret key: {} (keep it safe, and a copy elsewhere)",
                path.display()
            ));
            out(public)
        }
        Command::Changelog(args) => changelog::run(&args),
        Command::Bundle(command) => bundle_command(command),
        Command::Schema(args) => schema_command(args),
    }
}

fn release_command(args: ReleaseArgs) -> Result<()> {
    let workspace = workspace()?;
    let mut request = request(&workspace, args.build, args.part, args.zip, Output::Bundles)?;
    if args.publish {
        let target = publish::target(&workspace.declaration)?;
        request.publish = Some(Publication {
            target,
            request: args.published.request(Vec::new()),
        });
    }
    if args.plan {
        let (_, plan) = release::prepare(&workspace, &request)?;
        return if args.json {
            json(&plan)
        } else {
            out(plan.to_string().trim_end())
        };
    }
    let released = release::release(&workspace, &request)?;
    if args.json {
        return json(&released);
    }
    for bundle in &released.bundles {
        let path = bundle.path.strip_prefix(&workspace.root).unwrap_or(&bundle.path);
        out(format_args!(
            "{}  {}  {}",
            bundle.sha256,
            path.display(),
            bytes(bundle.size)
        ))?;
    }
    if released.bundles.iter().all(|bundle| bundle.unchanged) {
        note("nothing changed: all bundles were up to date");
    }
    if let Some(published) = &released.published {
        return publish::show(published);
    }
    let installer = released
        .bundles
        .first()
        .map(|bundle| bundle.path.with_file_name("install.sh"));
    if installer.is_some_and(|installer| installer.is_file()) {
        note(
            "next: copy install.sh and the bundle for its platform to a device, there: sudo sh install.sh BUNDLE; what is in \
             it: cargo xtask bundle inspect BUNDLE",
        );
    }
    Ok(())
}

fn check(args: CheckArgs) -> Result<()> {
    let workspace = workspace()?;
    let version = args.version.or_else(|| facts::tagged_version(&workspace.root));
    if version.is_none() {
        note("warning: this commit has no version's tag and no version was given, so nothing was checked about it");
    }
    let request = Request {
        version: version.unwrap_or(Version::new(0, 0, 0)),
        platforms: Vec::new(),
        builder: args.builder,
        offline: args.offline,
        no_cache: false,
        network: None,
        parts: Vec::new(),
        zip: false,
        allow_dirty: args.allow_dirty,
        output: Output::Bundles,
        publish: None,
    };
    let problems = release::preflight(&workspace, &request)?;
    if args.json {
        json(&problems)?;
    }
    if problems.iter().any(Problem::is_error) {
        return Err(Error::Problems(problems));
    }
    for problem in &problems {
        note(problem);
    }
    note("ready to release");
    Ok(())
}

fn lock(args: LockArgs) -> Result<()> {
    for image in fetch::lock(&workspace()?, args.builder.as_deref())? {
        match image.now {
            Some(now) if image.before == Some(now) => note(format_args!("{} is still {now}", image.reference)),
            Some(now) => note(format_args!("{} is {now}", image.reference)),
            None => note(format_args!("{} has a stand-in only", image.reference)),
        }
    }
    Ok(())
}

fn bundle_command(command: BundleCommand) -> Result<()> {
    match command {
        BundleCommand::Inspect { bundle, json: true } => json(&inspect::inspect(&bundle)?.manifest),
        BundleCommand::Inspect { bundle, json: false } => out(inspect::inspect(&bundle)?),
        BundleCommand::Verify {
            bundle,
            trust,
            json: as_json,
        } => {
            let verified = inspect::verify_bundle(&bundle, &trust)?;
            if trust.is_empty() {
                note("warning: no --trust key was given, so nothing vouches for where this bundle comes from");
            }
            if as_json { json(&verified) } else { out(verified) }
        }
        BundleCommand::Split {
            bundle,
            size,
            json: as_json,
        } => {
            let written = split::split_bundle(&bundle, size)?;
            if as_json { json(&written) } else { out(written) }
        }
        BundleCommand::Sbom { bundles } => out(sbom::write_beside(&workspace()?, &bundles)?.display()),
        BundleCommand::Diff { a, b, json: true } => json(&inspect::compare(&a, &b)?.0),
        BundleCommand::Diff { a, b, json: false } => out(inspect::compare(&a, &b)?),
    }
}

fn schema_command(args: SchemaArgs) -> Result<()> {
    let text = schema::text();
    let Some(path) = args.check else {
        return out(text.trim_end());
    };
    let found = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    if found == text {
        return Ok(());
    }
    let hint = format!("cargo xtask schema > {}", path.display());
    Err(Error::Problems(vec![
        Problem::error(path.display().to_string(), "is not what the declaration's types give").hint(hint),
    ]))
}

fn request(
    workspace: &Workspace,
    build: BuildOptions,
    parts: Vec<PathBuf>,
    zip: bool,
    output: Output,
) -> Result<Request> {
    let version = match build.version {
        Some(version) => version,
        None => facts::tagged_version(&workspace.root).ok_or_else(|| Error::Usage {
            message: "no version was given, and this commit has no version's tag, or several".to_owned(),
            hint: "name the version, or `git tag` this commit with it: v2.1.0".to_owned(),
        })?,
    };
    // Read here and not by clap, for which the variable of a machine would contradict `--offline`.
    let network = build.build_network.or_else(|| env::var(BUILD_NETWORK).ok());
    Ok(Request {
        version,
        platforms: build.platform,
        builder: build.builder,
        offline: build.offline,
        no_cache: build.no_cache,
        network: network.filter(|_| !build.offline),
        parts,
        zip,
        allow_dirty: build.allow_dirty,
        output,
        publish: None,
    })
}

fn workspace() -> Result<Workspace> {
    let folder = env::current_dir().map_err(Error::io("find", "the current folder"))?;
    Workspace::read(&folder)
}

/// A version that can be a tag, too: image tags have no `+`.
fn version(text: &str) -> Result<Version, String> {
    let version = Version::parse(text).map_err(|error| match text.strip_prefix('v') {
        Some(rest) if Version::parse(rest).is_ok() => format!("a version has no `v` in front; hint: {rest}"),
        _ => format!("not a semantic version: {error}; hint: MAJOR.MINOR.PATCH, like 2.1.0"),
    })?;
    if version.build.is_empty() {
        Ok(version)
    } else {
        Err("build metadata (`+…`) cannot be part of an image's tag; hint: leave it out".to_owned())
    }
}

/// A public key, or the file of one.
fn public_key(text: &str) -> Result<PublicKey, String> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let file = std::fs::read_to_string(text)
        .map_err(|error| format!("neither a minisign public key nor the file of one: {error}"))?;
    file.parse().map_err(|error| format!("{error}"))
}

fn show(error: &Error) {
    match error {
        // Problems carry their own severities and hints.
        Error::Problems(problems) => {
            for problem in problems {
                note(problem);
            }
            let errors = problems.iter().filter(|problem| problem.is_error()).count();
            note(format_args!(
                "{errors} {} to mend",
                if errors == 1 { "problem" } else { "problems" }
            ));
        }
        error => {
            note(format_args!("error: {error}"));
            if let Some(hint) = error.hint() {
                note(format_args!("  hint: {hint}"));
            }
        }
    }
}

fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::io("write", "standard output")(io::Error::other(error)))?;
    out(text)
}

fn out(text: impl std::fmt::Display) -> Result<()> {
    match print(text) {
        // Whoever reads has seen enough: `… | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(Error::io("write", "standard output")),
    }
}

#[cfg(test)]
mod tests {
    use super::public_key;

    #[test]
    fn keys_and_their_files() {
        let key = bundle::signature::generate(None).unwrap().public().clone();
        assert_eq!(public_key(&key.to_string()).unwrap(), key);
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(public_key(path).unwrap_err(), "this is not a minisign public key");
        std::fs::write(path, key.to_file()).unwrap();
        assert_eq!(public_key(path).unwrap(), key);
        let error = public_key("/no/such/key.pub").unwrap_err();
        assert!(error.contains("No such file"), "{error}");
    }
}
