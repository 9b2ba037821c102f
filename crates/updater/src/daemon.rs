//! The daemon: recovers, then applies what is dropped into `updates/`, and what has come from GitHub if that may be. It ends when another program has taken its file's
//! place, for the service manager to start that one ([`crate::self_update`]).
//!
//! `inotify` says when something happens there; a look every ten seconds finds what file systems without it bring. The
//! lock is held only while something is done, so commands by hand go on in between.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use notify::{RecursiveMode, Watcher as _};
use sd_notify::NotifyState;

use crate::{
    Error, Result,
    config::Config,
    containers::{Clock, ContainerEngine},
    engine::Updater,
    github::automatic,
    intake::Intake,
    lock::Lock,
    progress::Progress,
    self_update::{self, Watch},
    store::Store,
};

/// How often the folder is looked at without being told.
const SCAN: Duration = Duration::from_secs(10);

/// How soon it is looked at again when something is there.
const SOON: Duration = Duration::from_secs(1);

/// How long the loop may take for one turn in which nothing is applied, before the watchdog is no longer fed.
const STALLED: Duration = Duration::from_secs(120);

/// How long a program that is on trial must run to have passed it. Five starts of this length are within the limit after
/// which the service manager falls back (`StartLimitIntervalSec`).
const TRIAL: Duration = Duration::from_secs(30);

/// Runs until the process is ended, or another program has taken its place.
///
/// # Errors
/// The folders cannot be made, or the record cannot be opened: the service manager starts it again.
pub fn run(config: &Config, engine: &dyn ContainerEngine, clock: &dyn Clock, progress: &dyn Progress) -> Result<()> {
    config.make_folders()?;
    let program = Watch::start(config);
    let heartbeat = Heartbeat::start();
    wait_for_engine(engine, progress, &heartbeat);
    recover(config, engine, clock, progress, &heartbeat);
    // Only now: a boot that waits for us shall find the device in order.
    tell(&[NotifyState::Ready, NotifyState::Status("waiting for bundles")]);
    let ready = Instant::now();
    let mut on_trial = true;
    let (events, inbox) = mpsc::channel();
    let _watcher = watch(config, events, progress);
    let mut intake = Intake::default();
    let mut said = None;
    loop {
        heartbeat.beat();
        match turn(config, engine, clock, progress, &mut intake, &heartbeat) {
            Ok(()) => said = None,
            // Somebody acts by hand; it is our turn when they have done.
            Err(Error::Busy { .. }) => {}
            // Once is enough, however often it happens.
            Err(error) => {
                let text = format!("error: {error}");
                if said.as_ref() != Some(&text) {
                    progress.note(&text);
                }
                said = Some(text);
            }
        }
        if on_trial && ready.elapsed() >= TRIAL {
            on_trial = false;
            if let Err(error) = self_update::settle(config) {
                progress.note(&format!("error: {error}"));
            }
        }
        if program.is_replaced(config) {
            progress.note("another updater has taken this one's place");
            return Ok(());
        }
        let pause = if intake.is_waiting() { SOON } else { SCAN };
        // Disconnected without a watcher: then the pause is all there is.
        match inbox.recv_timeout(pause) {
            Err(mpsc::RecvTimeoutError::Disconnected) => thread::sleep(pause),
            // One copy gives thousands of events.
            Ok(()) => {
                thread::sleep(Duration::from_millis(200));
                while inbox.try_recv().is_ok() {}
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Looks once, and applies what can be applied.
fn turn(
    config: &Config,
    engine: &dyn ContainerEngine,
    clock: &dyn Clock,
    progress: &dyn Progress,
    intake: &mut Intake,
    heartbeat: &Heartbeat,
) -> Result<()> {
    let store = Store::open(&config.database())?;
    let nothing_is_due = automatic::due(config, &store, clock)?.is_none();
    if nothing_is_due && intake.quiet_files(config, clock.elapsed())?.is_empty() && store.active()?.is_none() {
        return Ok(());
    }
    // Where an update is under way and nobody holds the lock, whoever was at work has died, or could not write its record
    // on a full disk.
    let _lock = Lock::take(&config.lock(), "updater daemon")?;
    let _busy = heartbeat.busy();
    let mut updater = Updater::new(config, store, engine, clock, progress);
    updater.recover()?;
    if let Some(stuck) = updater.store.stuck()? {
        return Err(Error::Stuck(stuck.error.unwrap_or_default()));
    }
    updater.adopt()?;
    tell(&[NotifyState::Status("applying a bundle")]);
    for (path, outcome) in updater.take_in(intake)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match outcome {
            Ok(state) => progress.note(&format!("{name}: {}", state.phase)),
            Err(error) => progress.note(&format!("{name}: {error}")),
        }
    }
    updater.apply_what_is_due()?;
    tell(&[NotifyState::Status("waiting for bundles")]);
    Ok(())
}

fn recover(
    config: &Config,
    engine: &dyn ContainerEngine,
    clock: &dyn Clock,
    progress: &dyn Progress,
    heartbeat: &Heartbeat,
) {
    let _busy = heartbeat.busy();
    let recovered = Lock::take(&config.lock(), "updater daemon").and_then(|_lock| {
        let mut updater = Updater::new(config, Store::open(&config.database())?, engine, clock, progress);
        updater.recover()?;
        updater.adopt()
    });
    // What does not work now is seen in `updater status`; the daemon still takes what comes next.
    if let Err(error) = recovered {
        progress.note(&format!("error: {error}"));
    }
}

fn wait_for_engine(engine: &dyn ContainerEngine, progress: &dyn Progress, heartbeat: &Heartbeat) {
    let mut said = false;
    while let Err(error) = engine.facts() {
        if !said {
            progress.note(&format!("waiting for the Docker engine: {error}"));
            said = true;
        }
        // Starting takes as long as the engine does; the service manager is told so.
        tell(&[NotifyState::ExtendTimeoutUsec(60_000_000)]);
        heartbeat.beat();
        thread::sleep(Duration::from_secs(2));
    }
}

/// A watch on `updates/`; none where the system has none, and then the regular look is enough.
fn watch(config: &Config, events: mpsc::Sender<()>, progress: &dyn Progress) -> Option<notify::RecommendedWatcher> {
    let tell = move |_: notify::Result<notify::Event>| {
        // The receiver lives as long as the daemon.
        events.send(()).ok();
    };
    let watcher = notify::recommended_watcher(tell).and_then(|mut watcher| {
        watcher.watch(&config.updates(), RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    match watcher {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            progress.note(&format!(
                "no notice of new files ({error}); looking every {} s",
                SCAN.as_secs()
            ));
            None
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    // Without a service manager nobody listens.
    sd_notify::notify(state).ok();
}

/// Feeds the service manager's watchdog as long as the loop turns, or something is being applied.
struct Heartbeat {
    start: Instant,
    last: Arc<AtomicU64>,
    busy: Arc<AtomicBool>,
}

/// While it lives, the loop need not turn.
struct Busy<'a>(&'a Heartbeat);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.beat();
        self.0.busy.store(false, Ordering::Relaxed);
    }
}

impl Heartbeat {
    fn start() -> Self {
        let heartbeat = Self {
            start: Instant::now(),
            last: Arc::default(),
            busy: Arc::default(),
        };
        if let Some(period) = sd_notify::watchdog_enabled() {
            let (start, last, busy) = (heartbeat.start, heartbeat.last.clone(), heartbeat.busy.clone());
            thread::spawn(move || {
                loop {
                    let silent = start
                        .elapsed()
                        .saturating_sub(Duration::from_secs(last.load(Ordering::Relaxed)));
                    if busy.load(Ordering::Relaxed) || silent < STALLED {
                        tell(&[NotifyState::Watchdog]);
                    }
                    thread::sleep(period / 2);
                }
            });
        }
        heartbeat
    }

    fn beat(&self) {
        self.last.store(self.start.elapsed().as_secs(), Ordering::Relaxed);
    }

    fn busy(&self) -> Busy<'_> {
        self.busy.store(true, Ordering::Relaxed);
        Busy(self)
    }
}
