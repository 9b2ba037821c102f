//! Each command as one call of the library.

use std::io;

use clap::CommandFactory as _;
use tracing::debug;

use super::{
    access::{self, noted},
    acting::{acting_and_showing, apply_bundle, looking, start},
    arguments::{ApplyArguments, Cli, Command, HistoryArguments, RollbackArguments, Trust},
    github, install,
    output::{Failure, Json, out, print},
    show::{self, UpdateView},
    status::status,
    terminal::{self, Terminal, note},
    verify,
};
use crate::{daemon, github::worker, web};
use device::{
    Error, Exit, Result,
    config::Config,
    containers::docker::Docker,
    engine::{Means, Updater, diagnosis, preflight::Permissions, self_update},
    stack::trust,
    store::Store,
    system::clock::SystemClock,
};

/// Runs the command, reports an error, and returns the exit code.
pub(super) fn run(cli: Cli) -> Exit {
    let json = cli.command.wants_json();
    match execute(cli) {
        Ok(exit) => exit,
        Err(error) => {
            terminal::show(&error);
            if json {
                // Standard output is all that a script reads.
                print(&Failure::of(&error)).ok();
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
    let config = || {
        let config = config()?;
        debug!(product = %config.product, etc = %config.etc.display(), "configuration read");
        Ok::<_, Error>(config)
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
        Command::Stop => looking(&config()?, "updater stop", |updater| updater.stop()).map(done),
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
        let plan = looking(config, &what, |updater| updater.plan(&bundle, permissions))?;
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

fn roll_back(config: &Config, arguments: &RollbackArguments) -> Result<()> {
    acting_and_showing(config, "updater rollback", arguments.json, |updater| {
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
    let means = Means {
        config,
        engine: &engine,
        clock: &clock,
        progress: &progress,
    };
    let store = Store::open(&config.database())?;
    let update = store
        .updates()?
        .into_iter()
        .find(|update| version.is_none_or(|version| update.version == *version))
        .ok_or_else(|| Error::refused("there is no such update", "updater history"))?;
    let why = update.error.clone().unwrap_or_else(|| "nothing went wrong".to_owned());
    out(diagnosis(means, &store, &update, &why).trim_end())
}

fn trusted(config: &Config, command: Trust) -> Result<()> {
    let directory = config.trusted_keys();
    match command {
        Trust::List(Json { json }) => {
            let keys = trust::read(&directory)?;
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
            noted(config, "trust", key.id(), || trust::add(&directory, &key))
        }
        Trust::Remove { id } => noted(config, "trust no longer", &id, || trust::remove(&directory, &id)),
    }
}
