//! What the program prints, word by word: help, results, refusals. A changed word is a changed file in `snapshots/`.
//!
//! After a deliberate change, `SNAPSHOTS=overwrite cargo test -p updater --test it messages` writes the files anew.
//!
//! Each file is a session: commands, what they print, and exit codes other than 0. What differs from run to run is
//! replaced: paths, times, key IDs, process IDs.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use bundle::{Digest, manifest::DataRule, names::ProductName};
use device::{
    config::{
        Config,
        github::{Api, Settings},
    },
    engine::lock::Lock,
    state::Event,
    store::{Change, Fact, NewUpdate, Release, Store},
};
use github_double::{Draft, GitHub};
use snapbox::Data;
use tempfile::TempDir;

use crate::verify;

/// Commands on a device, with what they print.
struct Session {
    directory: TempDir,
    config: Config,
    text: String,
    replaced: Vec<(String, &'static str)>,
}

impl Session {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let product: ProductName = "app".parse().unwrap();
        let config = Config {
            folder: directory.path().join("opt"),
            state: directory.path().join("state"),
            etc: directory.path().join("etc"),
            // No engine answers there.
            docker_host: Some(format!("unix://{}/docker.sock", directory.path().display())),
            ..Config::for_product(&product)
        };
        config.make_directories().unwrap();
        config.write().unwrap();
        let replaced = vec![(directory.path().display().to_string(), "[DIRECTORY]")];
        Self {
            directory,
            config,
            text: String::new(),
            replaced,
        }
    }

    fn store(&self) -> Store {
        Store::open(&self.config.database()).unwrap()
    }

    fn replace(&mut self, text: impl Into<String>, by: &'static str) {
        self.replaced.insert(0, (text.into(), by));
    }

    /// Runs `updater` with the words of `line`.
    fn run(&mut self, line: &str) {
        self.run_in(self.directory.path().to_owned(), line);
    }

    fn run_in(&mut self, directory: PathBuf, line: &str) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_updater"));
        command
            .args(line.split_whitespace())
            .current_dir(directory)
            .env("UPDATER_CONFIG", self.config.etc.join("updater.toml"))
            .env("COLUMNS", "100")
            // Without `docker`: machines have different ones.
            .env("PATH", self.directory.path())
            .env_remove("RUST_LOG")
            .env_remove("JOURNAL_STREAM")
            .env_remove("SUDO_USER")
            .env_remove("DOCKER_HOST");
        let output = command.output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        writeln!(self.text, "$ updater {line}").unwrap();
        self.text.push_str(&out);
        if !err.is_empty() {
            write!(self.text, "[standard error]\n{err}").unwrap();
        }
        let code = output.status.code().unwrap();
        if code != 0 {
            writeln!(self.text, "[exit code {code}]").unwrap();
        }
        self.text.push('\n');
    }

    /// Compares the session with the file `snapshots/<name>.txt`.
    #[track_caller]
    fn expect(mut self, name: &str) {
        for (text, by) in &self.replaced {
            self.text = self.text.replace(text, by);
        }
        self.text = masked(&self.text, "http://127.0.0.1:", ['/', '"'], "http://[GITHUB]");
        self.text = masked(&self.text, "  published  ", ['\n', '"'], "  published  [TIME]");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/snapshots/{name}.txt"));
        let expected = match path.exists() {
            true => Data::read_from(&path, None),
            false => Data::text(""),
        };
        let said = self.text.trim_end().to_owned() + "\n";
        if std::env::var_os("SNAPSHOTS").is_some_and(|action| action == "overwrite") {
            fs::write(path, said).unwrap();
            return;
        }
        snapbox::Assert::new().eq(Data::text(said).raw(), expected.raw());
    }
}

/// `text` with `by` for all that begins with `start`, up to a character of `ends`.
fn masked(text: &str, start: &str, ends: [char; 2], by: &str) -> String {
    let mut pieces = text.split(start);
    let mut masked = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        masked.push_str(by);
        masked.push_str(&piece[piece.find(ends).unwrap_or(piece.len())..]);
    }
    masked
}

#[test]
fn help() {
    let mut session = Session::new();
    let config = session.config.etc.join("updater.toml").display().to_string();
    session.replace(config, "[CONFIG]");
    for command in [
        "",
        "install",
        "uninstall",
        "reset-password",
        "daemon",
        "start",
        "stop",
        "apply",
        "check",
        "download",
        "status",
        "history",
        "rollback",
        "retry",
        "verify",
        "diagnose",
        "trust",
        "trust list",
        "trust add",
        "trust remove",
        "token",
        "token add",
        "token list",
        "token remove",
        "completions",
        "man",
        "fall-back",
        "self-check",
        "openapi",
    ] {
        session.run(format!("{command} --help").trim_start());
    }
    session.expect("help");
}

#[test]
fn wrong_usage() {
    let mut session = Session::new();
    for line in [
        "frobnicate",
        "aply bundle.tar.gz",
        "apply",
        "verify",
        "status --jsn",
        "rollback --to latest",
        "download newest",
        "trust",
        "completions korn",
    ] {
        session.run(line);
    }
    session.expect("usage");
}

#[test]
fn nothing_is_installed() {
    let mut session = Session::new();
    for line in [
        "status",
        "status --json",
        "history",
        "history --json",
        "history --audit",
        "start",
        "rollback",
        "retry",
        "diagnose",
        "diagnose 2.1.0",
        "check",
        "download",
        "apply 2.1.0",
        "apply missing.tar.gz",
        "apply missing.tar.gz --json",
    ] {
        session.run(line);
    }
    fs::remove_file(session.config.etc.join("updater.toml")).unwrap();
    session.run("status");
    fs::write(
        session.config.etc.join("updater.toml"),
        "product = \"app\"\nfolders = 1\n",
    )
    .unwrap();
    session.run("status");
    session.expect("nothing-installed");
}

fn release(version: &str) -> Release {
    Release {
        id: 0,
        version: version.parse().unwrap(),
        manifest_digest: Some(Digest::of(version.as_bytes())),
        directory: None,
        bundle: None,
        pins: Default::default(),
        data: DataRule::default(),
        made_on: "2026-01-31T12:00:00Z".to_owned(),
    }
}

/// Records an update and what happens to it, a minute apart.
fn record(store: &mut Store, version: &str, day: u32, events: &[(Event, Change)]) -> i64 {
    let time = |minute: usize| format!("2026-01-{day:02}T12:{minute:02}:00Z");
    let new = NewUpdate {
        version: version.parse().unwrap(),
        changelog: String::new(),
        bundle: None,
        manifest_digest: Some(Digest::of(version.as_bytes())),
        file_size: Some(1000),
    };
    let update = store.add(&new, &time(0)).unwrap();
    for (minute, (event, change)) in events.iter().enumerate() {
        store.record(update.id, *event, change, &time(minute + 1)).unwrap();
    }
    update.id
}

fn plain(event: Event) -> (Event, Change) {
    (event, Change::default())
}

fn with_error(event: Event, error: &str) -> (Event, Change) {
    let change = Change {
        error: Some(error.to_owned()),
        ..Change::default()
    };
    (event, change)
}

/// A device on which 2.0.0 was updated to 2.1.0.
fn updated() -> Session {
    let mut session = Session::new();
    let mut store = session.store();
    let first = store.add_release(&release("2.0.0")).unwrap();
    let second = store.add_release(&release("2.1.0")).unwrap();
    let last = Change {
        current: Some((second, Some(first))),
        facts: vec![Fact::Warning("the clock is wrong".to_owned())],
        ..Change::default()
    };
    let id = record(
        &mut store,
        "2.1.0",
        10,
        &[
            plain(Event::Start),
            plain(Event::Verified),
            plain(Event::BackedUp),
            plain(Event::Loaded),
            plain(Event::Switched),
            plain(Event::Healthy),
            plain(Event::Stayed),
            (Event::Committed, last),
        ],
    );
    store.set_releases(id, Some(first), Some(second)).unwrap();
    let name = store.update(id).unwrap().public_id;
    session.replace(name, "[UPDATE]");
    session
}

#[test]
fn the_record() {
    let mut session = updated();
    for line in [
        "status",
        "status --json",
        "history",
        "rollback --to 1.0.0",
        "retry",
        "apply 2.2.0",
    ] {
        session.run(line);
    }
    let mut store = session.store();
    let failed = [
        plain(Event::Start),
        with_error(Event::Failed, "the bundle is damaged\nhint: copy the bundle again"),
    ];
    record(&mut store, "2.2.0", 11, &failed);
    session.run("status");
    session.run("history");
    let waiting = record(&mut store, "2.4.0", 12, &[plain(Event::Download)]);
    store
        .set_interruption(waiting, Some("GitHub cannot be reached: no route to host"))
        .unwrap();
    session.run("status");
    let stuck = [
        plain(Event::Start),
        plain(Event::Verified),
        plain(Event::BackedUp),
        plain(Event::Loaded),
        plain(Event::Failed),
        with_error(Event::RestoreFailed, "cannot start service db: no space left on device"),
    ];
    record(&mut store, "2.3.0", 13, &stuck);
    session.run("status");
    session.run("history");
    session.expect("record");
}

#[test]
fn another_updater_is_at_work() {
    let mut session = updated();
    session.replace(format!("(process {})", std::process::id()), "(process [PID])");
    let _lock = Lock::take(&session.config.lock(), "updater apply app-update-2.2.0.tar.gz").unwrap();
    for line in [
        "status",
        "start",
        "stop",
        "rollback",
        "retry --json",
        "apply missing.tar.gz",
    ] {
        session.run(line);
    }
    session.expect("busy");
}

#[test]
fn newer_versions() {
    const REPOSITORY: &str = "owner/app";
    let double = GitHub::start().unwrap();
    double.world().add_repository(REPOSITORY);
    let mut session = Session::new();
    let declared = bundle::manifest::GitHub {
        repository: REPOSITORY.parse().unwrap(),
        api: Some(double.api_url()),
    };
    let mut settings = Settings::try_from(&declared).unwrap();
    session.config.github = Some(settings.clone());
    session.config.write().unwrap();
    session.run("check");
    session.run("download");
    let draft = Draft {
        tag: "v2.1.0".to_owned(),
        ..Draft::default()
    };
    double
        .world()
        .publish(REPOSITORY, draft, &[("app-update-2.1.0.tar.gz", b"no real bundle")]);
    for line in [
        "check",
        "apply 2.1.0",
        "download",
        "download 9.9.9",
        "apply 2.1.0 --plan",
    ] {
        session.run(line);
    }
    // No name ends so (RFC 2606).
    settings.api = Api::try_from("https://git.invalid".to_owned()).unwrap();
    session.config.github = Some(settings);
    session.config.write().unwrap();
    session.run("check");
    session.run("check --json");
    session.expect("newer-versions");
}

#[test]
fn bundles() {
    let device = verify::Device::new();
    let mut session = Session::new();
    session.replace(device.key.public().id().to_string(), "[KEY]");
    let bytes = fs::read(device.path("bundle.tar.gz")).unwrap();
    fs::write(device.path("cut.tar.gz"), &bytes[..bytes.len() - 100]).unwrap();
    fs::write(device.path("text"), "hello").unwrap();
    for line in [
        "verify bundle.tar.gz --trust key.pub",
        "verify bundle.tar.gz --trust key.pub --json",
        "verify bundle.tar.gz",
        "verify bundle.tar.gz --trust other.pub",
        "verify cut.tar.gz",
        "verify text",
        "verify text --json",
        "verify missing.tar.gz",
        "verify bundle.tar.gz --trust text",
        "verify bundle.tar.gz --trust missing.pub",
    ] {
        session.run_in(device.path(""), line);
    }
    session.expect("bundles");
}

#[test]
fn keys_and_tokens() {
    let device = verify::Device::new();
    let mut session = Session::new();
    let key = device.key.public();
    let id = key.id().to_string();
    session.replace(id.clone(), "[KEY]");
    session.replace(key.to_string(), "[PUBLIC KEY]");
    for line in [
        "trust list".to_owned(),
        "trust add text".to_owned(),
        "trust add key.pub".to_owned(),
        "trust list".to_owned(),
        format!("trust remove {id}"),
        format!("trust remove {id}"),
        "token list".to_owned(),
        "token add a/b".to_owned(),
        "token remove backup".to_owned(),
    ] {
        session.run_in(device.path(""), &line);
    }
    session.expect("keys-and-tokens");
}
