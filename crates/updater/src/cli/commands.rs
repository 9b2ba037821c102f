//! Each command as one call of the library.

use std::{
    fmt::Display,
    io::{self, Write as _},
    path::Path,
};

use clap::CommandFactory as _;
use serde::Serialize;

use super::{
    ApplyArguments, Cli, Command, HistoryArguments, Json, RollbackArguments, Trust,
    access::{self, noted},
    github, install,
    show::{self, Status, UpdateView},
    terminal::{self, Terminal, note},
    verify,
};
use crate::{daemon, github::worker, web};
use device::{
    Error, Exit, Result,
    config::Config,
    containers::{ContainerEngine, docker::Docker},
    engine::{Updater, lock::Lock, preflight::Permissions, self_update},
    stack::{release, trust},
    store::Store,
    system::clock::SystemClock,
};

/// Does what the arguments say, and gives how it ended.
pub fn run(cli: Cli) -> Exit {
    let json = wants_json(&cli.command);
    match execute(cli) {
        Ok(exit) => exit,
        Err(error) => {
            terminal::show(&error);
            if json {
                // Standard output is all that a script reads.
                print(&failure(&error)).ok();
            }
            error.exit()
        }
    }
}

fn execute(cli: Cli) -> Result<Exit> {
    let config = || match &cli.config {
        Some(path) => Config::read(path),
        None => Config::find(),
    };
    let done = |()| Exit::Done;
    match cli.command {
        Command::Verify(arguments) => {
            let verified = verify::run(&arguments, &mut io::stdout().lock(), &mut io::stderr().lock());
            verified.map_err(Error::io("write", "standard output"))
        }
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "updater", &mut text);
            out(String::from_utf8_lossy(&text).trim_end()).map(done)
        }
        Command::Man => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut text)
                .map_err(Error::io("write", "the manual page"))?;
            out(String::from_utf8_lossy(&text).trim_end()).map(done)
        }
        Command::Install(arguments) => install::install(arguments, cli.config.as_deref()).map(done),
        Command::Uninstall(arguments) => install::uninstall(&config()?, &arguments).map(done),
        Command::ResetPassword => {
            let config = config()?;
            noted(&config, "reset password", "", || install::reset_password(&config)).map(done)
        }
        Command::FallBack => {
            if self_update::fall_back(&config()?)? {
                note("the updater before is back: the newer one could not be kept running");
            }
            Ok(Exit::Done)
        }
        Command::SelfCheck => {
            let config = config()?;
            let engine = Docker::new(config.docker_host.as_deref())?;
            self_update::check(&config, &engine).map(done)
        }
        Command::Daemon => {
            let config = config()?;
            let engine = Docker::new(config.docker_host.as_deref())?;
            let waker = worker::start(&config, Box::new(Terminal::new()))?;
            daemon::run(&config, &engine, &SystemClock::start(), &Terminal::new(), waker).map(done)
        }
        Command::Start => start(&config()?).map(done),
        Command::Stop => acting(&config()?, "updater stop", |updater| updater.stop()).map(done),
        Command::Apply(arguments) => apply(&config()?, &arguments),
        Command::Check(json) => github::check(&config()?, json).map(done),
        Command::Download(arguments) => github::download(&config()?, &arguments).map(done),
        Command::Status(json) => status(&config()?, json).map(done),
        Command::History(HistoryArguments { audit: true, json }) => access::audit(&config()?, json.json).map(done),
        Command::History(HistoryArguments {
            audit: false,
            json: Json { json },
        }) => {
            let updates = Store::open(&config()?.database())?.updates()?;
            let updates: Vec<_> = updates.into_iter().map(UpdateView::from).collect();
            if json {
                print(&updates)
            } else {
                out(show::history(&updates))
            }
            .map(done)
        }
        Command::Rollback(arguments) => {
            let config = config()?;
            noted(&config, "rollback", "", || roll_back(&config, &arguments)).map(done)
        }
        Command::Retry(json) => {
            let config = config()?;
            let retry = |updater: &mut Updater<'_>| updater.retry().map(drop);
            noted(&config, "retry", "", || {
                acting_and_showing(&config, "updater retry", json, retry)
            })
            .map(done)
        }
        Command::Diagnose { version } => diagnose(&config()?, version.as_ref()).map(done),
        Command::Trust(command) => trusted(&config()?, command).map(done),
        Command::Token(command) => access::tokens(&config()?, command).map(done),
        Command::Openapi => out(web::document().trim_end()).map(done),
    }
}

/// Does something while holding the lock.
fn acting<T>(config: &Config, what: &str, act: impl FnOnce(&mut Updater<'_>) -> Result<T>) -> Result<T> {
    acting_then(config, what, act, |_, done| Ok(done))
}

/// Does something while holding the lock, and then shows how things are: the engine is not asked again for what it just
/// told.
fn acting_and_showing(
    config: &Config,
    what: &str,
    json: Json,
    act: impl FnOnce(&mut Updater<'_>) -> Result<()>,
) -> Result<()> {
    acting_then(config, what, act, |updater, ()| {
        show_status(config, &updater.store, updater.engine, json)
    })
}

fn acting_then<T, U>(
    config: &Config,
    what: &str,
    act: impl FnOnce(&mut Updater<'_>) -> Result<T>,
    then: impl FnOnce(&Updater<'_>, T) -> Result<U>,
) -> Result<U> {
    let lock = Lock::take(&config.lock(), what)?;
    // Somebody may have removed one since the installation, and an update that cannot put its bundle anywhere never ends.
    config.make_folders()?;
    let engine = Docker::new(config.docker_host.as_deref())?;
    let (clock, progress) = (SystemClock::start(), Terminal::new());
    let mut updater = Updater::new(config, Store::open(&config.database())?, &engine, &clock, &progress);
    let done = act(&mut updater)?;
    drop(lock);
    then(&updater, done)
}

fn start(config: &Config) -> Result<()> {
    let started = acting(config, "updater start", |updater| updater.start())?;
    match started.version {
        Some(version) => out(format_args!("{} {version} runs", config.product)),
        None => Err(Error::refused(
            format!("{} is not installed", config.product),
            "updater install BUNDLE, or drop a bundle into updates/",
        )),
    }
}

fn apply(config: &Config, arguments: &ApplyArguments) -> Result<Exit> {
    let bundle = match github::downloaded(config, &arguments.bundle)? {
        Some(bundle) => bundle,
        None => std::path::absolute(&arguments.bundle).map_err(Error::io("find", &arguments.bundle))?,
    };
    let permissions = Permissions {
        downgrade: arguments.allow_downgrade,
    };
    let what = format!("updater apply {}", bundle.display());
    if arguments.plan {
        let plan = acting(config, &what, |updater| updater.plan(&bundle, permissions))?;
        if arguments.json.json {
            print(&plan)?;
        } else {
            out(show::plan(&plan))?;
        }
        return Ok(if plan.problems.is_empty() {
            Exit::Done
        } else {
            Exit::Problems
        });
    }
    let name = bundle.file_name().unwrap_or_default().to_string_lossy();
    noted(config, "apply", name, || {
        apply_bundle(config, &what, &bundle, permissions, arguments.json)
    })?;
    Ok(Exit::Done)
}

pub(super) fn apply_bundle(
    config: &Config,
    what: &str,
    bundle: &Path,
    permissions: Permissions,
    json: Json,
) -> Result<()> {
    acting_and_showing(config, what, json, |updater| {
        // What was interrupted comes first; how it ended is in the history.
        updater.recover()?;
        updater.adopt()?;
        let update = updater.take_by_hand(bundle, permissions)?;
        updater.apply(update.id).map(drop)
    })
}

fn status(config: &Config, json: Json) -> Result<()> {
    let engine = Docker::new(config.docker_host.as_deref())?;
    show_status(config, &Store::open(&config.database())?, &engine, json)
}

fn show_status(config: &Config, store: &Store, engine: &dyn ContainerEngine, Json { json }: Json) -> Result<()> {
    let current = store.current()?;
    let updates = store.updates()?;
    let downloads = github::downloads(store, &updates)?;
    let update = match store.active()?.or(store.stuck()?) {
        Some(update) => Some(update),
        None => updates.into_iter().next(),
    };
    let containers = match &current {
        Some(current) => engine.containers(&release::stack(config, current)),
        None => Ok(Vec::new()),
    };
    let status = Status {
        product: config.product.to_string(),
        previous: store.previous()?,
        current,
        update: update.map(UpdateView::from),
        downloads,
        busy: Lock::holder(&config.lock())?,
        engine_error: containers.as_ref().err().map(ToString::to_string),
        containers: containers.unwrap_or_default(),
    };
    if json {
        print(&status)
    } else {
        out(show::status(&status))
    }
}

fn roll_back(config: &Config, arguments: &RollbackArguments) -> Result<()> {
    acting_and_showing(config, "updater rollback", arguments.json, |updater| {
        updater.recover()?;
        let current = updater.store.current()?.map(|release| release.id);
        let update = updater.store.updates()?.into_iter().find(|update| {
            current.is_some() && update.to == current && update.state.phase == device::state::Phase::Completed
        });
        let update = update.ok_or_else(|| {
            Error::refused(
                "no update was completed, so there is nothing to go back to",
                "updater history",
            )
        })?;
        let before = updater.store.previous()?.map(|release| release.version);
        if let Some(wanted) = &arguments.to
            && before.as_ref() != Some(wanted)
        {
            let before = before.map_or("none".to_owned(), |version| version.to_string());
            return Err(Error::refused(
                format!("{wanted} is not the version before, which is {before}"),
                format!("updater apply the bundle of {wanted} --allow-downgrade"),
            ));
        }
        updater
            .roll_back(update.id, arguments.discard_data_since.as_deref())
            .map(drop)
    })
}

fn diagnose(config: &Config, version: Option<&semver::Version>) -> Result<()> {
    let engine = Docker::new(config.docker_host.as_deref())?;
    let (clock, progress) = (SystemClock::start(), Terminal::new());
    let updater = Updater::new(config, Store::open(&config.database())?, &engine, &clock, &progress);
    let update = updater
        .store
        .updates()?
        .into_iter()
        .find(|update| version.is_none_or(|version| update.version == *version))
        .ok_or_else(|| Error::refused("there is no such update", "updater history"))?;
    let why = update.error.clone().unwrap_or_else(|| "nothing went wrong".to_owned());
    out(updater.diagnosis(&update, &why).trim_end())
}

fn trusted(config: &Config, command: Trust) -> Result<()> {
    let folder = config.trusted_keys();
    match command {
        Trust::List(Json { json }) => {
            let keys = trust::read(&folder)?;
            if json {
                let keys: Vec<_> = keys
                    .keys()
                    .iter()
                    .map(|key| serde_json::json!({ "id": key.id().to_string(), "key": key.to_string() }))
                    .collect();
                return print(&keys);
            }
            if keys.keys().is_empty() {
                note("warning: no key is trusted, so unsigned bundles are accepted");
            }
            keys.keys()
                .iter()
                .try_for_each(|key| out(format_args!("{}  {key}", key.id())))
        }
        Trust::Add { key } => {
            let key = trust::parse(&key)?;
            noted(config, "trust", key.id(), || trust::add(&folder, &key))
        }
        Trust::Remove { id } => noted(config, "trust no longer", &id, || trust::remove(&folder, &id)),
    }
}

/// What `--json` prints of an error.
#[derive(Serialize)]
struct Failure {
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    exit_code: u8,
}

fn failure(error: &Error) -> Failure {
    Failure {
        error: error.to_string(),
        hint: error.hint(),
        exit_code: error.exit() as u8,
    }
}

fn wants_json(command: &Command) -> bool {
    match command {
        Command::Apply(arguments) => arguments.json.json,
        Command::Install(arguments) => arguments.json,
        Command::Uninstall(arguments) => arguments.json,
        Command::Rollback(arguments) => arguments.json.json,
        Command::Download(arguments) => arguments.json.json,
        Command::History(arguments) => arguments.json.json,
        Command::Token(command) => command.wants_json(),
        Command::Check(json) | Command::Status(json) | Command::Retry(json) | Command::Trust(Trust::List(json)) => {
            json.json
        }
        // `verify` prints its own.
        _ => false,
    }
}

pub(super) fn print(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::io("write", "standard output")(io::Error::other(error)))?;
    out(text)
}

pub(super) fn out(text: impl Display) -> Result<()> {
    match writeln!(io::stdout(), "{text}") {
        // Whoever reads has seen enough: `… | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Error::io("write", "standard output")),
    }
}
